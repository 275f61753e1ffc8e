"""The formulas of docs/scoring.md, computed here from the cells, give what the scorer gives."""

from __future__ import annotations

import cell_eval2
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from cell_eval2.catalog import resolve_metrics
from cell_eval2.catalog_text import metric_text
from scipy.spatial.distance import cdist
from scipy.stats import false_discovery_control, mannwhitneyu, rankdata

from tests.pages import quoted, table
from workflow_scripts.evaluation.engine import (
    EvaluationSettings,
    better_directions,
    engine_config,
)

CONTROL = "non-targeting"
ROWS = {quoted(row[0])[0]: row for row in table("scoring.md", "Metrics")}
BY_THE_ENGINE = "expr_mse_unbiased_capped_norm"
"""The one that is not computed here."""

MORE = tuple(name for name in ROWS if name != BY_THE_ENGINE)
CONFIG = engine_config(EvaluationSettings(extra_metrics=MORE), CONTROL)


class ByHand:
    """Predicted and observed cells of one context, and each metric of the page.

    Attributes
    ----------
    names
        The perturbations, sorted; each is a gene too.
    """

    def __init__(self, observed: np.ndarray, predicted: np.ndarray, labels: np.ndarray) -> None:
        self.sides = {"observed": observed.astype(float), "predicted": predicted.astype(float)}
        self.labels = labels
        self.controls = self.sides["observed"][labels == CONTROL]
        self.names = [name for name in np.unique(labels) if name != CONTROL]
        self.genes = np.array([f"G{number:02d}" for number in range(observed.shape[1])])

    def means(self, side: str) -> np.ndarray:
        """Return the mean of each perturbation's cells [perturbations, genes]."""
        return np.array([self.sides[side][self.labels == name].mean(0) for name in self.names])

    def tests(self, side: str, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return of each gene its p-value, the corrected one, and the log2 fold change."""
        cells = self.sides[side][self.labels == name]
        p = mannwhitneyu(cells, self.controls, method="asymptotic").pvalue
        linear, reference = (np.expm1(part).mean(axis=0) for part in (cells, self.controls))
        return p, false_discovery_control(p), np.log2((linear + 1e-9) / (reference + 1e-9))

    def expression(self) -> dict[str, np.ndarray]:
        """Return the metrics of profiles."""
        o, p, c = self.means("observed"), self.means("predicted"), self.controls.mean(axis=0)
        others = ~np.isin(self.genes, self.names)
        ranks = {
            distance: [
                rankdata(row)[own] - 1
                for own, row in enumerate(cdist((p - c)[:, others], (o - c)[:, others], distance))
            ]
            for distance in ("cityblock", "cosine")
        }
        return {
            "expr_mae": np.abs(p - o).mean(axis=1),
            "expr_mse": ((p - o) ** 2).mean(axis=1),
            "delta_pearson": np.array(
                [np.corrcoef(a, b)[0, 1] for a, b in zip(p - c, o - c, strict=True)]
            ),
            "pds_l1": 1 - np.array(ranks["cityblock"]) / (len(self.names) - 1),
            "pds_cosine": 1 - np.array(ranks["cosine"]) / (len(self.names) - 1),
        }

    def of_genes(self, name: str) -> dict[str, float]:
        """Return the metrics of one perturbation's significant genes."""
        _, corrected, lo = self.tests("observed", name)
        p, predicted, lp = self.tests("predicted", name)
        real, found = corrected < 0.05, predicted < 0.05
        first = [
            [gene for gene in np.argsort(-np.abs(change)) if significant[gene]]
            for change, significant in ((lo, real), (lp, found))
        ]
        shared = {
            size: len(set(first[0][:size]) & set(first[1][:size])) / size
            for size in (real.sum(), found.sum())
        }
        counts = {"real": float(real.sum()), "pred": float(found.sum())}
        overlap, precision = shared[real.sum()], shared[found.sum()]
        for significant in (real, found):
            significant[self.genes == name] = False
        right = np.sign(lo) == np.sign(lp)
        # By the prediction: significant ones first, then by p-value, large changes before small.
        order = np.lexsort([-np.abs(lp), p, predicted, ~found])
        along = right[[gene for gene in order if real[gene]]]
        pure = np.cumsum(along) / np.arange(1, len(along) + 1) >= 0.9
        return {
            "de_wilcoxon_overlap": overlap,
            "de_wilcoxon_precision": precision,
            "de_wilcoxon_nsig_counts_real": counts["real"],
            "de_wilcoxon_nsig_counts_pred": counts["pred"],
            "de_wilcoxon_lfc_nmae": np.abs(lp - lo)[real].sum() / np.abs(lo)[real].sum(),
            "de_wilcoxon_direction_fidelity_yield_raw": (
                right[found].sum() / max(found.sum(), real.sum())
            ),
            "de_wilcoxon_direction_reach_raw": (
                (np.flatnonzero(pure).max(initial=-1) + 1) / real.sum()
            ),
            "de_wilcoxon_sig_jaccard": (real & found).sum() / (real | found).sum(),
        }


@pytest.fixture(scope="module")
def cells(draw_screen) -> ByHand:
    """Return cells whose predictions are half right, and half those of another perturbation."""
    screen = draw_screen(contexts=("one",))
    labels = screen.obs["perturbation"].to_numpy(dtype=str)
    draws = np.random.default_rng(3)
    names = [name for name in np.unique(labels) if name != CONTROL]
    mean = {name: screen.values[labels == name].mean(axis=0) for name in np.unique(labels)}
    predicted = screen.values.copy()
    for name, other in zip(names, names[1:] + names[:1], strict=True):
        here = labels == name
        change = 0.5 * (mean[other] - mean[name]) + draws.normal(0, 0.3, predicted[here].shape)
        predicted[here] = np.maximum(predicted[here] + change, 0)
    return ByHand(screen.values, predicted, labels)


@pytest.fixture(scope="module")
def official(cells: ByHand) -> pd.DataFrame:
    """Return what the engine says, a row a perturbation and a column a metric."""

    def adata(side: str) -> AnnData:
        obs = pd.DataFrame({"perturbation": cells.labels})
        obs.index = [f"cell{number}" for number in range(len(obs))]
        values = cells.sides[side].astype(np.float32)
        return AnnData(values, obs, pd.DataFrame(index=list(cells.genes)))

    found = cell_eval2.compute_metrics(adata("predicted"), adata("observed"), config=CONFIG)
    rows = pd.DataFrame(found.to_dict(as_series=False))
    return rows.pivot(index="perturbation", columns="metric", values="value").loc[cells.names]


def test_formulas_give_what_the_engine_gives(cells: ByHand, official: pd.DataFrame):
    by_genes = pd.DataFrame([cells.of_genes(name) for name in cells.names])
    by_hand = cells.expression() | {name: by_genes[name].to_numpy() for name in by_genes}
    assert set(by_hand) == set(MORE)
    for metric, values in by_hand.items():
        np.testing.assert_allclose(official[metric], values, rtol=1e-6, err_msg=metric)
    # Where all were alike, a wrong formula could pass.
    assert (official[list(by_hand)].nunique() > 1).all()


def test_page_has_every_metric_that_is_scored_by_default():
    asked = {*resolve_metrics("minimal", version="v2")[0]}
    competition = tuple(resolve_metrics("vcc2026", version="v2")[0])
    better = better_directions(
        engine_config(EvaluationSettings(extra_metrics=competition), CONTROL)
    )
    asked |= {name for name in competition if better[name] != "neither"}
    assert set(ROWS) == asked | {"pds_cosine"}


@pytest.mark.parametrize("metric", ROWS)
def test_range_and_better_way_are_those_of_the_engines_catalogue(metric: str):
    _, _, between, better, _ = ROWS[metric]
    settings = EvaluationSettings(extra_metrics=tuple(ROWS))
    assert better == better_directions(engine_config(settings, CONTROL))[metric]
    text = metric_text(metric)
    low = "−∞" if text.min is None else f"{text.min:g}".replace("-", "−")
    high = "∞" if text.max is None else f"{text.max:g}"
    assert between == f"{low} to {high}"
