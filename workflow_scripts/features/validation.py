"""Check perturbation features against the perturbations of the data, and make them canonical."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from jaxtyping import Float32

from workflow_scripts.features.reading import read_features
from workflow_scripts.settings.errors import DataError
from workflow_scripts.settings.findings import Finding, listing
from workflow_scripts.settings.finished import file_digest
from workflow_scripts.settings.slices import Slice


@dataclass(frozen=True)
class FeatureSettings:
    """Where features come from.

    Attributes
    ----------
    source
        The feature file; None is one-hot over the sorted names of the data.
    control
        Vector of the control: given (the file holds it), zeros, or mean of the others.
    stand_in
        The vectors are no real features; reports say so.
    """

    source: Path | None
    control: str
    stand_in: bool

    @classmethod
    def from_slice(cls, settings: Slice) -> FeatureSettings:
        """Take the settings out of the features slice."""
        source = settings["data.kwargs.perturbation_features_file"]
        return cls(
            None if source is None else Path(source),
            settings["features.control"],
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
    labels: Sequence[str], control: str, settings: FeatureSettings
) -> FeatureAudit:
    """Give every perturbation of the data its vector; problems become findings.

    Parameters
    ----------
    labels
        Perturbations of the data, with or without the control.
    control
        The control's label.
    settings
        Where the vectors come from.
    """
    names = tuple(sorted({*labels, control}))
    if settings.source is None:
        matrix = np.eye(len(names), dtype=np.float32)
        return FeatureAudit(
            Features(names, matrix), _report(names, matrix, {}, [], control, settings, [])
        )
    try:
        vectors = read_features(settings.source)
    except DataError as error:
        findings = [Finding("error", "features-unreadable", str(error))]
        return _empty(names, control, settings, findings)
    findings = _check_vectors(vectors, settings.source)
    missing = [
        name
        for name in names
        if name not in vectors and (name != control or settings.control == "given")
    ]
    if missing:
        findings.append(_missing_finding(missing, names, vectors, control, settings.source))
    if any(finding.severity == "error" for finding in findings):
        return _empty(names, control, settings, findings, missing)
    if control not in vectors or settings.control != "given":
        perturbed = np.stack([vectors[name] for name in names if name != control])
        vectors[control] = (
            np.zeros_like(perturbed[0]) if settings.control == "zeros" else perturbed.mean(axis=0)
        )
    matrix = np.stack([vectors[name] for name in names])
    report = _report(names, matrix, vectors, missing, control, settings, findings)
    return FeatureAudit(Features(names, matrix), report)


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


def _check_vectors(
    vectors: Mapping[str, Float32[np.ndarray, " dimension"]], source: Path
) -> list[Finding]:
    findings = []
    if not vectors:
        return [Finding("error", "features-empty", f"{source}: holds no vectors")]
    shapes = {name: vector.shape for name, vector in vectors.items()}
    if flat := [name for name, shape in shapes.items() if len(shape) != 1 or shape[0] == 0]:
        findings.append(
            Finding(
                "error",
                "features-shape",
                f"{source}: {len(flat)} entries are not vectors of one dimension: "
                f"{listing((f'{name} {list(shapes[name])}' for name in flat), 8)}",
            )
        )
    usual, _ = Counter(shapes.values()).most_common(1)[0]
    if other := [name for name, shape in shapes.items() if shape != usual and name not in flat]:
        findings.append(
            Finding(
                "error",
                "features-lengths",
                f"{source}: vectors differ in length: most have {list(usual)}, these do not: "
                f"{listing((f'{name} {list(shapes[name])}' for name in other), 8)}; "
                "embed them all with one model",
            )
        )
    if bad := [name for name, vector in vectors.items() if not np.isfinite(vector).all()]:
        findings.append(
            Finding(
                "error",
                "features-not-finite",
                f"{source}: vectors with NaN or infinite values: {listing(bad)}; embed them anew",
            )
        )
    if zero := [name for name, vector in vectors.items() if not vector.any()]:
        findings.append(
            Finding("warning", "features-zero", f"{source}: vectors of zeros: {listing(zero)}")
        )
    return findings


def _missing_finding(
    missing: Sequence[str],
    names: Sequence[str],
    vectors: Mapping[str, object],
    control: str,
    source: Path,
) -> Finding:
    folded = {name.casefold().replace("-", ""): name for name in vectors}
    described = []
    for name in missing:
        near = folded.get(name.casefold().replace("-", "")) or next(
            iter(difflib.get_close_matches(name, vectors, n=1, cutoff=0.85)), None
        )
        described.append(f"{name} (it has {near})" if near else name)
    way = "add their vectors, or remove these perturbations from the data"
    if control in missing:
        way += f"; for the control ({control}) alone, features.control=zeros or mean will do"
    return Finding(
        "error",
        "features-missing",
        f"{source}: no vector for {len(missing)} of the data's {len(names)} perturbations: "
        f"{', '.join(described)}; {way}",
    )


def _empty(
    names: tuple[str, ...],
    control: str,
    settings: FeatureSettings,
    findings: Sequence[Finding],
    missing: Sequence[str] = (),
) -> FeatureAudit:
    matrix = np.zeros((0, 0), dtype=np.float32)
    report = _report(names, matrix, {}, missing, control, settings, findings)
    return FeatureAudit(Features((), matrix), report)


def _report(
    names: Sequence[str],
    matrix: Float32[np.ndarray, "names dimension"],
    vectors: Mapping[str, object],
    missing: Sequence[str],
    control: str,
    settings: FeatureSettings,
    findings: Sequence[Finding],
) -> dict[str, Any]:
    source = settings.source
    norms = np.linalg.norm(matrix, axis=1) if matrix.size else np.zeros(1)
    return {
        "source": None if source is None else str(source),
        "sha256": file_digest(source) if source is not None and source.is_file() else None,
        "n_vectors": len(matrix),
        "dimension": int(matrix.shape[1]),
        "control": {"policy": settings.control if source else "one-hot", "label": control},
        "missing": list(missing),
        "unused": len(set(vectors) - set(names)),
        "norm_min": float(norms.min()),
        "norm_median": float(np.median(norms)),
        "norm_max": float(norms.max()),
        "stand_in": settings.stand_in,
        "findings": [finding.to_dict() for finding in findings],
    }
