"""Which groups of cells train, validate and test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from workflow_scripts.cells.claims import claims
from workflow_scripts.cells.cross_validation import leave_out
from workflow_scripts.cells.drawing import MakeSettings, draw_validation, make_split
from workflow_scripts.cells.filters import FilterSettings, find_filtered
from workflow_scripts.cells.split_audit import audit_plan, audit_result
from workflow_scripts.cells.split_file import SplitFile
from workflow_scripts.settings.findings import Finding, listing
from workflow_scripts.settings.labels import targets_of
from workflow_scripts.settings.slices import Slice

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
        Of the draws.
    test
        from_toml, or none: what would be tested trains.
    held_out_controls
        Controls of contexts of which no perturbed cell trains: share or keep_out.
    make
        What to draw in place of reading it.
    filters
        Which groups are left out.
    leave_out
        ``dataset.context`` that is tested whole, in place of what the split file tests.
    """

    validation: str
    fraction: float
    overlap: str
    seed: int
    test: str = "from_toml"
    held_out_controls: str = "share"
    make: MakeSettings = field(default_factory=MakeSettings)
    filters: FilterSettings = field(default_factory=FilterSettings)
    leave_out: str | None = None

    @classmethod
    def from_slice(cls, settings: Slice) -> SplitSettings:
        """Take the settings out of the splits slice."""
        return cls(
            settings["splits.validation"],
            float(settings["splits.validation_fraction"]),
            settings["splits.overlap"],
            int(settings["splits.seed"]),
            settings["splits.test"],
            settings["splits.held_out_controls"],
            MakeSettings(
                tuple(settings["splits.make.contexts"] or ()),
                float(settings["splits.make.test"]),
                float(settings["splits.make.validation"]),
            ),
            FilterSettings(int(settings["splits.least_cells"]), settings["splits.least_knockdown"]),
            settings["splits.leave_out"],
        )

    @property
    def says_enough(self) -> bool:
        """Whether a run can be split without a split file."""
        return bool(self.make.contexts) or self.test == "none" or self.leave_out is not None


@dataclass
class Splits:
    """The split of every group, and what was found on the way.

    Attributes
    ----------
    table
        One row a group, columns `SPLIT_COLUMNS`; split is train, val, test, control (trains as
        well, and starts predictions), held_out_control (starts predictions alone) or dropped.
    findings
        Problems and notes.
    """

    table: pd.DataFrame
    findings: list[Finding]


def split_groups(
    groups: pd.DataFrame,
    plan: SplitFile,
    settings: SplitSettings,
    knockdowns: Sequence[Mapping[str, Any]] = (),
) -> Splits:
    """Give every group of cells its split.

    A context named under [zeroshot] goes to its split whole; one under [fewshot] trains but for
    its val and test lists; the others train if their dataset is named under [training], and are
    dropped if it is not.

    Parameters
    ----------
    groups
        One row a group, columns `audit.GROUP_COLUMNS`.
    plan
        The split file.
    settings
        What it leaves open.
    knockdowns
        What became of targets, as the audit of the cells has it.
    """
    controls = groups["is_control"].astype(bool)
    plan = plan.with_canonical_names(next(iter(groups.loc[controls, "perturbation"]), ""))
    findings: list[Finding] = []
    filtered, found = find_filtered(groups, settings.filters, knockdowns)
    if settings.make.contexts:
        plan, made = make_split(groups[~filtered], plan, settings.make, settings.seed)
        findings += made
    if settings.leave_out is not None:
        plan, left_out = leave_out(groups[~filtered], plan, settings.leave_out)
        findings += left_out
    findings += [*audit_plan(groups, plan, settings.overlap), *found]
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
    table.loc[filtered, "split"] = "dropped"
    if settings.test == "none":
        table.loc[table["split"] == "test", "split"] = "train"
    if settings.validation == "from_train" and not (table["split"] == "val")[~controls].any():
        findings += draw_validation(table, settings.fraction, settings.seed)
    findings += _settle_controls(table, contexts, settings.held_out_controls)
    audit_result(
        table[~filtered],
        plan.path,
        findings,
        validation=settings.validation,
        test=settings.test,
    )
    if leaked := claims(table)["trained_pairs"]:
        findings.append(
            Finding(
                "error",
                "tested-and-trained",
                f"{plan.path}: tested in one dataset and trained on in another: {listing(leaked)}; "
                "hold them out in both, or scores on them show nothing",
                tuple(leaked),
            )
        )
    return Splits(table[list(SPLIT_COLUMNS)], findings)


def _settle_controls(table: pd.DataFrame, contexts: pd.Series, policy: str) -> list[Finding]:
    """Give controls their split: they serve every split, and the policy says which train."""
    controls = table["is_control"].astype(bool)
    used = controls & (table["split"] != "dropped")
    trains = set(contexts[~controls & (table["split"] == "train")])
    held_out = used & ~contexts.isin(trains)
    table.loc[used, "split"] = "control"
    if not held_out.any():
        return []
    names = sorted(set(contexts[held_out]))
    if policy == "keep_out":
        table.loc[held_out, "split"] = "held_out_control"
        what = "stay out of training and only start predictions"
    else:
        what = "are targets of training, as those of the others are"
    text = f"controls of held-out contexts {what} (splits.held_out_controls={policy}): "
    return [Finding("note", "held-out-controls", text + listing(names, 8), tuple(names))]


def used_targets(table: pd.DataFrame, control: str) -> set[str]:
    """Return the perturbed genes of all groups that aren't dropped, measured or not."""
    used = table.loc[table["split"] != "dropped", "perturbation"].astype(str).unique()
    return {target for parts in targets_of(list(used), control).values() for target in parts}


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
    kept_out = table[table["split"] == "held_out_control"]
    return {
        "splits": by_split,
        "contexts": contexts,
        "held_out": held_out,
        "claims": claims(table),
        "test": settings.test,
        "controls": {
            "policy": settings.held_out_controls,
            "n_cells": int(table.loc[table["split"] == "control", "n_cells"].sum()),
            "n_cells_kept_out": int(kept_out["n_cells"].sum()),
        },
        "filters": {
            "least_cells": settings.filters.least_cells,
            "least_knockdown": settings.filters.least_knockdown,
        },
        "validation": settings.validation,
        "made": list(settings.make.contexts),
        "findings": [finding.to_dict() for finding in splits.findings],
    }
