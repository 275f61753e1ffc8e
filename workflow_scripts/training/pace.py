"""How fast a training goes, in a line for a person."""

from __future__ import annotations

import time


class Pace:
    """Counts steps and seconds since the last line, and since the start."""

    def __init__(self, start: int, stop: int, cells_per_step: int) -> None:
        self._stop = stop
        self._cells_per_step = cells_per_step
        self._start = start
        self._started = time.monotonic()
        self._forget(self._started)

    def add(self, seconds: float, waited: float) -> None:
        """Count a step: what it took, and what it waited for its data before."""
        self._steps += 1
        self._busy += seconds
        self._waited += waited

    def silent_for(self) -> float:
        """Return the seconds since the last line."""
        return time.monotonic() - self._spoke

    def line(self, step: int, losses: str) -> str:
        """Return the line of a step; steps and waiting are those since the last one."""
        now = time.monotonic()
        rate = self._steps / max(self._busy + self._waited, 1e-9)
        waiting = self._waited / max(self._busy + self._waited, 1e-9)
        # What is left goes by the clock since the start: validations and checkpoints count.
        overall = (step - self._start) / max(now - self._started, 1e-9)
        left = (self._stop - step) / max(overall, 1e-9)
        self._forget(now)
        return (
            f"step {step}/{self._stop}  {losses}  {rate:.3g} steps/s  "
            f"{rate * self._cells_per_step:,.0f} cells/s  waiting {waiting:.1%}  "
            f"{spell(left)} left"
        )

    def _forget(self, now: float) -> None:
        self._spoke = now
        self._steps, self._busy, self._waited = 0, 0.0, 0.0


def spell(seconds: float) -> str:
    """Return a duration as a person says it."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60:02d} min"
