"""Whoever watches a training sees how far and how fast it is."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import termios
from io import StringIO

import pandas as pd
import pytest
import torch

from tests.training.training_runs import ROOT
from workflow_scripts.training import pace
from workflow_scripts.training.pace import Progress, spell
from workflow_scripts.training.utilization import matmul_rate


def test_terminal_shows_a_bar(training):
    command = training.command("watched", "training.train_seed=12")
    reads, writes = pty.openpty()
    termios.tcsetwinsize(writes, (24, 160))
    process = subprocess.Popen(command, stdout=writes, stderr=subprocess.PIPE, cwd=ROOT)
    os.close(writes)
    shown = b""
    try:
        while part := os.read(reads, 65536):
            shown += part
    except OSError:  # what Linux says once nobody holds the other end
        pass
    os.close(reads)
    assert process.wait() == 0
    text = shown.decode()
    assert re.search(r"24/24 \[", text)
    last = text.rstrip().split("\r")[-1]
    assert re.search(r"loss [\d.]+  validation [\d.]+  best [\d.]+ \(step \d+\)", text)
    assert re.search(r"[\d,]+ cells/s  waiting [\d.]+%", last)


def test_log_gets_a_line_for_each_validation_and_one_now_and_then(monkeypatch):
    clock = iter([0.0, 1.0, 11.0, 12.0, 13.0])
    monkeypatch.setattr(pace.time, "monotonic", lambda: next(clock))
    stream = StringIO()
    progress = Progress(0, 100, 256, stream)
    for step, now in ((1, False), (2, False), (3, False), (4, True)):
        progress.add(step, 0.4, 0.1)
        progress.tell(step, f"loss {step}", now=now)
    assert stream.getvalue().splitlines() == [
        "step 2/100  loss 2  2 steps/s  512 cells/s  waiting 20.0%  9 min left",
        "step 4/100  loss 4  2 steps/s  512 cells/s  waiting 20.0%  5 min left",
    ]


def test_rows_of_the_log_say_what_a_step_used(training):
    rows = pd.read_csv(training.folder / "unbroken" / "log.csv")
    cells = 2 * 4  # sets of a step, cells of a set
    took = rows["seconds"] + rows["waiting"]
    assert rows["cells_per_second"].tolist() == pytest.approx((cells / took).tolist(), rel=1e-3)
    # What the products could take is the same for each step.
    ideal = rows["mfu"] * rows["seconds"]
    assert ideal.tolist() == pytest.approx([ideal[0]] * len(rows), rel=1e-2)
    assert ideal[0] > 0


def test_rate_of_a_product_is_a_rate():
    assert matmul_rate(torch.device("cpu"), torch.float32) > 1e8


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(12.4, "12 s"), (89, "1 min"), (3600, "1 h 00 min"), (9_000, "2 h 30 min")],
)
def test_spell_of_time_reads_as_a_person_says_it(seconds, words):
    assert spell(seconds) == words
