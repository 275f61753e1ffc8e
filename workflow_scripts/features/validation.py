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

from workflow_scripts.features.assignment import (
    Assignment,
    Policies,
    assign_vectors,
    wanted_names,
)
from workflow_scripts.features.checks import OUTLYING_NORM, FileCheck, check_entries
from workflow_scripts.features.reading import read_entries
from workflow_scripts.features.summary import coverage, summarise
from workflow_scripts.settings.errors import DataError
from workflow_scripts.settings.findings import Finding
from workflow_scripts.settings.finished import file_digest
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
        return cls(
            tuple(map(Path, paths)),
            Policies(
                settings["features.control"],
                settings["features.missing"],
                settings["features.combinations"],
                dict(settings["features.aliases"]),
            ),
            bool(settings["features.stand_in"]),
            embedding,
        )


@dataclass(frozen=True)
class Features:
    """Vectors of the perturbations of a run.

    Attributes
    ----------
    names
        Sorted labels of the data, the control among them.
    matrix
        Their vectors [names, dimension].
    """

    names: tuple[str, ...]
    matrix: Float32[np.ndarray, "names dimension"]


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
    """
    names = tuple(sorted({*groups["perturbation"], control}))
    if not settings.sources and embedded is None:
        features = Features(names, np.eye(len(names), dtype=np.float32))
        return FeatureAudit(features, _report(features, groups, control, settings, [], [], []))
    parts, files, findings = [], [], []
    for source in dict.fromkeys(settings.sources or [None]):
        part, file, found = _serve(source, embedded, names, control, settings.policies)
        parts.append(part)
        files.append(file)
        findings.extend(found)
    if any(finding.severity == "error" for finding in findings):
        features = Features((), np.zeros((0, 0), dtype=np.float32))
    else:
        rows = [np.concatenate([part.vectors[name] for part in parts]) for name in names]
        features = Features(names, np.stack(rows).astype(np.float32))
    findings.extend(_unequal_scales(files))
    report = _report(features, groups, control, settings, parts, files, findings)
    return FeatureAudit(features, report)


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
    try:
        entries = [] if source is None else read_entries(source)
    except DataError as error:
        return Assignment(), file, [Finding("error", "features-unreadable", str(error))]
    check = FileCheck(Path(file["file"]))
    if source is not None:
        file["sha256"] = file_digest(source)
        check = check_entries(entries, source, wanted, control)
    added = set() if embedded is None else _add_embedded(check, embedded)
    part = assign_vectors(names, control, policies, check) if check.n_entries else Assignment()
    if source is not None:
        part.made |= dict.fromkeys(added & part.vectors.keys(), f"embedded by {made_by}")
    vectors = list(check.vectors.values())
    used = [np.linalg.norm(vector) for label, vector in part.vectors.items() if label != control]
    file |= {
        "n_vectors": check.n_entries,
        "n_unused": sum(name not in wanted for name in check.vectors),
        "dimension": len(vectors[0]) if vectors else 0,
        "norm_median": float(np.median(used)) if used else None,
    }
    return part, file, [*check.findings, *part.findings]


def _add_embedded(check: FileCheck, embedded: Embedded) -> set[str]:
    """Put embedded vectors beside those of the file, which win; return the names it lacked."""
    new = {name: v for name, v in embedded.vectors.items() if name not in check.vectors}
    if problem := embedded.facts.get("problem"):
        check.findings.append(Finding("error", "features-embedding", str(problem)))
    lengths = {len(vector) for vector in check.vectors.values()}
    other = {len(vector) for vector in new.values()} - lengths
    if lengths and other:
        check.found(
            "error",
            "features-lengths",
            sorted(new),
            f"its vectors have {lengths.pop()} values, those that {embedded.facts['model']} gives "
            f"have {other.pop()}",
            "embed with the model that made the file (features.embedding.model)",
        )
    check.vectors |= new
    check.faulty -= new.keys()
    check.n_entries += len(new)
    return set(new)


def write_features(features: Features, path: Path) -> None:
    """Write features as safetensors: one tensor a perturbation, sorted by name."""
    tensors = {
        name: np.ascontiguousarray(vector)
        for name, vector in zip(features.names, features.matrix, strict=True)
    }
    safetensors.numpy.save_file(tensors, path)


def load_features(path: Path) -> Features:
    """Read features as `write_features` wrote them."""
    tensors = safetensors.numpy.load_file(path)
    names = tuple(sorted(tensors))
    if not names:
        raise DataError(f"{path}: holds no vectors; see features_audit.json beside it")
    return Features(names, np.stack([tensors[name] for name in names]).astype(np.float32))


def _unequal_scales(files: Sequence[dict[str, Any]]) -> list[Finding]:
    """Warn of files whose vectors are so much longer that the others hardly count."""
    norms = {file["file"]: file["norm_median"] for file in files if file.get("norm_median")}
    if len(norms) < 2 or max(norms.values()) <= OUTLYING_NORM * min(norms.values()):
        return []
    lengths = ", ".join(f"{name} {norm:.3g}" for name, norm in norms.items())
    return [
        Finding(
            "warning",
            "features-scale",
            f"the feature files differ in scale (median norms: {lengths}); the encoder will hear "
            "the longest alone: scale them alike before they are concatenated",
        )
    ]


def _report(
    features: Features,
    groups: pd.DataFrame,
    control: str,
    settings: FeatureSettings,
    parts: Sequence[Assignment],
    files: Sequence[dict[str, Any]],
    findings: Sequence[Finding],
) -> dict[str, Any]:
    made: dict[str, list[str]] = {}
    for part, file in zip(parts, files, strict=True):
        where = f" in {file['file']}" if len(files) > 1 else ""
        for name, how in part.made.items():
            made.setdefault(name, []).append(f"{how}{where}")
    missing = sorted({name for part in parts for name in part.missing})
    # One-hot vectors have nothing to tell.
    drawn = features if files else Features((), features.matrix[:0])
    return {
        "files": list(files),
        "n_vectors": len(features.names),
        "dimension": int(features.matrix.shape[1]),
        "control": {
            "policy": settings.policies.control if files else "one-hot",
            "label": control,
        },
        "missing": missing,
        "made": {name: "; ".join(how) for name, how in sorted(made.items())},
        "coverage": coverage(groups, "context", control, missing),
        **summarise(drawn.names, drawn.matrix, control),
        "stand_in": settings.stand_in,
        "findings": [finding.to_dict() for finding in findings],
    }
