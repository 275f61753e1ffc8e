"""Find what a split file says that can't be meant: selectors without a match, contradictions."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence

import pandas as pd

from workflow_scripts.cells.split_file import SplitFile
from workflow_scripts.settings.findings import Finding, listing

_SHOWN = 20
"""Unknown labels of a list that are reported one by one."""


def audit_plan(groups: pd.DataFrame, plan: SplitFile, overlap: str) -> list[Finding]:
    """Find every selector that matches nothing, and every contradiction.

    Without any cells there is nothing to compare with; the audit of the cells says why.
    """
    if groups.empty:
        return []
    datasets = sorted(set(groups["dataset"]))
    pairs = groups[["dataset", "context"]].drop_duplicates()
    joined = pairs["dataset"].astype(str) + "." + pairs["context"].astype(str)
    ambiguous = [
        Finding(
            "error",
            "ambiguous-context",
            f"{name!r} names the contexts of two datasets, because of the dots in their names; "
            "rename a dataset in [datasets]",
        )
        for name in joined[joined.duplicated()].unique()
    ]
    contexts = sorted(
        {f"{d}.{c}" for d, c in zip(groups["dataset"], groups["context"], strict=True)}
    )
    shared = pairs[pairs["context"].duplicated(keep=False)]["context"].unique()
    pooled = [
        Finding(
            "warning",
            "context-in-two-datasets",
            f"context {context!r} stands in several datasets: scores and baselines pool its cells "
            "and controls by name; give them different names to keep them apart",
        )
        for context in shared
    ]
    findings = [*ambiguous, *pooled]
    findings += [
        _unmatched(plan.path, f"[training] {name}", "dataset", name, datasets)
        for name in plan.training
        if name not in datasets
    ]
    for section, names in (("zeroshot", plan.zeroshot), ("fewshot", plan.fewshot)):
        findings += [
            _unmatched(plan.path, f'[{section}] "{name}"', "context", name, contexts)
            for name in names
            if name not in contexts
        ]
    findings += [
        Finding(
            "warning",
            "zeroshot-beats-fewshot",
            f'{plan.path}: "{name}" stands in [zeroshot] and in [fewshot]; [zeroshot] wins',
        )
        for name in plan.fewshot
        if name in plan.zeroshot
    ]
    for name, lists in plan.fewshot.items():
        if name in contexts:
            findings += _audit_lists(groups, plan.path, name, lists, overlap)
    return findings


def _audit_lists(
    groups: pd.DataFrame,
    path: str,
    name: str,
    lists: Mapping[str, Sequence[str]],
    overlap: str,
) -> list[Finding]:
    full = groups["dataset"].astype(str) + "." + groups["context"].astype(str)
    here = groups[full == name]
    labels = sorted(here.loc[~here["is_control"].astype(bool), "perturbation"].unique())
    controls = set(here.loc[here["is_control"].astype(bool), "perturbation"])
    known = {*labels, *controls}
    findings = []
    for split, given in lists.items():
        where = f'[fewshot."{name}"] {split}'
        unknown = [label for label in given if label not in known]
        findings += [
            _unmatched(path, where, "perturbation", label, labels) for label in unknown[:_SHOWN]
        ]
        if more := unknown[_SHOWN:]:
            text = f"{path}: {where}: the data also lacks {len(more):,} more perturbations"
            findings.append(Finding("error", "unknown-perturbation", text, tuple(more)))
        if split != "train" and (named := sorted(controls & set(given))):
            findings.append(
                Finding(
                    "error",
                    "control-held-out",
                    f"{path}: {where} names the control {named[0]!r}; controls are shared by all "
                    "splits, take it out of the list",
                )
            )
    rest = sorted({*labels}.difference(*lists.values())) if "train" in lists else []
    if rest:
        text = (
            f'{path}: [fewshot."{name}"] train leaves out {listing(rest)}, which would train too, '
            "as all do that val and test don't name; name them in a list, or remove train"
        )
        findings.append(Finding("error", "train-list", text))
    both = sorted(set(lists.get("val", ())) & set(lists.get("test", ())))
    if both and overlap == "error":
        findings.append(
            Finding(
                "error",
                "val-and-test",
                f'{path}: [fewshot."{name}"] names {listing(both)} both in val and in test; '
                "remove them from one, or set splits.overlap=test_wins",
            )
        )
    elif both:
        findings.append(
            Finding("note", "val-and-test", f"{path}: in val and test, tested: {listing(both)}")
        )
    return findings


def _unmatched(path: str, where: str, what: str, name: str, there: Iterable[str]) -> Finding:
    options = list(there)
    close = difflib.get_close_matches(name, options, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return Finding(
        "error",
        f"unknown-{what}",
        f"{path}: {where}: the data has no {what} {name!r}; {hint}there are {listing(options)}",
    )


def audit_result(
    table: pd.DataFrame, path: str, findings: list[Finding], *, validation: str, test: str
) -> None:
    """Add to the findings what is wrong with the splits as they came out.

    Parameters
    ----------
    table
        Groups with their split, without those that were filtered out.
    path
        The split file, for messages.
    findings
        What was found before: a split that is empty for a reason that has been said says nothing.
    validation, test
        ``splits.validation`` and ``splits.test``.
    """
    if table.empty:
        return
    perturbed = table[~table["is_control"].astype(bool)]
    counts = perturbed.groupby("split")["n_cells"].sum()
    ways = {
        "train": "name a dataset under [training]",
        "val": (
            "name one in the split file, or set splits.validation=from_train"
            if validation == "from_toml"
            else "there are too few training perturbations to draw one from; name it there"
        ),
        "test": (
            "hold something out under [zeroshot] or [fewshot], draw it with splits.make, or train "
            "on everything with splits.test=none"
        ),
    }
    wanted = [split for split in ways if split != "test" or test != "none"]
    if not any(finding.severity == "error" for finding in findings):
        findings += [
            Finding("error", f"empty-{split}", f"{path}: the {split} split is empty; {ways[split]}")
            for split in wanted
            if not counts.get(split)
        ]
    if test == "none":
        text = (
            f"{path}: nothing is held out for test (splits.test=none): all of it trains, and "
            "none of it will be predicted or scored"
        )
        findings.append(Finding("note", "no-test", text))
    dropped = table[table["split"] == "dropped"]
    if len(dropped):
        names = sorted(set(dropped["dataset"] + "." + dropped["context"]))
        text = f"{path}: not named anywhere, so not used: {listing(names)}"
        findings.append(Finding("note", "dropped", text, tuple(names)))
