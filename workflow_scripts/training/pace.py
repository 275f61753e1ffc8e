"""How far and how fast a training goes, for a person: lines in a log, a bar on a terminal."""

from __future__ import annotations

import sys
import time
from typing import TextIO

from tqdm import tqdm

SECONDS_BETWEEN_LINES = 10.0
"""How often a log tells how far the training is."""


class Progress:
    """Counts steps and seconds since it last spoke, and since the start, and tells of them.

    On a terminal a bar is kept up to date; elsewhere lines are written, one every ten seconds and
    one for each validation.
    """

    def __init__(
        self, start: int, stop: int, cells_per_step: int, stream: TextIO | None = None
    ) -> None:
        """Begin to count.

        Parameters
        ----------
        start, stop
            The steps that are done already, and those in all.
        cells_per_step
            Cells that a step predicts.
        stream
            Where to write; standard output if None.
        """
        self._stream = sys.stdout if stream is None else stream
        self._stop = stop
        self._cells_per_step = cells_per_step
        self._start = start
        self._started = time.monotonic()
        self._bar: tqdm[None] | None = None
        if self._stream.isatty():
            self._bar = tqdm(
                total=stop, initial=start, unit="step", file=self._stream, dynamic_ncols=True
            )
        self._forget(self._started)

    def add(self, step: int, seconds: float, waited: float) -> None:
        """Count a step: what it took, and what it waited for its data before."""
        self._steps += 1
        self._busy += seconds
        self._waited += waited
        if self._bar is not None:
            self._bar.update(step - self._bar.n)

    def tell(self, step: int, losses: str, *, now: bool) -> None:
        """Tell of a step: at once, or if the last time was a while ago."""
        at = time.monotonic()
        if self._bar is not None:
            self._bar.set_postfix_str(f"{losses}  {self._rates()}", refresh=now)
            if at - self._spoke > SECONDS_BETWEEN_LINES:
                self._forget(at)
        elif now or at - self._spoke > SECONDS_BETWEEN_LINES:
            # What is left goes by the clock since the start: validations and checkpoints count.
            overall = (step - self._start) / max(at - self._started, 1e-9)
            left = spell((self._stop - step) / max(overall, 1e-9))
            rate = self._steps / self._seconds
            rates = f"{rate:.3g} steps/s  {self._rates()}"
            self.say(f"step {step}/{self._stop}  {losses}  {rates}  {left} left")
            self._forget(at)

    def say(self, line: str) -> None:
        """Write a line, above the bar if there is one."""
        if self._bar is not None:
            self._bar.write(line, file=self._stream)
        else:
            print(line, file=self._stream, flush=True)

    def close(self) -> None:
        """Leave the bar as it is."""
        if self._bar is not None:
            self._bar.close()

    @property
    def _seconds(self) -> float:
        return max(self._busy + self._waited, 1e-9)

    def _rates(self) -> str:
        cells = self._steps * self._cells_per_step / self._seconds
        return f"{cells:,.0f} cells/s  waiting {self._waited / self._seconds:.1%}"

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
