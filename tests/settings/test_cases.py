"""The golden cases: ours, Hydra's and what a person wrote down must be one.

A folder of ``cases/`` is a config tree in ``config/`` and either one case (``case.yaml`` with
``expected.yaml`` or ``error.txt``) or many (``variants.yaml``: by name, the overrides and what they
give, lack, or are refused with).
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

from workflow_scripts.settings.compose import compose
from workflow_scripts.settings.dump import to_yaml
from workflow_scripts.settings.errors import ConfigError

FOLDER = Path(__file__).parent / "cases"


@dataclass
class Case:
    """What is asked of a tree, and what comes of it."""

    name: str
    config_dir: Path
    config_name: str = "config"
    overrides: list[str] = field(default_factory=list)
    run_files: list[str] = field(default_factory=list)
    env: dict[str, str] = field(default_factory=dict)
    differs_from_hydra: str | None = None
    expected: str | None = None
    gives: dict[str, Any] = field(default_factory=dict)
    lacks: list[str] = field(default_factory=list)
    error: list[str] = field(default_factory=list)

    def ours(self) -> str:
        files = [self.config_dir / name for name in self.run_files]
        return to_yaml(compose(self.config_dir, self.config_name, files, self.overrides))

    def hydra_overrides(self) -> list[str]:
        """Return what Hydra is given: run files are options added to the group `runs`."""
        stems = ",".join(Path(name).stem for name in self.run_files)
        runs = [f"+runs=[{stems}]" if "," in stems else f"+runs={stems}"] if stems else []
        return [*runs, *self.overrides]


def cases() -> Iterator[Case]:
    for path in sorted(FOLDER.glob("*/case.yaml")):
        expected, error = path.with_name("expected.yaml"), path.with_name("error.txt")
        yield Case(
            path.parent.name,
            path.parent / "config",
            expected=expected.read_text("utf-8") if expected.exists() else None,
            error=error.read_text("utf-8").splitlines() if error.exists() else [],
            **(yaml.safe_load(path.read_text("utf-8")) or {}),
        )
    for path in sorted(FOLDER.glob("*/variants.yaml")):
        for name, facts in yaml.safe_load(path.read_text("utf-8")).items():
            yield Case(f"{path.parent.name}: {name}", path.parent / "config", **facts)


CASES = list(cases())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_case(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in case.env.items():
        monkeypatch.setenv(name, value)
    asked = (case.config_dir, case.hydra_overrides(), case.config_name)
    if case.error:
        with pytest.raises(ConfigError) as caught:
            case.ours()
        for part in case.error:
            assert part in str(caught.value)
        assert hydra_refuses(*asked) == (case.differs_from_hydra is None)
        return
    text = case.ours()
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


def test_every_case_expects_something() -> None:
    for case in CASES:
        asked = [case.expected is not None, bool(case.gives or case.lacks), bool(case.error)]
        assert sum(asked) == 1, case.name


def test_there_are_cases_for_every_rule() -> None:
    assert len(CASES) >= 250
    assert len({case.name for case in CASES}) == len(CASES)


def test_every_difference_is_written_down() -> None:
    """The table in docs/config.md names each case where we differ from Hydra, and no others."""
    text = (Path(__file__).parents[2] / "docs" / "config.md").read_text("utf-8")
    table = text[text.index("## Where we differ from Hydra") :]
    rows = [line.split(" | ")[-1] for line in table.splitlines() if line.startswith("| ")][1:]
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert named == {case.name.split(": ")[-1] for case in CASES if case.differs_from_hydra}
