"""A simulated perturbation screen: made-up cells whose effects really come from made-up features.

For gene g of a cell with perturbation p, in context c and technical batch b::

    count ~ Poisson(depth · share · Gamma(mean 1))
    share = softmax over g of (baseline[c] + cell state + batch[b] + effect[c, p])
    effect[c, p] = activity[p] @ (shared loadings + own loadings[c]), the target knocked down
    features[p] = offset + activity[p] @ embedding + noise

so a map from features to effects exists, is linear in log expression, is shared by the contexts in
part, and touches few genes. The screen has the difficulties of a real one (depth, batches, weak
effects, cells that escape) and is no evidence about any.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from workflow_scripts.errors import ConfigError

CONTROL = "non-targeting"
CONTEXTS = ("sim_alpha", "sim_beta", "sim_gamma", "sim_delta", "sim_epsilon", "sim_zeta")

Floats = NDArray[np.float64]

# What a small screen looks like, in natural-log expression where it is a spread. Measured with the
# defaults: 1 % of the genes take a sixth of all counts, 45 % of the counts are zero, half of the
# genes answer to nothing; of the others the middle perturbation changes half by less than 15 %.
_BASELINE_SPREAD = 1.5
_CONTEXT_SPREAD = 0.5
_BATCH_SPREAD = 0.12
_STATE_SPREAD = 0.3
_EFFECT_SPREAD = 0.75
_LARGEST_EFFECT = 2.5
_OWN_SHARE = 0.5  # of a context's own map beside the shared one: effects correlate near 0.8
_N_PROGRAMS = 5
_GENES_IN_PROGRAM = 0.06
_FEATURE_NOISE = 0.3
_ESCAPING_CELLS = 0.1
_COUNTS_PER_GENE = 3.0
_DEPTH_SPREAD = 0.4
_DISPERSION = 0.25  # variance = mean + _DISPERSION · mean²
_CONTROL_SHARE = 0.1
_MIN_CONTROLS = 150
_MIN_CELLS = 8
_VAL_SHARE, _TEST_SHARE = 1 / 8, 1 / 3


@dataclass(frozen=True)
class SimulationSettings:
    """Say how large a simulated screen is.

    Attributes
    ----------
    n_contexts
        Simulated contexts.
    n_perturbations
        Targets, every one of them perturbed in every context.
    n_genes
        Measured genes, which include the targets.
    n_cells
        Cells in all, controls included, shared out evenly over contexts.
    feature_dim
        Length of a perturbation's feature vector.
    seed
        The only source of chance.
    """

    n_contexts: int = 3
    n_perturbations: int = 60
    n_cells: int = 9000
    n_genes: int = 1200
    feature_dim: int = 64
    seed: int = 0

    def __post_init__(self) -> None:
        smallest = {
            "n_contexts": 1,
            "n_perturbations": 8,
            "n_genes": 4 * self.n_perturbations,
            "n_cells": self.n_contexts * (_MIN_CONTROLS + _MIN_CELLS * self.n_perturbations),
            "feature_dim": _N_PROGRAMS,
            "seed": 0,
        }
        for name, least in smallest.items():
            if getattr(self, name) < least:
                raise ConfigError(
                    f"simulation: {name} is {getattr(self, name)}; choose at least {least}"
                )
        if self.n_contexts > len(CONTEXTS):
            raise ConfigError(
                f"simulation: n_contexts is {self.n_contexts}; choose at most {len(CONTEXTS)}"
            )


@dataclass(frozen=True)
class SimulatedContext:
    """Hold the cells of one context.

    Attributes
    ----------
    name
        The context.
    counts
        Raw counts, one row a cell, one column a gene; whole numbers as float32.
    obs
        Columns target_gene, cell_type, batch_var; the index holds barcodes.
    effects
        Change of log expression under each perturbation, one row each, its own target left out:
        what nobody knows of a real screen.
    """

    name: str
    counts: csr_matrix
    obs: pd.DataFrame
    effects: Floats


@dataclass(frozen=True)
class SimulatedScreen:
    """Hold a whole simulated screen.

    Attributes
    ----------
    contexts
        The cells.
    genes
        Names of the columns of ``counts``.
    perturbations
        Names of the perturbed targets, each also one of the genes.
    features
        A float32 vector a perturbation and one for the control: the point that the map behind the
        effects sends to no effect.
    held_out
        Perturbations of the last context to hold out, ``val`` and ``test``, weak and strong ones
        alike. The other contexts have them too.
    """

    contexts: tuple[SimulatedContext, ...]
    genes: tuple[str, ...]
    perturbations: tuple[str, ...]
    features: Mapping[str, NDArray[np.float32]]
    held_out: Mapping[str, tuple[str, ...]]


def simulate(settings: SimulationSettings) -> SimulatedScreen:
    """Simulate a screen; the same settings give the same screen."""
    # A stream for each part, so that one part's size doesn't shift another part's numbers.
    panel, drive, split, *streams = (
        np.random.default_rng(seed)
        for seed in np.random.SeedSequence(settings.seed).spawn(3 + settings.n_contexts)
    )
    genes = np.array([f"GENE{number:04d}" for number in range(1, settings.n_genes + 1)])
    baseline = panel.normal(0.0, _BASELINE_SPREAD, settings.n_genes)
    # What is perturbed is expressed: targets are of the upper half.
    expressed = np.argsort(baseline)[settings.n_genes // 2 :]
    targets = np.sort(panel.choice(expressed, settings.n_perturbations, replace=False))
    perturbations = tuple(str(gene) for gene in genes[targets])

    activity = _activity(drive, settings.n_perturbations)
    shared = _loadings(drive, settings.n_genes)
    knockdown = np.log(drive.uniform(0.08, 0.3, settings.n_perturbations))
    contexts = []
    for number, (name, rng) in enumerate(zip(CONTEXTS, streams, strict=False)):
        effects = activity @ (shared + _OWN_SHARE * _loadings(rng, settings.n_genes))
        effects = effects.clip(-_LARGEST_EFFECT, _LARGEST_EFFECT)
        effects[np.arange(len(targets)), targets] = 0.0
        log_change = effects.copy()
        log_change[np.arange(len(targets)), targets] = knockdown
        own = baseline + rng.normal(0.0, _CONTEXT_SPREAD, settings.n_genes)
        # The first cells that don't divide evenly go to the first contexts.
        n_cells = (settings.n_cells + settings.n_contexts - 1 - number) // settings.n_contexts
        labels = _labels(rng, n_cells, settings.n_perturbations)
        batches = rng.integers(0, 3 - number % 2, n_cells)
        contexts.append(
            SimulatedContext(
                name=name,
                counts=_counts(rng, own, log_change, labels, batches),
                obs=_annotate(name, labels, batches, perturbations),
                effects=effects,
            )
        )
    return SimulatedScreen(
        contexts=tuple(contexts),
        genes=tuple(str(gene) for gene in genes),
        perturbations=perturbations,
        features=_features(drive, perturbations, activity, settings.feature_dim),
        held_out=_hold_out(split, perturbations, contexts[-1].effects),
    )


def _activity(rng: np.random.Generator, n_perturbations: int) -> Floats:
    """Draw how far each perturbation moves each program: any direction, strengths down to zero."""
    direction = rng.normal(size=(n_perturbations, _N_PROGRAMS))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    return direction * rng.gamma(1.2, 0.8, (n_perturbations, 1))


def _loadings(rng: np.random.Generator, n_genes: int) -> Floats:
    """Draw programs: each moves few genes, up or down."""
    shape = (_N_PROGRAMS, n_genes)
    return rng.normal(0.0, _EFFECT_SPREAD, shape) * (rng.random(shape) < _GENES_IN_PROGRAM)


def _labels(rng: np.random.Generator, n_cells: int, n_perturbations: int) -> NDArray[np.int64]:
    """Draw the perturbation of each cell, -1 for a control, in the order of the cells."""
    n_controls = max(_MIN_CONTROLS, round(_CONTROL_SHARE * n_cells))
    spare = n_cells - n_controls - _MIN_CELLS * n_perturbations
    # Guides are not equally good: some perturbations end up with several times others' cells.
    popularity = rng.lognormal(0.0, 0.35, n_perturbations)
    n_each = _MIN_CELLS + rng.multinomial(spare, popularity / popularity.sum())
    labels = np.concatenate(
        [np.full(n_controls, -1), np.repeat(np.arange(n_perturbations), n_each)]
    )
    return rng.permutation(labels)


def _counts(
    rng: np.random.Generator,
    baseline: Floats,
    log_change: Floats,
    labels: NDArray[np.int64],
    batches: NDArray[np.int64],
) -> csr_matrix:
    """Draw counts of cells, from each one's perturbation (-1: control) and technical batch.

    ``baseline`` is the log expression of each gene, up to a constant; ``log_change`` is its change
    under each perturbation, one row each.
    """
    n_cells, n_genes = len(labels), len(baseline)
    n_batches = int(batches.max()) + 1
    batch_shift = rng.normal(0.0, _BATCH_SPREAD, (n_batches, n_genes))
    batch_depth = rng.normal(0.0, 0.2, n_batches)
    state = rng.normal(0.0, _STATE_SPREAD, n_genes) * (rng.random(n_genes) < 0.1)
    changed = (labels >= 0) & (rng.random(n_cells) >= _ESCAPING_CELLS)

    log_share = baseline + batch_shift[batches] + rng.normal(size=(n_cells, 1)) * state
    log_share[changed] += log_change[labels[changed]]
    share = np.exp(log_share)
    share /= share.sum(axis=1, keepdims=True)
    depth = (
        _COUNTS_PER_GENE
        * n_genes
        * np.exp(batch_depth[batches] + rng.normal(0.0, _DEPTH_SPREAD, n_cells))
    )
    # A Poisson of a gamma is a negative binomial.
    rate = depth[:, None] * share * rng.gamma(1 / _DISPERSION, _DISPERSION, share.shape)
    return csr_matrix(rng.poisson(rate).astype(np.float32))


def _annotate(
    context: str,
    labels: NDArray[np.int64],
    batches: NDArray[np.int64],
    perturbations: tuple[str, ...],
) -> pd.DataFrame:
    """Make the obs table of one context."""
    names = np.array([*perturbations, CONTROL])  # -1 is the last
    lanes = np.array([f"{context}_batch{number}" for number in range(1, int(batches.max()) + 2)])
    obs = pd.DataFrame(
        {"target_gene": names[labels], "cell_type": context, "batch_var": lanes[batches]},
        index=[f"{context}-{number:06d}" for number in range(len(labels))],
    )
    return obs.astype("category")


def _features(
    rng: np.random.Generator, perturbations: tuple[str, ...], activity: Floats, feature_dim: int
) -> dict[str, NDArray[np.float32]]:
    """Embed what drives the effects in longer vectors, as a protein's vector might hold it."""
    offset = rng.normal(size=feature_dim)
    embedding = rng.normal(size=(_N_PROGRAMS, feature_dim)) / np.sqrt(_N_PROGRAMS)
    noise = rng.normal(0.0, _FEATURE_NOISE, (len(activity), feature_dim))
    vectors = (offset + activity @ embedding + noise).astype(np.float32)
    return dict(zip(perturbations, vectors, strict=True)) | {CONTROL: offset.astype(np.float32)}


def _hold_out(
    rng: np.random.Generator, perturbations: tuple[str, ...], effects: Floats
) -> dict[str, tuple[str, ...]]:
    """Hold out one perturbation of each stratum of effect strength, and validate on every third.

    Only strong effects would flatter every model; only weak ones would tell them apart by noise.
    """
    n_val = round(_VAL_SHARE * len(perturbations))
    n_held = n_val + round(_TEST_SHARE * len(perturbations))
    by_strength = np.argsort(np.linalg.norm(effects, axis=1))
    chosen = [int(rng.choice(stratum)) for stratum in np.array_split(by_strength, n_held)]
    # One validation perturbation of each run of neighbours, so that both lists span the range.
    val = {int(rng.choice(block)) for block in np.array_split(chosen, n_val)}
    return {
        "val": tuple(perturbations[one] for one in sorted(val)),
        "test": tuple(perturbations[one] for one in sorted(set(chosen) - val)),
    }
