"""Find what is odd about the labels of cells: look-alikes, missing controls, confounding."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd

from workflow_scripts.settings.findings import Finding, listing
from workflow_scripts.settings.labels import canonical, control_names

CHANCE = 0.01
"""A perturbation is called confined to one batch where that had less than this chance."""


def audit_labels(labels: Sequence[str]) -> list[Finding]:
    """Find labels that a person would read as one, and that the workflow would not."""
    findings = []
    alike: dict[str, list[str]] = {}
    for label in labels:
        alike.setdefault(_without_blanks(label).casefold(), []).append(label)
    for same in alike.values():
        if len(same) > 1:
            names = listing(repr(label) for label in same)
            blank = len(set(map(_without_blanks, same))) < len(same)
            findings.append(
                Finding(
                    "error" if blank else "warning",
                    "labels-alike",
                    f"perturbations that differ only by {'blanks' if blank else 'case'}: {names}; "
                    "make them one, or one of them trains when the other is held out",
                    tuple(same),
                )
            )
    return findings


def _without_blanks(label: str) -> str:
    """Return a label without blanks around it and around a plus, whose sides are sorted."""
    return "+".join(sorted(re.split(r"\s*\+\s*", label.strip())))


def audit_spellings(written: Iterable[str], control: str, where: str = "") -> list[Finding]:
    """Say which labels are read under another name, and which of them are one perturbation."""
    spelled: dict[str, list[str]] = {}
    for label in sorted(written):
        spelled.setdefault(canonical(label, control), []).append(label)
    read = {name: labels for name, labels in spelled.items() if labels != [name]}
    if not read:
        return []
    several = sum(len(labels) > 1 for labels in read.values())
    text = (
        f"{where}{sum(map(len, read.values()))} labels name {len(read)} perturbations, since "
        "neither the order of a combination's parts nor controls among them matter: "
        + listing(f"{', '.join(labels)} (read as {name})" for name, labels in read.items())
    )
    return [Finding("warning" if several else "note", "spellings", text, tuple(read))]


def audit_left_out(groups: pd.DataFrame, control: str) -> list[Finding]:
    """Say how many cells of each file are left out, since their labels name no perturbation."""
    findings = []
    for file, here in groups.groupby("file"):
        sizes = here.groupby("perturbation")["n_cells"].sum()
        text = (
            f"{file}: {sizes.sum()} cells are left out, since their labels name no perturbation: "
            f"{listing((f'{name} ({n})' for name, n in sizes.items()), 8)}. Controls must be "
            f"labelled {control!r} (data.kwargs.control_pert); rename a label that is a "
            "perturbation"
        )
        findings.append(Finding("warning", "no-perturbation", text, tuple(sizes.index)))
    return findings


def audit_controls(groups: pd.DataFrame, control: str) -> list[Finding]:
    """Find contexts without controls, and a control label that no cell has."""
    labels = sorted(groups["perturbation"].unique())
    if control not in labels:
        hint = _near(control, labels) or f" (there are {listing(labels, 8)})"
        text = f"no cell is labelled {control!r}, the control{hint}; set data.kwargs.control_pert"
        return [Finding("error", "no-control", text)]
    findings = []
    for (dataset, label, context), here in groups.groupby(["dataset", "file", "context"]):
        if not here["is_control"].any():
            hint = _near(control, sorted(here["perturbation"]))
            text = (
                f"{label}: context {context!r} (dataset {dataset}) has no cell labelled "
                f"{control!r}{hint}; every context needs controls in its own file"
            )
            findings.append(Finding("error", "no-control-in-context", text, (str(context),)))
    return findings


def _near(control: str, labels: Sequence[str]) -> str:
    """Name the labels that may be the control, in parentheses; nothing where none may."""
    near = difflib.get_close_matches(control, labels, n=3, cutoff=0.4)
    close = list(dict.fromkeys([*control_names(labels), *near]))[:3]
    return f" (near it: {', '.join(close)})" if close else ""


def audit_contexts(groups: pd.DataFrame) -> list[Finding]:
    """Point out contexts that stand in several files of a dataset: public screens have that."""
    files: dict[Any, Any] = groups.groupby(["dataset", "context"])["file"].unique().to_dict()
    return [
        Finding(
            "note",
            "context-in-two-files",
            f"context {context!r} of dataset {dataset} stands in {len(found)} files "
            f"({listing(sorted(found), 5)}); its cells are split together, and each file's with "
            "its own controls",
            (str(context),),
        )
        for (dataset, context), found in files.items()
        if len(found) > 1
    ]


def audit_batches(counts: pd.DataFrame, control: str, path: str) -> list[Finding]:
    """Find perturbations confined to one technical batch, and batches without controls.

    Parameters
    ----------
    counts
        Cells of one file by context, perturbation and batch: those columns and ``n_cells``.
    control
        The control's label.
    path
        The file, for messages.
    """
    findings = []
    for context, here in counts.groupby("context", observed=True):
        batches = set(here["batch"])
        if len(batches) < 2:
            continue
        where = f"{path}: context {context!r}: "
        bare = sorted(batches - set(here.loc[here["perturbation"] == control, "batch"]))
        if bare and len(bare) < len(batches):
            findings.append(
                Finding(
                    "warning",
                    "batch-without-controls",
                    f"{where}{len(bare)} of {len(batches)} technical batches have no controls: "
                    f"{listing(bare, 8)}; their cells are compared with controls of other batches, "
                    "so that an effect of the batch looks like one of the perturbation",
                    tuple(bare),
                )
            )
        perturbed = here[here["perturbation"] != control]
        by_name = perturbed.groupby("perturbation", observed=True)
        sizes, spread = by_name["n_cells"].sum(), by_name["batch"].nunique()
        unlikely = len(batches) ** (1.0 - sizes) < CHANCE
        confined = sorted(sizes.index[(spread == 1) & unlikely])
        if confined:
            batch_of = by_name["batch"].first()
            alone = [name for name in confined if batch_of[name] in bare]
            findings.append(
                Finding(
                    "warning" if alone else "note",
                    "confined-to-a-batch",
                    f"{where}{len(confined)} of {len(sizes)} perturbations stand in one technical "
                    f"batch alone: {listing((f'{n} ({batch_of[n]})' for n in confined), 8)}; "
                    + (
                        f"{len(alone)} of those batches' perturbations have no control beside them"
                        if alone
                        else "compare them with controls of the same batch: "
                        "data.kwargs.basal_mapping_strategy=batch"
                    ),
                    tuple(confined),
                )
            )
    return findings
