"""The page: every section's content, put into the templates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from workflow_scripts.cells.results import MODEL, Scores
from workflow_scripts.reporting.costs import cost_rows
from workflow_scripts.reporting.effects import PanelEffects, read_panels, summarise_effects
from workflow_scripts.reporting.figures import Drawing, effect_panel, strips
from workflow_scripts.reporting.inputs import RunRecord, Scored
from workflow_scripts.reporting.knockdowns import knockdown_table
from workflow_scripts.reporting.negative_controls import negative_control_rows
from workflow_scripts.reporting.perturbation_table import perturbation_table
from workflow_scripts.reporting.run_facts import changed_settings, commands, essentials, run_name
from workflow_scripts.reporting.strata import strata_rows
from workflow_scripts.reporting.tables import difference_rows, remarks, score_tables
from workflow_scripts.reporting.templating import template_environment
from workflow_scripts.reporting.trained import trained
from workflow_scripts.reporting.verdict import Verdict, judge
from workflow_scripts.reporting.words import (
    MODEL_MEANINGS,
    counted,
    how_predicted,
    in_competition,
    in_order,
    model_label,
    models_in_order,
    number,
)

SECTIONS = {
    "verdict": "Verdict",
    "scores": "Scores",
    "effects": "Effects",
    "perturbations": "Perturbations",
    "inputs": "Cells, splits and features",
    "findings": "Findings",
    "training": "Training",
    "config": "Config",
    "provenance": "Provenance",
}
"""Sections in their order: id on the page, which names its template too, and heading."""

SCORE_SECTIONS = frozenset({"verdict", "scores", "effects", "perturbations"})
"""Sections with scores of predictions: each carries the badges that qualify a score."""


COLLAPSED = 0.1
"""Variance between predicted effects, by that between observed ones, below which the page warns."""


@dataclass(frozen=True)
class Badge:
    """A mark that qualifies every score of the page."""

    code: str
    text: str
    meaning: str


@dataclass(frozen=True)
class Panel:
    """One perturbation's figure."""

    effects: PanelEffects
    drawing: Drawing


def render_report(run: RunRecord) -> str:
    """Return a run's report: one HTML page that needs nothing beside it."""
    tested = {} if run.scored is None else _tested(run.scored, run.settings.top_perturbations)
    sections = {
        name: heading
        for name, heading in SECTIONS.items()
        if run.scored is not None or name == "verdict" or name not in SCORE_SECTIONS
    }
    return (
        template_environment()
        .get_template("page.html")
        .render(
            title=run.settings.title or run_name(run.config),
            name=run_name(run.config),
            sections=sections,
            score_sections=SCORE_SECTIONS,
            badges=badges(run),
            claims=claims_of(run),
            cautions=cautions(run),
            run=run,
            version=run.provenance["stateline"],
            essentials=essentials(run.config),
            commands=commands(run.config, run.provenance),
            changed=changed_settings(run.trace),
            costs=cost_rows(run.costs, run.starts),
            **trained(run.training, run.starts),
            knockdowns=knockdown_table(run.cells["knockdowns"]),
            findings=_findings(run),
            **tested,
        )
    )


def _tested(scored: Scored, top_perturbations: int) -> dict[str, Any]:
    """Return what the sections with scores show."""
    summary = summarise_effects(scored.effects)
    verdict = judge(scored.scores, scored.metrics)
    panels = [
        Panel(effects, effect_panel(effects, f"effect-{place}"))
        for place, effects in enumerate(
            read_panels(scored.effects, summary, MODEL, top_perturbations)
        )
    ]
    return {
        "scores": scored.scores,
        "verdict": verdict,
        "how_predicted": how_predicted(scored.scores.predicted),
        "in_competition": in_competition(scored.scores.competition),
        "discrimination": _discrimination(scored.metrics, verdict),
        "score_tables": score_tables(scored.scores),
        "differences": difference_rows(scored.scores),
        "ladder": scored.ladder,
        "strata": strata_rows(scored.scores, verdict.metric),
        "negative_controls": negative_control_rows(scored.scores, verdict.metric),
        "model_meanings": [
            (model_label(model), MODEL_MEANINGS.get(model, ""), remarks(scored.scores, model))
            for model in models_in_order(scored.scores.overall)
        ],
        "panels": panels,
        "agreement": _agreement(scored.metrics, summary),
        "n_effects": int((summary["model"] == MODEL).sum()),
        "perturbations": perturbation_table(
            scored.metrics, summary, scored.scores.better, scored.facts
        ),
    }


def claims_of(run: RunRecord) -> Mapping[str, Any]:
    """Return what the scores can be evidence of, or the split, where nothing was scored."""
    return run.splits["claims"] if run.scored is None else run.scored.scores.claims


def badges(run: RunRecord) -> list[Badge]:
    """Return what a reader must know beside every score."""
    found = []
    if run.cells["simulated"]:
        meaning = "The cells are simulated: no number here says anything about real cells."
        found.append(Badge("simulated", "SIMULATED DATA", meaning))
    if run.features["stand_in"]:
        meaning = "The perturbation features stand in for real ones: scores only show that it runs."
        found.append(Badge("stand-in", "STAND-IN FEATURES", meaning))
    claims = claims_of(run)
    return [*found, Badge("claim", claims["kind"], claims["sentence"])]


def cautions(run: RunRecord) -> list[str]:
    """Return what a reader should know before believing the verdict, a sentence each."""
    found = []
    for context, told in ({} if run.scored is None else run.scored.scores.diagnosis).items():
        index = told.collapse_index
        if index is not None and index < COLLAPSED:
            found.append(
                f"In {context} the predictions are nearly one profile for all perturbations: they "
                f"differ from one another by {number(index)} of what the observed effects do "
                "(variance; 1 is as much)."
            )
    if run.scored is not None:
        found += worse_than_nothing(run.scored.scores)
    if claims_of(run)["controls_train"]:
        found.append(
            "Controls of the contexts that were held out trained with the others "
            "(splits.held_out_controls=share): such a context is new but for them."
        )
    entries = [entry for _, part in _findings(run) for entry in part]
    if warnings := sum(entry["severity"] == "warning" for entry in entries):
        found.append(f"The inputs gave cause for {counted(warnings, 'warning')}: see Findings.")
    return found


def worse_than_nothing(scores: Scores) -> list[str]:
    """Return in what the predictions are worse than predicting no effect, a sentence each."""
    found = []
    model = scores.overall.get(MODEL, {})
    for metric, predicted in model.items():
        test, end, _ = metric.partition("nsig_counts_pred")
        observed = model.get(f"{test}nsig_counts_real")
        if end and predicted and observed is not None and predicted > 2 * observed + 10:
            found.append(
                f"The predictions have {predicted:,.0f} significant genes a perturbation, and the "
                f"observed cells {observed:,.0f} (means over perturbations)."
            )
    for context, told in scores.diagnosis.items():
        error = told.error_ratio
        if error is not None and error > 1.0:
            found.append(
                f"In {context}, the squared error of the predicted effects is {number(error)} "
                "times that of the control, which predicts no effect."
            )
        if n_dead := told.dead_genes:
            found.append(
                f"In {context}, {counted(int(n_dead), 'gene')} that at least a tenth of the "
                "observed cells express get exactly 0 in every predicted cell."
            )
    return found


def _discrimination(metrics: pd.DataFrame, verdict: Verdict) -> Drawing | None:
    values = metrics[(metrics["metric"] == verdict.metric) & metrics["value"].notna()]
    if values.empty:
        return None
    return strips(
        values,
        models_in_order(values["model"]),
        name="discrimination",
        label=f"{verdict.metric_label}: 0 worst, 1 best",
        reference=(0.5, "no information"),
    )


def _agreement(metrics: pd.DataFrame, summary: pd.DataFrame) -> Drawing | None:
    # The scorer knows every baseline; the effects, gene by gene, may be kept for the model alone.
    values = metrics[metrics["metric"] == "delta_pearson"]
    if not values["value"].notna().any():
        values = summary.rename(columns={"correlation": "value"})
    if not values["value"].notna().any():
        return None
    return strips(
        values,
        models_in_order(values["model"]),
        name="agreement",
        label="correlation of predicted and observed effect over genes",
        reference=(0.0, "unrelated"),
    )


def _findings(run: RunRecord) -> list[tuple[str, list[Mapping[str, Any]]]]:
    """Return each audit's findings, errors first."""
    audits = {
        "Cells": run.cells["findings"],
        "Splits": run.splits["findings"],
        "Features": run.features["findings"],
        "Together": run.preflight["findings"],
    }
    return [(title, in_order(found)) for title, found in audits.items()]
