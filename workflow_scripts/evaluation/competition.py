"""The score of the Virtual Cell Challenge 2026, by the engine's own policies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from cell_eval2 import EvalConfig
from cell_eval2.catalog import CATALOG
from cell_eval2.competition import COMPETITION_PROFILE, competition_members
from cell_eval2.scoring import is_degenerate, score_one

from workflow_scripts.cells.results import Anchors, CompetitionScore


def is_competition(config: EvalConfig, preset: str) -> bool:
    """Tell whether scores are those that the competition takes: its preset, and all its metrics."""
    return preset == COMPETITION_PROFILE and set(competition_members()) <= set(config.metrics)


def competition_score(
    means: Mapping[str, float | None], anchors: Anchors | None
) -> CompetitionScore:
    """Score one prediction in one context, as ``cell_eval2.score`` does with its anchor.

    Parameters
    ----------
    means
        The engine's aggregate of each metric.
    anchors
        Of the same cells.
    """
    members: dict[str, float] = {}
    lacking = []
    for metric in competition_members():
        base = None if anchors is None else anchors.mean_response.get(metric)
        best = None if anchors is None else anchors.replicate.get(metric)
        if base is None or best is None:
            lacking.append(f"{metric}: {'mean response' if base is None else 'replicate'} missing")
            continue
        try:
            policy = replace(
                CATALOG[metric].scoring, anchor=float(best), allow_negative_baseline=False
            )
        except ValueError as error:
            lacking.append(f"{metric}: {error}")
            continue
        if is_degenerate(base, policy):
            lacking.append(
                f"{metric}: a replicate ({best:.4g}) is no better than the mean response "
                f"({base:.4g})"
            )
            continue
        members[metric] = score_one(means.get(metric), base, policy)
    if lacking:
        return CompetitionScore(None, members, "; ".join(lacking))
    return CompetitionScore(float(np.mean(list(members.values()))), members)
