"""The denoised effects of a prediction as a table: how large, how sure, and resting on what."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from workflow_scripts.cache.writing import replacing
from workflow_scripts.models import Denoised, fit_intervals
from workflow_scripts.prediction.baselines import BaselinePredictor
from workflow_scripts.prediction.prediction import Prediction

_SMALL = 0.01
"""Added to both sides of a fold change: a count in a million, where cells sum to 10,000."""

_NAMES = pa.dictionary(pa.int32(), pa.string())
SCHEMA = pa.schema(
    {
        "perturbation": _NAMES,
        "context": _NAMES,
        "gene": _NAMES,
        "effect": pa.float32(),
        "log2_fold_change": pa.float32(),
        "low": pa.float32(),
        "high": pa.float32(),
        "source": _NAMES,
        "contexts": pa.int32(),
        "cells": pa.int32(),
    }
)


def write_effects(path: Path, prediction: Prediction, predictor: BaselinePredictor) -> None:
    """Write the effect of each pair that is predicted, gene by gene; a row group a pair.

    The columns: perturbation, context and gene; effect, of the mean log1p value; log2_fold_change,
    of expm1 of the means; low and high, the 90 % interval of the mean of as many observed cells as
    are predicted; source (`models.denoised`); contexts and cells, in which the perturbation, or all
    parts of it, were trained on elsewhere.

    Parameters
    ----------
    path
        Parquet file to write; whole or absent.
    predictor
        The denoised baseline.
    """
    with replacing(path) as beside, pq.ParquetWriter(beside, SCHEMA, compression="zstd") as file:
        for table in _tables(prediction, predictor):
            file.write_table(table)


def _tables(prediction: Prediction, predictor: BaselinePredictor) -> Iterator[pa.Table]:
    """Yield the rows of each pair."""
    model = predictor.baseline
    assert isinstance(model, Denoised)
    cells: dict[tuple[str, str], int] = {}
    for group in prediction.targets.groups:
        pair = group.context, group.perturbation
        cells[pair] = cells.get(pair, 0) + len(group.rows)
    places = pd.Index(prediction.store.genes).get_indexer(prediction.written.genes)
    genes = pa.array(prediction.written.genes.astype(str).tolist())
    codes = np.arange(len(genes), dtype=np.int32)
    for context in dict.fromkeys(context for context, _ in cells):
        names = [name for other, name in cells if other == context]
        numbers, contexts = predictor.numbers(names, [context] * len(names))
        sources = model.sources(numbers, contexts)
        behind = model.trained_elsewhere(numbers, contexts)
        means = model.training.control_means[contexts[0]].double()
        n_cells = torch.tensor([cells[context, name] for name in names])
        effects = model.effects(numbers, contexts).double()
        low, high = (torch.full_like(effects, torch.nan) for _ in range(2))
        for source in dict.fromkeys(sources):
            at = torch.tensor([each == source for each in sources])
            intervals = fit_intervals(model, int(contexts[0]), source)
            low[at], high[at] = intervals.around(effects[at], n_cells[at], means)
        # No mean is below zero.
        effects, low, high = (torch.maximum(each, -means) for each in (effects, low, high))
        small = torch.expm1(means) + _SMALL
        changed = torch.log2((torch.expm1(means + effects) + _SMALL) / small)
        for row, name in enumerate(names):
            columns = {
                "perturbation": _repeated(name, len(genes)),
                "context": _repeated(context, len(genes)),
                "gene": pa.DictionaryArray.from_arrays(codes, genes),
                "effect": effects[row].numpy()[places],
                "log2_fold_change": changed[row].numpy()[places],
                "low": low[row].numpy()[places],
                "high": high[row].numpy()[places],
                "source": _repeated(sources[row], len(genes)),
                "contexts": np.full(len(genes), behind[row][0]),
                "cells": np.full(len(genes), behind[row][1]),
            }
            yield pa.table(columns).cast(SCHEMA)


def _repeated(text: str, n: int) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(np.zeros(n, dtype=np.int32), [text])
