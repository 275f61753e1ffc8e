"""What a score can be evidence of."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import pandas as pd

REPLICATE = "known perturbations, another replicate"


def claims(table: pd.DataFrame, replicates: Collection[str] = ()) -> dict[str, Any]:
    """Return what a score on test pairs can be evidence of.

    A test pair is a perturbation in a context. Its perturbation is unseen when no context trains
    on it, its context when none of the context's perturbed cells trains. A pair that trains too
    (in another dataset, say) is evidence of nothing.

    Parameters
    ----------
    table
        Columns context, perturbation and split: pairs that are tested and those that train.
    replicates
        Tested contexts that are replicates of a trained one.

    Returns
    -------
    dict
        ``kind``: in a few words, for beside a score. ``sentence``: in full. ``unseen_perturbation``
        and ``unseen_context``: whether that holds of all test pairs. ``controls_train``: whether
        controls of an unseen context train. ``trained_pairs``: test pairs that train as well,
        context/perturbation.
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
    controls = set(table.loc[table["split"] == "control", "context"].astype(str))
    controls_alone = {pair for pair in new_context if pair[0] in controls}
    without_controls = new_context - controls_alone
    parts = [
        f"{len(pairs)} {words}"
        for pairs, words in (
            (new_perturbation & new_context, "with neither perturbation nor context trained on"),
            (new_perturbation - new_context, "whose perturbation was never trained on"),
            (controls_alone - new_perturbation, "whose context trains with its controls alone"),
            (without_controls - new_perturbation, "whose context was never trained on"),
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
    known_in_replicates = {pair for pair in test - new_perturbation if pair[0] in replicates}
    if known_in_replicates:
        sentence += (
            f" {len(known_in_replicates)} known perturbations are tested in contexts that are "
            "replicates of a training context: such a score shows how well noise is removed, not "
            "what carries over to other cells."
        )
    another = bool(test) and not test & train and known_in_replicates == test
    return {
        "kind": REPLICATE if another else _kind(test, train, new_perturbation, new_context),
        "unseen_perturbation": bool(test) and new_perturbation == test,
        "unseen_context": bool(test) and new_context == test,
        "controls_train": bool(controls_alone),
        "trained_pairs": sorted(f"{context}/{name}" for context, name in test & train),
        "sentence": sentence,
    }


def _kind(
    test: set[tuple[str, str]],
    train: set[tuple[str, str]],
    new_perturbation: set[tuple[str, str]],
    new_context: set[tuple[str, str]],
) -> str:
    if not test:
        return "nothing tested"
    if test & train:
        return "tested on what trained"
    if test == new_perturbation & new_context:
        return "unseen perturbations in unseen contexts"
    if test == new_perturbation:
        return "unseen perturbations"
    if test == new_context:
        return "unseen contexts"
    if not new_perturbation and not new_context:
        return "known perturbations in known contexts"
    return "known and unseen mixed"
