"""A workflow that is signalled at a chosen moment of a chosen rule."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.snakemake_runs import PLAIN, ROOT

VICTIMS = ("the job", "Snakemake", "both")
PACKAGE = "workflow_scripts."
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)


@dataclass(frozen=True)
class Kill:
    """Which rule's job is waited for, how long it may go on, and who gets which signal."""

    rule: str
    seconds: float
    victim: str
    signal: signal.Signals

    def __str__(self) -> str:
        return f"{self.signal.name} of {self.victim}, {self.seconds:.2f} s into {self.rule}"


class Started:
    """Snakemake in a process group of its own, as a terminal has it."""

    def __init__(self, folder: Path, arguments: Sequence[str]) -> None:
        self._said = folder / "said.txt"
        command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile")]
        command += ["--workflow-profile", str(PLAIN)]
        command += ["--directory", str(folder), "--cores", "2", "--max-threads", "1", "--nocolor"]
        with self._said.open("w") as said:
            self._process = subprocess.Popen(
                [*command, *arguments],
                stdout=said,
                stderr=subprocess.STDOUT,
                cwd=ROOT,
                start_new_session=True,
            )
        self._main = psutil.Process(self._process.pid)

    @property
    def text(self) -> str:
        """What it said."""
        return self._said.read_text()

    @property
    def running(self) -> bool:
        """Whether it hasn't ended."""
        return self._process.poll() is None

    def processes(self) -> list[psutil.Process]:
        """Return Snakemake's process, and those that it started."""
        return [self._main, *self._main.children(recursive=True)]

    def end(self, seconds: float = 120.0) -> int:
        """Wait for its end, and return the exit status."""
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            raise AssertionError(f"it never ended:\n{self.text}") from None

    def planned(self) -> set[str]:
        """Wait until it has said what it will run; return these rules."""
        while self.running and not re.search(r"^total +\d+$", self.text, re.MULTILINE):
            time.sleep(0.02)
        return set(re.findall(r"^(\w+) +\d+$", self.text, re.MULTILINE))

    def durations(self) -> dict[str, float]:
        """Watch it to its end; return the seconds for which each rule's job was seen."""
        seen: dict[str, tuple[float, float]] = {}
        while self._process.poll() is None:
            for rule in self._jobs():
                now = time.monotonic()
                seen[rule] = (seen.get(rule, (now, now))[0], now)
            time.sleep(0.02)
        assert self._process.returncode == 0, self.text
        return {rule: last - first for rule, (first, last) in seen.items()}

    def strike(self, kill: Kill) -> bool:
        """Send the signal when the time has come; tell whether that met the rule's job.

        Where the job has ended before, Snakemake gets it. What goes on, as a job does whose
        Snakemake is dead, goes on.
        """
        while (job := self._jobs().get(kill.rule)) is None:
            if self._process.poll() is not None:
                return False
            time.sleep(0.02)
        time.sleep(kill.seconds)
        met = job.is_running() and job.status() != psutil.STATUS_ZOMBIE
        alone = [job] if met else [self._main]
        struck = {"the job": alone, "Snakemake": [self._main], "both": [self._main, job]}
        for process in struck[kill.victim]:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(kill.signal)
        return met

    def _jobs(self) -> dict[str, psutil.Process]:
        """Return the processes that do the rules' work."""
        found = {}
        children = []
        with suppress(psutil.NoSuchProcess):  # it may have ended just now
            children = self._main.children(recursive=True)
        for process in children:
            with suppress(psutil.NoSuchProcess):  # a zombie is none either
                line = process.cmdline()
                if line[1:2] == ["-m"] and line[2].startswith(PACKAGE):
                    found[line[2].removeprefix(PACKAGE)] = process
        return found
