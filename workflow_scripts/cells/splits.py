"""Which groups of cells train, validate and test."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from workflow_scripts.cells.split_audit import audit_plan, audit_result
from workflow_scripts.settings.findings import Finding, listing
from workflow_scripts.settings.slices import Slice
from workflow_scripts.settings.split_file import SplitFile

SPLIT_COLUMNS = ("dataset", "file", "context", "perturbation", "is_control", "n_cells", "split")


@dataclass(frozen=True)
class SplitSettings:
    """What the split file leaves open.

    Attributes
    ----------
    validation
        from_toml, or from_train: drawn from the training perturbations of each context.
    fraction
        Share of a context's training perturbations that is drawn.
    overlap
        What to do with a perturbation both in val and in test: error or test_wins.
    seed
        Of the draw.
    """

    validation: str
    fraction: float
    overlap: str
    seed: int

    @classmethod
    def from_slice(cls, settings: Slice) -> SplitSettings:
        """Take the settings out of the splits slice."""
        return cls(
            settings["splits.validation"],
            float(settings["splits.validation_fraction"]),
            settings["splits.overlap"],
            int(settings["splits.seed"]),
        )


@dataclass
class Splits:
    """The split of every group, and what was found on the way.

    Attributes
    ----------
    table
        One row a group, columns `SPLIT_COLUMNS`; split is train, val, test, control (shared by
        all) or dropped.
    findings
        Problems and notes.
    """

    table: pd.DataFrame
    findings: list[Finding]


def split_groups(groups: pd.DataFrame, plan: SplitFile, settings: SplitSettings) -> Splits:
    """Give every group of cells its split.

    Controls are shared by all splits. A context named under [zeroshot] goes to its split whole;
    one under [fewshot] trains but for its val and test lists; the others train if their dataset
    is named under [training], and are dropped if it is not.
    """
    findings = audit_plan(groups, plan, settings.overlap)
    table = groups.copy()
    table["split"] = "dropped"
    table.loc[table["dataset"].isin(plan.training), "split"] = "train"
    contexts = table["dataset"].astype(str) + "." + table["context"].astype(str)
    for name, lists in plan.fewshot.items():
        here = contexts == name
        table.loc[here, "split"] = "train"
        for split in ("val", "test"):  # test last: it wins where both name a perturbation
            named = here & table["perturbation"].isin(lists.get(split, ()))
            table.loc[named, "split"] = split
    for name, split in plan.zeroshot.items():
        table.loc[contexts == name, "split"] = split
    table.loc[table["is_control"].astype(bool), "split"] = "control"
    if settings.validation == "from_train" and not (table["split"] == "val").any():
        _draw_validation(table, settings, findings)
    audit_result(table, plan.path, settings.validation, findings)
    if leaked := claims(table)["trained_pairs"]:
        findings.append(
            Finding(
                "warning",
                "tested-and-trained",
                f"{plan.path}: tested in one dataset and trained on in another: {listing(leaked)}; "
                "hold them out in both, or scores on them show nothing",
            )
        )
    return Splits(table[list(SPLIT_COLUMNS)], findings)


def splits_report(splits: Splits, settings: SplitSettings) -> dict[str, Any]:
    """Return the audit of the splits as JSON types: sizes, what is held out, what it allows."""
    table = splits.table
    perturbed = table[table["split"].isin(["train", "val", "test"])]
    by_split = {
        split: {
            "n_cells": int(part["n_cells"].sum()),
            "n_groups": len(part),
            "n_perturbations": int(part["perturbation"].nunique()),
            "contexts": sorted(part["context"].unique()),
        }
        for split in ("train", "val", "test")
        for part in [perturbed[perturbed["split"] == split]]
    }
    contexts = {
        str(context): {
            split: int(part.loc[part["split"] == split, "perturbation"].nunique())
            for split in ("train", "val", "test")
        }
        for context, part in perturbed.groupby("context")
    }
    held_out = {
        split: {
            str(context): sorted(part["perturbation"].unique())
            for context, part in perturbed[perturbed["split"] == split].groupby("context")
        }
        for split in ("val", "test")
    }
    return {
        "splits": by_split,
        "contexts": contexts,
        "held_out": held_out,
        "claims": claims(table),
        "controls": "shared",
        "validation": settings.validation,
        "findings": [finding.to_dict() for finding in splits.findings],
    }


def claims(table: pd.DataFrame) -> dict[str, Any]:
    """Return what a score on the test split can be evidence of.

    A test pair is a perturbation in a context. Its perturbation is unseen when no context trains
    on it, its context when none of the context's perturbed cells trains. A pair that trains too
    (in another dataset, say) is evidence of nothing.
    """
    train, test = (
        {
            (str(context), str(perturbation))
            for context, perturbation in zip(part["context"], part["perturbation"], strict=True)
        }
        for part in (table[table["split"] == "train"], table[table["split"] == "test"])
    )
    trained_contexts = {context for context, _ in train}
    trained_perturbations = {perturbation for _, perturbation in train}
    new_perturbation = {pair for pair in test if pair[1] not in trained_perturbations}
    new_context = {pair for pair in test if pair[0] not in trained_contexts}
    new_combination = test - train - new_perturbation - new_context
    parts = [
        f"{len(pairs)} {words}"
        for pairs, words in (
            (new_perturbation & new_context, "with neither perturbation nor context trained on"),
            (new_perturbation - new_context, "whose perturbation was never trained on"),
            (new_context - new_perturbation, "whose context trains with its controls alone"),
            (
                new_combination,
                "whose perturbation was trained on in other contexts, and whose context with "
                "other perturbations",
            ),
            (test & train, "that were trained on as well, and show nothing"),
        )
        if pairs
    ]
    sentence = (
        f"Of {len(test)} test pairs of a perturbation and a context: {'; '.join(parts)}."
        if test
        else "Nothing is held out for test: no score can be claimed."
    )
    return {
        "unseen_perturbation": bool(test) and new_perturbation == test,
        "unseen_context": bool(test) and new_context == test,
        "trained_pairs": sorted(f"{context}/{name}" for context, name in test & train),
        "sentence": sentence,
    }


def _draw_validation(table: pd.DataFrame, settings: SplitSettings, findings: list[Finding]) -> None:
    """Turn some training perturbations of each context into its validation, by the seed.

    Contexts with held-out test perturbations are drawn from first, since validation should
    resemble test; where there is none (whole contexts are held out), all training contexts are.
    """
    train = table[table["split"] == "train"]
    tested = set(table.loc[table["split"] == "test", "context"])
    chosen = sorted(set(train["context"]) & tested) or sorted(set(train["context"]))
    drawn = []
    for position, context in enumerate(chosen):
        labels = sorted(train.loc[train["context"] == context, "perturbation"].unique())
        generator = np.random.default_rng([settings.seed, position])
        count = min(max(1, round(settings.fraction * len(labels))), len(labels) - 1)
        if count < 1:
            continue
        picked = sorted(generator.choice(labels, size=count, replace=False))
        here = (table["context"] == context) & (table["split"] == "train")
        table.loc[here & table["perturbation"].isin(picked), "split"] = "val"
        drawn.append(f"{context}: {listing(picked)}")
    if drawn:
        findings.append(
            Finding(
                "note",
                "validation-drawn",
                "splits.validation=from_train drew the validation split from the training "
                f"perturbations (seed {settings.seed}): {'; '.join(drawn)}",
            )
        )
