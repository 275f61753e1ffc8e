"""The declarations of what the project needs agree with one another."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
CONDA_NAMES = {"pytorch": "torch", "python-isal": "isal"}


def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def ranges(entries: list[str]) -> dict[str, str]:
    split = [re.fullmatch(r"([A-Za-z0-9_.-]+)\s*(.*)", entry) for entry in entries]
    return {match[1].lower(): match[2].replace(" ", "") for match in split}


def test_conda_environment_has_the_ranges_of_pyproject() -> None:
    content = yaml.safe_load((ROOT / "envs" / "stateline.yaml").read_text())["dependencies"]
    conda = ranges([entry for entry in content if isinstance(entry, str)])
    pip = ranges(next(entry["pip"] for entry in content if isinstance(entry, dict)))
    conda.pop("pip")
    assert conda.pop("python") == project()["requires-python"].replace(" ", "")
    found = {CONDA_NAMES.get(key, key): value for key, value in {**conda, **pip}.items()}
    assert found == ranges(project()["dependencies"])


def test_every_dependency_is_pinned() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = dict(line.lower().split("==") for line in lines if "==" in line)
    pins = {name.replace("_", "-"): version for name, version in pins.items()}
    wanted = [*project()["dependencies"], *project()["optional-dependencies"]["dev"]]
    assert (
        sorted(set(ranges(wanted)) - {name.replace("_", "-") for name in pins} - {"types-pyyaml"})
        == []
    )
    assert pins["torch"] == "2.13.0"
