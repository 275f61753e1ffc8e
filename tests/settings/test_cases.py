"""The golden cases: ours, Hydra's and what a person wrote down must be one.

A table of ``cases/`` has cases by name: a config tree (``tree`` names one of the table or of
``trees.yaml``, ``files`` adds to it or replaces), what is asked of it, and what comes of it: the
whole YAML (``expected``), some values (``gives``, ``lacks``), or parts of the message
(``error``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import reduce
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra_oracle import hydra_refuses, hydra_yaml

from workflow_scripts.errors import ConfigError
from workflow_scripts.settings.compose import compose
from workflow_scripts.settings.dump import to_yaml

FOLDER = Path(__file__).parent / "cases"


@dataclass
class Case:
    """What is asked of a tree, and what comes of it."""

    name: str
    files: dict[str, str]
    config_name: str = "config"
    overrides: list[str] = field(default_factory=list)
    run_files: list[str] = field(default_factory=list)
    env: dict[str, str] = field(default_factory=dict)
    differs_from_hydra: str | None = None
    expected: str | None = None
    gives: dict[str, Any] = field(default_factory=dict)
    lacks: list[str] = field(default_factory=list)
    error: list[str] = field(default_factory=list)

    def write(self, folder: Path) -> Path:
        """Write the config tree into a folder; return the folder."""
        for name, text in self.files.items():
            file = folder / f"{name}.yaml"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        return folder

    def ours(self, tree: Path) -> str:
        files = [tree / name for name in self.run_files]
        return to_yaml(compose(tree, self.config_name, files, self.overrides))

    def hydra_overrides(self) -> list[str]:
        """Return what Hydra is given: run files are options added to the group `runs`."""
        stems = ",".join(Path(name).stem for name in self.run_files)
        runs = [f"+runs=[{stems}]" if "," in stems else f"+runs={stems}"] if stems else []
        return [*runs, *self.overrides]


def cases() -> Iterator[Case]:
    tables = {path.stem: yaml.safe_load(path.read_text("utf-8")) for path in FOLDER.glob("*.yaml")}
    shared = tables.pop("trees")
    for table, content in sorted(tables.items()):
        trees = {None: {}, **shared, **content.get("trees", {})}
        for name, facts in content["cases"].items():
            files = {**trees[facts.pop("tree", None)], **facts.pop("files", {})}
            yield Case(f"{table}: {name}", files, **facts)


CASES = list(cases())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_case(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = case.write(tmp_path / "config")
    for name, value in case.env.items():
        monkeypatch.setenv(name, value)
    asked = (tree, case.hydra_overrides(), case.config_name)
    if case.error:
        with pytest.raises(ConfigError) as caught:
            case.ours(tree)
        for part in case.error:
            assert part in str(caught.value)
        assert hydra_refuses(*asked) == (case.differs_from_hydra is None)
        return
    text = case.ours(tree)
    if case.expected is not None:
        assert text == case.expected
    values = yaml.safe_load(text)
    for path, value in case.gives.items():
        assert at(values, path) == value
    for path in case.lacks:
        assert at(values, path) is None
    if case.differs_from_hydra is None:
        assert hydra_yaml(*asked) == text
    else:
        assert hydra_refuses(*asked) or hydra_yaml(*asked) != text


def at(values: Any, path: str) -> Any:
    """Return what stands at a dotted path, None where nothing does."""
    return reduce(lambda inside, part: (inside or {}).get(part), path.split("."), values)


def test_every_difference_is_written_down() -> None:
    """The table in docs/config.md names each case where we differ from Hydra, and no others."""
    text = (Path(__file__).parents[2] / "docs" / "config.md").read_text("utf-8")
    table = text[text.index("## Where we differ from Hydra") :]
    rows = [line.split(" | ")[-1] for line in table.splitlines() if line.startswith("| ")][1:]
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert named == {case.name.split(": ")[-1] for case in CASES if case.differs_from_hydra}
