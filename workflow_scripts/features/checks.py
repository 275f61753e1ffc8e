"""Check vectors against one another: what can't be right becomes a finding with the names."""

from __future__ import annotations

import hashlib

import numpy as np

from workflow_scripts.features.entries import FileCheck
from workflow_scripts.features.names import name_key
from workflow_scripts.features.summary import vector_norm
from workflow_scripts.settings.findings import Finding, listing

OUTLYING_NORM = 5.0
"""A norm this many times above or below the median was made in another way than the others.

Mean-pooled embeddings of one protein model have norms within a few tens of percent.
"""

_MOST_STACKED = 2000
"""Vectors that are looked at dimension by dimension: 40 MB of 5,120 values each."""


def check_vectors(check: FileCheck, control: str) -> None:
    """Check vectors of one length; those that can't be used become faulty.

    Parameters
    ----------
    check
        The vectors; it gets the findings.
    control
        The control's name: a vector of zeros is a usual one for it.
    """
    _find_not_finite(check)
    _find_flat(check, control)
    _find_identical(check)
    _find_outliers(check)
    _find_counting(check)
    _find_alike(check)


def _find_not_finite(check: FileCheck) -> None:
    bad = {}
    for name, vector in check.vectors.items():
        finite = np.isfinite(vector)
        if not finite.all():
            bad[name] = f"{name} ({finite.size - finite.sum()} of {finite.size} values)"
    check.found_each(
        "features-not-finite",
        bad,
        "vectors with NaN or infinite values",
        "embed them anew (in a table, an empty cell is NaN)",
    )
    _leave_out(check, bad)


def _find_flat(check: FileCheck, control: str) -> None:
    zero: dict[str, str] = {}
    constant: dict[str, str] = {}
    for name, vector in check.vectors.items():
        if vector[0] == vector[-1] and name != control and (vector == vector[0]).all():
            (constant if vector[0] else zero)[name] = name
    check.found_each(
        "features-zero",
        zero,
        "vectors of zeros, which tell the model nothing",
        "embed these genes, or take them out of the file and set features.missing",
    )
    if len(next(iter(check.vectors.values()), ())) > 1:
        check.found_each(
            "features-constant",
            constant,
            "vectors of one value throughout",
            "these look filled in; embed these genes",
            "warning",
        )
    _leave_out(check, zero)


def _leave_out(check: FileCheck, names: dict[str, str]) -> None:
    check.faulty.update(names)
    for name in names:
        del check.vectors[name]


def _find_identical(check: FileCheck) -> None:
    same: dict[bytes, list[str]] = {}
    for name, vector in check.vectors.items():
        # Adding nothing makes the two zeros one.
        digest = hashlib.blake2b((vector + 0.0).tobytes(), digest_size=16).digest()
        same.setdefault(digest, []).append(name)
    check.found_groups(
        "features-identical",
        same.values(),
        "one vector under several names, which the model can't tell apart",
        least_used=2,
    )


def _find_outliers(check: FileCheck) -> None:
    # A control's zeros are no outlier.
    norms = {name: norm for name, vector in check.vectors.items() if (norm := vector_norm(vector))}
    if len(norms) < 3:
        return
    median = float(np.median(list(norms.values())))
    check.found_each(
        "features-scale",
        {
            name: f"{name} ({norm:.3g})"
            for name, norm in norms.items()
            if not median / OUTLYING_NORM <= norm <= median * OUTLYING_NORM
        },
        f"vectors whose length (norm) is far from the usual {median:.3g}",
        "were they made like the others?",
        "warning",
    )


def _find_counting(check: FileCheck) -> None:
    """Warn of a row number or a length that slipped in among the dimensions of an embedding."""
    # In the file's order, used or not: a row number counts on.
    vectors = list(check.vectors.values())[:_MOST_STACKED]
    if len(vectors) < 3:
        return
    matrix = np.stack(vectors)
    whole = (matrix == np.floor(matrix)).all(axis=0)
    largest = np.abs(matrix).max(axis=0)
    # Where whole numbers are common, they are what the features are.
    if 2 * whole.sum() > len(whole):
        return
    large = largest > OUTLYING_NORM * largest[~whole].max()
    counting = np.flatnonzero(whole & (large | (np.diff(matrix, axis=0) == 1).all(axis=0)))
    if len(counting):
        found = (
            f"number {at + 1} of {len(whole)} ({matrix[:, at].min():g} to {matrix[:, at].max():g})"
            for at in counting
        )
        check.findings.append(
            Finding(
                "warning",
                "features-dimension",
                f"{check.source}: dimensions of whole numbers that count on, or larger by far than "
                f"the others: {listing(found, 8)}; are these row numbers or lengths? take them out",
            )
        )


def _find_alike(check: FileCheck) -> None:
    alike: dict[str, list[str]] = {}
    for name in check.vectors:
        alike.setdefault(name_key(name), []).append(name)
    check.found_groups(
        "features-alike",
        alike.values(),
        "names that differ only by case, spaces, dashes or order, or are symbols of one gene (the "
        "spelling of the data is taken)",
        least_used=1,
    )
