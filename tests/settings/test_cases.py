"""The golden trees of cases/: ours, Hydra's and what a person wrote down must be one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra_oracle import hydra_refuses, hydra_yaml

from workflow_scripts.settings.compose import compose
from workflow_scripts.settings.dump import to_yaml
from workflow_scripts.settings.errors import ConfigError

CASES = sorted(path.parent for path in (Path(__file__).parent / "cases").glob("*/case.yaml"))


class Case:
    """One folder of cases/."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        facts: dict[str, Any] = yaml.safe_load((folder / "case.yaml").read_text("utf-8"))
        self.config_dir = folder / "config"
        self.config_name: str = facts.get("config_name", "config")
        self.overrides: list[str] = facts.get("overrides", [])
        self.run_files = [self.config_dir / name for name in facts.get("run_files", [])]
        self.differs: str | None = facts.get("differs_from_hydra")
        for name, value in facts.get("env", {}).items():
            monkeypatch.setenv(name, value)
        expected, error = folder / "expected.yaml", folder / "error.txt"
        self.expected = expected.read_text("utf-8") if expected.exists() else None
        self.error = error.read_text("utf-8").splitlines() if error.exists() else []

    def ours(self) -> str:
        return to_yaml(compose(self.config_dir, self.config_name, self.run_files, self.overrides))

    def hydra_overrides(self) -> list[str]:
        """Return what Hydra is given: run files are options added to the group `runs`."""
        stems = ",".join(path.stem for path in self.run_files)
        runs = [f"+runs=[{stems}]" if "," in stems else f"+runs={stems}"] if stems else []
        return [*runs, *self.overrides]


@pytest.mark.parametrize("folder", CASES, ids=lambda folder: folder.name)
def test_case(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case(folder, monkeypatch)
    asked = (case.config_dir, case.hydra_overrides(), case.config_name)
    if case.expected is None:
        with pytest.raises(ConfigError) as caught:
            case.ours()
        assert case.error
        for part in case.error:
            assert part in str(caught.value)
        assert hydra_refuses(*asked) == (case.differs is None)
    else:
        assert case.ours() == case.expected
        assert (hydra_yaml(*asked) == case.expected) == (case.differs is None)
