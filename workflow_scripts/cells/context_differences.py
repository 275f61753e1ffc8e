"""How unlike the controls of two contexts are: replicates differ by little more than chance."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from scipy import stats

from workflow_scripts.cells.store import CellStore

NAME = "contexts.json"
"""The file's name, beside the cells of the baselines."""

MOST_CELLS, MOST_GENES = 400, 2000
"""Controls of each context that are compared, and genes: how many genes differ depends on the
number of cells."""

ALIKE = 0.05
"""Share of genes below which two contexts count as replicates of one another."""

_RATE = 0.05
"""False discovery rate."""


def write_differences(
    path: Path,
    store: CellStore,
    tested: Mapping[str, np.ndarray],
    trained: Mapping[str, np.ndarray],
    seed: int,
) -> None:
    """Write the share of genes in which controls differ, by tested and by trained context (JSON).

    By a rank test of each gene, at a false discovery rate of 5 %.

    Parameters
    ----------
    tested, trained
        Rows of the controls of each context, in the same store.
    seed
        Of the draw of controls and genes.
    """
    cells = {}
    genes = np.random.default_rng(seed).permutation(store.n_genes)[:MOST_GENES]
    for name, rows in {**trained, **tested}.items():
        drawn = np.random.default_rng(seed).permutation(rows)[:MOST_CELLS]
        cells[name] = store.dense(np.sort(drawn))[:, genes]
    shares = {
        name: {
            other: _share(cells[name], cells[other]) for other in sorted(trained) if other != name
        }
        for name in sorted(tested)
    }
    path.write_text(json.dumps(shares, indent=2) + "\n", encoding="utf-8")


def read_replicates(path: Path) -> frozenset[str]:
    """Return the tested contexts that are like a trained one."""
    shares = json.loads(path.read_text(encoding="utf-8"))
    return frozenset(
        name for name, others in shares.items() if others and min(others.values()) < ALIKE
    )


def _share(cells: np.ndarray, others: np.ndarray) -> float:
    found = stats.mannwhitneyu(cells, others, axis=0, method="asymptotic").pvalue
    differ = stats.false_discovery_control(np.nan_to_num(found, nan=1.0)) < _RATE
    return float(differ.mean())
