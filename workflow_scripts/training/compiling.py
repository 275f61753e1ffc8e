"""The objective of a step, compiled where that is asked for and can be done."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any, Literal

import torch

from workflow_scripts.errors import DataError
from workflow_scripts.models.objective import Objective, objective

ObjectiveOf = Callable[..., Objective]
"""What has the signature of `models.objective`."""


def objective_for(
    asked: bool | Literal["auto"], device: torch.device, say: Callable[[str], None]
) -> ObjectiveOf:
    """Return `objective`, compiled or as it is.

    Compiled, operations between two matrix products become one pass over their tensors, in the
    forward and the backward direction; results are the same to rounding. It takes up to some
    minutes before the first step.

    Parameters
    ----------
    asked
        ``engine.compile``: whether to compile; auto: on a GPU for which there is a compiler, and
        without it should that fail.
    device
        Where the step runs.
    say
        Prints a line.
    """
    there = device.type == "cuda" and importlib.util.find_spec("triton") is not None
    if asked is False or (asked == "auto" and not there):
        return objective
    return _Compiled(must=asked is True, say=say)


class _Compiled:
    """The compiled objective, which is compiled when it is first called."""

    def __init__(self, *, must: bool, say: Callable[[str], None]) -> None:
        self._must = must
        self._say = say
        self._compute: ObjectiveOf = torch.compile(objective, dynamic=False)
        self._works = False
        say("compiling the step, which may take some minutes")

    def __call__(self, *of: Any, **cells: Any) -> Objective:
        if self._works:
            return self._compute(*of, **cells)
        try:
            made = self._compute(*of, **cells)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # compilers fail in their own ways
            reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
            if self._must:
                raise DataError(
                    f"the step can't be compiled here ({reason}); set engine.compile=false"
                ) from error
            self._say(f"the step can't be compiled here and runs as it is ({reason})")
            self._compute, made = objective, objective(*of, **cells)
        self._works = True
        return made
