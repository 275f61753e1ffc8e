"""Give every perturbation of the data its vector: its own, another name's, or a stated stand-in."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from workflow_scripts.features.checks import FileCheck, Vector
from workflow_scripts.features.names import likely_names
from workflow_scripts.settings.findings import Finding, listing

JOINER = "+"
"""What joins the names of a combination of perturbations."""


@dataclass(frozen=True)
class Policies:
    """What becomes of perturbations that have no vector of their own.

    Attributes
    ----------
    control
        The control's vector: given (the file holds it), zeros, or mean of the others.
    missing
        A perturbation without a vector: error, mean of the others, zero, or embed: what
        `embed_proteins` computed, an error where it could not.
    combinations
        ``A+B`` without a vector of its own: error, or the sum or mean of its parts'.
    aliases
        Label in the data to name in the file.
    """

    control: str = "given"
    missing: str = "error"
    combinations: str = "error"
    aliases: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Assignment:
    """Vectors by label.

    Attributes
    ----------
    vectors
        Label to vector [dimension].
    made
        How the vectors came about that are not the file's own for that label.
    missing
        Labels for which the file has nothing, whatever became of them.
    """

    vectors: dict[str, Vector] = field(default_factory=dict)
    made: dict[str, str] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)


def wanted_names(labels: Sequence[str], control: str, policies: Policies) -> set[str]:
    """Return the names that a feature file may serve these labels with."""
    names = {part for label in labels for part in (label, *_parts(label, control))}
    return names | {policies.aliases[name] for name in names if name in policies.aliases}


def names_to_embed(
    labels: Sequence[str], control: str, policies: Policies, there: Collection[str]
) -> set[str]:
    """Return the names whose proteins must be embedded, given those that have a vector.

    Of a combination its parts; of a label with an alias both names, of which the FASTA may have
    one.
    """
    names: set[str] = set()
    for label in {*labels} - {control}:
        if label not in there and policies.aliases.get(label) not in there:
            names.update(_parts(label, control) or (label,))
    names |= {policies.aliases[name] for name in names if name in policies.aliases}
    return names - {*there}


def assign_vectors(
    labels: Sequence[str], control: str, policies: Policies, check: FileCheck
) -> Assignment:
    """Give each label its vector out of a checked file.

    Parameters
    ----------
    labels
        Perturbations of the data, the control among them.
    control
        The control's label.
    policies
        What becomes of those without a vector.
    check
        The file's usable vectors. Labels that it calls faulty are no longer missing: their
        finding has been made.
    """
    given = Assignment()
    perturbed = [label for label in labels if label != control]
    undecided: list[str] = []
    for label in perturbed:
        found = _find(label, policies, check)
        if found is not None:
            given.vectors[label], note = found
            if note:
                given.made[label] = note
        elif parts := _parts(label, control):
            _combine(label, parts, policies, check, given, undecided)
        elif policies.aliases.get(label, label) not in check.faulty:
            given.missing.append(label)
    if policies.control == "given":
        found = _find(control, policies, check)
        if found is not None:
            given.vectors[control] = found[0]
        elif control not in check.faulty:
            given.missing.append(control)
    if undecided:
        given.findings.append(
            Finding(
                "error",
                "features-combinations",
                f"{check.source}: no vector for {len(undecided)} combinations: "
                f"{listing(undecided, 8)}; say how to make one of their parts': "
                "features.combinations=sum or mean",
                tuple(undecided),
            )
        )
    _decide_missing(given, perturbed, control, policies, check)
    _give_control(given, perturbed, control, policies)
    return given


def _find(label: str, policies: Policies, check: FileCheck) -> tuple[Vector, str] | None:
    if label in check.vectors:
        return check.vectors[label], ""
    alias = policies.aliases.get(label)
    if alias in check.vectors:
        return check.vectors[alias], f"the vector of {alias} (features.aliases)"
    return None


def _parts(label: str, control: str) -> tuple[str, ...]:
    """Return the perturbations that a combination is made of, nothing for a single one."""
    if JOINER not in label:
        return ()
    parts = tuple(part.strip() for part in label.split(JOINER))
    return tuple(part for part in parts if part != control) if all(parts) else ()


def _combine(
    label: str,
    parts: tuple[str, ...],
    policies: Policies,
    check: FileCheck,
    given: Assignment,
    undecided: list[str],
) -> None:
    found = [_find(part, policies, check) for part in parts]
    if absent := [part for part, vector in zip(parts, found, strict=True) if vector is None]:
        if not check.faulty.issuperset(absent):
            given.missing.append(label)
        return
    vectors = np.stack([vector for vector, _ in filter(None, found)])
    if len(parts) == 1:
        given.vectors[label], given.made[label] = vectors[0], f"the vector of {parts[0]}"
    elif policies.combinations == "error":
        undecided.append(label)
    else:
        total = vectors.sum(axis=0) if policies.combinations == "sum" else vectors.mean(axis=0)
        given.vectors[label] = total
        given.made[label] = f"the {policies.combinations} of {' and '.join(parts)}"


def _decide_missing(
    given: Assignment,
    perturbed: Sequence[str],
    control: str,
    policies: Policies,
    check: FileCheck,
) -> None:
    there = [given.vectors[label] for label in perturbed if label in given.vectors]
    served: list[str] = []
    if policies.missing in ("mean", "zero") and there:
        served = [label for label in given.missing if label != control]
    lacking = [label for label in given.missing if label not in served]
    if served:
        zeros = policies.missing == "zero"
        stand_in = np.zeros_like(there[0]) if zeros else np.mean(there, axis=0)
        become = f"{'zeros' if zeros else 'the mean of the others'} (features.missing)"
        for label in served:
            given.vectors[label], given.made[label] = stand_in, become
        text = f"no vector for {_count(served, perturbed)}; they get {become}: {listing(served)}"
        given.findings.append(
            Finding("warning", "features-missing", f"{check.source}: {text}", tuple(served))
        )
    if lacking:
        likely = likely_names(lacking, check.vectors.keys())
        described = listing(
            f"{name} (it has {likely[name]})" if name in likely else name for name in lacking
        )
        text = f"no vector for {_count(lacking, perturbed)}: {described}; " + "; ".join(
            _ways(lacking, control, likely, policies.missing == "embed")
        )
        given.findings.append(
            Finding("error", "features-missing", f"{check.source}: {text}", tuple(lacking))
        )


def _count(names: Sequence[str], perturbed: Sequence[str]) -> str:
    return f"{len(names)} of the data's {len(perturbed) + 1} perturbations"


def _ways(
    missing: Sequence[str], control: str, likely: Mapping[str, str], embed: bool
) -> Iterator[str]:
    named = next((name for name in missing if name in likely and name != control), None)
    if named is not None:
        yield f"where another name is meant: +features.aliases.{named}={likely[named]}"
    if any(name != control for name in missing):
        other = "mean or zero" if embed else "embed, mean or zero"
        yield (
            f"{'add their proteins to features.embedding.fasta' if embed else 'add their vectors'}"
            f", remove these perturbations from the data, or choose features.missing={other}"
        )
    if control in missing:
        yield f"for the control ({control}) alone, features.control=zeros or mean will do"


def _give_control(
    given: Assignment, perturbed: Sequence[str], control: str, policies: Policies
) -> None:
    there = [given.vectors[label] for label in perturbed if label in given.vectors]
    if policies.control == "given" or not there:
        return
    zeros = policies.control == "zeros"
    given.vectors[control] = np.zeros_like(there[0]) if zeros else np.mean(there, axis=0)
    given.made[control] = f"{'zeros' if zeros else 'the mean of the others'} (features.control)"
