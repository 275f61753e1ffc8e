"""The learning rate of a step: a function of its number alone, so that a resume needs no state."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Schedule:
    """How the learning rate goes.

    Attributes
    ----------
    kind
        constant, or cosine: half a cosine down to the lowest rate (Loshchilov & Hutter 2017,
        "SGDR", without restarts).
    warmup
        Steps over which it rises to the full rate, in equal parts; 0: none.
    horizon
        Step at which the cosine has reached the lowest rate, which then stays; None where
        constant. Not the length of a training: one that is continued goes on as planned.
    lowest
        The lowest rate, as a part of the full one.
    """

    kind: Literal["constant", "cosine"] = "constant"
    warmup: int = 0
    horizon: int | None = None
    lowest: float = 0.0

    def factor(self, step: int) -> float:
        """Return what the full rate is multiplied by in a step, counted from 0."""
        if step < self.warmup:
            return (step + 1) / self.warmup
        if self.horizon is None:
            return 1.0
        gone = min((step - self.warmup) / (self.horizon - self.warmup), 1.0)
        return self.lowest + (1 - self.lowest) * 0.5 * (1 + math.cos(math.pi * gone))
