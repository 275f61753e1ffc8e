"""Disks that fill up, folders that are closed, files that vanish, two starts at once.

Those that take minutes run with STATELINE_FAULTS=all (`make faults`).
"""

from __future__ import annotations

import re
import shutil
import time
from pathlib import Path

import pytest

from tests.faults.conftest import Unbroken
from tests.faults.killed import Started
from tests.faults.places import read_only, small_disk
from tests.faults.whole_run import ALL, CONFIG, check_equal, check_tidy
from tests.snakemake_runs import snakemake
from tests.tiny_run import write_tiny_run

minutes = pytest.mark.skipif(not ALL, reason="takes minutes; STATELINE_FAULTS=all runs it")


@minutes
def test_disk_that_fills_up_again_and_again(tmp_path: Path, unbroken: Unbroken) -> None:
    write_tiny_run(tmp_path)
    kilobytes, failed = 70, 0
    with small_disk(tmp_path / "out", kilobytes) as disk:
        while (done := snakemake(tmp_path, *CONFIG, expect=None)).status:
            assert re.search(r"its disk has \d.\d MB left; make room, and start again", done.text)
            assert "Traceback" not in done.text
            failed, kilobytes = failed + 1, 2 * kilobytes
            disk.resize(kilobytes)
        assert failed >= 3
        check_equal(tmp_path / "out" / "tiny", unbroken.run)
        check_tidy(tmp_path)
        assert snakemake(tmp_path, *CONFIG).jobs == []


@pytest.mark.parametrize("kilobytes", [70, 500])
def test_full_disk_is_named_where_snakemake_blames_permissions(
    tmp_path: Path, kilobytes: int
) -> None:
    # The first size fills up with what jobs write, the second with Snakemake's own records.
    whole = kilobytes == 500
    place = tmp_path if whole else tmp_path / "out"
    if not whole:
        write_tiny_run(tmp_path)
    with small_disk(place, kilobytes):
        if whole:
            write_tiny_run(tmp_path)
        done = snakemake(tmp_path, *CONFIG, expect=1)
        assert ("ensure write permissions" in done.text) == whole
        assert "out of memory" not in done.text
        assert done.text.count("its disk has") == 1
        last = done.text.strip().splitlines()[-1]
        assert re.fullmatch(rf"{place}: its disk has 0\.\d MB left; make room, .*", last)


def test_closed_folders_are_said_before_anything_starts(tmp_path: Path) -> None:
    write_tiny_run(tmp_path)
    logs = tmp_path / "out" / "tiny" / "logs"
    logs.mkdir(parents=True)
    for closed in (tmp_path / "out", logs):
        with read_only(closed):
            done = snakemake(tmp_path, *CONFIG, expect=1)
            assert f"can't be written to:\n  {closed}" in done.text
            assert "give runs another output_dir" in done.text
            assert done.jobs == []
            assert "17 of" not in snakemake(tmp_path, *CONFIG, "--dry-run").text
    assert [*logs.iterdir()] == []


@minutes
def test_cells_that_vanish_are_said_and_what_was_made_of_them_stays(
    tmp_path: Path, unbroken: Unbroken
) -> None:
    folder = tmp_path / "mine"
    shutil.copytree(unbroken.run.parents[1], folder)
    snakemake(folder, *CONFIG)  # its place is another one: it finds what it has, and links it
    screen, away = folder / "screen.h5ad", folder / "away"
    screen.rename(away)
    done = snakemake(folder, *CONFIG, expect=1)
    assert re.search(r"error: .*screen\.h5ad: no such file", done.text)
    assert "train" not in done.jobs
    check_equal(folder / "out" / "tiny", unbroken.run)
    away.rename(screen)
    done = snakemake(folder, *CONFIG)
    log = (folder / "out" / "tiny" / "logs" / "train.log").read_text()
    assert "train" not in done.jobs or "finished before" in log
    check_equal(folder / "out" / "tiny", unbroken.run)


@pytest.mark.long
def test_second_start_in_one_folder_is_refused_and_the_first_goes_on(tmp_path: Path) -> None:
    write_tiny_run(tmp_path)
    first = Started(tmp_path, ("check", *CONFIG))
    while not [*(tmp_path / ".snakemake").glob("locks/*")]:
        time.sleep(0.05)
    refused = snakemake(tmp_path, *CONFIG, expect=1)
    assert "no other Snakemake process" in refused.text
    assert refused.jobs == []
    assert first.end() == 0
    assert (tmp_path / "out" / "tiny" / "preflight.json").exists()


@minutes
def test_two_starts_in_two_folders_on_one_run_compute_it_once(
    tmp_path: Path, unbroken: Unbroken
) -> None:
    place = tmp_path / "shared"
    overrides = f"{CONFIG[-1]} output_dir={place}"
    started = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write_tiny_run(tmp_path / name)
        started.append(Started(tmp_path / name, (*CONFIG[:-1], overrides)))
    assert [one.end() for one in started] == [0, 0], [one.text for one in started]
    assert len([*(place / "tiny" / "checkpoints").glob("*/training.csv")]) == 1
    check_equal(place / "tiny", unbroken.run)
    check_tidy(place)
