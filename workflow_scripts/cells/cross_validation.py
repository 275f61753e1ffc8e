"""Contexts that are left out whole, one a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from workflow_scripts.cells.run_cells import datasets_of
from workflow_scripts.cells.split_file import SplitFile
from workflow_scripts.errors import ConfigError, DataError
from workflow_scripts.settings.findings import Finding, listing
from workflow_scripts.settings.run import Run
from workflow_scripts.settings.suggestions import nearest

if TYPE_CHECKING:
    import pandas as pd


def leave_out(groups: pd.DataFrame, plan: SplitFile, name: str) -> tuple[SplitFile, list[Finding]]:
    """Turn a split file into one that tests all of one context, and nothing else.

    What the file tests elsewhere trains, so that each run of a cross-validation trains on all
    contexts but its own. What it validates on elsewhere stays.

    Parameters
    ----------
    groups
        One row a group, columns dataset and context among them.
    plan
        The split file.
    name
        ``dataset.context``.
    """
    there = sorted(set(groups["dataset"].astype(str) + "." + groups["context"].astype(str)))
    if name not in there:
        text = f"splits.leave_out: the data has no context {name!r}{nearest(name, there)}"
        return plan, [Finding("error", "unknown-context", text)]
    zeroshot = {
        other: "train" if split == "test" else split for other, split in plan.zeroshot.items()
    }
    fewshot = {
        other: {split: labels for split, labels in lists.items() if split == "val"}
        for other, lists in plan.fewshot.items()
        if other != name
    }
    freed = sorted(
        {other for other, split in plan.zeroshot.items() if split == "test" and other != name}
        | {other for other, lists in plan.fewshot.items() if lists.get("test") and other != name}
    )
    text = f"splits.leave_out tests all perturbations of {name}"
    if freed:
        text += f"; what {plan.path} tests of {listing(freed)} trains"
    changed = replace(plan, zeroshot={**zeroshot, name: "test"}, fewshot=fewshot)
    return changed, [Finding("note", "left-out", text)]


def contexts_to_leave_out(run: Run) -> list[str]:
    """Return ``dataset.context`` of every context of a run that has perturbed cells, sorted.

    Raises
    ------
    ConfigError
        Where a file isn't there or can't be read: runs are planned before anything is made.
    """
    keys = run.config["data"]["kwargs"]
    found = set()
    for dataset, files in datasets_of(run).items():
        for path in files:
            try:
                contexts = _perturbed_contexts(path, keys)
            except (DataError, OSError) as error:
                raise ConfigError(
                    f"{run.run_file}: splits.leave_out=each_context reads the contexts from the "
                    f"data before anything runs: {error}. Name them where the files come later: "
                    "splits.leave_out=dataset.context,dataset.other"
                ) from error
            found |= {f"{dataset}.{context}" for context in contexts}
    if len(found) < 2:
        raise ConfigError(
            f"{run.run_file}: splits.leave_out=each_context needs two contexts, to train on those "
            f"that aren't left out; there is {listing(sorted(found)) or 'none'}"
        )
    return sorted(found)


def _perturbed_contexts(path: str, keys: Mapping[str, Any]) -> set[str]:
    # Every job parses the rules anew, and so reads this again: HDF5 alone opens at once.
    import h5py
    import numpy as np

    column, label, control = keys["cell_type_key"], keys["pert_col"], keys["control_pert"]
    with h5py.File(path, "r") as file:
        obs = file.get("obs")
        parts = [obs.get(name) if isinstance(obs, h5py.Group) else None for name in (column, label)]
        if all(isinstance(part, h5py.Group) and "codes" in part for part in parts):
            names, labels = (
                [_text(value) for value in part["categories"][:]] if part else [] for part in parts
            )
            codes, perturbed = (part["codes"][:] if part else np.empty(0) for part in parts)
            controls = [at for at, text in enumerate(labels) if text == control]
            used = np.unique(codes[~np.isin(perturbed, controls)])
            return {names[code] for code in used if code >= 0}
    return _by_labels(path, column, label, control)


def _by_labels(path: str, column: str, label: str, control: str) -> set[str]:
    from workflow_scripts.cells.annotations import open_h5ad, read_column

    with open_h5ad(path) as file:
        contexts = read_column(file, "data.kwargs.cell_type_key", column)
        perturbed = read_column(file, "data.kwargs.pert_col", label) != control
    return {str(name) for name in contexts[perturbed].unique()}


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
