"""Held-out perturbations that are drawn in place of being named, and written down as they fell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import tomli_w

from workflow_scripts.cells.split_file import SplitFile
from workflow_scripts.settings.findings import Finding, listing
from workflow_scripts.settings.suggestions import nearest


@dataclass(frozen=True)
class MakeSettings:
    """What to draw.

    Attributes
    ----------
    contexts
        ``dataset.context`` of those whose perturbations are drawn from; empty: nothing is drawn.
    test, validation
        Shares of a context's perturbations.
    """

    contexts: tuple[str, ...] = ()
    test: float = 0.3
    validation: float = 0.1


def make_split(
    groups: pd.DataFrame, plan: SplitFile, settings: MakeSettings, seed: int
) -> tuple[SplitFile, list[Finding]]:
    """Add a draw of test and validation perturbations to a split file.

    Each context is drawn from by itself, keyed by its name, so that asking for another one changes
    nothing in it.
    """
    there = sorted(set(_contexts(groups)))
    findings = []
    fewshot: dict[str, Mapping[str, tuple[str, ...]]] = dict(plan.fewshot)
    for name in settings.contexts:
        if name not in there:
            text = f"splits.make.contexts: the data has no context {name!r}{nearest(name, there)}"
            findings.append(Finding("error", "unknown-context", text))
        elif name in plan.zeroshot or name in plan.fewshot:
            text = (
                f"splits.make.contexts names {name!r}, and {plan.path} holds out some of it as "
                "well; take it out of one of them"
            )
            findings.append(Finding("error", "made-and-named", text))
        else:
            labels = _by_size(groups[_contexts(groups) == name])
            generator = np.random.default_rng([seed, *name.encode()])
            test = draw_alike(labels, settings.test, generator)
            rest = [label for label in labels if label not in test]
            validation = draw_alike(rest, settings.validation * len(labels) / len(rest), generator)
            fewshot[name] = {"val": tuple(validation), "test": tuple(test)}
            text = (
                f"splits.make drew from {name} (seed {seed}): {len(test)} of its {len(labels)} "
                f"perturbations for test, {len(validation)} for validation; splits.toml in the "
                "run's folder has their names"
            )
            findings.append(Finding("note", "split-made", text, (*test, *validation)))
    return replace(plan, fewshot=fewshot), findings


def draw_validation(table: pd.DataFrame, fraction: float, seed: int) -> list[Finding]:
    """Turn some training perturbations of each context into its validation, in place.

    Contexts with held-out test perturbations are drawn from first, since validation should
    resemble test; where there is none (whole contexts are held out), all training contexts are.

    Parameters
    ----------
    table
        Groups with their split, changed here.
    fraction
        Share of a context's training perturbations.
    seed
        Of the draw.
    """
    perturbed = ~table["is_control"].astype(bool)
    train = table[perturbed & (table["split"] == "train")]
    tested = set(table.loc[perturbed & (table["split"] == "test"), "context"])
    chosen = sorted(set(train["context"]) & tested) or sorted(set(train["context"]))
    drawn = []
    for position, context in enumerate(chosen):
        labels = _by_size(train[train["context"] == context])
        generator = np.random.default_rng([seed, position])
        if len(labels) < 2:
            continue
        picked = draw_alike(labels, fraction, generator)
        here = perturbed & (table["context"] == context) & (table["split"] == "train")
        table.loc[here & table["perturbation"].isin(picked), "split"] = "val"
        drawn.append(f"{context}: {listing(picked)}")
    if not drawn:
        return []
    text = (
        "splits.validation=from_train drew the validation split from the training perturbations "
        f"(seed {seed}): {'; '.join(drawn)}"
    )
    return [Finding("note", "validation-drawn", text)]


def draw_alike(labels: Sequence[str], share: float, generator: np.random.Generator) -> list[str]:
    """Draw a share of labels, at least one and never all, evenly along their order.

    The order is cut into as many equal parts as are drawn, and each part gives one: with labels in
    the order of their numbers of cells, a stratified draw.

    Returns
    -------
    list
        Sorted by name; empty where there are fewer than two labels.
    """
    count = min(max(1, round(share * len(labels))), len(labels) - 1)
    if count < 1:
        return []
    edges = np.arange(count + 1) * len(labels) // count
    return sorted(labels[at] for at in generator.integers(edges[:-1], edges[1:]))


def split_file_text(table: pd.DataFrame, plan: SplitFile, datasets: Mapping[str, Any]) -> str:
    """Return the split as it was applied, as a split file.

    Read again, it gives the same splits without any draw. Groups that were filtered out are not
    in it: the filters are settings.

    Parameters
    ----------
    table
        Every group with its split.
    plan
        The split file that it came from, for the datasets that train.
    datasets
        Dataset name to its files.
    """
    used = table[table["split"] != "dropped"]
    zeroshot: dict[str, str] = {}
    fewshot: dict[str, dict[str, list[str]]] = {}
    for name, cells in used.groupby(_contexts(used), sort=True):
        part = cells[~cells["is_control"].astype(bool)]
        default = cells["dataset"].iloc[0] in plan.training
        if default and set(part["split"]) <= {"train"}:
            continue
        if part.empty:  # controls alone, kept to predict from
            zeroshot[str(name)] = "test"
        elif part["split"].nunique() == 1:
            zeroshot[str(name)] = str(part["split"].iloc[0])
        else:
            fewshot[str(name)] = {
                split: sorted(part.loc[part["split"] == split, "perturbation"].unique())
                for split in ("val", "test")
                if (part["split"] == split).any()
            }
    training = dict.fromkeys(sorted(set(plan.training) & set(table["dataset"])), "train")
    content = {
        "datasets": {name: list(files) for name, files in datasets.items()},
        "training": training,
        "zeroshot": zeroshot,
        "fewshot": fewshot,
    }
    head = (
        "# The split as it was applied, draws included; it can be named as a split file itself.\n"
    )
    return head + tomli_w.dumps({name: part for name, part in content.items() if part})


def _contexts(groups: pd.DataFrame) -> pd.Series:
    return groups["dataset"].astype(str) + "." + groups["context"].astype(str)


def _by_size(groups: pd.DataFrame) -> list[str]:
    """Return the perturbations, those with few cells first; names decide between equals."""
    perturbed = groups[~groups["is_control"].astype(bool)]
    sizes = perturbed.groupby("perturbation", observed=True)["n_cells"].sum()
    return [str(name) for name in sizes.sort_index().sort_values(kind="stable").index]
