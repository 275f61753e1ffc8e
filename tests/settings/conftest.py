"""Factories of small config trees."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def make_tree(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes a config directory, from texts by name without suffix."""

    def make(config: str = "", groups: dict[str, str] | None = None) -> Path:
        folder = tmp_path / "config"
        for name, text in {"config": config, **(groups or {})}.items():
            file = folder / f"{name}.yaml"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        return folder

    return make
