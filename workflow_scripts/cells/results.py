"""The shapes of a run's results: what evaluation writes and reporting reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import TypeAdapter, ValidationError

from workflow_scripts.errors import DataError

MODEL = "model"
"""Name of the trained model's predictions; all others are baselines and negative controls."""

ALL = "(all)"
"""Stands for all perturbations of a context, and for all contexts."""

PAIR = ["context", "perturbation"]
KEYS = ["model", *PAIR, "metric"]

METRICS = ["run", *KEYS, "raw", "scaled", "baseline", "ceiling", "ci_low", "ci_high"]
"""Columns of ``metrics.tsv``: a row a perturbation, one a context and one over contexts (`ALL`)."""

DENOISED = "effects.parquet"
"""The file of denoised effects and their intervals, beside the cells of the baselines."""

LADDER = ("additive_direct", "additive_recentred", "additive", "denoised", MODEL)
"""From the additive effect with its cells written simply to the model, step by step."""

PER_PERTURBATION = [*KEYS, "value", "scaled", "baseline", "ceiling"]
"""Columns of ``metrics_per_perturbation.parquet``, before those of `FACTS` that are known."""

FACTS = (
    *("own_rank", "taken_for", "cosine", "n_cells", "effect_size", "n_de_genes"),
    *("kind", "distance_to_training", "source", "coverage", "trust"),
)
"""What is known of a perturbation in a context beside its scores."""

EFFECTS = ["model", *PAIR, "gene", "observed_effect", "predicted_effect"]
"""Columns of ``effects.parquet``; effects are differences of mean log1p expression to controls."""

GENES = [
    *("context", "gene", "mean_observed", "variance_observed", "zeros_observed"),
    *("mean_predicted", "variance_predicted", "zeros_predicted"),
]
"""Columns of ``genes.parquet``: statistics of the perturbed cells."""

Better = Literal["higher", "lower", "neither"]

Shape = TypeVar("Shape")

ByMetric = Mapping[str, float]

ByModel = dict[str, dict[str, float | None]]
"""Model, metric."""


@dataclass(frozen=True)
class Anchors:
    """The two anchors of the scale of one context, by metric.

    Attributes
    ----------
    mean_response
        Score of one profile for all perturbations: the mean of the observed ones, each without the
        perturbation that targets the gene. It has seen the answers, so that it is no floor: a model
        may end below it and still know something.
    replicate
        Score of one half of the observed cells, controls too, against the other half: a mean over
        random splits. Halves have half of the cells: a whole repeat would get more.
    replicate_sd
        Standard deviation over the splits: what chance alone does to a score.
    refused
        What could not be computed: anchor, metric (None: all), reason.
    """

    mean_response: ByMetric
    replicate: ByMetric
    replicate_sd: ByMetric
    refused: Sequence[tuple[str, str | None, str]] = ()


@dataclass(frozen=True)
class AnchorsFile:
    """``anchors.json``: the anchors of each context, and the identity of the work."""

    identity: str
    engine: Mapping[str, Any]
    contexts: Mapping[str, Anchors]


@dataclass(frozen=True)
class Paired:
    """A model against another prediction on one metric, perturbation by perturbation.

    Attributes
    ----------
    difference
        Score of the model less that of the other: a mean over the perturbations of a context, then
        over contexts.
    low, high
        95 % interval of the difference; None where there is none.
    n
        Perturbations that both have a value of.
    """

    difference: float
    low: float | None
    high: float | None
    n: int


@dataclass(frozen=True)
class Difference(Paired):
    """The model against a baseline; ``noise``: by less than chance does to a replicate's score."""

    noise: bool | None = None


@dataclass(frozen=True)
class NegativeControl(Paired):
    """The model against a prediction without information; ``matches``: the model is no better."""

    matches: bool | None = None


@dataclass(frozen=True)
class ScoredContext:
    """How much was scored in one context."""

    n_perturbations: int
    n_cells_observed: int
    n_control_cells: int


@dataclass(frozen=True)
class Refusal:
    """A metric that the scorer refused; None stands for all of its kind."""

    model: str | None
    context: str | None
    metric: str | None
    reason: str


@dataclass(frozen=True)
class CompetitionScore:
    """What a prediction gets in a competition, in one context.

    Attributes
    ----------
    score
        Mean of the members: 0 for the mean response, 1 for a replicate. None where one is missing.
    members
        Score of each metric, cut as the engine's policy says.
    reason
        Why there is no score.
    """

    score: float | None
    members: ByMetric
    reason: str | None = None


@dataclass(frozen=True)
class Diagnosis:
    """The model's predictions in a context as a whole.

    Attributes
    ----------
    amplitude_slope
        Least-squares slope through the origin of predicted on observed effects, over all genes and
        perturbations: Σop / Σo². 1: of the right size; 0.5: half as large as observed (or rightly
        large and half in the wrong places); 0: none. Noise of the observed means lowers it.
    error_ratio
        Squared error of the predicted effects by that of predicting none: Σ(p − o)² / Σo².
    collapse_index
        Variance between perturbations of the predicted effects by that of the observed ones, summed
        over genes. 0: one profile for all perturbations; 1: as different from one another as
        observed, where the noise of the observed means counts as difference.
    variance_ratio
        Median over genes of the predicted variance by the observed one, of genes that vary: below
        1, predicted cells are more alike than observed ones.
    zeros_observed, zeros_predicted
        Shares of all values.
    mean_difference
        Mean over genes of the absolute difference of means (units of the cells).
    dead_genes
        Genes that a tenth of the observed cells express, and no predicted one.
    correlation_errors
        Root mean squared difference of gene–gene correlations from those of the observed cells: of
        the predicted cells, of the controls, and of one half of the observed cells from the other.
    """

    amplitude_slope: float | None
    error_ratio: float | None
    collapse_index: float | None
    variance_ratio: float | None
    zeros_observed: float
    zeros_predicted: float
    mean_difference: float
    dead_genes: float
    correlation_errors: list[float | None]


@dataclass(frozen=True)
class Stratum:
    """Scores of a kind of perturbations, by model and metric."""

    range: str
    n: int
    scores: dict[str, dict[str, float]]


@dataclass(frozen=True)
class Coverage:
    """How often the 90 % intervals of denoised effects hold the observed mean.

    Attributes
    ----------
    source
        What the effects rest on.
    share
        Of the genes, averaged over pairs.
    n_pairs
        Pairs of a perturbation and a context.
    """

    source: str
    share: float
    n_pairs: int


@dataclass(frozen=True)
class Scores:
    """``scores.json``: the scores of the model, the baselines and the negative controls.

    Attributes
    ----------
    engine, settings
        The scorer, and its configuration.
    predicted
        What the file of predictions says of itself.
    contexts
        How much was scored.
    better
        Which way is better, by metric.
    overall
        Score of each model and metric: a mean over contexts.
    resamples
        How often perturbations were drawn for intervals.
    intervals
        Of ``overall``, by model and metric.
    comparisons
        By baseline and metric.
    claims
        What scores can be evidence of (`cells.claims.claims`).
    rivals
        The baselines that the model has to beat, chosen by the claim alone.
    negative_controls
        By negative control and metric.
    by_context
        Scores by model, context and metric.
    anchors
        By context.
    scaled
        ``overall`` on the scale between the means of the anchors, so that all numbers of a metric
        are of the same contexts; without metrics that have no scale.
    scaled_by_context, scaled_intervals
        The same of ``by_context``, and of ``intervals``, the anchors taken as given.
    unscaled
        Why there is no scale, by context and metric.
    competition
        By model and context; None where other scores were asked for.
    diagnosis
        By context.
    strata
        Kinds of perturbations, by the fact they are told apart by, from small to large.
    refused
        What the scorer refused.
    notes
        What baselines fell back on: how often, by model and remark.
    targets_outside_panel
        Perturbations whose target is no measured gene.
    coverage
        Of the intervals of denoised effects, by what they rest on; empty without that baseline.
    ladder
        What each step from simple baselines to the model gains (`LADDER`): by step and metric, its
        score less that of the step before.
    """

    engine: Mapping[str, Any]
    settings: Mapping[str, Any]
    predicted: Mapping[str, Any]
    contexts: Mapping[str, ScoredContext]
    better: dict[str, Better]
    overall: ByModel
    resamples: int
    intervals: dict[str, dict[str, list[float]]]
    comparisons: dict[str, dict[str, Difference]]
    claims: Mapping[str, Any]
    rivals: list[str]
    negative_controls: dict[str, dict[str, NegativeControl]]
    by_context: dict[str, ByModel]
    anchors: Mapping[str, Anchors]
    scaled: dict[str, dict[str, float]]
    scaled_by_context: dict[str, dict[str, dict[str, float]]]
    scaled_intervals: dict[str, dict[str, list[float]]]
    unscaled: dict[str, dict[str, str]]
    competition: dict[str, dict[str, CompetitionScore]] | None
    diagnosis: dict[str, Diagnosis]
    strata: dict[str, list[Stratum]] = field(default_factory=dict)
    refused: list[Refusal] = field(default_factory=list)
    notes: dict[str, dict[str, int]] = field(default_factory=dict)
    targets_outside_panel: list[str] = field(default_factory=list)
    coverage: list[Coverage] = field(default_factory=list)
    ladder: dict[str, dict[str, Paired]] = field(default_factory=dict)


def read_result(path: Path, shape: type[Shape]) -> Shape:
    """Read a dataclass from JSON; what else stands there is passed over.

    Raises
    ------
    DataError
        If the file is missing, or lacks something.
    """
    try:
        return TypeAdapter(shape).validate_json(path.read_bytes())
    except FileNotFoundError:
        raise DataError(f"{path}: no such file. Run the stage that writes it first") from None
    except ValidationError as error:
        missing = sorted(str(one["loc"][-1]) for one in error.errors() if one["type"] == "missing")
        problem = error.errors()[0]
        found = f"{'.'.join(map(str, problem['loc']))} {problem['msg']}".strip()
        if problem["type"] == "json_invalid":
            found = f"not JSON: {problem['msg']}"
        elif missing:
            found = f"lacks {', '.join(missing)}"
        raise DataError(f"{path}: {found}. Make the file anew") from None
