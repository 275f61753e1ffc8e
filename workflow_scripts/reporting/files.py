"""The files of a run that its report is made from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from workflow_scripts.errors import ConfigError
from workflow_scripts.stage import Folder


@dataclass(frozen=True)
class InputPaths:
    """Where the files of one run lie.

    Metrics, scores, effects and what is known of each perturbation exist if something was tested:
    all four or none.

    Attributes
    ----------
    settings
        Stage file of report (JSON).
    config
        Frozen config (YAML).
    trace
        Where each of its values came from (TSV).
    provenance
        How the run was asked for (JSON).
    cells_audit
        What the h5ad files hold (JSON).
    splits_audit
        What trains, validates and is held out (JSON).
    features_audit
        What is in the perturbation features (JSON).
    preflight
        The pass stamp (JSON).
    benchmarks
        Folders of what Snakemake measured of each rule (TSV).
    training_metrics
        Losses by step (CSV), if the run trained.
    starts
        Starts of that training (JSON), if the run trained.
    metrics
        Metrics by model, context and perturbation (TSV).
    scores
        Aggregated metrics (JSON).
    effects
        Observed and predicted effects by gene (Parquet).
    metrics_per_perturbation
        Metrics beside what is known of each perturbation (Parquet).
    genes
        Genes that were chosen (JSON), if any.
    """

    settings: Path
    config: Path
    trace: Path
    provenance: Path
    cells_audit: Path
    splits_audit: Path
    features_audit: Path
    preflight: Path
    benchmarks: list[Folder]
    training_metrics: Path | None = None
    starts: Path | None = None
    metrics: Path | None = None
    scores: Path | None = None
    effects: Path | None = None
    metrics_per_perturbation: Path | None = None
    genes: Path | None = None

    def __post_init__(self) -> None:
        """Refuse a part of what scoring writes."""
        scored = (self.metrics, self.scores, self.effects, self.metrics_per_perturbation)
        if None in scored and any(scored):
            raise ConfigError(
                "a report needs all of metrics, scores, effects and metrics-per-perturbation, or "
                "none of them"
            )
