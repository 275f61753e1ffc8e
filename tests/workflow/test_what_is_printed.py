"""What a start prints: one screen, and before a training what it will take."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.finished_run import OPTIONS, printed_of
from tests.snakemake_runs import snakemake

SCREEN = 50
"""Lines of a terminal."""


def test_a_fresh_run_prints_one_screen(shared_run: Path):
    lines = printed_of(shared_run).read_text().strip().splitlines()
    assert len(lines) <= SCREEN


@pytest.mark.long
@pytest.mark.xfail(strict=True, reason="People")
@pytest.mark.parametrize(
    ("steps", "unit"),
    [("1000", r"(s|seconds?|min|minutes?)"), ("1000000000", r"(days?|months?|years?)")],
)
def test_check_says_in_a_line_what_is_trained_on_how_much_and_how_long(finished_run, steps, unit):
    overrides = f"overrides=training.max_steps={steps}"
    done = snakemake(finished_run, *OPTIONS, overrides, "--", "check")
    assert "train" not in done.jobs
    lines = [line.replace(",", "") for line in done.text.splitlines()]
    told = [line for line in lines if all(word in line for word in (steps, "step", "cell"))]
    assert any(re.search(rf"\d ?{unit}\b", line) for line in told), lines[-15:]


@pytest.mark.long
def test_baselines_are_computed_once_for_a_sweep_over_the_learning_rate(finished_run):
    sweep = "overrides=training.lr=2e-3,3e-3"
    runs = [finished_run / f"out/tiny_lr-{lr}" for lr in ("0.002", "0.003")]
    targets = [str(run.relative_to(finished_run) / "baselines") for run in runs]
    snakemake(finished_run, *OPTIONS, sweep, "--", *targets)
    first, second = (run / "baselines/ridge.h5ad" for run in runs)
    assert first.samefile(second), "each run has predicted its own"
