"""Check perturbation features against the perturbations of the data, and make them canonical."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import safetensors
import safetensors.numpy
from jaxtyping import Float32

from workflow_scripts.cache.digests import file_digest
from workflow_scripts.errors import ConfigError, DataError
from workflow_scripts.features.assignment import (
    Assignment,
    Policies,
    assign_vectors,
    wanted_names,
)
from workflow_scripts.features.audit import (
    features_report,
    idle_aliases,
    repeated_files,
    unequal_scales,
)
from workflow_scripts.features.checks import check_vectors
from workflow_scripts.features.entries import FileCheck, plain_entries
from workflow_scripts.features.reading import read_entries
from workflow_scripts.features.summary import vector_norm
from workflow_scripts.features.vectors import Features
from workflow_scripts.settings.findings import Finding, has_errors, listing
from workflow_scripts.settings.slices import Slice


@dataclass(frozen=True)
class EmbeddingSettings:
    """How proteins become vectors.

    Attributes
    ----------
    model
        Folder of an ESM2 model, or its name on the hub.
    fasta
        Protein sequences, the gene symbol in the header.
    window
        Residues that the model sees at once.
    precision
        32-true or bf16-true.
    """

    model: str
    fasta: Path
    window: int
    precision: Literal["32-true", "bf16-true"]


@dataclass(frozen=True)
class Embedded:
    """Vectors that `embed_proteins` computed, and how (its own words)."""

    vectors: Mapping[str, Float32[np.ndarray, " dimension"]]
    facts: Mapping[str, Any]

    @classmethod
    def read(cls, path: Path) -> Embedded:
        """Read what `embed_proteins` wrote."""
        with safetensors.safe_open(path, "numpy") as file:
            facts = json.loads(file.metadata()["embedding"])
            return cls({name: file.get_tensor(name) for name in file.keys()}, facts)  # noqa: SIM118


@dataclass(frozen=True)
class FeatureSettings:
    """Where features come from.

    Attributes
    ----------
    sources
        The feature files; the vectors of several are concatenated. None is one-hot over the sorted
        names of the data.
    policies
        What becomes of perturbations without a vector of their own.
    stand_in
        The vectors are no real features; reports say so.
    embedding
        How proteins are embedded; None where no vector is missing or none is embedded.
    """

    sources: tuple[Path, ...] = ()
    policies: Policies = field(default_factory=Policies)
    stand_in: bool = False
    embedding: EmbeddingSettings | None = None

    @classmethod
    def from_slice(cls, settings: Slice) -> FeatureSettings:
        """Take the settings out of the features slice."""
        source = settings["data.kwargs.perturbation_features_file"]
        model, fasta, window, precision = (
            settings[f"features.embedding.{name}"]
            for name in ("model", "fasta", "window", "precision")
        )
        embedding = None
        if settings["features.missing"] == "embed" and model and fasta:
            embedding = EmbeddingSettings(model, Path(fasta), window, precision)
        paths = source if isinstance(source, list) else [] if source is None else [source]
        aliases = dict(settings["features.aliases"])
        for label, name in aliases.items():
            if not (isinstance(label, str) and isinstance(name, str)):
                raise ConfigError(
                    f"features.aliases: {label!r} is {name!r}; both must be text. Write them in "
                    "quotes where they look like a number, and a label with a dot as features: "
                    '{aliases: {"NKX2.5": NKX2-5}} in the run file'
                )
        return cls(
            tuple(map(Path, paths)),
            Policies(
                settings["features.control"],
                settings["features.missing"],
                settings["features.combinations"],
                aliases,
            ),
            bool(settings["features.stand_in"]),
            embedding,
        )


@dataclass(frozen=True)
class FeatureAudit:
    """The usable features, and the report of what was found (JSON types)."""

    features: Features
    report: dict[str, Any]


def validate_features(
    groups: pd.DataFrame,
    control: str,
    settings: FeatureSettings,
    embedded: Embedded | None = None,
    one_hot: Features | None = None,
) -> FeatureAudit:
    """Give every perturbation of the data its vector; problems become findings.

    Parameters
    ----------
    groups
        One row a group of cells: columns ``perturbation``, ``context`` and ``n_cells``.
    control
        The control's label.
    settings
        Where the vectors come from.
    embedded
        Vectors for what the feature file lacks; without a feature file they are all there is.
    one_hot
        The features that a run trains with: without a feature file, of which one-hot vectors the
        perturbations get theirs. None: of those over their own names.
    """
    names = tuple(sorted({*groups["perturbation"], control}))
    policies = settings.policies.with_canonical_names(control)
    parts: list[Assignment] = []
    files: list[dict[str, Any]] = []
    findings: list[Finding] = []
    if settings.sources or embedded is not None:
        sources = settings.sources or (None,)
        for source in dict.fromkeys(sources):
            part, file, found = _serve(source, embedded, names, control, policies)
            parts.append(part)
            files.append(file)
            findings.extend(found)
        findings.extend(repeated_files(sources, files))
        findings.extend(unequal_scales(files))
        findings.extend(idle_aliases(policies, names))
    if not parts:
        known = one_hot or Features(names, np.eye(len(names), dtype=np.float32))
        findings.extend(_without_one_hot(names, known))
        asked = set(names)
        places = [at for at, name in enumerate(known.names) if name in asked]
        features = Features(tuple(known.names[at] for at in places), known.matrix[places])
    elif has_errors(findings):
        features = Features((), np.zeros((0, 0), dtype=np.float32))
    else:
        rows = [np.concatenate([part.vectors[name] for part in parts]) for name in names]
        features = Features(names, np.stack(rows).astype(np.float32, copy=False))
    report = features_report(
        features.names, features.matrix, groups, control, policies, parts, files, findings
    )
    return FeatureAudit(features, {**report, "stand_in": settings.stand_in})


def _without_one_hot(names: Sequence[str], known: Features) -> list[Finding]:
    there = set(known.names)
    if not (lacking := [name for name in names if name not in there]):
        return []
    text = (
        f"{len(lacking)} perturbations to predict are none of the run's, and one-hot features "
        f"can't describe others: {listing(lacking, 8)}; train with a feature file that has them "
        "(data.kwargs.perturbation_features_file), or take them out"
    )
    return [Finding("error", "one-hot-unknown", text, tuple(lacking))]


def _serve(
    source: Path | None,
    embedded: Embedded | None,
    names: Sequence[str],
    control: str,
    policies: Policies,
) -> tuple[Assignment, dict[str, Any], list[Finding]]:
    """Take from one file, and from what was embedded, what they have for the perturbations."""
    made_by = "" if embedded is None else str(embedded.facts["model"])
    file: dict[str, Any] = {
        "file": f"embedded by {made_by}" if source is None else str(source),
        "sha256": None,
        "n_vectors": 0,
        "n_unused": 0,
        "dimension": 0,
        "norm_median": None,
    }
    wanted = wanted_names(names, control, policies)
    check = FileCheck(Path(file["file"]), wanted)
    if source is not None:
        try:
            entries = read_entries(source)
        except DataError as error:
            return Assignment(), file, [Finding("error", "features-unreadable", str(error))]
        file["sha256"] = file_digest(source)
        check = plain_entries(entries, source, wanted, control)
    if embedded is not None:
        _add_embedded(check, embedded, alone=source is None)
    check_vectors(check, control)
    # Of a file with nothing to use its own findings say enough.
    idle = check.failed and not check.vectors
    part = Assignment() if idle else assign_vectors(names, control, policies, check)
    used = [vector_norm(vector) for label, vector in part.vectors.items() if label != control]
    file |= {
        "n_vectors": check.n_entries,
        "n_unused": sum(name not in wanted for name in check.vectors),
        "dimension": len(next(iter(check.vectors.values()), ())),
        "norm_median": float(np.median(used)) if used else None,
    }
    return part, file, [*check.findings, *part.findings]


def _add_embedded(check: FileCheck, embedded: Embedded, *, alone: bool) -> None:
    """Put embedded vectors beside those of the file, which win."""
    model, facts = embedded.facts["model"], embedded.facts
    if problem := facts.get("problem"):
        check.findings.append(Finding("error", "features-embedding", str(problem)))
    check.elsewhere = facts.get("likely", {})
    new = {name: v for name, v in embedded.vectors.items() if name not in check.vectors}
    lengths = {len(vector) for vector in check.vectors.values()}
    other = {len(vector) for vector in new.values()} - lengths
    if lengths and other:
        check.found(
            "error",
            "features-lengths",
            {name: name for name in sorted(new)},
            f"its vectors have {lengths.pop()} values, those that {model} gives have {other.pop()}",
            "; embed with the model that made the file (features.embedding.model)",
        )
        check.faulty |= new.keys()
        return
    check.vectors |= new
    check.faulty -= new.keys()
    check.n_entries += len(new)
    if not alone:
        check.origins = dict.fromkeys(new, f"embedded by {model}")
    if replaced := [gene for gene in facts.get("replaced", ()) if gene in new]:
        what = "letters that the protein model does not know were read as X in the proteins of"
        check.found("note", "features-embedding", {gene: gene for gene in replaced}, what)
