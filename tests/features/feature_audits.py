"""Feature files with sane defaults, and what the audit says of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from workflow_scripts.features.assignment import Policies
from workflow_scripts.features.validation import (
    Embedded,
    FeatureAudit,
    FeatureSettings,
    validate_features,
)

LABELS = ("A", "B", "HLA-A", "control")
VECTORS = {
    "A": torch.tensor([1.0, 0.0, 0.0, 1.0]),
    "B": torch.tensor([0.0, 2.0, 0.0, 0.0]),
    "HLA-A": torch.tensor([0.0, 1.0, 2.0, 0.0]),
    "control": torch.tensor([0.5, 0.5, 0.5, 0.0]),
}


def audit(
    folder: Path,
    content: object = VECTORS,
    labels: Sequence[str] = LABELS,
    embedded: Embedded | None = None,
    **policies: Any,
) -> FeatureAudit:
    torch.save(content, folder / "features.pt")
    return audit_file(folder / "features.pt", labels, embedded, **policies)


def audit_file(
    path: Path, labels: Sequence[str] = LABELS, embedded: Embedded | None = None, **policies: Any
) -> FeatureAudit:
    settings = FeatureSettings((path,), replace(Policies(), **policies))
    return validate_features(groups(labels), "control", settings, embedded)


def groups(labels: Sequence[str]) -> pd.DataFrame:
    return pd.DataFrame({"perturbation": labels, "context": "k562", "n_cells": 10})


def without(*names: str) -> dict[str, torch.Tensor]:
    return {name: vector for name, vector in VECTORS.items() if name not in names}


def found(result: FeatureAudit) -> dict[str, dict[str, Any]]:
    """Give the findings by severity and code; two of one code in one severity are a mistake."""
    findings = result.report["findings"]
    keyed = {f"{f['severity']} {f['code']}": f for f in findings}
    assert len(keyed) == len(findings)
    return keyed


def vector(result: FeatureAudit, name: str) -> np.ndarray:
    return result.features.matrix[result.features.names.index(name)]
