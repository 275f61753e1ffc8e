"""The entries of a feature file as plain vectors by name, and what keeps others from being that."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32

from workflow_scripts.features.table_files import Entry
from workflow_scripts.settings.findings import Finding, Severity, listing
from workflow_scripts.settings.labels import canonical

Vector = Float32[np.ndarray, " dimension"]

_FLOATING = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
"""Narrower types hold two or three digits, and their scales are kept apart from them."""


@dataclass
class FileCheck:
    """The vectors of a file that can be used, and what is wrong with it.

    Attributes
    ----------
    source
        The file.
    wanted
        Names that the run uses where the file has them. What is wrong with the vectors of others is
        a note: files are made for many runs.
    vectors
        Name to vector [dimension], float32: those of one length, with finite values.
    faulty
        Names whose vector can't be used; a finding says why.
    origins
        How vectors came about that aren't the file's.
    elsewhere
        Name that the file lacks to the one under which its protein could be embedded.
    n_entries
        What the file holds, usable or not.
    """

    source: Path
    wanted: Collection[str]
    vectors: dict[str, Vector] = field(default_factory=dict)
    faulty: set[str] = field(default_factory=set)
    origins: Mapping[str, str] = field(default_factory=dict)
    elsewhere: Mapping[str, str] = field(default_factory=dict)
    n_entries: int = 0
    findings: list[Finding] = field(default_factory=list)

    @property
    def failed(self) -> bool:
        """Whether one of the findings stops the run."""
        return any(finding.severity == "error" for finding in self.findings)

    def found(
        self, severity: Severity, code: str, named: Mapping[str, str], what: str, end: str = ""
    ) -> None:
        """Record a finding: ``what`` is wrong with names (each with its description)."""
        text = f"{self.source}: {what}: {listing(named.values(), 8)}{end}"
        self.findings.append(Finding(severity, code, text, tuple(named)))

    def found_each(
        self,
        code: str,
        named: Mapping[str, str],
        what: str,
        way: str,
        severity: Severity = "error",
    ) -> None:
        """Record what is wrong with used vectors as ``severity``, with unused ones as a note."""
        used = {name: text for name, text in named.items() if name in self.wanted}
        unused = {name: text for name, text in named.items() if name not in self.wanted}
        if used:
            self.found(severity, code, used, what, f"; {way}")
        if unused:
            self.found("note", code, unused, what, " (this run does not use them)")

    def found_groups(
        self, code: str, groups: Iterable[Sequence[str]], what: str, least_used: int
    ) -> None:
        """Record groups of two or more: a warning where the run uses ``least_used`` of one."""
        used: list[Sequence[str]] = []
        unused: list[Sequence[str]] = []
        for names in groups:
            if len(names) > 1:
                n_used = sum(name in self.wanted for name in names)
                (used if n_used >= least_used else unused).append(names)
        both: tuple[tuple[Severity, list[Sequence[str]]], ...] = (
            ("warning", used),
            ("note", unused),
        )
        for severity, found in both:
            if found:
                text = listing((" = ".join(names) for names in found), 8)
                end = "" if found is used else " (this run does not use them)"
                message = f"{self.source}: {what}: {text}{end}"
                names = tuple(name for group in found for name in group)
                self.findings.append(Finding(severity, code, message, names))


def plain_entries(
    entries: Sequence[Entry], source: Path, wanted: Collection[str], control: str
) -> FileCheck:
    """Take the vectors out of a file's entries; every other one becomes a finding.

    Parameters
    ----------
    entries
        Names and vectors, as the file has them.
    source
        The file, for messages.
    wanted
        Names that the run uses where the file has them.
    control
        The control's label.
    """
    check = FileCheck(source, wanted, n_entries=len(entries))
    if entries:
        values = _plain_names(entries, check, control)
        check.vectors = _one_length(_plain_vectors(values, check), check)
    else:
        way = "name a file that does (data.kwargs.perturbation_features_file)"
        text = f"{source}: holds no vectors; {way}"
        check.findings.append(Finding("error", "features-empty", text))
    return check


def plain_text(name: str | bytes) -> str:
    """Return a name as text, whichever kind of text it is."""
    return name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name)


def _plain_names(entries: Sequence[Entry], check: FileCheck, control: str) -> dict[str, object]:
    if other := [repr(name) for name, _ in entries if not isinstance(name, str | bytes)]:
        check.found(
            "error",
            "features-names",
            dict(zip(other, other, strict=True)),
            f"{len(other)} of its {len(entries)} keys are not text",
            "; the keys must be the perturbations' names",
        )
    names = [(plain_text(name), value) for name, value in entries if isinstance(name, str | bytes)]
    if empty := sum(not name.strip() for name, _ in names):
        text = f"{check.source}: {empty} of its {len(entries)} names are empty; name these vectors"
        check.findings.append(Finding("warning", "features-names", f"{text}, or take them out"))
    # A vector stands for its perturbation in whatever order; one of that very name wins.
    there = {name for name, _ in names}
    names = [(name if (own := canonical(name, control)) in there else own, v) for name, v in names]
    counts = Counter(name for name, _ in names)
    check.found_each(
        "features-repeated",
        {name: f"{name} ({count} times)" for name, count in counts.items() if count > 1},
        "names that stand in it more than once",
        "keep one vector of each",
    )
    return dict(names)


def _plain_vectors(values: Mapping[str, object], check: FileCheck) -> dict[str, Vector]:
    vectors, wrong = {}, {}
    for name, value in values.items():
        vector, found = _plain_vector(value)
        if vector is None:
            wrong[name] = f"{name} {found}"
        else:
            vectors[name] = vector
    what = "entries that are no vectors of floating-point numbers"
    way = "save a floating tensor of one dimension for each"
    if vectors or not wrong or any(name in check.wanted for name in wrong):
        check.found_each("features-type", wrong, what, way)
    else:
        if any(isinstance(value, Mapping) for value in values.values()):
            way += "; a mapping inside the file's own must be saved by itself"
        check.found("error", "features-type", wrong, f"holds nothing but {what}", f"; {way}")
    check.faulty.update(wrong)
    return vectors


def _plain_vector(value: object) -> tuple[Vector | None, str]:
    """Return a value as a vector, or None and what it is."""
    if isinstance(value, torch.Tensor):
        if value.is_nested or value.is_meta or value.layout is not torch.strided:
            kind = "nested" if value.is_nested else "meta" if value.is_meta else str(value.layout)
            return None, f"({value.dtype}, {kind})"
        if value.dtype not in _FLOATING:
            return None, f"({value.dtype})"
        array = value.detach().float().numpy()
    elif isinstance(value, np.ndarray):
        if value.dtype.kind != "f":
            return None, f"({value.dtype})"
        with np.errstate(over="ignore"):  # infinite then, which the checks find
            array = value.astype(np.float32)
    elif isinstance(value, Mapping):
        return None, f"({type(value).__name__} of {len(value)}: {listing(value, 3)})"
    else:
        return None, f"({type(value).__name__})"
    return (array, "") if array.ndim == 1 and array.size else (None, str(list(array.shape)))


def _one_length(vectors: dict[str, Vector], check: FileCheck) -> dict[str, Vector]:
    used = [vector for name, vector in vectors.items() if name in check.wanted]
    lengths = Counter(len(vector) for vector in used or vectors.values())
    if not lengths:
        return {}
    usual, count = lengths.most_common(1)[0]
    these = "most" if 2 * count > lengths.total() else "some"
    other = {
        name: f"{name} [{len(vector)}]" for name, vector in vectors.items() if len(vector) != usual
    }
    check.found_each(
        "features-lengths",
        other,
        f"vectors differ in length: {these} have {usual} values, these do not",
        "embed them all with one model",
    )
    check.faulty.update(other)
    return {name: vector for name, vector in vectors.items() if len(vector) == usual}
