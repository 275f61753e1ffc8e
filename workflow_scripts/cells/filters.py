"""Groups of perturbed cells that are left out: too few cells, or a target that wasn't hit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from workflow_scripts.settings.findings import Finding, listing

_PLACE = ["dataset", "context", "perturbation"]


@dataclass(frozen=True)
class FilterSettings:
    """Which groups stay.

    Attributes
    ----------
    least_cells
        Cells that a perturbation must have in a context.
    least_knockdown
        Share of its expression that every measured target of a perturbation must have lost in the
        group's cells; None is no limit.
    """

    least_cells: int = 1
    least_knockdown: float | None = None


def find_filtered(
    groups: pd.DataFrame, settings: FilterSettings, knockdowns: Sequence[Mapping[str, Any]]
) -> tuple[pd.Series, list[Finding]]:
    """Return which groups are left out, as a mask beside ``groups``, and a note of each kind.

    Parameters
    ----------
    groups
        One row a group of cells, controls among them, which always stay.
    settings
        Which stay.
    knockdowns
        log2 fold changes of targets, by dataset, file, context and perturbation.
    """
    perturbed = ~groups["is_control"].astype(bool)
    findings = []
    sizes = groups.groupby(_PLACE, observed=True)["n_cells"].transform("sum")
    few = perturbed & (sizes < settings.least_cells)
    if few.any():
        text = f"fewer than {settings.least_cells} cells (splits.least_cells)"
        findings.append(_note("too-few-cells", text, groups[few]))
    weak = pd.Series(False, index=groups.index)
    if settings.least_knockdown is not None and knockdowns:
        lost = pd.DataFrame(knockdowns)
        lost["share"] = 1.0 - 2.0 ** lost["log2_fold_change"]
        least = lost.groupby([*_PLACE, "file"])["share"].min()
        keys = pd.MultiIndex.from_frame(groups[[*_PLACE, "file"]].astype(str))
        share = pd.Series(least.reindex(keys).to_numpy(), index=groups.index)
        weak = perturbed & (share < settings.least_knockdown)
        if weak.any():
            text = f"a knockdown below {settings.least_knockdown:g} (splits.least_knockdown)"
            findings.append(_note("weak-knockdown", text, groups[weak]))
    return few | weak, findings


def _note(code: str, why: str, groups: pd.DataFrame) -> Finding:
    names = [
        f"{context}/{perturbation}"
        for context, perturbation in zip(groups["context"], groups["perturbation"], strict=True)
    ]
    text = (
        f"{len(names)} groups of {int(groups['n_cells'].sum())} cells are left out, with {why}: "
        f"{listing(names, 8)}"
    )
    return Finding("note", code, text, tuple(names))
