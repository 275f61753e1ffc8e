"""The files a report is made from, as types."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NotRequired, TypedDict

Better = Literal["higher", "lower", "neither"]


class FindingEntry(TypedDict):
    """One finding of an audit."""

    severity: Literal["error", "warning", "note"]
    code: str
    message: str
    names: NotRequired[Sequence[str]]


def in_order(findings: Sequence[FindingEntry]) -> list[FindingEntry]:
    """Return findings with errors first, then warnings, then notes."""
    order = ("error", "warning", "note")
    return sorted(findings, key=lambda entry: order.index(entry["severity"]))


class CellsFile(TypedDict):
    """One file of cells, as ``cells_audit.json`` describes it; the digest where it was taken."""

    file: str
    n_cells: int
    n_genes: int
    values: str
    sha256: NotRequired[str]


class CellsContext(TypedDict):
    """Counts of one context."""

    n_cells: int
    n_control_cells: int
    n_perturbations: int


class Knockdown(TypedDict):
    """What became of a measured target in the cells where it was perturbed, as far as looked at."""

    dataset: str
    file: str
    context: str
    perturbation: str
    target: str
    n_cells: int
    n_controls: int
    control_mean: float
    log2_fold_change: float


class CellsAudit(TypedDict):
    """``cells_audit.json``: what the h5ad files hold."""

    datasets: dict[str, list[CellsFile]]
    n_cells: int
    n_genes: int
    n_perturbations: int
    contexts: dict[str, CellsContext]
    simulated: bool
    knockdowns: list[Knockdown]
    findings: list[FindingEntry]


class ChosenGenes(TypedDict):
    """``genes.json``: which genes were read, where not all of them were."""

    sentence: str


class SplitSize(TypedDict):
    """Size of one split."""

    n_cells: int
    n_groups: int
    n_perturbations: int
    contexts: list[str]


class Claims(TypedDict):
    """What scores can be evidence of."""

    kind: str
    unseen_perturbation: bool
    unseen_context: bool
    controls_train: bool
    sentence: str


class Controls(TypedDict):
    """What the controls of held-out contexts do, and how many cells stay out of training."""

    policy: Literal["share", "keep_out"]
    n_cells: int
    n_cells_kept_out: int


class Filters(TypedDict):
    """Which groups of perturbed cells were left out."""

    least_cells: int
    least_knockdown: float | None


class SplitsAudit(TypedDict):
    """``splits_audit.json``: who trains, who validates, who is held out."""

    splits: dict[str, SplitSize]
    contexts: dict[str, dict[str, int]]
    held_out: dict[str, dict[str, list[str]]]
    claims: Claims
    test: str
    controls: Controls
    filters: Filters
    validation: str
    made: list[str]
    findings: list[FindingEntry]


class ControlPolicy(TypedDict):
    """How the control gets its feature vector."""

    policy: str
    label: str


class FeatureFile(TypedDict):
    """One feature file: what is in it, used or not."""

    file: str
    sha256: str | None
    n_vectors: int
    n_unused: int
    dimension: int
    norm_median: float | None


class Norms(TypedDict):
    """Euclidean lengths of the vectors of the perturbations."""

    least: float
    median: float
    most: float


class Spectrum(TypedDict):
    """How the variance of the vectors is spread over principal components."""

    shares: list[float]
    n_components_95: int


class Coverage(TypedDict):
    """Perturbations of a context, and how many have a vector of their own."""

    n_perturbations: int
    n_with_vector: int
    n_cells: int
    n_cells_without: int


class FeaturesAudit(TypedDict):
    """``features_audit.json``: the perturbations' feature vectors (no files: one-hot)."""

    files: list[FeatureFile]
    n_vectors: int
    dimension: int
    control: ControlPolicy
    missing: list[str]
    made: dict[str, str]
    coverage: dict[str, Coverage]
    norms: Norms | None
    spectrum: Spectrum | None
    neighbours: dict[str, list[list[Any]]]
    n_compared: int
    stand_in: bool
    findings: list[FindingEntry]


class Preflight(TypedDict):
    """``preflight.json``: what only shows where the audits meet."""

    findings: list[FindingEntry]
    coverage: dict[str, Coverage]
    estimate: dict[str, Any] | None


class EngineBackend(TypedDict):
    """What computes the scorer's differential expression."""

    name: str
    version: NotRequired[str]


class Engine(TypedDict):
    """The scorer."""

    name: str
    version: str
    de_backend: NotRequired[EngineBackend]


class ScoredContext(TypedDict):
    """How much was scored in one context."""

    n_perturbations: int
    n_cells_observed: int
    n_control_cells: int


class Refusal(TypedDict):
    """A metric that the scorer refused to compute; a null stands for all of its kind."""

    model: str | None
    context: str | None
    metric: str | None
    reason: str


class Difference(TypedDict):
    """The model against a baseline on a metric: what ``scores.json`` says of it."""

    difference: float
    low: float | None
    high: float | None
    n: int
    noise: bool | None


class NegativeControl(TypedDict):
    """The model against a prediction that knows nothing, on a metric; ``matches``: no better."""

    difference: float
    matches: bool | None


class Anchors(TypedDict):
    """The two anchors of the scale in a context, by metric, and what chance does to the second."""

    mean_response: dict[str, float]
    replicate: dict[str, float]
    replicate_sd: dict[str, float]


class Diagnosis(TypedDict):
    """The model's effects in a context as a whole."""

    amplitude_slope: float | None
    error_ratio: float | None
    collapse_index: float | None
    variance_ratio: float | None
    zeros_observed: float
    zeros_predicted: float
    mean_difference: float
    dead_genes: float


class Stratum(TypedDict):
    """Scores of a kind of perturbations: model, metric."""

    range: str
    n: int
    scores: dict[str, dict[str, float]]


class CompetitionScore(TypedDict):
    """The score of a competition in a context: the mean of its members, or why there is none."""

    score: float | None
    members: dict[str, float]
    reason: str | None


class Scores(TypedDict):
    """``scores.json``: aggregated metrics of the model and the baselines."""

    engine: Engine
    settings: dict[str, object]
    predicted: dict[str, str | float | bool]
    contexts: dict[str, ScoredContext]
    overall: dict[str, dict[str, float | None]]
    by_context: dict[str, dict[str, dict[str, float | None]]]
    refused: list[Refusal]
    notes: dict[str, dict[str, int]]
    targets_outside_panel: list[str]
    better: dict[str, Better]
    resamples: int
    intervals: dict[str, dict[str, list[float]]]
    comparisons: dict[str, dict[str, Difference]]
    claims: Claims
    rivals: list[str]
    diagnosis: dict[str, Diagnosis]
    strata: dict[str, list[Stratum]]
    anchors: dict[str, Anchors]
    negative_controls: dict[str, dict[str, NegativeControl]]
    scaled: dict[str, dict[str, float]]
    scaled_by_context: dict[str, dict[str, dict[str, float]]]
    scaled_intervals: dict[str, dict[str, list[float]]]
    unscaled: dict[str, dict[str, str]]
    competition: dict[str, dict[str, CompetitionScore]] | None


class Provenance(TypedDict):
    """``provenance.json``: where the frozen config came from."""

    stateline: str
    python: str
    git_commit: str | None
    git_dirty: bool | None
    run_file: str | None
    overrides: list[str]
    digest: NotRequired[str]


class BegunStart(TypedDict):
    """What an entry of ``starts.json`` says of a training's start."""

    began: str
    from_step: int
    repeats: int
    host: str
    device: str
    processes: int
    threads: int
    python: str
    packages: dict[str, str]
    cuda: str | None


class Start(BegunStart, total=False):
    """The same with its end, where it told of one."""

    to_step: int
    seconds: float
    ended: Literal["finished", "stopped", "failed"]
