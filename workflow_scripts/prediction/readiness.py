"""Whether a model that is there already can predict the cells of a run."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from workflow_scripts.cache.digests import file_digest
from workflow_scripts.cells.audited import AuditFiles, read_audit, values_of
from workflow_scripts.cells.gene_choice import read_gene_list
from workflow_scripts.cells.gene_names import audit_genes
from workflow_scripts.cells.values import compare_sums
from workflow_scripts.errors import DataError
from workflow_scripts.models import (
    ModelDescription,
    StateTransitionSettings,
    load_model,
    read_description,
)
from workflow_scripts.models.files import other_splits
from workflow_scripts.settings.choices import (
    CHALLENGES,
    COUNTS,
    EMBED_KEY,
    ENSEMBLE,
    SUBMISSION,
    VALIDATION,
    WRITTEN_GENES,
    given_model,
)
from workflow_scripts.settings.findings import Finding, from_dicts, listing
from workflow_scripts.settings.slices import Slice
from workflow_scripts.settings.suggestions import nearest

NO_COUNTS = (
    "prediction.output is counts, and the cells that are predicted from came as log1p values: how "
    "many counts a cell has is not known; give raw counts, or set prediction.output=log1p"
)


@dataclass(frozen=True)
class Asked:
    """What a run asks a model with, and for.

    Attributes
    ----------
    genes
        Names of the genes that are read, in their order; None where it isn't known yet.
    feature_dim
        Width of the perturbations' features.
    set_size
        Cells a set.
    embedding, embedding_dim
        Name and width of the embedding that is read; None where expression is.
    """

    genes: Sequence[str] | None
    feature_dim: int
    set_size: int
    embedding: str | None
    embedding_dim: int | None


def check_given_model(
    path: str, asked: Asked, splits: str, key: str = "prediction.checkpoint"
) -> list[Finding]:
    """Find what would stop a prediction with a model that the run doesn't train.

    Parameters
    ----------
    path
        Where it lies.
    asked
        What it is asked with.
    splits
        Digest of the run's splits. A model that was trained with others, or doesn't say with which,
        may have seen the test cells: a warning.
    key
        Key of the config that names it.
    """
    place = f"{key}: {path}: "
    try:
        model, description = load_model(path).settings, read_description(path)
    except DataError as error:
        return [Finding("error", "given-model", place + str(error))]
    found = [
        Finding("error", "given-model", place + it) for it in misfits(model, description, asked)
    ]
    return found + other_splits(description, splits, place)


def check_batches(
    known: Collection[str], asked: Collection[str], in_place: str | None
) -> list[Finding]:
    """Find technical batches of the controls that a model was not trained on.

    Parameters
    ----------
    known
        Batches that it encodes.
    asked
        Batches of the controls that are predicted from.
    in_place
        The batch that stands for others; None: none does.
    """
    if in_place is not None and in_place not in known:
        text = (
            f"prediction.unknown_batch: {in_place!r} is no batch that the model is trained on"
            f"{nearest(in_place, sorted(known))}"
        )
        return [Finding("error", "unknown-batch", text)]
    if not (others := sorted(set(asked) - set(known))):
        return []
    text = (
        f"{len(others)} technical batches of the controls aren't trained on: {listing(others, 8)}"
    )
    if in_place is None:
        text += (
            "; set prediction.unknown_batch to the batch that is to stand for them: there are "
            f"{listing(sorted(known), 8)}"
        )
        return [Finding("error", "unknown-batch", text, tuple(others))]
    return [Finding("warning", "unknown-batch", f"{text}; {in_place!r} stands for them")]


def check_models(settings: Slice, given: AuditFiles, read: Sequence[str] | None) -> list[Finding]:
    """Find what would stop a prediction with the models that a run doesn't train.

    Parameters
    ----------
    settings
        Slice of the preflight.
    given
        What the audits wrote.
    read
        Genes that are read; None where they are still chosen.
    """
    embedding_dim = given.of_cells.get("embedding_dim")
    asked = Asked(
        read,
        given.of_features["dimension"],
        settings["model.kwargs.cell_set_len"],
        None if embedding_dim is None else settings[EMBED_KEY],
        embedding_dim,
    )
    models = dict.fromkeys(settings[ENSEMBLE], ENSEMBLE)
    if (model := given_model(settings["prediction.checkpoint"])) is not None:
        models[model] = "prediction.checkpoint"
    splits = file_digest(given.splits)
    return [
        finding
        for path, key in models.items()
        for finding in check_given_model(path, asked, splits, key)
    ]


def check_prediction(
    settings: Slice, given: AuditFiles, read: Sequence[str] | None
) -> list[Finding]:
    """Find what would stop a prediction after hours of training, or what is handed in.

    The parameters are those of `check_models`.
    """
    source = read_audit(given.asked_cells_audit) if given.asked_cells_audit else given.of_cells
    findings = [*_check_amplitude(settings, given), *_check_written(settings, source, read)]
    compared = compare_sums({**given.of_cells["sums"], **source["sums"]}, settings["cells.values"])
    findings += compared if given.asked_cells_audit is not None else []
    for audit in (given.targets_audit, given.target_features_audit):
        if audit is not None:
            findings += from_dicts(read_audit(audit)["findings"])
    trains = given_model(settings["prediction.checkpoint"]) is None
    # Of a model that is there it is unknown.
    if trains and settings.get("model.kwargs.batch_encoder"):
        drawn = given.groups_by_batch
        if given.asked_batches is not None:
            drawn = pd.read_parquet(given.asked_batches)
        controls = drawn["perturbation"].astype(str) == settings["data.kwargs.control_pert"]
        findings += check_batches(
            set(given.groups_by_batch["batch"].astype(str)),
            set(drawn.loc[controls, "batch"].astype(str)),
            settings["prediction.unknown_batch"],
        )
    return findings


def _check_amplitude(settings: Slice, given: AuditFiles) -> list[Finding]:
    validates = (given.groups["split"] == "val").any()
    if settings["prediction.amplitude"] != VALIDATION or validates:
        return []
    text = (
        "prediction.amplitude is validation, and no cells are held out for that; set "
        "splits.validation=from_train, or give a number"
    )
    return [Finding("error", "no-validation", text)]


def _check_written(
    settings: Slice, source: Mapping[str, Any], read: Sequence[str] | None
) -> list[Finding]:
    """Find what is wrong with the values and genes that are to be written."""
    findings = []
    if settings["prediction.output"] == COUNTS and not values_of(source) <= {COUNTS, None}:
        findings.append(Finding("error", "no-counts", NO_COUNTS))
    written = read
    if (path := settings[WRITTEN_GENES]) is not None:
        try:
            written = read_gene_list(path, WRITTEN_GENES)
        except DataError as error:
            return [*findings, Finding("error", "written-genes", str(error))]
        if read is not None and (wrong := audit_genes(written, read, f"{path} ({WRITTEN_GENES})")):
            return [*findings, *wrong]
    challenge = CHALLENGES.get(str(settings[SUBMISSION]))
    if challenge and written is not None and len(written) != challenge.n_genes:
        text = (
            f"{SUBMISSION}: {len(written):,} genes are written, and {challenge.name} scores "
            f"{challenge.n_genes:,}, in the order of its list; name that with {WRITTEN_GENES}"
        )
        findings.append(Finding("warning", "submitted-genes", text))
    return findings


def misfits(
    model: StateTransitionSettings, description: ModelDescription, asked: Asked
) -> list[str]:
    """Say why a model can't predict what a run asks for; an empty list where it can."""
    found = []
    trained_on, read = (
        "expression alone" if name is None else f"the embedding {name}, {width} wide"
        for name, width in (
            (description.embedding, model.input_dim),
            (asked.embedding, asked.embedding_dim),
        )
    )
    if trained_on != read:
        found.append(
            f"trained on {trained_on}, and {read} is read; set data.kwargs.embed_key to what it "
            "was trained on"
        )
    if asked.genes is not None and (wrong := _other_genes(description.gene_names, asked.genes)):
        found.append(wrong)
    if model.pert_dim != asked.feature_dim:
        found.append(
            f"it reads perturbation features of {model.pert_dim} numbers, and those here have "
            f"{asked.feature_dim}; name the feature file that it was trained with "
            "(data.kwargs.perturbation_features_file)"
        )
    if model.cell_set_len != asked.set_size:
        found.append(
            f"trained on sets of {model.cell_set_len} cells, and model.kwargs.cell_set_len is "
            f"{asked.set_size}; set it to {model.cell_set_len}"
        )
    return found


def _other_genes(known: Sequence[str], read: Sequence[str]) -> str | None:
    if not known:
        return (
            "it doesn't say which genes it predicts; import it once more with --genes "
            "(python -m workflow_scripts.import_checkpoint)"
        )
    there = set(read)
    lacking = [gene for gene in known if gene not in there]
    if lacking:
        return (
            f"trained on {len(known)} genes, {len(lacking)} of which are not among the "
            f"{len(read)} that are read: {listing(lacking, 8)}; read them too (genes.select), or "
            "name another model"
        )
    if len(known) == len(read):
        return None  # maybe in another order
    return (
        f"trained on {len(known)} of the {len(read)} genes that are read; choose these with "
        "genes.select=list and genes.file"
    )
