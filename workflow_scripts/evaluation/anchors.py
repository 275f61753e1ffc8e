"""What a model that knows nothing of perturbations gets, and what a repeat of the experiment gets.

A score by itself means little: these are the two anchors of the scale it is read on. Both follow
from the observed cells alone, so that all runs that are tested on the same cells share them.
"""

from __future__ import annotations

import hashlib
import shutil
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
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

from workflow_scripts.cells.results import Anchors, AnchorsFile, ByMetric, read_result
from workflow_scripts.evaluation.engine import (
    PERTURBATION,
    REFUSALS,
    EvaluationSettings,
    engine_config,
    pds_metrics,
    score_pair,
    with_metrics,
)
from workflow_scripts.evaluation.populations import Population, check_scale, open_population

SPLITS = 5
"""How often the observed cells are split into halves: as many as the engine's own anchor takes."""

SEED = 0
"""Of these splits."""


@dataclass(frozen=True)
class Reference:
    """The anchors of all contexts, and what the engine computed of their observed cells.

    Attributes
    ----------
    anchors
        By context.
    folder
        Where the engine's part lies; None where it is gone, and is computed anew.
    """

    anchors: Mapping[str, Anchors]
    folder: Path | None = None

    @classmethod
    def read(cls, path: Path, shared: Path | None = None) -> Reference:
        """Read the file of a run; ``shared`` is the folder that runs share."""
        content = read_result(path, AnchorsFile)
        folder = None if shared is None else shared / content.identity
        return cls(content.contexts, folder if folder is not None and folder.is_dir() else None)

    def copy_engine_cache(self, number: int, into: Path) -> None:
        """Give a call of the engine what was computed of a context's observed cells.

        A copy: the engine may write there, and others read the original.
        """
        if self.folder is not None and (kept := engine_cache(self.folder, number)).is_dir():
            shutil.copytree(kept, into, dirs_exist_ok=True)


def compute_all(
    observed_path: Path,
    settings: EvaluationSettings,
    folder: Path,
    *,
    threads: int = -1,
    tell: Callable[[str], None] = print,
) -> tuple[dict[str, Anchors], EvalConfig]:
    """Work out the anchors of every context, and with what configuration.

    Parameters
    ----------
    observed_path
        Observed cells of the test perturbations, and the controls of their contexts.
    settings
        What is computed.
    folder
        Is given what the engine computed of the observed side (`engine_cache`).
    threads
        CPU threads; -1 for all.
    tell
        Is given one line a context.

    Raises
    ------
    DataError
        The file can't be used.
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


def engine_cache(folder: Path, number: int) -> Path:
    """Return where the engine keeps what it computed of the observed cells of a context."""
    return folder / "engine" / str(number)


def compute_anchors(observed: AnnData, config: EvalConfig, cache: Path) -> Anchors:
    """Work out both anchors of one context.

    Parameters
    ----------
    observed
        Its cells, controls among them.
    config
        From `engine.engine_config`.
    cache
        Folder in which the engine keeps what it computes of the observed side (`score_pair`).
    """
    refused: list[tuple[str, str | None, str]] = []
    means: ByMetric = {}
    if observed.obs[PERTURBATION].nunique() > 2:
        # A mean of counts is no whole number, and the engine then makes cells of it that aren't.
        allowed = replace(config, allow_fractional_counts=True)
        mean = score_pair(_mean_response(observed, config), observed, allowed, cache)
        means = mean.means
        refused += [("mean_response", metric, reason) for metric, reason in mean.refused]
    else:
        refused.append(("mean_response", None, "one perturbation is its own mean response"))
    replicate, sd, refusals = _replicate(observed, config)
    refused += [("replicate", metric, reason) for metric, reason in refusals]
    return Anchors(_finite(means), _finite(replicate), _finite(sd), tuple(refused))


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


def _replicate(
    observed: AnnData, config: EvalConfig
) -> tuple[dict[str, float], dict[str, float], list[tuple[str | None, str]]]:
    metrics = metric_output_names(config)
    refused: list[tuple[str | None, str]] = []
    if observed.obs[PERTURBATION].nunique() == 2:
        # As `score_pair` says of predictions.
        reason = "one perturbation can't be told from others"
        refused += [(metric, reason) for metric in pds_metrics(metrics)]
        metrics = [metric for metric in metrics if metric not in pds_metrics(metrics)]
    try:
        tables = [_anchor(observed, with_metrics(config, metrics))] if metrics else []
    except REFUSALS as error:
        tables = []
        for metric in metrics:
            try:
                tables.append(_anchor(observed, with_metrics(config, [metric])))
            except REFUSALS as one:
                refused.append((metric, str(one)))
        if not tables:
            refused = [(None, str(error))]
    rows = pl.concat(tables) if tables else pl.DataFrame()
    found = rows.to_dict(as_series=False) if tables else {"metric": []}
    values, sds = (
        dict(zip(found["metric"], found.get(column, []), strict=True))
        for column in ("replicate", "replicate_sd")
    )
    return values, sds, refused


def _anchor(observed: AnnData, config: EvalConfig) -> pl.DataFrame:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _, anchor = compute_replicate_anchor(
            observed, config=config, base_seed=SEED, n_splits=SPLITS
        )
    return anchor.select("metric", "replicate", "replicate_sd")


def _finite(values: ByMetric) -> dict[str, float]:
    return {name: float(value) for name, value in sorted(values.items()) if np.isfinite(value)}


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
    stored, n_cells = population.stored.X, len(population.labels)
    for start in range(0, n_cells, _ROWS):
        part = stored[start : start + _ROWS]
        arrays = [part.indptr, part.indices, part.data] if issparse(part) else [np.asarray(part)]
        for array in arrays:
            digest.update(str(array.dtype).encode())
            digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


_ROWS = 4096
"""Cells that are read at once for a digest."""
