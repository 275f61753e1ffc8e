"""What has changed of a run since it was frozen, key by key."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from workflow_scripts.cache.digests import signature
from workflow_scripts.errors import ConfigError
from workflow_scripts.settings.dump import inline
from workflow_scripts.settings.run import Run
from workflow_scripts.settings.schema import leaves
from workflow_scripts.settings.slices import shown_config

_BESIDE: Mapping[str, str] = {
    "numerics": "the arithmetic of this version of Stateline differs (numerics {old} → {new})",
    "engines": "another version of a package computes it ({old} → {new})",
    "genes": "genes are {new} now, and were {old}",
}
"""What stands in a stage file beside the values of keys."""


class Change(NamedTuple):
    """One key whose value is another one now: its dotted path, and what a person reads."""

    key: str
    text: str


def changed_stage(run: Run, stage: str, path: Path) -> Iterator[Change]:
    """Yield what has changed of what a stage reads.

    Parameters
    ----------
    run
        As it is asked for now.
    stage
        Its name.
    path
        Its stage file.
    """
    new = json.loads(run.stage_json(stage))
    try:
        old = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        yield Change(stage, "its settings are not written down yet")
        return
    for part in ("identity", "extent"):
        yield from _differences(run, old.get(part, {}), new.get(part, {}))
    before, now = old.get("files", {}), new.get("files", {})
    for file in sorted({*before, *now}):
        if before.get(file) != now.get(file):
            yield Change(file, f"{file} is another file now")
    for name, words in _BESIDE.items():
        before, now = old.get(name), new.get(name)
        if before != now:
            text = words.format(old=_shown(before or "all"), new=_shown(now or "all"))
            yield Change(name, text)


def changed_cells(path: Path) -> Iterator[Change]:
    """Yield which cells were replaced since what names them (cell_files.json) was written."""
    try:
        signatures = json.loads(path.read_text(encoding="utf-8"))["signatures"]
    except (OSError, ValueError, LookupError):
        return
    for file, before in signatures.items():
        if signature(file) != before:
            yield Change(file, f"{file} is another file now")


def changed_keys(run: Run) -> Iterator[Change]:
    """Yield what has changed of a run's whole config since it was frozen."""
    folder = Path(run.folder)
    try:
        old = dict(leaves(shown_config(folder / "config.yaml")))
        frozen = json.loads((folder / "provenance.json").read_text(encoding="utf-8"))["digest"]
    except (ConfigError, OSError, ValueError, LookupError):
        return
    changes = [*_differences(run, old, dict(leaves(run.config)))]
    if frozen != run.digest and not changes:
        changes = [Change("", "its values come from elsewhere, or stand in another order")]
    yield from changes


def _differences(run: Run, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Change]:
    sources = {row.parameter: row.source for row in run.rows}
    for key in dict.fromkeys([*old, *new]):
        before, now = (_shown(side[key]) if key in side else "not there" for side in (old, new))
        if old.get(key) != new.get(key) or (key in old) != (key in new):
            source = f" ({sources[key]})" if sources.get(key) else ""
            yield Change(key, f"{key}: {before} → {now}{source}")


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else inline(value)
