r"""Write the graph of the workflow's rules into the READMEs, as a diagram that their readers draw.

Example:

    python -m workflow_scripts.document_workflow --check
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from workflow_scripts.command import command_parser, run_command
from workflow_scripts.settings.errors import ConfigError
from workflow_scripts.settings.finished import write_atomically

ROOT = Path(__file__).parents[1]
READMES = ("README.md", "README.zh-CN.md")
RUN = "first_run"

_PLACE = re.compile(r"(<!-- graph of the rules -->\n).*?(<!-- end -->)", re.DOTALL)
_LEFT_OUT = frozenset({"all", "freeze_config", "freeze_stage"})
"""Rules that every other one stands before or behind: their arrows would hide the rest."""


def main(arguments: Sequence[str]) -> None:
    """Write the diagrams, or say which ones are stale."""
    parser = command_parser("python -m workflow_scripts.document_workflow", __doc__)
    parser.add_argument(
        "--check", action="store_true", help="write nothing; fail where a file isn't as generated"
    )
    given = parser.parse_args(arguments)
    drawn = f"\\g<1>{diagram(rule_graph(RUN))}\\g<2>"
    for name in READMES:
        text = (ROOT / name).read_text("utf-8")
        new = _PLACE.sub(drawn, text)
        if new == text:
            continue
        if given.check:
            raise ConfigError(
                f"{name}: not the rules' graph; run python -m workflow_scripts.document_workflow"
            )
        write_atomically(ROOT / name, new)
        print(name)


def rule_graph(run: str) -> dict[str, set[str]]:
    """Ask Snakemake for the rules of a run and what each one waits for; no data is needed."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [
                *(sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile")),
                *("--directory", folder, "--config", f"runs={run}", "--rulegraph", "mermaid-js"),
            ],
            capture_output=True,
            text=True,
        )
    if done.returncode:
        raise ConfigError(f"snakemake can't draw this:\n{done.stderr.strip()[-2000:]}")
    names = dict(re.findall(r"^\s*(id\d+)\[(\w+)\]$", done.stdout, re.MULTILINE))
    waits: dict[str, set[str]] = {name: set() for name in names.values()}
    for before, after in re.findall(r"^\s*(id\d+) --> (id\d+)$", done.stdout, re.MULTILINE):
        waits[names[after]].add(names[before])
    return waits


def diagram(waits: Mapping[str, set[str]]) -> str:
    """Draw rules and what they wait for as a Mermaid flowchart, without arrows that others imply.

    Parameters
    ----------
    waits
        By rule, the rules that come before it.
    """
    shown = {rule: before - _LEFT_OUT for rule, before in waits.items() if rule not in _LEFT_OUT}
    earlier: dict[str, set[str]] = {}

    def all_before(rule: str) -> set[str]:
        if rule not in earlier:
            earlier[rule] = shown[rule].union(*map(all_before, shown[rule]))
        return earlier[rule]

    arrows = [
        f"    {before} --> {rule}"
        for rule in sorted(shown, key=lambda rule: (len(all_before(rule)), rule))
        for before in sorted(shown[rule])
        if not any(before in all_before(other) for other in shown[rule])
    ]
    return "\n".join(["```mermaid", "flowchart TD", *arrows, "```", ""])


if __name__ == "__main__":
    run_command(main)
