"""Random config trees with defaults lists, and random overrides for them.

Everything that composes differently here on purpose is left out: mappings and scalars never meet,
run files have a header, nothing leaves the tree, no file without a group stands in a list twice.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from pathlib import Path

GROUPS = ("db", "net", "db/engine", "net/layer")
OPTIONS = ("a", "b", "c")
PACKAGES = ("_global_", "_group_", "_here_", "p", "p.q", "db", "_global_.r", "_group_.s")
HEADERS = ("_global_", "_group_", "p", "p.q", "db.z")


@dataclass(frozen=True)
class RandomTree:
    """Texts of the files by path, overrides, and the options of `runs` that are run files."""

    files: dict[str, str]
    overrides: list[str]
    runs: list[str]

    def write(self, folder: Path) -> None:
        for name, text in self.files.items():
            file = folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")


def random_tree(seed: int) -> RandomTree:
    """Make the tree of a seed."""
    rng = random.Random(seed)
    files = {"config.yaml": _primary(rng), "part.yaml": _file(rng, "", 0.3)}
    for group in GROUPS:
        for option in OPTIONS:
            files[f"{group}/{option}.yaml"] = _file(rng, group, 0.35)
    runs = []
    if rng.random() < 0.3:
        files["runs/r.yaml"] = _run_file(rng)
        runs = ["r"]
    listed = re.findall(
        r"^  - (?:optional )?/?([a-z][\w/]*(?:@[\w.]+)?): ", files["config.yaml"], re.M
    )
    overrides = [_override(rng, listed) for _ in range(rng.choice([0, 0, 1, 1, 2]))]
    return RandomTree(files, overrides, runs)


def _values(rng: random.Random) -> list[str]:
    lines = []
    for key in ("x", "y"):
        if rng.random() < 0.5:
            reference = "${oc.select:m.i,0}" if key == "y" else "3"
            lines.append(f"{key}: {rng.choice(['1', '2', 'u', 'null', '???', reference])}")
    if rng.random() < 0.4:
        inner = ", ".join(f"{key}: {rng.randint(0, 9)}" for key in "ij" if rng.random() < 0.7)
        lines.append(f"m: {{{inner}}}")
    if rng.random() < 0.2:
        lines.append(f"l: [{', '.join(str(rng.randint(0, 9)) for _ in range(rng.randint(0, 3)))}]")
    return lines


def _entry(rng: random.Random, group: str, override: bool = False) -> str:
    """Write one line of a defaults list that stands in a file of ``group``."""
    if not override and rng.random() < 0.12:
        names = ["part", "/part"] if not group else [rng.choice(OPTIONS)]
        package = f"@{rng.choice(PACKAGES)}" if rng.random() < 0.3 else ""
        return f"- {rng.choice(names)}{package}"
    if group and rng.random() < 0.5:
        name = {"db": "engine", "net": "layer"}.get(group, "/net")
    else:
        deep = group in GROUPS and rng.random() < 0.7
        name = rng.choice(GROUPS[2:] if deep else GROUPS)
        name = ("/" if group or rng.random() < 0.2 else "") + name
    if rng.random() < 0.25:
        name += f"@{rng.choice(PACKAGES)}"
    option: str = rng.choice(OPTIONS)
    chance = rng.random()
    if chance < 0.07:
        option = "null"
    elif chance < 0.17 and not override:
        option = f"[{', '.join(rng.sample(OPTIONS, rng.randint(1, 2)))}]"
    elif chance < 0.23:
        option = rng.choice(["${db}", "${net}", "${db/engine}"])
    elif chance < 0.25:
        option = rng.choice(["nope", "'???'"])
    words = "override " if override else ""
    if rng.random() < 0.12:
        words = rng.choice(["optional ", words + "optional "]) if not override else words
    return f"- {words}{name}: {option}"


def _list(rng: random.Random, group: str, length: int) -> list[str]:
    entries = []
    for _ in range(length):
        entry = _entry(rng, group)
        known = {_subject(other) for other in entries}
        # The same group twice is an error, so mostly it stands there once. A file twice is none in
        # Hydra, whose second copy then holds what was merged over the first (see docs/config.md).
        if _subject(entry) not in known or (rng.random() < 0.05 and "part" not in entry):
            entries.append(entry)
    if rng.random() < 0.6:
        entries.insert(rng.randint(0, len(entries)), "- _self_")
    if rng.random() < 0.25:
        entries.append(_override_line(rng, entries, group))
    return ["defaults:", *(f"  {entry}" for entry in entries)]


def _subject(entry: str) -> str:
    return "part" if "part" in entry else entry.split(":")[0]


def _override_line(rng: random.Random, entries: list[str], group: str) -> str:
    """Write an `override` line, mostly for a group that the list has."""
    there = [entry for entry in entries if ": " in entry and "[" not in entry]
    if not there or rng.random() < 0.3:
        return _entry(rng, group, override=True)
    key = rng.choice(there).removeprefix("- ").removeprefix("optional ").split(":")[0]
    return f"- override {key}: {rng.choice(OPTIONS)}"


def _file(rng: random.Random, group: str, with_list: float) -> str:
    lines = [f"# @package {rng.choice(HEADERS)}"] if rng.random() < 0.2 else []
    # Options of deeper groups end the chain, so that most trees are no circles.
    if rng.random() < (with_list if "/" not in group else 0.05):
        lines += _list(rng, group, rng.randint(1, 2))
    lines += _values(rng)
    return "\n".join(lines) + "\n"


def _primary(rng: random.Random) -> str:
    lines = _list(rng, "", rng.randint(1, 4)) if rng.random() < 0.95 else []
    return "\n".join([*lines, *(_values(rng) or ["x: 0"])]) + "\n"


def _run_file(rng: random.Random) -> str:
    lines = [f"# @package {rng.choice(['_global_', '_global_', 'p'])}"]
    if rng.random() < 0.7:
        kinds = [_entry(rng, "runs", override=rng.random() < 0.7) for _ in range(rng.randint(1, 2))]
        lines += ["defaults:", *(f"  {kind}" for kind in sorted(kinds, key=_is_override))]
    return "\n".join([*lines, *_values(rng)]) + "\n"


def _is_override(entry: str) -> bool:
    return entry.startswith("- override ")


def _override(rng: random.Random, listed: list[str]) -> str:
    if rng.random() < 0.55:
        if listed and rng.random() < 0.8:
            key, action = rng.choice(listed), rng.choice(["", "", "", "~"])
        else:
            key, action = rng.choice(GROUPS), rng.choice(["", "+", "+", "+", "~", "++"])
            if rng.random() < 0.4:
                key += f"@{rng.choice(['p', 'p.q', 'db', '_global_', 'r'])}"
        options = [*OPTIONS, *OPTIONS, *OPTIONS, *OPTIONS, "null", "nope", "[a,b]", "[c]", "[]"]
        value = rng.choice(options)
        return f"~{key}" if action == "~" and rng.random() < 0.6 else f"{action}{key}={value}"
    keys = ["x", "y", "m.i", "m.k", "db.x", "db.m.i", "net.y", "p.x", "p.q.y", "new", "l.0"]
    key = rng.choice(keys)
    action = rng.choice(["", "+", "++", "++", "++", "~"])
    if action == "~":
        return f"~{key}"
    return f"{action}{key}={rng.choice(['5', 'w', 'null', '${oc.select:y,7}'])}"
