"""Checkpoints: which there are, and which a training continues from."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from workflow_scripts.cache.digests import check_zip
from workflow_scripts.errors import DataError
from workflow_scripts.settings.findings import listing

LAST = "last.ckpt"

STATE = "validations"
"""Under which name a checkpoint keeps what is known of the validations so far."""


def step_name(step: int) -> str:
    """Return the file name of the checkpoint after ``step``; names sort as the steps do."""
    return f"step={step:09d}.ckpt"


def best_name(step: int) -> str:
    """Return the file name of the state whose validation after ``step`` was the lowest so far."""
    return f"best-step={step:09d}.ckpt"


def kept_steps(folder: Path) -> dict[int, Path]:
    """Return the step checkpoints in a folder, by step, ascending."""
    found = {
        int(match[1]): path
        for path in folder.glob("step=*.ckpt")
        if (match := re.fullmatch(r"step=(\d+)\.ckpt", path.name))
    }
    return dict(sorted(found.items()))


def best_step_of(path: Path) -> int:
    """Return the step of the best state of the training that left a checkpoint; 0 for none yet."""
    content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    return int(content["callbacks"][STATE]["best_step"])


def latest_usable(
    folder: Path, max_steps: int, logged: int, provenance: Mapping[str, Any]
) -> tuple[int, Path] | None:
    """Return (step, path) of the newest checkpoint that a training can continue from.

    It is readable, at or before ``max_steps``, and not ahead of the log, which has the rows of
    the steps 1 to ``logged``; the best state of its time is there too.

    Raises
    ------
    DataError
        Where it came from other settings, cells, splits or features than ``provenance`` names.
    """
    for step, path in reversed(kept_steps(folder).items()):
        if step <= min(max_steps, logged) and _is_whole(path, folder):
            try:
                _check_origin(path, provenance)
            except FileNotFoundError:  # another process that trains here pruned it meanwhile
                continue
            return step, path
    return None


def _check_origin(path: Path, provenance: Mapping[str, Any]) -> None:
    content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    found = content["stateline"]["provenance"]
    others = [name for name, digest in provenance.items() if found.get(name) != digest]
    if others:
        raise DataError(
            f"{path}: a checkpoint of another training: {listing(others)} differ from this one's; "
            "it was put there by hand: move it away"
        )


def replace_file(path: Path, target: Path) -> None:
    """Move a file that was written beside ``target`` into its place, on disk for good."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
    os.replace(path, target)


def prune(folder: Path, step: int, keep: int) -> None:
    """Delete the step checkpoints before ``step`` but the newest ``keep``, its own among them.

    Later ones stay, which a longer training left; so does the best state of each one's time.
    """
    earlier = [path for at, path in kept_steps(folder).items() if at <= step]
    for path in earlier[: max(len(earlier) - keep, 0)]:
        path.unlink(missing_ok=True)
    needed = set()
    for kept in kept_steps(folder).values():
        with suppress(Exception):  # a torn one, which training will write again, needs none
            needed.add(best_name(best_step_of(kept)))
    for path in folder.glob("best-step=*.ckpt"):
        if path.name not in needed:
            path.unlink(missing_ok=True)


def _is_whole(path: Path, folder: Path) -> bool:
    try:
        best_step = best_step_of(path)
        for part in (path, folder / best_name(best_step)) if best_step else (path,):
            check_zip(part)
    except Exception as error:  # a torn file fails in whatever way its first wrong byte decides
        print(f"{path}: not usable, an earlier checkpoint serves ({error})", flush=True)
        return False
    return True
