"""Whether the intervals of the denoised effects hold what was observed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from scipy import stats

from workflow_scripts.cells.results import PAIR, Coverage

_COLUMNS = ["perturbation", "context", "effect", "low", "high", "source"]
_HALF = 2 * stats.norm.ppf(0.95)
"""Width of a 90 % interval in standard deviations of a normal distribution."""


def check_intervals(path: Path, effects: pd.DataFrame) -> tuple[pd.DataFrame, list[Coverage]]:
    """Compare the intervals of a baseline's effects with what was observed.

    Parameters
    ----------
    path
        What ``predict_baselines`` wrote: a row group a pair, genes in the order of the panel.
    effects
        Columns context, perturbation and observed_effect, genes in the order of the panel.

    Returns
    -------
    A row a pair: columns context, perturbation; source, what the effect rests on; coverage, the
    share of genes whose observed effect lies in the interval; and trust, Σe² / Σ(e² + σ²) with the
    predicted effect e and a σ of the interval's width: the share of the observed effect that the
    prediction is expected to account for. And the coverage by source.
    """
    observed = {
        pair: rows["observed_effect"].to_numpy()
        for pair, rows in effects.groupby(PAIR, observed=True, sort=False)
    }
    found = []
    with pq.ParquetFile(path) as file:
        for number in range(file.num_row_groups):
            table = file.read_row_group(number, columns=_COLUMNS)
            context, perturbation, source = (table[name][0].as_py() for name in (*PAIR, "source"))
            effect, low, high = (table[name].to_numpy() for name in ("effect", "low", "high"))
            values = observed.get((context, perturbation))
            if values is None or np.isnan(low).all():
                continue
            held = float(((low <= values) & (values <= high)).mean())
            spread = np.square((high - low) / _HALF, dtype=np.float64).sum()
            size = np.square(effect, dtype=np.float64).sum()
            found.append((context, perturbation, source, held, float(size / (size + spread))))
    table = pd.DataFrame(found, columns=[*PAIR, "source", "coverage", "trust"])
    by_source = table.groupby("source")["coverage"].agg(["mean", "size"])
    return table, [
        Coverage(str(source), float(row["mean"]), int(row["size"]))
        for source, row in by_source.iterrows()
    ]
