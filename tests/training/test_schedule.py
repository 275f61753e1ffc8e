"""The learning rate of a step."""

from __future__ import annotations

import pytest

from workflow_scripts.training.schedule import Schedule


def test_constant_rate_stays_after_its_warmup():
    assert [Schedule().factor(step) for step in (0, 1, 10_000)] == [1.0, 1.0, 1.0]
    warm = Schedule(warmup=4)
    assert [warm.factor(step) for step in range(6)] == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]


def test_cosine_ends_at_its_lowest_rate_and_stays_there():
    cosine = Schedule("cosine", warmup=10, horizon=110, lowest=0.2)
    assert cosine.factor(9) == cosine.factor(10) == 1.0
    assert cosine.factor(60) == pytest.approx(0.6)
    assert cosine.factor(35) == pytest.approx(0.2 + 0.8 * (1 + 2**-0.5) / 2)
    assert [cosine.factor(step) for step in (110, 111, 9_999)] == pytest.approx([0.2] * 3)
    falling = [cosine.factor(step) for step in range(10, 111)]
    assert falling == sorted(falling, reverse=True)
