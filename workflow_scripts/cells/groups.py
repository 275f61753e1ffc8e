"""Which cells may share a set: one perturbation in one context, and the controls beside it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Int64

from workflow_scripts.errors import DataError
from workflow_scripts.settings.findings import listing

_PLACE = ["dataset", "file", "context"]
_KEYS = [*_PLACE, "perturbation"]

Labels = tuple[str, ...]


@dataclass(frozen=True)
class Group:
    """Cells that may share a set, and the controls that go with them.

    Attributes
    ----------
    context, perturbation
        Their labels.
    rows
        Row numbers of the group's cells in the store.
    controls
        Row numbers of the control cells that they are paired with.
    is_control
        The group is itself one of control cells.
    """

    context: str
    perturbation: str
    rows: Int64[np.ndarray, " cells"]
    controls: Int64[np.ndarray, " controls"]
    is_control: bool


def make_groups(
    cells: pd.DataFrame,
    splits: pd.DataFrame,
    split: str,
    *,
    by_batch: bool,
    controls: bool,
    most_cells: int | None = None,
) -> list[Group]:
    """Return the groups of a split, in the store's order.

    Parameters
    ----------
    cells
        The store's table of cells.
    splits
        The table of split groups (`splits.SPLIT_COLUMNS`).
    split
        train, val or test.
    by_batch
        Sets and their controls share the technical batch; a batch without controls falls back to
        the context's.
    controls
        Control cells that train (their split is ``control``) are groups too.
    most_cells
        Of a perturbation in a context of a file, use no more than these many cells: the same ones
        every time, and fewer are a part of more. All controls stay there to be paired with.

    Raises
    ------
    DataError
        Where a context has no control cells in its own file.
    """
    spans = _spans(cells).merge(
        splits[[*_KEYS, "split"]].astype(str), on=_KEYS, how="left", validate="many_to_one"
    )
    pools = _control_pools(spans[spans["is_control"]])
    used = spans[spans["split"].isin([split, "control"] if controls else [split])]
    chosen = {} if most_cells is None else _chosen(used, most_cells)
    are_controls = dict(zip(_labels(used, _KEYS), used["is_control"], strict=True))
    groups = []
    for labels, rows in _rows(used, [*_KEYS, "batch"] if by_batch else _KEYS).items():
        names = labels[:4]
        pool = pools.get(names[:3])
        if by_batch:
            pool = pools.get((*names[:3], labels[4]), pool)
        if pool is None:
            raise DataError(
                f"{names[1]}: context {names[2]!r} has no control cells; "
                "every context needs controls in its own file"
            )
        if names in chosen:
            rows = rows[np.isin(rows, chosen[names])]
        if len(rows):
            groups.append(Group(names[2], names[3], rows, pool, bool(are_controls[names])))
    return groups


def _spans(cells: pd.DataFrame) -> pd.DataFrame:
    """Return the runs of neighbouring cells with one label: a row each, with its start and stop.

    The store's order makes a group one run, so that labels are compared by number and only a few
    are ever written out.
    """
    labels = [*_KEYS, "batch"]
    codes = np.stack([pd.Categorical(cells[name]).codes for name in labels])
    edges = np.flatnonzero((codes[:, 1:] != codes[:, :-1]).any(axis=0)) + 1
    starts = np.concatenate([[0], edges]) if len(cells) else edges
    table = cells.iloc[starts][[*labels, "is_control"]].reset_index(drop=True)
    table = table.astype(dict.fromkeys(labels, str))
    table["start"], table["stop"] = starts, np.append(starts[1:], len(cells))[: len(starts)]
    return table


def _labels(spans: pd.DataFrame, by: list[str]) -> Iterator[Labels]:
    return zip(*(spans[name] for name in by), strict=True)


def _rows(spans: pd.DataFrame, by: list[str]) -> dict[Labels, Int64[np.ndarray, " cells"]]:
    """Return the rows of all spans that have the same labels."""
    pieces: dict[Labels, list[np.ndarray]] = {}
    for labels, start, stop in zip(_labels(spans, by), spans["start"], spans["stop"], strict=True):
        pieces.setdefault(labels, []).append(np.arange(start, stop, dtype=np.int64))
    return {labels: np.concatenate(found) for labels, found in pieces.items()}


def _control_pools(controls: pd.DataFrame) -> dict[Labels, Int64[np.ndarray, " controls"]]:
    return {**_rows(controls, _PLACE), **_rows(controls, [*_PLACE, "batch"])}


def _chosen(spans: pd.DataFrame, most: int) -> dict[Labels, Int64[np.ndarray, " chosen"]]:
    """Draw cells of groups that have too many, by their labels: no other group plays a part."""
    chosen = {}
    for labels, rows in _rows(spans, _KEYS).items():
        if len(rows) > most:
            seed = hashlib.sha256("\0".join(labels).encode()).digest()[:16]
            generator = np.random.Generator(np.random.Philox(key=int.from_bytes(seed, "big")))
            chosen[labels] = rows[generator.permutation(len(rows))[:most]]
    return chosen


def describe_small_groups(groups: Sequence[Group], set_size: int) -> str:
    """Return a line for the log that names the groups too small for a set; empty if none is."""
    small = [
        f"{g.context}/{g.perturbation} ({len(g.rows)})" for g in groups if len(g.rows) < set_size
    ]
    if not small:
        return ""
    return (
        f"cells are repeated to fill a set ({set_size}) of groups that have fewer: "
        f"{listing(small, 8)}"
    )
