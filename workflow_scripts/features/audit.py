"""The audit of the features: what is in the files, what serves the data, and what was found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float32

from workflow_scripts.features.assignment import Assignment, Policies
from workflow_scripts.features.checks import OUTLYING_NORM
from workflow_scripts.features.summary import coverage, summarise
from workflow_scripts.settings.findings import Finding, listing
from workflow_scripts.settings.labels import JOINER


def features_report(
    names: Sequence[str],
    matrix: Float32[np.ndarray, "names dimension"],
    groups: pd.DataFrame,
    control: str,
    policies: Policies,
    parts: Sequence[Assignment],
    files: Sequence[Mapping[str, Any]],
    findings: Sequence[Finding],
) -> dict[str, Any]:
    """Return the audit as JSON types.

    Parameters
    ----------
    names, matrix
        The canonical features; none where an error was found.
    groups
        One row a group of cells: columns ``perturbation``, ``context`` and ``n_cells``.
    control
        The control's label.
    policies
        What became of perturbations without a vector.
    parts, files
        What each file gave, and what is in it; none is one-hot.
    findings
        All that was found.
    """
    made: dict[str, list[str]] = {}
    for part, file in zip(parts, files, strict=True):
        where = f" in {file['file']}" if len(files) > 1 else ""
        for name, how in part.made.items():
            made.setdefault(name, []).append(f"{how}{where}")
    missing = sorted({name for part in parts for name in part.lacking})
    # One-hot vectors have nothing to tell.
    drawn, vectors = (names, matrix) if files else ((), matrix[:0])
    return {
        "files": list(files),
        "n_vectors": len(names),
        "dimension": int(matrix.shape[1]),
        "control": {"policy": policies.control if files else "one-hot", "label": control},
        "missing": missing,
        "made": {name: "; ".join(how) for name, how in sorted(made.items())},
        "coverage": coverage(groups, "context", control, missing),
        **summarise(drawn, vectors, control),
        "findings": [finding.to_dict() for finding in findings],
    }


def unequal_scales(files: Sequence[Mapping[str, Any]]) -> list[Finding]:
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


def repeated_files(
    sources: Sequence[Path | None], files: Sequence[Mapping[str, Any]]
) -> list[Finding]:
    """Warn of a file that is named twice, and of two that hold the same."""
    findings = []
    if twice := [str(source) for source, count in Counter(sources).items() if count > 1]:
        text = f"named more than once in data.kwargs.perturbation_features_file: {listing(twice)}"
        findings.append(Finding("warning", "features-files", f"{text}; each is taken once"))
    same: dict[str, list[str]] = {}
    for file in files:
        if file["sha256"] is not None:
            same.setdefault(file["sha256"], []).append(file["file"])
    for names in same.values():
        if len(names) > 1:
            text = f"the feature files {' and '.join(names)} hold the same, concatenated"
            findings.append(Finding("warning", "features-files", f"{text}; name one of them"))
    return findings


def idle_aliases(policies: Policies, names: Sequence[str]) -> list[Finding]:
    """Note aliases of what the data don't have."""
    there = {part.strip() for name in names for part in name.split(JOINER)}.union(names)
    idle = [label for label in policies.aliases if label not in there]
    if not idle:
        return []
    text = f"features.aliases: no perturbation of the data, nor a part of one: {listing(idle, 8)}"
    return [Finding("note", "features-aliases", text, tuple(idle))]
