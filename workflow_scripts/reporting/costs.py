"""What a run cost: the time and memory of each of its rules, and of the devices that trained."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from workflow_scripts.reporting.tables import Cell
from workflow_scripts.reporting.words import number
from workflow_scripts.settings.findings import size

_COLUMNS = {"s": "seconds", "cpu_time": "cpu_seconds", "max_rss": "memory"}
"""Of a benchmark file of Snakemake: wall time and CPU time in seconds, memory in MiB."""


@dataclass(frozen=True)
class Costs:
    """The page's table of costs.

    Attributes
    ----------
    rows
        Rule; wall time, CPU time, most memory. The longest first.
    total
        All together, in words.
    """

    rows: tuple[tuple[str, tuple[Cell, ...]], ...]
    total: str


def read_costs(folders: Sequence[Path]) -> pd.DataFrame:
    """Read what Snakemake measured of the rules of a run.

    Parameters
    ----------
    folders
        Of benchmark files (TSV), one a rule; what is no such file is passed over.

    Returns
    -------
    Columns rule, seconds, cpu_seconds, memory (bytes), NaN where a job was too short to look at;
    the longest first.
    """
    found = []
    for path in (path for folder in folders for path in sorted(folder.glob("*.tsv"))):
        try:
            table = pd.read_csv(path, sep="\t", na_values=["-", "NA"])
        except (pd.errors.EmptyDataError, pd.errors.ParserError, UnicodeDecodeError):
            continue
        if table.empty or not set(_COLUMNS) <= set(table.columns):
            continue
        last = table.iloc[-1][[*_COLUMNS]].rename(_COLUMNS).astype(float)
        found.append({"rule": path.stem, **last, "memory": last["memory"] * 2**20})
    frame = pd.DataFrame(found, columns=["rule", *_COLUMNS.values()])
    return frame.sort_values("seconds", ascending=False, kind="stable", ignore_index=True)


def cost_rows(costs: pd.DataFrame, starts: Sequence[Mapping[str, Any]]) -> Costs:
    """Return the table of costs, and the sentence that sums it up."""
    columns = costs[["seconds", "cpu_seconds", "memory"]].to_numpy(dtype=float)
    rows = tuple(
        (rule, (_cell(wall, _seconds), _cell(cpu, _seconds), _cell(memory, _bytes)))
        for rule, (wall, cpu, memory) in zip(costs["rule"], columns, strict=True)
    )
    said = []
    if len(costs):
        said.append(
            f"{_seconds(costs['cpu_seconds'].sum())} of CPU time in the last jobs of its rules"
        )
    if starts:
        spent, gpu, all_known = device_seconds(starts)
        what = "GPU" if gpu else "CPU"
        more = "" if all_known else "at least "
        said.append(f"{more}{_seconds(spent)} of {what} training over all starts")
    return Costs(rows, "; ".join(said))


def device_seconds(starts: Sequence[Mapping[str, Any]]) -> tuple[float, bool, bool]:
    """Return the seconds of all devices that trained; whether these are GPUs, and all are known.

    Those of a start that was killed are not.
    """
    known = [start["seconds"] * start["processes"] for start in starts if "seconds" in start]
    gpu = any(not start["device"].startswith("CPU") for start in starts)
    return sum(known), gpu, len(known) == len(starts)


def _cell(value: float, words: Callable[[float], str]) -> Cell:
    return Cell(number(None)) if pd.isna(value) else Cell(words(value), float(value))


def _bytes(value: float) -> str:
    return size(int(value))


def _seconds(value: float) -> str:
    """Return a time as a person says it."""
    if value < 100:
        return f"{value:.1f} s"
    minutes, hours = value / 60, value / 3600
    return f"{minutes:,.1f} min" if minutes < 100 else f"{hours:,.1f} h"
