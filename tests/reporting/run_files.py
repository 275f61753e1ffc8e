"""A run's files, in the formats that the stages write."""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from tests.reporting.screen import Screen, effects_of, facts_of, metrics_of, training_of
from workflow_scripts.cells.results import Anchors, Scores
from workflow_scripts.evaluation.scaling import find_scales, mark_noise, nested, summarise
from workflow_scripts.evaluation.statistics import comparisons
from workflow_scripts.reporting.files import InputPaths

BETTER = {
    "pds_cosine": "higher",
    "pds_l1": "higher",
    "expr_mae": "lower",
    "expr_mse": "lower",
    "delta_pearson": "higher",
    "de_wilcoxon_overlap": "higher",
    "de_wilcoxon_nsig_counts_pred": "neither",
    "de_wilcoxon_nsig_counts_real": "neither",
}


PARTS = (
    *("overall", "by_context", "intervals"),
    *("scaled", "scaled_by_context", "scaled_intervals"),
)


def some_scores(**found: Any) -> Scores:
    """Return scores with these fields; the others are empty."""
    return Scores(**{**{entry.name: {} for entry in fields(Scores)}, "refused": [], **found})


def scores_of(screen: Screen, metrics: pd.DataFrame) -> dict[str, Any]:
    """Average metrics as the evaluation does."""
    columns = ["model", "context", "metric"]
    means = metrics.groupby(columns, as_index=False)["value"].mean()
    anchors = anchors_of(metrics, screen.contexts if screen.scored else ())
    scales = find_scales(anchors, BETTER)
    compared = mark_noise(comparisons(metrics, "model", BETTER, 200), scales)
    parts = {}
    if screen.scored:
        summary = summarise(metrics, means, scales, 200)
        parts = nested(summary, sorted(set(metrics["model"])), screen.contexts)
    return {
        "competition": None,
        "predicted": {"scale": "log1p", "amplitude": 1.0, "controls": "observed"},
        "engine": {
            "name": "cell-eval2",
            "version": "0.20.0",
            "de_backend": {"name": "pdex", "version": "0.3.1"},
        },
        "settings": {"input_type": "lognorm", "de": {"method": "wilcoxon", "replicate_col": None}},
        "contexts": {
            context: {
                "n_perturbations": len(screen.perturbations),
                "n_cells_observed": 40 * len(screen.perturbations),
                "n_control_cells": 100,
            }
            for context in screen.contexts
        }
        if screen.scored
        else {},
        **{part: {} for part in PARTS},
        **parts,
        "refused": list(screen.refused),
        "notes": screen.notes,
        "targets_outside_panel": list(screen.targets_outside_panel),
        "better": BETTER,
        "resamples": 200,
        "diagnosis": {
            context: {
                "amplitude_slope": 0.62,
                "error_ratio": 0.81,
                "collapse_index": screen.collapse_index,
                "variance_ratio": 0.31,
                "zeros_observed": 0.5,
                "zeros_predicted": 0.25,
                "mean_difference": 0.02,
                "dead_genes": 0.0,
                "correlation_errors": [0.031, 0.029, None],
            }
            for context in screen.contexts
        }
        if screen.scored
        else {},
        "comparisons": {
            name: {metric: asdict(found) for metric, found in metrics.items()}
            for name, metrics in compared.items()
        },
        "claims": claims_of(screen),
        "rivals": list(screen.rivals),
        "negative_controls": screen.negative_controls,
        "strata": screen.strata,
        "anchors": {context: asdict(found) for context, found in anchors.items()},
        "unscaled": {
            context: {
                metric: reason
                for metric in BETTER
                if (reason := scales[context, metric].unscaled) is not None
            }
            for context in anchors
        },
    }


def claims_of(screen: Screen) -> dict[str, Any]:
    """Say what scores can be evidence of."""
    return {
        "kind": "known perturbations in known contexts",
        "unseen_perturbation": False,
        "unseen_context": screen.unseen_context,
        "controls_train": screen.unseen_context,
        "sentence": "Perturbations seen in other contexts, in contexts that were seen.",
    }


def anchors_of(metrics: pd.DataFrame, contexts: tuple[str, ...]) -> dict[str, Anchors]:
    """Give every metric a scale but the mean squared error, whose replicate is the worse end."""
    whole = metrics.groupby("metric")["value"].mean().dropna()
    low = {name: 0.5 if BETTER[name] == "higher" else 2.0 for name in whole.index}
    high = {name: 0.9 if BETTER[name] == "higher" else 1.0 for name in whole.index}
    high |= {"expr_mse": 3.0} if "expr_mse" in high else {}
    return {context: Anchors(low, high, dict.fromkeys(low, 0.001)) for context in contexts}


def config_of(screen: Screen) -> dict[str, Any]:
    """Give a frozen config with the sections that a report reads."""
    return {
        "name": "short",
        "output_dir": "results",
        "data": {
            "name": "PerturbationDataModule",
            "kwargs": {
                "toml_config_path": "data/starter.toml",
                "embed_key": None,
                "output_space": "all",
                "batch_col": "batch_var",
                "pert_col": "target_gene",
                "cell_type_key": "cell_type",
                "control_pert": "non-targeting",
                "perturbation_features_file": None,
            },
        },
        "model": {
            "name": "PertSets",
            "kwargs": {
                "cell_set_len": 32,
                "hidden_dim": 128,
                "loss": "energy",
                "distributional_loss": "energy",
                "transformer_backbone_key": "llama",
                "predict_residual": True,
            },
        },
        "evaluation": {"preset": "v2"},
        "training": {"max_steps": screen.n_steps, "batch_size": 8, "lr": 1e-4, "train_seed": 42},
        **screen.config,
    }


def audits_of(screen: Screen) -> dict[str, dict[str, Any]]:
    """Give the three audits."""
    n = len(screen.perturbations)
    size = {"n_groups": 3 * n, "n_perturbations": n, "contexts": list(screen.contexts)}
    cells = {
        "datasets": {
            "screen": [
                {
                    "file": "data/screen.h5ad",
                    "n_cells": 6000,
                    "n_genes": screen.n_genes,
                    "values": "counts",
                    "sha256": "ab" * 32,
                },
                {
                    "file": "data/more.h5ad",
                    "n_cells": 10,
                    "n_genes": screen.n_genes,
                    "values": "log1p",
                },
            ]
        },
        "n_cells": 6000,
        "n_genes": screen.n_genes,
        "n_perturbations": 5 * n,
        "contexts": {
            context: {"n_cells": 2000, "n_control_cells": 300, "n_perturbations": 5 * n}
            for context in screen.contexts
        },
        "simulated": screen.simulated,
        "knockdowns": [
            {
                "dataset": "screen",
                "file": "screen.h5ad",
                "context": context,
                "perturbation": name,
                "target": name,
                "n_cells": 40,
                "n_controls": 300,
                "control_mean": 2.5,
                "log2_fold_change": -0.5 * place,
            }
            for context in screen.contexts
            for place, name in enumerate(screen.perturbations)
        ],
        "findings": list(screen.findings),
    }
    splits = {
        "splits": {
            "train": {"n_cells": 4500, **size},
            "val": {"n_cells": 500 if screen.validates else 0, **size},
            "test": {"n_cells": 1000, **size},
        },
        "contexts": {context: {"train": 3 * n, "val": n, "test": n} for context in screen.contexts},
        "held_out": {
            "test": {context: list(screen.perturbations) for context in screen.contexts},
            "val": {},
        },
        "claims": claims_of(screen) | {"kind": "what was held out"},
        "test": "from_toml",
        "controls": {"policy": "share", "n_cells": 900, "n_cells_kept_out": 0},
        "filters": {"least_cells": 1, "least_knockdown": None},
        "made": [],
        "validation": "from_train",
        "findings": [],
    }
    file = {
        "file": "data/features.pt",
        "sha256": "cd" * 32,
        "n_vectors": 5 * n,
        "n_unused": 2,
        "dimension": 5 * n,
        "norm_median": 1.0,
    }
    real = screen.stand_in
    features = {
        "files": [file] if real else [],
        "n_vectors": 5 * n,
        "dimension": 5 * n,
        "control": {"policy": "given" if real else "one-hot", "label": "non-targeting"},
        "missing": ["P1"] if real else [],
        "made": {"P1": "zeros (features.missing)"} if real else {},
        "coverage": {
            context: {
                "n_perturbations": n,
                "n_with_vector": n - 1,
                "n_cells": 40 * n,
                "n_cells_without": 40,
            }
            for context in screen.contexts
        },
        "norms": {"least": 0.5, "median": 1.0, "most": 2.0} if real else None,
        "spectrum": {"shares": [0.75, 0.25], "n_components_95": 2} if real else None,
        "neighbours": {"P1": [["P2", 0.5]], "P2": [["P1", 0.5]]} if real else {},
        "n_compared": 2 if real else 0,
        "stand_in": screen.stand_in,
        "findings": [],
    }
    preflight = {
        "findings": [],
        "coverage": {
            "test": {"n_perturbations": n, "n_with_vector": n, "n_cells": 9, "n_cells_without": 0}
        },
        "estimate": {
            "steps": 400,
            "epochs": 3.5,
            "steps_per_epoch": 114.3,
            "sets_per_step": 8,
            "cells_per_step": 256,
            "precision": "32-true",
            "packed_bytes": 7_100_000,
            "host_bytes": 1_200_000_000,
            "loading_bytes": 3_000,
            "device_bytes": None,
            "model": {"n_parameters": 1_234_567},
        },
    }
    return {
        "cells_audit": cells,
        "splits_audit": splits,
        "features_audit": features,
        "preflight": preflight,
    }


TRACE = """parameter\tvalue\tsource\twritten\tdefault\tdefault_source\toverridden\tstatus
model\tstate_sm\tconfig/runs/demo.yaml:5\t\tpertsets\tconfig/config.yaml:6\tyes\tchoice of a group
training.lr\t0.001\toverride 'lr=1e-3'\t\t0.0001\tconfig/training/a.yaml:9\tyes\tidentity
training.batch_size\t8\tconfig/training/default.yaml:3\t\t\t\tno\tidentity
"""


def start_of(place: int, changes: dict[str, Any]) -> dict[str, Any]:
    """Give one start of a training; a change to None takes a key away."""
    whole = {
        "began": f"2026-01-0{1 + place}T10:00:00+00:00",
        "from_step": 0,
        "repeats": 0,
        "host": "node7",
        "device": "CPU, 4 threads",
        "processes": 1,
        "threads": 4,
        "python": "3.11.2",
        "packages": {"torch": "2.13.0", "lightning": "2.6.0"},
        "cuda": None,
        "to_step": 60,
        "seconds": 90.0,
        "ended": "finished",
    }
    known = {**whole, **changes}
    return {key: value for key, value in known.items() if key == "cuda" or value is not None}


def write_benchmarks(folder: Path) -> None:
    """Write what Snakemake measured of two rules, one of them too short to be looked at."""
    folder.mkdir(exist_ok=True)
    columns = "s\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time"
    rows = {
        "train": "7500.5\t2:05:00\t1024.00\t1\t1\t1\t0.0\t0.0\t90.0\t14000.25",
        "preflight": "0.25\t0:00:00\tNA\tNA\tNA\tNA\tNA\tNA\tNA\tNA",
    }
    for name, row in rows.items():
        (folder / f"{name}.tsv").write_text(f"{columns}\n{row}\n")


def write_run(folder: Path, screen: Screen) -> InputPaths:
    """Write every file of a run into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    metrics, effects = metrics_of(screen), effects_of(screen)
    if not screen.scored:
        metrics = metrics.head(0)
    if not screen.has_effects:
        effects = effects.head(0)
    named = {entry.name: folder / entry.name for entry in fields(InputPaths)}
    paths = InputPaths(**{**named, "benchmarks": [named["benchmarks"]]})
    write_benchmarks(named["benchmarks"])
    paths.trace.write_text(TRACE)
    starts = [start_of(place, changes) for place, changes in enumerate(screen.starts)]
    paths.starts.write_text(json.dumps(starts))
    facts_of(screen, metrics).to_parquet(paths.metrics_per_perturbation)
    paths.config.write_text(yaml.safe_dump(config_of(screen), sort_keys=False))
    for name, audit in audits_of(screen).items():
        (folder / name).write_text(json.dumps(audit))
    training_of(screen).to_csv(paths.training_metrics, index=False)
    metrics.rename(columns={"value": "raw"}).to_csv(paths.metrics, sep="\t", index=False)
    paths.scores.write_text(json.dumps(scores_of(screen, metrics)))
    effects.to_parquet(paths.effects)
    paths.genes.write_text(json.dumps({"sentence": "3 of 9 genes: the list <mine>.txt"}))
    provenance = {
        "stateline": "0.1.0",
        "python": "3.11.2",
        "git_commit": "0123456789abcdef",
        "git_dirty": False,
        "run_file": "config/runs/demo.yaml",
        "overrides": ["name=short"],
        "digest": "ef" * 32,
    }
    paths.provenance.write_text(json.dumps(provenance | screen.provenance))
    # One plot says as much as twelve, in a fraction of the time.
    settings = {"report.title": None, "report.top_perturbations": 1}
    paths.settings.write_text(json.dumps({"identity": settings | screen.settings, "extent": {}}))
    return paths
