"""Start the real Snakemake on the real workflow, in a folder of its own."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests import warm

ROOT = Path(__file__).parents[1]
PLAIN = ROOT / "tests" / "plain_profile"
END = 25
"""Lines of Snakemake's output that a failing test shows; the box with the errors is among them."""


@dataclass(frozen=True)
class Outcome:
    """How a start of Snakemake ended."""

    status: int
    text: str

    @property
    def jobs(self) -> list[str]:
        """Names of the rules whose jobs finished, sorted, `all` left out."""
        return sorted(set(re.findall(r"Finished jobid: \d+ \(Rule: (\w+)\)", self.text)) - {"all"})

    @property
    def planned(self) -> set[str]:
        """Names of the rules that a dry run would run, `all` left out."""
        return set(re.findall(r"^(\w+) +\d+$", self.text, re.MULTILINE)) - {"all", "total"}


def snakemake(
    folder: Path,
    *arguments: str,
    expect: int | None = 0,
    snakefile: Path = ROOT / "Snakefile",
    python: str | None = None,
    plain: bool = True,
) -> Outcome:
    """Run Snakemake in ``folder``; its exit status must be ``expect``, unless that is None.

    ``python`` runs it, the warm process if not given. Unless ``plain``, the default profile holds,
    with its logger.

    Two jobs run at once, of one thread each: the threads of a job wait for one another in a loop,
    which takes the cores from whatever else is tested at the time.
    """
    command = [
        *(python or warm.python(), "-m", "snakemake", "--snakefile", str(snakefile)),
        *("--directory", str(folder), "--cores", "2", "--max-threads", "1", "--nocolor"),
        *(["--workflow-profile", str(PLAIN)] if plain else []),
        *arguments,
    ]
    done = subprocess.run(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=snakefile.parent,
    )
    if expect not in (None, done.returncode):
        end = "\n".join(done.stdout.splitlines()[-END:])
        raise AssertionError(f"snakemake ended with {done.returncode}, not {expect}:\n{end}")
    return Outcome(done.returncode, done.stdout)
