"""Check perturbation features against the perturbations of the data, and make them canonical."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import safetensors.numpy
from jaxtyping import Float32

from workflow_scripts.features.assignment import (
    Assignment,
    Policies,
    assign_vectors,
    wanted_names,
)
from workflow_scripts.features.checks import OUTLYING_NORM, check_entries
from workflow_scripts.features.reading import read_entries
from workflow_scripts.features.summary import coverage, summarise
from workflow_scripts.settings.errors import DataError
from workflow_scripts.settings.findings import Finding
from workflow_scripts.settings.finished import file_digest
from workflow_scripts.settings.slices import Slice


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
    """

    sources: tuple[Path, ...] = ()
    policies: Policies = field(default_factory=Policies)
    stand_in: bool = False

    @classmethod
    def from_slice(cls, settings: Slice) -> FeatureSettings:
        """Take the settings out of the features slice."""
        source = settings["data.kwargs.perturbation_features_file"]
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
    groups: pd.DataFrame, control: str, settings: FeatureSettings
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
    """
    names = tuple(sorted({*groups["perturbation"], control}))
    if not settings.sources:
        features = Features(names, np.eye(len(names), dtype=np.float32))
        return FeatureAudit(features, _report(features, groups, control, settings, [], [], []))
    parts, files, findings = [], [], []
    for source in dict.fromkeys(settings.sources):
        part, file, found = _serve(source, names, control, settings.policies)
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
    source: Path, names: Sequence[str], control: str, policies: Policies
) -> tuple[Assignment, dict[str, Any], list[Finding]]:
    """Take from one file what it has for the data's perturbations."""
    file: dict[str, Any] = {
        "file": str(source),
        "sha256": file_digest(source) if source.is_file() else None,
        "n_vectors": 0,
        "n_unused": 0,
        "dimension": 0,
        "norm_median": None,
    }
    try:
        entries = read_entries(source)
    except DataError as error:
        return Assignment(), file, [Finding("error", "features-unreadable", str(error))]
    wanted = wanted_names(names, control, policies)
    check = check_entries(entries, source, wanted, control)
    part = assign_vectors(names, control, policies, check) if entries else Assignment()
    vectors = list(check.vectors.values())
    used = [np.linalg.norm(vector) for label, vector in part.vectors.items() if label != control]
    file |= {
        "n_vectors": check.n_entries,
        "n_unused": sum(name not in wanted for name in check.vectors),
        "dimension": len(vectors[0]) if vectors else 0,
        "norm_median": float(np.median(used)) if used else None,
    }
    return part, file, [*check.findings, *part.findings]


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
    drawn = features if settings.sources else Features((), features.matrix[:0])
    return {
        "files": list(files),
        "n_vectors": len(features.names),
        "dimension": int(features.matrix.shape[1]),
        "control": {
            "policy": settings.policies.control if settings.sources else "one-hot",
            "label": control,
        },
        "missing": missing,
        "made": {name: "; ".join(how) for name, how in sorted(made.items())},
        "coverage": coverage(groups, "context", control, missing),
        **summarise(drawn.names, drawn.matrix, control),
        "stand_in": settings.stand_in,
        "findings": [finding.to_dict() for finding in findings],
    }
