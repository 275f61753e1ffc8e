"""Check what a feature file holds: every problem becomes a finding with the names concerned."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32

from workflow_scripts.features.names import approved, folded
from workflow_scripts.features.table_files import Entry
from workflow_scripts.settings.findings import Finding, Severity, listing

Vector = Float32[np.ndarray, " dimension"]

OUTLYING_NORM = 5.0
"""A norm this many times above or below the median was made in another way than the others.

Mean-pooled embeddings of one protein model have norms within a few tens of percent.
"""


@dataclass
class FileCheck:
    """The vectors of a file that can be used, and what is wrong with it.

    Attributes
    ----------
    source
        The file.
    vectors
        Name to vector [dimension], float32: those of one length, with finite values.
    faulty
        Names whose vector can't be used; a finding says why.
    n_entries
        What the file holds, usable or not.
    """

    source: Path
    vectors: dict[str, Vector] = field(default_factory=dict)
    faulty: set[str] = field(default_factory=set)
    n_entries: int = 0
    findings: list[Finding] = field(default_factory=list)

    def found(
        self, severity: Severity, code: str, names: Sequence[str], what: str, way: str = ""
    ) -> None:
        """Record a finding: ``what`` is wrong with ``names``, and the way out."""
        text = f"{self.source}: {what}: {listing(names)}{f'; {way}' if way else ''}"
        self.findings.append(Finding(severity, code, text, tuple(names)))


def check_entries(
    entries: Sequence[Entry], source: Path, wanted: Collection[str], control: str
) -> FileCheck:
    """Check the entries of a feature file.

    What is wrong with vectors that the run doesn't use is a note: files are made for many runs.

    Parameters
    ----------
    entries
        Names and vectors, as the file has them.
    source
        The file, for messages.
    wanted
        Names that the run uses where the file has them, the control's among them.
    control
        The control's name: a vector of zeros is a usual one for it.
    """
    check = FileCheck(source, n_entries=len(entries))
    if not entries:
        check.findings.append(Finding("error", "features-empty", f"{source}: holds no vectors"))
        return check
    values = _plain_names(entries, check)
    vectors = _plain_vectors(values, wanted, check)
    check.vectors = _one_length(vectors, wanted, check)
    _find_not_finite(wanted, check)
    _find_flat(wanted, control, check)
    _find_identical(wanted, control, check)
    _find_outliers(wanted, control, check)
    _find_alike(wanted, check)
    return check


def _plain_names(entries: Sequence[Entry], check: FileCheck) -> dict[str, object]:
    other = [repr(name) for name, _ in entries if not isinstance(name, str | bytes)]
    if other:
        check.found(
            "error",
            "features-names",
            other,
            f"{len(other)} of its {len(entries)} keys are not text",
            "the keys must be the perturbations' names",
        )
    names = [(_text(name), value) for name, value in entries if isinstance(name, str | bytes)]
    if empty := sum(not name.strip() for name, _ in names):
        check.findings.append(
            Finding("warning", "features-names", f"{check.source}: {empty} names are empty")
        )
    counts = Counter(name for name, _ in names)
    if repeated := [name for name, count in counts.items() if count > 1]:
        check.found(
            "error",
            "features-repeated",
            repeated,
            f"{len(repeated)} names stand in it more than once",
            "keep one vector of each",
        )
    return dict(reversed(names))


def _text(name: str | bytes) -> str:
    return name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name)


def _plain_vectors(
    values: dict[str, object], wanted: Collection[str], check: FileCheck
) -> dict[str, Vector]:
    vectors, wrong = {}, {}
    for name, value in reversed(values.items()):
        if isinstance(value, torch.Tensor):
            kind = str(value.dtype)
            floating = value.is_floating_point() and not value.is_sparse and not value.is_meta
            array = value.detach().float().numpy() if floating else None
        elif isinstance(value, np.ndarray):
            kind = str(value.dtype)
            array = value.astype(np.float32) if value.dtype.kind == "f" else None
        else:
            kind, array = type(value).__name__, None
        if array is None:
            wrong[name] = f"{name} ({kind})"
        elif array.ndim != 1 or not array.size:
            wrong[name] = f"{name} {list(array.shape)}"
        else:
            vectors[name] = array
    _report(
        check,
        wanted,
        "features-type",
        wrong,
        "entries that are no vectors of floating-point numbers",
        "save a floating tensor of one dimension for each",
    )
    check.faulty.update(wrong)
    return vectors


def _one_length(
    vectors: dict[str, Vector], wanted: Collection[str], check: FileCheck
) -> dict[str, Vector]:
    used = [vectors[name] for name in vectors if name in wanted]
    lengths = Counter(len(vector) for vector in used or vectors.values())
    if not lengths:
        return {}
    usual = lengths.most_common(1)[0][0]
    other = {
        name: f"{name} [{len(vector)}]" for name, vector in vectors.items() if len(vector) != usual
    }
    _report(
        check,
        wanted,
        "features-lengths",
        other,
        f"vectors differ in length: most have {usual} values, these do not",
        "embed them all with one model",
    )
    check.faulty.update(other)
    return {name: vector for name, vector in vectors.items() if len(vector) == usual}


def _find_not_finite(wanted: Collection[str], check: FileCheck) -> None:
    bad = [name for name, vector in check.vectors.items() if not np.isfinite(vector).all()]
    _report(
        check,
        wanted,
        "features-not-finite",
        {name: name for name in bad},
        "vectors with NaN or infinite values",
        "embed them anew",
    )
    check.faulty.update(bad)
    for name in bad:
        del check.vectors[name]


def _find_flat(wanted: Collection[str], control: str, check: FileCheck) -> None:
    zero: list[str] = []
    constant: list[str] = []
    for name, vector in check.vectors.items():
        if vector[0] == vector[-1] and name != control and (vector == vector[0]).all():
            (constant if vector[0] else zero).append(name)
    _report(
        check,
        wanted,
        "features-zero",
        {name: name for name in zero},
        "vectors of zeros, which tell the model nothing",
        "embed these genes, or take them out of the file and set features.missing",
    )
    check.faulty.update(zero)
    if len(next(iter(check.vectors.values()), ())) > 1:
        _report(
            check,
            wanted,
            "features-constant",
            {name: name for name in constant},
            "vectors of one value throughout",
            "these look filled in; embed these genes",
            "warning",
        )
    for name in zero:
        del check.vectors[name]


def _find_identical(wanted: Collection[str], control: str, check: FileCheck) -> None:
    same: dict[bytes, list[str]] = {}
    for name, vector in check.vectors.items():
        if name != control:
            digest = hashlib.blake2b(vector.tobytes(), digest_size=16).digest()
            same.setdefault(digest, []).append(name)
    _report_groups(
        check,
        wanted,
        "features-identical",
        same,
        "one vector under several names, which the model can't tell apart",
        least_used=2,
    )


def _find_outliers(wanted: Collection[str], control: str, check: FileCheck) -> None:
    norms = {
        name: float(np.linalg.norm(vector))
        for name, vector in check.vectors.items()
        if name != control
    }
    if len(norms) < 3:
        return
    median = float(np.median(list(norms.values())))
    _report(
        check,
        wanted,
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


def _find_alike(wanted: Collection[str], check: FileCheck) -> None:
    alike: dict[str, list[str]] = {}
    for name in check.vectors:
        alike.setdefault(folded(approved(name)), []).append(name)
    _report_groups(
        check,
        wanted,
        "features-alike",
        alike,
        "names that differ only by case, spaces or dashes, or are symbols of one gene (the "
        "spelling of the data is taken)",
        least_used=1,
    )


def _report_groups(
    check: FileCheck,
    wanted: Collection[str],
    code: str,
    groups: Mapping[Any, Sequence[str]],
    what: str,
    least_used: int,
) -> None:
    """Record groups of two names or more: a warning where the run uses ``least_used`` of one."""
    shared = [names for names in groups.values() if len(names) > 1]
    used = [names for names in shared if sum(name in wanted for name in names) >= least_used]
    unused = [names for names in shared if names not in used]
    both: tuple[tuple[Severity, list[Sequence[str]]], ...] = (("warning", used), ("note", unused))
    for severity, found in both:
        if found:
            text = listing((" = ".join(names) for names in found), 8)
            end = "" if found is used else " (this run does not use them)"
            names = tuple(name for names in found for name in names)
            message = f"{check.source}: {what}: {text}{end}"
            check.findings.append(Finding(severity, code, message, names))


def _report(
    check: FileCheck,
    wanted: Collection[str],
    code: str,
    described: dict[str, str],
    what: str,
    way: str,
    severity: Severity = "error",
) -> None:
    """Record what is wrong with used vectors as ``severity``, with unused ones as a note."""
    used = [name for name in described if name in wanted]
    unused = [name for name in described if name not in wanted]
    kinds: tuple[tuple[list[str], Severity, str], ...] = (
        (used, severity, f"; {way}"),
        (unused, "note", " (this run does not use them)"),
    )
    for names, level, end in kinds:
        if names:
            text = f"{check.source}: {what}: {listing((described[n] for n in names), 8)}{end}"
            check.findings.append(Finding(level, code, text, tuple(names)))
