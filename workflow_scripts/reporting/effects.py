"""Observed and predicted effects: summaries of all of them, and the genes of a few."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from workflow_scripts.cells.results import EFFECTS, PAIR
from workflow_scripts.errors import DataError

GROUP = ["model", *PAIR]

# A variance below this share of the mean square is rounding of the sums, not variation.
_ROUNDING = 1e-10


@dataclass(frozen=True)
class PanelEffects:
    """Effects of one perturbation in one context, a gene a row.

    Attributes
    ----------
    genes
        Columns gene, observed_effect, predicted_effect (differences of mean log1p expression to
        the controls).
    slope, correlation
        Of predicted on observed effects over all genes; NaN where either doesn't vary.
    """

    context: str
    perturbation: str
    genes: pd.DataFrame
    slope: float
    correlation: float


def summarise_effects(path: Path) -> pd.DataFrame:
    """Summarise the effects of every model, context and perturbation.

    The file holds a row a gene, and with a whole transcriptome, several models and hundreds of
    perturbations more rows than should be in memory at once: sums are gathered batch by batch.

    Returns
    -------
    pandas.DataFrame
        Columns model, context, perturbation, n_genes, strength (Euclidean norm of the observed
        effect over genes), slope and correlation (predicted on observed, over genes; NaN where
        either doesn't vary), strongest observed effect first.
    """
    parts = []
    try:
        file = pq.ParquetFile(path)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file. Run the stage that writes it first") from None
    except pa.ArrowInvalid as error:
        raise DataError(f"{path}: not a Parquet file: {error}") from None
    missing = [column for column in EFFECTS if column not in file.schema_arrow.names]
    if missing:
        raise DataError(f"{path}: lacks the columns {', '.join(missing)}")
    for batch in file.iter_batches(
        batch_size=1_000_000, columns=[*GROUP, "observed_effect", "predicted_effect"]
    ):
        parts.append(_sums(batch.to_pandas()))
    if not parts:
        parts = [_sums(pd.DataFrame(columns=[*GROUP, "observed_effect", "predicted_effect"]))]
    totals = pd.concat(parts).groupby(GROUP, sort=False).sum()
    return _statistics(totals).sort_values("strength", ascending=False, ignore_index=True)


def _sums(rows: pd.DataFrame) -> pd.DataFrame:
    observed = rows["observed_effect"].to_numpy(dtype=float)
    predicted = rows["predicted_effect"].to_numpy(dtype=float)
    whole = np.isfinite(observed) & np.isfinite(predicted)
    names = rows.loc[whole, GROUP].astype(str)
    o, p = observed[whole], predicted[whole]
    products = names.assign(n=1.0, o=o, p=p, oo=o * o, pp=p * p, op=o * p)
    sums: pd.DataFrame = products.groupby(GROUP, sort=False).sum()
    return sums


def _statistics(totals: pd.DataFrame) -> pd.DataFrame:
    n, o, p = totals["n"], totals["o"] / totals["n"], totals["p"] / totals["n"]
    observed_variance = _variance(totals["oo"] / n, o)
    predicted_variance = _variance(totals["pp"] / n, p)
    covariance = totals["op"] / n - o * p
    return pd.DataFrame(
        {
            "n_genes": n.astype(int),
            "strength": np.sqrt(totals["oo"]),
            "slope": covariance / observed_variance,
            "correlation": covariance / np.sqrt(observed_variance * predicted_variance),
        }
    ).reset_index()


def _variance(mean_square: pd.Series[float], mean: pd.Series[float]) -> pd.Series[float]:
    variance = mean_square - mean**2
    return variance.where(variance > _ROUNDING * mean_square, np.nan)


def read_panels(path: Path, summary: pd.DataFrame, model: str, n: int) -> list[PanelEffects]:
    """Read the genes of the ``n`` strongest observed effects that a model predicted.

    Parameters
    ----------
    path
        The effects.
    summary
        What `summarise_effects` returned for them.
    """
    strongest = summary[summary["model"] == model].head(n)
    if strongest.empty:
        return []
    pairs = list(zip(strongest["context"], strongest["perturbation"], strict=True))
    rows = pq.read_table(path, columns=EFFECTS[1:], filters=_chosen(model, pairs)).to_pandas()
    rows = rows[np.isfinite(rows["observed_effect"]) & np.isfinite(rows["predicted_effect"])]
    rows = rows.astype(dict.fromkeys(EFFECTS[1:4], str))
    by_pair = dict(list(rows.groupby(["context", "perturbation"])))
    statistics = zip(pairs, strongest["slope"], strongest["correlation"], strict=True)
    return [
        PanelEffects(*pair, by_pair[pair][EFFECTS[3:]].reset_index(drop=True), slope, correlation)
        for pair, slope, correlation in statistics
    ]


def _chosen(model: str, pairs: Sequence[tuple[str, str]]) -> pc.Expression:
    chosen = pc.scalar(False)
    for context, perturbation in pairs:
        chosen |= (pc.field("context") == context) & (pc.field("perturbation") == perturbation)
    return (pc.field("model") == model) & chosen
