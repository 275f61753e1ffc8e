"""Reading the files of a run that its report is made from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from workflow_scripts.cells.results import ALL, FACTS, KEYS, MODEL, PAIR, Scores, read_result
from workflow_scripts.errors import DataError
from workflow_scripts.reporting.costs import read_costs
from workflow_scripts.reporting.files import InputPaths
from workflow_scripts.reporting.ladder import Rung, ladder
from workflow_scripts.settings.choices import NEGATIVE_CONTROLS, WRITTEN_OTHERWISE
from workflow_scripts.settings.slices import read_settings

_APART = (*NEGATIVE_CONTROLS, *WRITTEN_OTHERWISE)
VALIDATION_SCORES = ("val_pds_l1", "val_pds_cosine", "val_delta_pearson")
TRAINING_COLUMNS = (
    *("step", "epoch", "train_set_loss", "val_loss", *VALIDATION_SCORES),
    *("lr", "gradient_norm", "seconds", "waiting", "cells_per_second", "mfu", "memory"),
)
_START = ("began", "from_step", "repeats", "host", "device", "processes", "threads", "python")


@dataclass(frozen=True)
class ReportSettings:
    """The report's own settings.

    Attributes
    ----------
    title
        Heading of the page; the run's name where there is none.
    top_perturbations
        How many perturbations get a plot of their own, strongest observed effect first.
    """

    title: str | None
    top_perturbations: int


@dataclass(frozen=True)
class Scored:
    """What became of the test split.

    Attributes
    ----------
    metrics
        Columns model, context, perturbation, metric, value: one row each.
    scores
        Their means.
    effects
        Path of the effects: a large file, read in passes by `effects`.
    facts
        What is known of each perturbation of the model, with those of `FACTS` there are.
    ladder
        Metrics, and the steps from the simplest baseline to the model.
    """

    metrics: pd.DataFrame
    scores: Scores
    effects: Path
    facts: pd.DataFrame
    ladder: tuple[list[str], list[Rung]]


@dataclass(frozen=True)
class RunRecord:
    """Everything that a report tells about a run, in memory.

    Attributes
    ----------
    config_text
        The frozen config as it lies on disk, and ``config`` as it was parsed.
    genes
        How the genes that were read were chosen; None where all were.
    trace
        Where each value came from: rows of config.trace.tsv, as text by column.
    training
        One row a logged step, with `TRAINING_COLUMNS`; None where the run trained no model.
    starts
        Of the training, the first one first.
    costs
        What Snakemake measured of the run's rules (`costs.read_costs`).
    scored
        What became of the test split; None where nothing was held out.
    """

    config: Mapping[str, Any]
    config_text: str
    trace: list[dict[str, str]]
    cells: Mapping[str, Any]
    genes: Mapping[str, Any] | None
    splits: Mapping[str, Any]
    features: Mapping[str, Any]
    preflight: Mapping[str, Any]
    training: pd.DataFrame | None
    starts: list[Mapping[str, Any]]
    costs: pd.DataFrame
    scored: Scored | None
    provenance: Mapping[str, Any]
    settings: ReportSettings


def read_run(paths: InputPaths) -> RunRecord:
    """Read what a report needs.

    Raises
    ------
    DataError
        If a file is missing, isn't what its name says, or lacks a column or key.
    ConfigError
        If the settings aren't a stage file.
    """
    config_text, config = _text(paths.config), read_config(paths.config)
    settings = read_settings(paths.settings)
    return RunRecord(
        config=config,
        config_text=config_text,
        trace=_trace(paths.trace),
        cells=read_json(paths.cells_audit),
        genes=None if paths.genes is None else read_json(paths.genes),
        splits=read_json(paths.splits_audit),
        features=read_json(paths.features_audit),
        preflight=read_json(paths.preflight),
        training=None if paths.training_metrics is None else read_training(paths.training_metrics),
        starts=_starts(paths),
        costs=read_costs(paths.benchmarks),
        scored=_scored(paths),
        provenance=read_json(paths.provenance),
        settings=ReportSettings(
            title=settings["report.title"],
            top_perturbations=settings["report.top_perturbations"],
        ),
    )


def _scored(paths: InputPaths) -> Scored | None:
    if paths.metrics is None or paths.scores is None or paths.effects is None:
        return None
    assert paths.metrics_per_perturbation is not None
    scores = read_result(paths.scores, Scores)
    steps = ladder(scores)
    # Negative controls and cells written otherwise are no competitors: they are shown apart.
    scores = replace(
        scores,
        overall=_without_controls(scores.overall),
        by_context=_without_controls(scores.by_context),
        intervals=_without_controls(scores.intervals),
        scaled=_without_controls(scores.scaled),
        scaled_by_context=_without_controls(scores.scaled_by_context),
        comparisons=_without_controls(scores.comparisons),
    )
    metrics = read_metrics(paths.metrics)
    metrics = metrics[~metrics["model"].isin(_APART)].reset_index(drop=True)
    facts = _facts(paths.metrics_per_perturbation)
    return Scored(metrics, scores, paths.effects, facts, steps)


def _without_controls(by_model: Mapping[str, Any]) -> dict[str, Any]:
    return {name: found for name, found in by_model.items() if name not in _APART}


def _facts(path: Path) -> pd.DataFrame:
    """Read what is known of each perturbation that the model was scored on, one row each."""
    try:
        there = [name for name in pq.read_schema(path).names if name in {*KEYS, *FACTS}]
        table = pd.read_parquet(path, columns=there)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file. Run the stage that writes it first") from None
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{path}: not a Parquet file: {error}") from None
    if missing := {"model", *PAIR} - set(there):
        raise DataError(f"{path}: lacks the columns {', '.join(sorted(missing))}")
    own = table[table["model"] == MODEL].drop(columns=["model", "metric"], errors="ignore")
    return own.drop_duplicates(PAIR, ignore_index=True)


def _trace(path: Path) -> list[dict[str, str]]:
    columns = ("parameter", "value", "source", "default", "default_source", "overridden")
    rows = _table(path, columns, separator="\t").to_dict("records")
    return cast(list[dict[str, str]], rows)


def _starts(paths: InputPaths) -> list[Mapping[str, Any]]:
    if paths.starts is None:
        return []
    try:
        found = json.loads(_text(paths.starts))
    except json.JSONDecodeError as error:
        raise DataError(f"{paths.starts}: not JSON: {error}") from None
    if not isinstance(found, list) or not all({*_START} <= {*entry} for entry in found):
        raise DataError(f"{paths.starts}: not a list of a training's starts. Make the file anew")
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise DataError(f"{path}: no such file. Run the stage that writes it first") from None


def read_config(path: Path) -> Mapping[str, Any]:
    """Read a frozen config."""
    try:
        config = yaml.safe_load(_text(path))
    except yaml.YAMLError as error:
        raise DataError(f"{path}: not YAML: {error}") from None
    if not isinstance(config, dict):
        raise DataError(f"{path}: expected a mapping of settings, found {type(config).__name__}")
    return config


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON file."""
    try:
        content = json.loads(_text(path))
    except json.JSONDecodeError as error:
        raise DataError(f"{path}: not JSON: {error}") from None
    if not isinstance(content, dict):
        raise DataError(f"{path}: expected a mapping, found {type(content).__name__}")
    return content


def _table(path: Path, columns: tuple[str, ...], separator: str = ",") -> pd.DataFrame:
    try:
        # As text: "NA" is a name among perturbations and a missing number among values.
        frame = pd.read_csv(path, sep=separator, dtype=str, keep_default_na=False)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file. Run the stage that writes it first") from None
    except (pd.errors.EmptyDataError, pd.errors.ParserError) as error:
        raise DataError(f"{path}: not a table: {error}") from None
    missing = [column for column in columns if column not in frame.columns]
    if missing:
        raise DataError(
            f"{path}: lacks the columns {', '.join(missing)}; found {', '.join(frame.columns)}"
        )
    return frame[list(columns)]


def read_training(path: Path) -> pd.DataFrame:
    """Read the log of a training, a row a step, with `TRAINING_COLUMNS`."""
    frame = _table(path, TRAINING_COLUMNS)
    frame = frame.assign(**{column: _numbers(frame[column], path) for column in TRAINING_COLUMNS})
    # A resumed run logs steps again, and what was logged last is what the weights went through. A
    # validation may stand in a row of its own: last() takes the last value of each column.
    return frame.groupby("step", sort=True).last().reset_index()[list(TRAINING_COLUMNS)]


def read_metrics(path: Path) -> pd.DataFrame:
    """Read scores of single perturbations: model, context, perturbation, metric, value."""
    frame = _table(path, (*KEYS, "raw"), separator="\t")
    # Rows over all perturbations are told by the scores.
    frame = frame[frame["perturbation"] != ALL].reset_index(drop=True)
    return frame.assign(raw=_numbers(frame["raw"], path)).rename(columns={"raw": "value"})


def _numbers(texts: pd.Series[str], path: Path) -> pd.Series[float]:
    missing = texts.str.strip().str.lower().isin(["", "na", "nan", "none", "null"])
    try:
        return texts.mask(missing, "nan").astype(float)
    except ValueError as error:
        raise DataError(f"{path}: column {texts.name}: {error}") from None
