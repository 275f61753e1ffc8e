"""What a small seeded screen and its run look like, as tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

# How well each model's prediction follows the observed effect, and its own noise.
SKILL: Mapping[str, tuple[float, float]] = {
    "model": (0.7, 0.5),
    "control": (0.0, 0.0),
    "mean_response": (0.0, 0.0),
    "additive": (0.1, 0.9),
    "perturbation_mean_effect": (0.6, 0.9),
}


@dataclass
class Screen:
    """What a test says about its run; everything else follows from it."""

    contexts: tuple[str, ...] = ("rep_3",)
    perturbations: tuple[str, ...] = tuple(f"GENE{i}" for i in range(8))
    models: tuple[str, ...] = tuple(SKILL)
    n_genes: int = 60
    n_steps: int = 60
    validates: bool = True
    simulated: bool = False
    stand_in: bool = False
    scored: bool = True
    collapse_index: float | None = None
    unseen_context: bool = False
    has_effects: bool = True
    rivals: tuple[str, ...] = ("additive",)
    targets_outside_panel: tuple[str, ...] = ()
    negative_controls: dict[str, Any] = field(default_factory=dict)
    strata: dict[str, Any] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    starts: tuple[dict[str, Any], ...] = ({},)
    findings: tuple[dict[str, str], ...] = ()
    refused: tuple[dict[str, str | None], ...] = ()
    notes: dict[str, dict[str, int]] = field(default_factory=dict)


def effects_of(screen: Screen) -> pd.DataFrame:
    """Draw effects with a shared response, and one of their own for each perturbation."""
    rng = np.random.default_rng(7)
    shared = rng.normal(0, 0.1, screen.n_genes)
    names = [f"G{i}" for i in range(screen.n_genes)]
    names[: len(screen.perturbations)] = screen.perturbations[: screen.n_genes]
    parts = []
    for context in screen.contexts:
        for place, perturbation in enumerate(screen.perturbations):
            own = rng.normal(0, 0.05 + 0.3 / (1 + place), screen.n_genes)
            own *= rng.random(screen.n_genes) < 0.3
            own[place % screen.n_genes] = -1.2 / (1 + 0.1 * place)
            observed = shared + own + rng.normal(0, 0.03, screen.n_genes)
            for model in screen.models:
                skill, noise = SKILL.get(model, (0.3, 0.5))
                predicted = shared + skill * own + noise * rng.normal(0, 0.04, screen.n_genes)
                if model == "control":
                    predicted = np.zeros(screen.n_genes)
                parts.append(
                    pd.DataFrame(
                        {
                            "model": model,
                            "context": context,
                            "perturbation": perturbation,
                            "gene": names,
                            "observed_effect": observed,
                            "predicted_effect": predicted,
                        }
                    )
                )
    return pd.concat(parts, ignore_index=True)


def metrics_of(screen: Screen) -> pd.DataFrame:
    """Draw metrics that look like the scorer's."""
    rng = np.random.default_rng(11)
    rows = []
    for model in screen.models:
        skill = SKILL.get(model, (0.3, 0.5))[0]
        for context in screen.contexts:
            for perturbation in screen.perturbations:
                pds = (
                    0.5 if skill == 0 else float(np.clip(rng.normal(0.4 + 0.6 * skill, 0.1), 0, 1))
                )
                values = {
                    "pds_cosine": pds,
                    "pds_l1": 0.5 if skill == 0 else float(np.clip(pds - 0.05, 0, 1)),
                    "expr_mae": 0.05 * (1 - 0.3 * skill) * rng.uniform(0.9, 1.1),
                    "expr_mse": 0.0006 * (1 - 0.3 * skill) * rng.uniform(0.9, 1.1),
                    "delta_pearson": 0.4 * skill + rng.uniform(0.1, 0.3),
                    "de_wilcoxon_overlap": 0.3 * skill + rng.uniform(0, 0.1),
                    "de_wilcoxon_nsig_counts_pred": float(rng.integers(0, 500)),
                    "de_wilcoxon_nsig_counts_real": float(rng.integers(100, 300)),
                }
                rows += [
                    (model, context, perturbation, metric, value)
                    for metric, value in values.items()
                ]
    columns = ["model", "context", "perturbation", "metric", "value"]
    frame = pd.DataFrame(rows, columns=columns)
    # A correlation with no predicted effect is undefined.
    undefined = (frame["model"] == "control") & (frame["metric"] == "delta_pearson")
    return frame.assign(value=frame["value"].mask(undefined))


def facts_of(screen: Screen, metrics: pd.DataFrame) -> pd.DataFrame:
    """Put what is known of each perturbation beside its scores."""
    place = metrics["perturbation"].map(screen.perturbations.index).astype(int)
    return metrics.assign(
        own_rank=1.0 + place,
        taken_for=[
            name if place < 2 else screen.perturbations[0]
            for name, place in zip(metrics["perturbation"], place, strict=True)
        ],
        n_cells=40 + place,
        n_de_genes=np.nan,
        kind="unseen perturbation, known context",
        distance_to_training=0.25,
    )


def training_of(screen: Screen) -> pd.DataFrame:
    """Draw a loss that falls, with validations now and then."""
    rng = np.random.default_rng(3)
    step = np.arange(1, screen.n_steps + 1)
    loss = (0.6 + 3 * np.exp(-step / (screen.n_steps / 6 + 1))) * rng.uniform(0.85, 1.15, len(step))
    every = max(1, screen.n_steps // 8)
    validated = (step % every == 0) & screen.validates
    return pd.DataFrame(
        {
            "step": step,
            "epoch": step // 50,
            "train_set_loss": loss,
            "val_loss": np.where(validated, loss * 1.1, np.nan),
            "val_pds_l1": np.where(validated, 1 - loss / 6, np.nan),
            "val_pds_cosine": np.where(validated, 1 - loss / 7, np.nan),
            "val_delta_pearson": np.where(validated, 0.6 - loss / 9, np.nan),
            "lr": 1e-4 * np.minimum(1, step / 20),
            "gradient_norm": 0.2 + loss,
            "seconds": 0.1,
            "waiting": 0.025,
            "cells_per_second": 2048 * rng.uniform(0.9, 1.0, len(step)),
            "mfu": 0.5,
            "memory": 1.5e9,
        }
    )
