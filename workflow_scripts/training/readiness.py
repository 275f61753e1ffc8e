"""What only shows where cells, splits and features meet: groups that sets outgrow, idle vectors."""

from __future__ import annotations

from typing import Any

import pandas as pd

from workflow_scripts.features.summary import coverage
from workflow_scripts.settings.findings import Finding, listing


def split_coverage(splits: pd.DataFrame, features: dict[str, Any]) -> dict[str, dict[str, int]]:
    """Count the perturbations with a vector of their own in each split.

    Parameters
    ----------
    splits
        One row a group, with its split.
    features
        The audit of the features.
    """
    used = splits[splits["split"].isin(["train", "val", "test"])]
    return coverage(used, "split", features["control"]["label"], features["missing"])


def cross_check(splits: pd.DataFrame, features: dict[str, Any], set_size: int) -> list[Finding]:
    """Find what neither audit could see alone.

    Parameters
    ----------
    splits
        One row a group of cells: columns perturbation, context, split, n_cells.
    features
        The audit of the features.
    set_size
        Cells of a set.
    """
    findings = []
    used = splits[splits["split"] != "dropped"]
    small = used[used["n_cells"] < set_size]
    perturbed = small[small["split"] != "control"]
    if len(perturbed):
        names = _groups(perturbed)
        findings.append(
            Finding(
                "note",
                "small-groups",
                f"{len(names)} of {(used['split'] != 'control').sum()} groups of perturbed cells "
                f"have fewer cells than a set ({set_size}, model.kwargs.cell_set_len); their sets "
                f"repeat cells: {listing(names, 8)}",
                tuple(names),
            )
        )
    controls = small[small["split"] == "control"]
    if len(controls):
        names = _groups(controls)
        findings.append(
            Finding(
                "note",
                "few-controls",
                f"fewer controls than a set has cells ({set_size}); sets repeat them: "
                f"{listing(names, 8)}",
                tuple(names),
            )
        )
    trained = set(used.loc[used["split"] == "train", "perturbation"])
    tested = set(used.loc[used["split"] == "test", "perturbation"])
    if not features["files"] and (untrained := sorted(tested - trained)):
        findings.append(
            Finding(
                "warning",
                "one-hot-untrained",
                f"perturbations are one-hot, and {len(untrained)} of the {len(tested)} that are "
                f"tested never train: nothing is learned of them: {listing(untrained, 8)}; give "
                "them features (data.kwargs.perturbation_features_file), or hold them out in some "
                "contexts alone",
                tuple(untrained),
            )
        )
    return findings


def _groups(table: pd.DataFrame) -> list[str]:
    return [
        f"{context}/{perturbation} ({n_cells})"
        for context, perturbation, n_cells in zip(
            table["context"], table["perturbation"], table["n_cells"], strict=True
        )
    ]
