"""What the page says of how a run was asked for, went, and what it cost."""

from __future__ import annotations

from collections.abc import Callable

from tests.reporting.page_parser import Page, rows

Render = Callable[..., str]


def test_what_the_run_changed_stands_with_its_sources(render: Render) -> None:
    page = Page(render())
    assert rows(page, "model") == [
        ["model", "state_smconfig/runs/demo.yaml:5", "pertsetsconfig/config.yaml:6"]
    ]
    assert rows(page, "training.lr")[0][1].startswith("0.001override 'lr=1e-3'")
    assert not rows(page, "training.batch_size")


def test_starts_of_a_training_say_how_each_ended(render: Render) -> None:
    killed = {"to_step": None, "seconds": None, "ended": None}
    gpu = {"device": "NVIDIA H200", "processes": 2, "cuda": "13.0"}
    page = Page(
        render(
            starts=(
                {**gpu, **killed},
                {**gpu, "from_step": 20, "repeats": 7, "ended": "stopped", "to_step": 40},
                {**gpu, "from_step": 40},
            )
        )
    )
    told = [row[1:] for row in rows(page, "2026-01-")]
    where = "2 × NVIDIA H200 (node7)"
    assert told == [
        ["0 → ?", where, "was killed"],
        [
            "20 → 40, 7 steps of them for the second time",
            where,
            "was asked to stop, and kept its state",
        ],
        ["40 → 60", where, "reached its last step"],
    ]
    assert "Starts: 3" in page.text["training"]
    # Twice 90 seconds on two devices; how long the first one took is not known.
    cost = " ".join(page.text["provenance"].split())
    assert "3.9 h of CPU time" in cost
    assert "at least 6.0 min of GPU training over all starts" in cost
    assert "CUDA 13.0" in cost


def test_a_start_that_may_still_run_is_not_called_killed(render: Render) -> None:
    page = Page(render(starts=({"to_step": None, "seconds": None, "ended": None},)))
    assert rows(page, "2026-01-")[0][-1] == "has left no word of its end"
    assert "One start" in page.text["training"]


def test_costs_of_the_rules_come_longest_first(render: Render) -> None:
    page = Page(render())
    assert [rows(page, rule)[-1] for rule in ("train", "preflight")] == [
        ["train", "2.1 h", "3.9 h", "1.1 GB"],
        ["preflight", "0.2 s", "–", "–"],
    ]
