"""The official scorer, cell-eval2, configured from settings and asked for one pair at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cell_eval2
import pandas as pd
import polars as pl
from anndata import AnnData
from cell_eval2 import EvalConfig
from cell_eval2.catalog import CATALOG, MetricSpec, resolve_metrics
from cell_eval2.evaluation_results import build_document, no_document_reason
from cell_eval2.run import _compute_metrics_with_facts, metric_output_names

from workflow_scripts.cells.results import Better
from workflow_scripts.errors import ConfigError
from workflow_scripts.settings.slices import Slice

PERTURBATION = "perturbation"
# What cell-eval2 raises when data or settings forbid a metric. Anything else is a defect or a
# machine that ran out of something, and must stop the stage.
REFUSALS = (ValueError, NotImplementedError)


@dataclass(frozen=True)
class EvaluationSettings:
    """Say how predictions are scored, in cell-eval2's own names.

    Attributes
    ----------
    preset
        A cell-eval2 preset: ``v2``, ``v1``, ``vcc2026`` or ``cell-eval-0.7.6``.
    profile
        A cell-eval2 profile: the list of metrics to start from.
    extra_metrics
        Metrics on top of the profile.
    input_type
        ``lognorm`` for log1p values, ``counts`` for raw counts.
    controls
        Whether predicted cells are held against ``observed`` or ``predicted`` controls.
    de_backend
        The engine of the differential-expression tests. ``auto`` would choose by what the machine
        has, and different engines give slightly different numbers.
    """

    preset: str = "v2"
    profile: str = "minimal"
    extra_metrics: tuple[str, ...] = ("pds_cosine",)
    input_type: str = "lognorm"
    de_backend: str = "pdex"
    controls: str = "observed"

    @classmethod
    def from_slice(cls, settings: Slice) -> EvaluationSettings:
        """Take the settings out of the slice of evaluate, or of anchors."""
        usual = USUAL[settings["prediction.output"]]
        return cls(
            preset=settings["evaluation.preset"] or usual["preset"],
            profile=settings["evaluation.profile"] or usual["profile"],
            extra_metrics=tuple(settings["evaluation.extra_metrics"]),
            input_type=settings["evaluation.input_type"] or usual["input_type"],
            de_backend=settings["evaluation.de_backend"],
            controls=settings["evaluation.controls"],
        )


SCALES: Mapping[str, str] = {"log1p": "lognorm", "counts": "counts"}
"""What cell-eval2 calls the scales of a file of cells."""

USUAL: Mapping[str, Mapping[str, str]] = {
    "log1p": {"preset": "v2", "profile": "minimal", "input_type": "lognorm"},
    "counts": {"preset": "vcc2026", "profile": "vcc2026", "input_type": "counts"},
}
"""What is asked of cell-eval2 where the config names nothing, by the scale of the predictions."""


def engine_config(
    settings: EvaluationSettings, control: str, unmeasured: Sequence[str] = (), threads: int = -1
) -> EvalConfig:
    """Build the engine's configuration for one context.

    Parameters
    ----------
    settings
        What to compute.
    control
        The label of control cells.
    unmeasured
        Perturbations whose target is no measured gene. They are declared as having none: the
        engine refuses its discrimination scores when no target at all is found, and has nothing
        to exclude for them anyway.
    threads
        CPU threads for the differential-expression tests; -1 for all.

    Raises
    ------
    ConfigError
        cell-eval2 knows no such preset, profile, metric, input type or backend.
    """
    try:
        base = EvalConfig.from_preset(settings.preset)
        profile, _ = resolve_metrics(settings.profile, version=base.version)
        metrics, deferred = resolve_metrics(
            list(dict.fromkeys([*profile, *settings.extra_metrics])), version=base.version
        )
        if deferred:
            raise ValueError(f"not implemented by this version: {deferred}")
        changes: dict[str, object] = {
            "metrics": metrics,
            "pert_col": PERTURBATION,
            "control": control,
            "input_type": settings.input_type,
            "de": asdict(base.de) | {"backend": settings.de_backend},
            # Means on a GPU are float32: a score must not depend on the machine it was made on.
            "device": "cpu",
            "num_threads": threads,
            "target_gene_map": dict.fromkeys(unmeasured) or None,
        }
        if settings.controls == "predicted":  # observed ones are the same in both files
            changes["control_source"] = "pred"
        return EvalConfig.from_dict(base.to_dict() | changes)
    except ValueError as error:
        raise ConfigError(
            f"evaluation.preset={settings.preset}, profile={settings.profile}, "
            f"extra_metrics=[{','.join(settings.extra_metrics)}], "
            f"input_type={settings.input_type}, de_backend={settings.de_backend}: "
            f"cell-eval2 {version('cell-eval2')} can't score by that: {error}"
        ) from error


def engine_versions() -> dict[str, str]:
    """Return the versions of what computes the scores: part of their identity."""
    return {package: version(package) for package in ("cell-eval2", "pdex")}


def describe_engine(config: EvalConfig) -> dict[str, object]:
    """Name the engine, its version, and what computes its differential expression."""
    described: dict[str, object] = {"name": "cell-eval2", "version": version("cell-eval2")}
    backend: dict[str, object] = {"name": config.de.backend}
    if config.de.backend in ("pdex", "scanpy"):
        backend["version"] = version(config.de.backend)
    return described | {"de_backend": backend}


def describe_config(config: EvalConfig) -> dict[str, object]:
    """Write the engine's whole configuration as plain values.

    Left out is what changes no number: threads, folders and caches. The map of targets is left
    out too, since it belongs to a context and not to the run.
    """
    operational = {
        "cache_pred",
        "cache_real",
        "cache_strict",
        "gather_threads",
        "num_threads",
        "outdir",
        "target_gene_map",
    }
    return {key: value for key, value in asdict(config).items() if key not in operational}


def _catalog_entry(metric: str) -> MetricSpec:
    """Find a metric in the engine's catalog by the name that it has in the engine's output."""
    if metric in CATALOG:
        return CATALOG[metric]
    return next(spec for spec in CATALOG.values() if spec.v1_name == metric)


def better_directions(config: EvalConfig) -> dict[str, Better]:
    """Say for each metric which way is better, as the engine's catalog has it.

    One of higher, lower, neither; neither is for the numbers of significant genes.
    """
    return {
        metric: _catalog_entry(metric).scoring.direction or "neither"
        for metric in metric_output_names(config)
    }


def pds_metrics(metrics: Sequence[str]) -> list[str]:
    """Return those of some metrics that rank perturbations (discrimination scores)."""
    return [metric for metric in metrics if _catalog_entry(metric).name.startswith("pds_")]


def with_metrics(config: EvalConfig, metrics: Sequence[str]) -> EvalConfig:
    """Return a configuration that computes these metrics alone, named as in the output."""
    return replace(config, metrics=[_catalog_entry(metric).name for metric in metrics])


@dataclass(frozen=True)
class PairScores:
    """Hold what the engine said of one set of predictions in one context.

    Attributes
    ----------
    values
        Columns perturbation, metric, value: one row each, NaN where the engine scores nothing.
    means
        The engine's own aggregate of each metric over perturbations (the mean without NaN, or a
        ratio of sums for the metrics that are defined so).
    refused
        Metrics that the engine refused, with its reason; ``None`` stands for the whole call.
    document
        What the engine writes as ``evaluation_results.json``; None where it writes none (the first
        version's presets), or refused a metric.
    """

    values: pd.DataFrame
    means: dict[str, float]
    refused: tuple[tuple[str | None, str], ...]
    document: dict[str, Any] | None = None


def score_pair(
    predicted: AnnData, observed: AnnData, config: EvalConfig, cache: Path
) -> PairScores:
    """Score the predicted cells of one context against the observed ones.

    When the engine refuses the call, the metrics are asked for one by one, so that one refusal
    doesn't hide the others.

    Parameters
    ----------
    predicted, observed
        Cells of one context, ``obs["perturbation"]`` as labels, the control among them.
    config
        From `engine_config`.
    cache
        An empty folder for the first call, the same folder for later calls *with the same
        observed cells*. The engine keeps what it computed of the observed side there, and
        recognises it by labels and genes, not by values: share it with no other context.
    """
    config = replace(config, cache_real=str(cache))
    metrics = metric_output_names(config)
    refused: list[tuple[str | None, str]] = []
    document = None
    try:
        # As `compute_metrics`, which is the same call and keeps the facts to itself.
        table, facts = _compute_metrics_with_facts(predicted, observed, config=config)
        scored = metrics
        if no_document_reason(facts.config) is None:
            document = build_document(table, facts, metrics=metrics)
    except REFUSALS as error:
        table, scored, refused = _score_one_by_one(predicted, observed, config)
        if not scored:
            refused = [(None, str(error))]
    if observed.obs[PERTURBATION].nunique() == 2:
        ranks = pds_metrics(scored)
        refused += [
            (metric, "one perturbation can't be told from others: any prediction would get 1.0")
            for metric in ranks
        ]
        scored = [metric for metric in scored if metric not in ranks]
        table = table.filter(~pl.col("metric").is_in(ranks))
    means, more = _means(table, scored)
    return PairScores(
        values=pd.DataFrame(table.to_dict(as_series=False)),
        means=means,
        refused=(*refused, *more),
        document=document,
    )


def _means(
    table: pl.DataFrame, metrics: Sequence[str]
) -> tuple[dict[str, float], list[tuple[str | None, str]]]:
    """Return the engine's mean of each metric, and those that have none, with its reason."""
    try:
        found = cell_eval2.aggregate_metrics(table, metrics=list(metrics)) if metrics else None
    except REFUSALS as error:
        if len(metrics) == 1:
            return {}, [(metrics[0], str(error))]
        parts = [_means(table, [metric]) for metric in metrics]
        means = {name: value for part, _ in parts for name, value in part.items()}
        return means, [refusal for _, part in parts for refusal in part]
    return {} if found is None else dict(zip(found["metric"], found["mean"], strict=True)), []


def _score_one_by_one(
    predicted: AnnData, observed: AnnData, config: EvalConfig
) -> tuple[pl.DataFrame, list[str], list[tuple[str | None, str]]]:
    """Compute what the engine doesn't refuse: the table, the metrics in it, and the refusals."""
    tables = [pl.DataFrame(schema={"perturbation": str, "metric": str, "value": float})]
    scored: list[str] = []
    refused: list[tuple[str | None, str]] = []
    for metric in metric_output_names(config):
        try:
            table = cell_eval2.compute_metrics(predicted, observed, config=config, metrics=[metric])
        except REFUSALS as error:
            refused.append((metric, str(error)))
        else:
            tables.append(table)
            scored.append(metric)
    # The engine computes some metrics along with others.
    rows = pl.concat(tables).unique(["perturbation", "metric"], maintain_order=True)
    return rows, scored, refused
