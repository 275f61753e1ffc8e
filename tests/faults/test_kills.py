"""Whatever is killed at whatever moment: the same command again ends as if nothing had been.

Six kills at seeded moments; thirty with STATELINE_FAULTS=all.
"""

from __future__ import annotations

import random
import signal
from collections.abc import Collection
from pathlib import Path

import pytest

from tests.faults.conftest import Unbroken
from tests.faults.killed import SIGNALS, VICTIMS, Kill, Started
from tests.faults.whole_run import ALL, CONFIG, RULES, check_equal, check_tidy
from tests.snakemake_runs import snakemake
from tests.tiny_run import write_tiny_run

SESSIONS = range(5 if ALL else 1)


def kills(session: int) -> list[tuple[str, float, str, signal.Signals]]:
    """Draw six kills of a session, over rules in the order in which they come.

    Rule, share of its duration, who gets which signal.

    Five sessions strike each rule twice, and each of the nine ways at least thrice.
    """
    shuffled = [*RULES, *RULES]
    random.Random(7).shuffle(shuffled)
    draw = random.Random(session)
    chosen = sorted(shuffled[6 * session : 6 * session + 6], key=RULES.index)
    ways = [(who, how) for who in VICTIMS for how in SIGNALS]
    return [
        (rule, draw.uniform(0, 0.6), *ways[(6 * session + at) % 9])
        for at, rule in enumerate(chosen)
    ]


def still_to_come(rule: str, planned: Collection[str]) -> str:
    """Return a rule, or the next that is planned: it may have ended beside one that was killed."""
    later = [name for name in RULES[RULES.index(rule) :] if name in planned]
    return later[0] if later else rule


@pytest.mark.long
@pytest.mark.parametrize("session", SESSIONS)
def test_killed_again_and_again_it_ends_as_if_nothing_had_been(
    session: int, tmp_path: Path, unbroken: Unbroken
) -> None:
    write_tiny_run(tmp_path)
    met = []
    for rule, share, victim, sent in kills(session):
        started = start(tmp_path)
        rule = still_to_come(rule, started.planned())
        kill = Kill(rule, share * unbroken.durations[rule], victim, sent)
        met.append(started.strike(kill))
        status = started.end()
        print(f"{kill}: {'met' if met[-1] else 'missed'}, Snakemake ended with {status}")
    # A job that is done sooner than it was at first is missed.
    assert sum(met) >= 4
    last = start(tmp_path)
    assert last.end() == 0, last.text
    check_equal(tmp_path / "out" / "tiny", unbroken.run)
    check_tidy(tmp_path)
    assert snakemake(tmp_path, *CONFIG).jobs == []


def start(folder: Path) -> Started:
    """Start it again; where a kill left Snakemake's lock, do what Snakemake says of that."""
    if any((folder / ".snakemake" / "locks").glob("*")):
        refused = Started(folder, CONFIG)
        assert refused.end() == 1
        assert "It can be removed with the --unlock argument" in refused.text
        snakemake(folder, "--unlock", *CONFIG)
    return Started(folder, CONFIG)
