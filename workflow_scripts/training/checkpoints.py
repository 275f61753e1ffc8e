"""Checkpoints: which there are, and which a training continues from."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import torch

LAST, BEST = "last.ckpt", "best.ckpt"


def step_name(step: int) -> str:
    """Return the file name of the checkpoint after ``step``; names sort as the steps do."""
    return f"step={step:09d}.ckpt"


def kept_steps(folder: Path) -> dict[int, Path]:
    """Return the step checkpoints in a folder, by step, ascending."""
    found = {
        int(match[1]): path
        for path in folder.glob("step=*.ckpt")
        if (match := re.fullmatch(r"step=(\d+)\.ckpt", path.name))
    }
    return dict(sorted(found.items()))


def latest_usable(folder: Path, max_steps: int) -> tuple[int, Path] | None:
    """Return (step, path) of the newest readable checkpoint at or before ``max_steps``."""
    for step, path in reversed(kept_steps(folder).items()):
        if step <= max_steps and _is_whole(path):
            return step, path
    return None


def replace_file(path: Path, target: Path) -> None:
    """Move a file that was written beside ``target`` into its place, on disk for good."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
    os.replace(path, target)


def prune(folder: Path, step: int, keep: int) -> None:
    """Delete the step checkpoints before ``step`` but the newest ``keep``, its own among them.

    Later ones stay: an earlier, longer training left them.
    """
    earlier = [path for at, path in kept_steps(folder).items() if at <= step]
    for path in earlier[: max(len(earlier) - keep, 0)]:
        path.unlink(missing_ok=True)


def _is_whole(path: Path) -> bool:
    try:
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # a torn file fails in whatever way its first wrong byte decides
        print(f"{path}: not readable, an earlier checkpoint serves ({error})", flush=True)
        return False
    return "state_dict" in content and "stateline" in content
