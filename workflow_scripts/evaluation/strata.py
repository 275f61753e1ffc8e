"""Kinds of perturbations that are scored apart: large effects, few cells, far from training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from workflow_scripts.cells.claims import claims
from workflow_scripts.cells.context_differences import read_replicates
from workflow_scripts.cells.results import PAIR, Stratum
from workflow_scripts.features.vectors import Features, load_features
from workflow_scripts.settings.labels import parts_of

MEASURED = ("effect_size", "n_de_genes", "n_cells", "distance_to_training")
"""Facts that are cut into thirds."""

LEAST = 6
"""Perturbations below which nothing is cut: thirds of fewer say nothing."""


@dataclass(frozen=True)
class TrainedOn:
    """What was trained on, as far as scores depend on it.

    Attributes
    ----------
    splits
        The split of each group of cells.
    features
        The vectors of the perturbations, if there are any.
    replicates
        Tested contexts that are replicates of a trained one.
    """

    splits: pd.DataFrame
    features: Features | None
    replicates: frozenset[str] = frozenset()

    @classmethod
    def read(
        cls,
        splits: Path,
        features: Sequence[Path],
        contexts_are: str | None = None,
        differences: Path | None = None,
    ) -> TrainedOn:
        """Read what was written before.

        Parameters
        ----------
        splits, features
            By ``audit_splits`` and ``validate_features``.
        contexts_are
            Value of ``splits.contexts_are``.
        differences
            By ``predict_baselines``, of the controls of contexts.
        """
        table = pd.read_parquet(splits)
        replicates = frozenset[str]()
        if contexts_are == "replicates":
            replicates = frozenset(table["context"].astype(str))
        elif contexts_are is None and differences is not None:
            replicates = read_replicates(differences)
        return cls(table, load_features(*features) if features else None, replicates)


def claims_of(
    facts: pd.DataFrame, trained_on: TrainedOn | None, rival_of_known: str, rival_of_unseen: str
) -> dict[str, Any]:
    """Return what scores can be evidence of (``claims``), and the baselines to beat (``rivals``).

    Rivals are chosen by the claim alone, and so without a correction for several tests; where known
    and unseen perturbations are mixed, both have to be beaten. ``facts`` come from `what_is_new`.
    """
    if trained_on is None:
        unknown = pd.DataFrame({"context": [], "perturbation": [], "split": []})
        claim = claims(unknown) | {
            "kind": "not known",
            "sentence": "Nothing says what was trained on.",
        }
        return {"claims": claim, "rivals": []}
    trained = trained_on.splits[trained_on.splits["split"].isin(["train", "control"])]
    known = facts["kind"].str.startswith("known")
    pairs = pd.concat([trained, facts[PAIR].assign(split="test")])
    rivals = {rival_of_known: known, rival_of_unseen: ~known}
    return {
        "claims": claims(pairs, trained_on.replicates),
        "rivals": [name for name, there in rivals.items() if there.any()],
    }


def what_is_new(facts: pd.DataFrame, trained_on: TrainedOn | None, control: str) -> pd.DataFrame:
    """Add what training had seen of each perturbation in its context, as far as it is known.

    The column kind, in words, and distance_to_training: the cosine distance of a perturbation's
    features to the nearest ones that were trained on. It is 0 for one that was trained on itself,
    and NaN where a vector is missing or has no direction.
    """
    if trained_on is None:
        return facts
    trained = trained_on.splits[trained_on.splits["split"] == "train"]
    perturbations = {*trained["perturbation"]} - {control}
    contexts = {*trained["context"]}
    kinds = []
    for context, perturbation in facts[PAIR].itertuples(index=False, name=None):
        kind = "known perturbation" if perturbation in perturbations else "unseen perturbation"
        if parts_of(perturbation, control) and perturbation not in perturbations:
            kind = "unseen combination"
        where = "known context" if context in contexts else "unseen context"
        kinds.append(f"{kind}, {where}")
    facts = facts.assign(kind=pd.Series(kinds, index=facts.index, dtype=object))
    if trained_on.features is None:
        return facts
    nearest = _distances(trained_on.features, perturbations, {*facts["perturbation"]})
    return facts.assign(distance_to_training=facts["perturbation"].map(nearest).astype(float))


def _distances(features: Features, trained: set[str], asked: set[str]) -> dict[str, float]:
    at = {name: number for number, name in enumerate(features.names)}
    known = [at[name] for name in sorted(trained & at.keys())]
    matrix = features.matrix.astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        matrix /= np.linalg.norm(matrix, axis=1, keepdims=True)
    nearest = {}
    for name in sorted(asked & at.keys()) if known else ():
        similar = matrix[known] @ matrix[at[name]]
        if not np.isnan(similar).all():
            # To the sixth digit: a vector's product with itself is 1 but for rounding.
            nearest[name] = abs(round(1.0 - float(np.nanmax(similar)), 6))
    return nearest


def strata_of(facts: pd.DataFrame) -> dict[str, pd.Series[Any]]:
    """Cut the perturbations by each fact; by those alone that make a difference.

    Returns, by fact, the name of the stratum of each row; it is missing where the fact is.
    """
    found = {}
    for name in (name for name in MEASURED if name in facts):
        values = facts[name].astype(float)
        inside = values.dropna()
        if len(inside) < LEAST:
            continue
        third = np.searchsorted(np.unique(np.quantile(inside, [1 / 3, 2 / 3])), inside)
        ends = inside.groupby(third).agg(["min", "max"])
        if len(ends) > 1:
            names = {at: f"{low:.4g} to {high:.4g}" for at, low, high in ends.itertuples()}
            found[name] = pd.Series(third, inside.index).map(names).reindex(values.index)
    if "kind" in facts and facts["kind"].nunique() > 1:
        found["kind"] = facts["kind"]
    return found


def stratified(
    metrics: pd.DataFrame, facts: pd.DataFrame, better: Mapping[str, str]
) -> dict[str, list[Stratum]]:
    """Average scores over the perturbations of each stratum, of all contexts together.

    Returns the strata of each fact, from small to large.
    """
    scored = metrics[metrics["metric"].map(better) != "neither"]
    found: dict[str, list[Stratum]] = {}
    for name, labels in strata_of(facts).items():
        by = facts[name] if name in MEASURED else labels
        found[name] = []
        for label in by.groupby(labels.astype(object)).min().sort_values().index:
            rows = scored.merge(facts.loc[labels == label, PAIR], on=PAIR)
            means = rows.groupby(["model", "metric"])["value"].mean().dropna().reset_index()
            scores: dict[str, dict[str, float]] = {model: {} for model in sorted({*rows["model"]})}
            for row in means.to_dict("records"):
                scores[row["model"]][row["metric"]] = row["value"]
            found[name].append(Stratum(label, int((labels == label).sum()), scores))
    return found
