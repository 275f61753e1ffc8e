"""What a model that knows nothing of perturbations gets, and what a repeat of the experiment gets.

A score by itself means little: these are the two anchors of the scale it is read on. Both follow
from the observed cells alone, so that all runs that are tested on the same cells share them, and
what was scored against these cells.
"""

from __future__ import annotations

import hashlib
import shutil
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Literal

import numpy as np
import polars as pl
from anndata import AnnData
from cell_eval2 import EvalConfig
from cell_eval2.anchor import compute_replicate_anchor
from cell_eval2.baseline import build_baseline_prediction, generic_response_profile
from cell_eval2.run import metric_output_names
from scipy.sparse import issparse

from workflow_scripts.cells.results import Anchors
from workflow_scripts.evaluation.engine import (
    LONE,
    PERTURBATION,
    EvaluationSettings,
    Refused,
    ask,
    engine_config,
    ranks,
    score_pair,
    with_metrics,
)
from workflow_scripts.evaluation.populations import Population, check_scale, open_population

SPLITS = 5
"""How often the observed cells are split into halves: as many as the engine's own anchor takes."""

SEED = 0
"""Of these splits."""


def engine_cache(folder: Path, number: int) -> Path:
    """Return where the engine keeps what it computed of the observed cells of a context."""
    return folder / "engine" / str(number)


def compute_all(
    observed_path: Path,
    settings: EvaluationSettings,
    folder: Path,
    *,
    threads: int = -1,
    tell: Callable[[str], None] = print,
) -> tuple[dict[str, Anchors], EvalConfig]:
    """Return the anchors of every context, and the engine's configuration.

    ``folder`` is given what the engine computed of the observed side (`engine_cache`), ``tell`` one
    line a context.
    """
    found = {}
    with open_population(observed_path) as observed:
        check_scale(observed, settings.input_type)
        config = engine_config(settings, observed.control, (), threads)
        for number, context in enumerate(observed.tested_contexts()):
            start = perf_counter()
            config = engine_config(
                settings, observed.control, observed.outside_panel(context), threads
            )
            cache = engine_cache(folder, number)
            shutil.rmtree(cache, ignore_errors=True)  # of a start that did not end
            cache.mkdir(parents=True)
            found[context] = compute_anchors(observed.cells(context), config, cache)
            seconds = perf_counter() - start
            tell(f"{context}: mean response and {SPLITS} split halves scored, {seconds:.1f} s")
    return found, config


def compute_anchors(observed: AnnData, config: EvalConfig, cache: Path) -> Anchors:
    """Return both anchors of one context; ``cache`` is that of `engine.score_pair`."""

    def replicate(metrics: Sequence[str]) -> pl.DataFrame:
        asked = with_metrics(config, metrics)
        _, found = compute_replicate_anchor(observed, config=asked, base_seed=SEED, n_splits=SPLITS)
        return found

    metrics = metric_output_names(config)
    alone = observed.obs[PERTURBATION].nunique() == 2
    lone = ranks(metrics) if alone else []
    means: dict[str, float] = {}
    no_means: Refused = [(None, "one perturbation is its own mean response")]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if not alone:
            # A mean of counts is no whole number, and the engine's cells aren't either.
            allowed = replace(config, allow_fractional_counts=True)
            mean = score_pair(_mean_response(observed, config), observed, allowed, cache)
            means, no_means = mean.means, mean.refused
        halves, no_halves = ask([name for name in metrics if name not in lone], replicate)
    if alone:
        no_halves = [*((metric, LONE) for metric in lone), *no_halves]
    return Anchors(
        {name: float(value) for name, value in sorted(means.items()) if np.isfinite(value)},
        _by_metric(halves, "replicate"),
        _by_metric(halves, "replicate_sd"),
        (
            *(("mean_response", metric, reason) for metric, reason in no_means),
            *(("replicate", metric, reason) for metric, reason in no_halves),
        ),
    )


def _mean_response(observed: AnnData, config: EvalConfig) -> AnnData:
    profile = generic_response_profile(
        observed,
        pert_col=PERTURBATION,
        control=config.control,
        target_gene_map=config.target_gene_map,
    )
    # Of log1p values the engine builds no other prediction than one cell over and over.
    emit: Literal["tile", "dispersed"] = "dispersed" if config.input_type == "counts" else "tile"
    return build_baseline_prediction(
        profile, observed, pert_col=PERTURBATION, control=config.control, emit=emit
    )


def _by_metric(tables: Sequence[pl.DataFrame], column: str) -> dict[str, float]:
    rows = (pair for table in tables for pair in zip(table["metric"], table[column], strict=True))
    return {name: float(value) for name, value in sorted(rows) if np.isfinite(value)}


def content_digest(population: Population) -> str:
    """Return a digest of the cells of a file, whatever run they were written for.

    It covers values, genes, labels and their order: neither the name of the run nor the way in
    which the file is compressed.
    """
    digest = hashlib.sha256()
    labels = (population.labels[column] for column in ("perturbation", "context"))
    texts: list[Iterable[str]] = [[population.control], population.genes, *labels]
    for words in texts:
        digest.update("\0".join(words).encode() + b"\1")
    stored, step = population.stored.X, 4096
    for start in range(0, len(population.labels), step):
        part = stored[start : start + step]
        arrays = [part.indptr, part.indices, part.data] if issparse(part) else [np.asarray(part)]
        for array in arrays:
            digest.update(str(array.dtype).encode())
            digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
