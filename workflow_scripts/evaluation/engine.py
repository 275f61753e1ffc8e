"""The official scorer, cell-eval2: configured from settings, and asked for one pair at a time."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import cell_eval2
import pandas as pd
import polars as pl
from anndata import AnnData
from cell_eval2 import EvalConfig
from cell_eval2.catalog import CATALOG, MetricSpec, resolve_metrics
from cell_eval2.evaluation_results import build_document, no_document_reason
from cell_eval2.norm import resolve_comparator
from cell_eval2.run import RunFacts, metric_output_names
from numba.core.dispatcher import Dispatcher

from workflow_scripts.cells.results import Better
from workflow_scripts.errors import ConfigError
from workflow_scripts.settings.slices import Slice

PERTURBATION = "perturbation"

REFUSALS = (ValueError, NotImplementedError)
"""What cell-eval2 raises when data or settings forbid a metric; anything else is a defect."""

SCALES: Mapping[str, str] = {"log1p": "lognorm", "counts": "counts"}
"""What cell-eval2 calls the scales of a file of cells."""

LONE = "one perturbation can't be told from others"

Refused = list[tuple[str | None, str]]
"""Metrics that the engine refused, with its reason; None stands for all of them."""

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class EvaluationSettings:
    """How predictions are scored, in cell-eval2's own names: the keys of ``evaluation``."""

    preset: str = "v2"
    profile: str = "minimal"
    extra_metrics: tuple[str, ...] = ("pds_cosine",)
    input_type: str = "lognorm"
    de_backend: str = "pdex"
    controls: str = "observed"

    @classmethod
    def from_slice(cls, settings: Slice) -> EvaluationSettings:
        """Take the settings out of a slice; what the config leaves open follows the scale."""
        counts = settings["prediction.output"] == "counts"
        return cls(
            preset=settings["evaluation.preset"] or ("vcc2026" if counts else "v2"),
            profile=settings["evaluation.profile"] or ("vcc2026" if counts else "minimal"),
            extra_metrics=tuple(settings["evaluation.extra_metrics"]),
            input_type=settings["evaluation.input_type"] or ("counts" if counts else "lognorm"),
            de_backend=settings["evaluation.de_backend"],
            controls=settings["evaluation.controls"],
        )


def engine_config(
    settings: EvaluationSettings, control: str, unmeasured: Sequence[str] = (), threads: int = -1
) -> EvalConfig:
    """Build the engine's configuration for one context.

    Perturbations whose target is no measured gene (``unmeasured``) are declared as having none:
    the engine refuses its discrimination scores when no target at all is found, and has nothing to
    exclude for them anyway. ``threads`` of -1 are all.

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


def describe_engine(config: EvalConfig) -> dict[str, object]:
    """Name the engine, its version, and what computes its differential expression."""
    backend: dict[str, object] = {"name": config.de.backend}
    if config.de.backend in ("pdex", "scanpy"):
        backend["version"] = version(config.de.backend)
    return {"name": "cell-eval2", "version": version("cell-eval2"), "de_backend": backend}


def describe_config(config: EvalConfig) -> dict[str, object]:
    """Return the engine's configuration, without what changes no number or belongs to a context."""
    operational = {
        *("cache_pred", "cache_real", "cache_strict", "outdir"),
        *("gather_threads", "num_threads", "target_gene_map"),
    }
    return {key: value for key, value in asdict(config).items() if key not in operational}


def _catalog_entry(metric: str) -> MetricSpec:
    """Find a metric in the engine's catalog by the name that it has in the engine's output."""
    if metric in CATALOG:
        return CATALOG[metric]
    return next(spec for spec in CATALOG.values() if spec.v1_name == metric)


def better_directions(config: EvalConfig) -> dict[str, Better]:
    """Return which way each metric is better; neither way for numbers of significant genes."""
    return {
        metric: _catalog_entry(metric).scoring.direction or "neither"
        for metric in metric_output_names(config)
    }


def ranks(metrics: Sequence[str]) -> list[str]:
    """Return those of some metrics that rank perturbations (discrimination scores)."""
    return [metric for metric in metrics if _catalog_entry(metric).name.startswith("pds_")]


def with_metrics(
    config: EvalConfig, metrics: Sequence[str], cache_real: str | None = None
) -> EvalConfig:
    """Return a configuration that computes these metrics alone, named as in the output."""
    names = [_catalog_entry(metric).name for metric in metrics]
    return replace(config, metrics=names, cache_real=cache_real)


def ask(
    metrics: Sequence[str], call: Callable[[Sequence[str]], Answer]
) -> tuple[list[Answer], Refused]:
    """Ask the engine for metrics; where it refuses, for each by itself: one hides no other.

    Returns its answer of all metrics, or one of each, and the metrics that it refused in any case.
    """
    if not metrics:
        return [], []
    try:
        return [call(metrics)], []
    except REFUSALS as error:
        whole = str(error)
    answers: list[Answer] = []
    refused: Refused = []
    for metric in metrics:
        try:
            answers.append(call([metric]))
        except REFUSALS as error:
            refused.append((metric, str(error)))
    return answers, refused if answers else [(None, whole)]


@dataclass(frozen=True)
class PairScores:
    """What the engine returned of one prediction in one context.

    Attributes
    ----------
    values
        Columns perturbation, metric, value: one row each, NaN where the engine scores nothing.
    means
        The engine's own aggregate of each metric over perturbations (the mean without NaN, or a
        ratio of sums for the metrics that are defined so).
    refused
        What it refused.
    document
        What the engine writes as ``evaluation_results.json``; None where it writes none (the first
        version's presets), or refused a metric.
    """

    values: pd.DataFrame
    means: dict[str, float]
    refused: Refused
    document: dict[str, Any] | None = None

    def to_json(self) -> str:
        """Return a text from which `from_json` reads the same again."""
        return json.dumps({**vars(self), "values": self.values.to_dict("list")})

    @classmethod
    def from_json(cls, text: str) -> PairScores:
        """Read what `to_json` returned."""
        content = json.loads(text)
        return cls(**{**content, "values": pd.DataFrame(content["values"])})


def score_pair(
    predicted: AnnData, observed: AnnData, config: EvalConfig, cache: Path
) -> PairScores:
    """Score the predicted cells of one context against the observed ones.

    Both hold the control's cells. In ``cache`` the engine keeps what it computed of the observed
    side. It recognises that by labels and genes, not by values: the folder is for calls with the
    same observed cells alone.
    """
    metrics = metric_output_names(config)
    with TemporaryDirectory(prefix="stateline-engine-") as folder:
        config = replace(config, outdir=folder)

        def compute(metrics: Sequence[str]) -> pl.DataFrame:
            asked = with_metrics(config, metrics, cache_real=str(cache))
            return cell_eval2.compute_metrics(predicted, observed, config=asked)

        tables, refused = ask(metrics, compute)
        document = None
        if not refused and no_document_reason(config) is None:
            facts = _facts(Path(folder) / "run_params.yaml", observed)
            with suppress(*REFUSALS):  # of what it can't aggregate, as is told below
                document = build_document(tables[0], facts, metrics=metrics)
    scored = [metric for metric in metrics if not {metric, None} & {name for name, _ in refused}]
    empty = pl.DataFrame(schema={"perturbation": str, "metric": str, "value": float})
    # Asked for one, the engine computes some metrics along with it.
    table = pl.concat([empty, *tables]).unique(["perturbation", "metric"], maintain_order=True)
    if observed.obs[PERTURBATION].nunique() == 2:
        lone = ranks(scored)
        refused += [(metric, f"{LONE}: any prediction would get 1.0") for metric in lone]
        scored = [metric for metric in scored if metric not in lone]
        table = table.filter(~pl.col("metric").is_in(lone))

    def aggregate(metrics: Sequence[str]) -> dict[str, float]:
        found = cell_eval2.aggregate_metrics(table, metrics=metrics)
        return dict(zip(found["metric"], found["mean"], strict=True))

    aggregates, more = ask(scored, aggregate)
    means = {name: value for found in aggregates for name, value in found.items()}
    return PairScores(pd.DataFrame(table.to_dict(as_series=False)), means, refused + more, document)


def _facts(params: Path, observed: AnnData) -> RunFacts:
    """Return what the engine's document says of a call, from the configuration it resolved."""
    config = EvalConfig.from_yaml(str(params))
    return RunFacts(
        config=config,
        input_type_real=config.input_type,
        input_type_pred=config.input_type,
        comparator=resolve_comparator(
            version=config.version,
            pred_input_type=config.input_type,
            real_input_type=config.input_type,
        ),
        device=config.device,
        de_backend=config.de.backend,
        de_backend_used=any(CATALOG[name].kind == "de" for name in config.metrics),
        scoring_path="in_memory",
        labels=tuple(sorted({*observed.obs[PERTURBATION].astype(str)} - {config.control})),
    )


def keep_compiled() -> None:
    """Let numba keep on disk what it compiles of the engine's tests: seconds in every process.

    Another version of a package is installed as other files, which numba tells by their dates.
    """
    importlib.import_module("pdex")
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] in ("numba_mwu", "pdex"):
            for function in vars(module).values():
                if isinstance(function, Dispatcher):
                    with suppress(RuntimeError):  # numba found no folder to write to
                        function.enable_caching()
