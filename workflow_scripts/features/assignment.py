"""Give every perturbation of the data its vector: its own, another name's, or a stated stand-in."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from workflow_scripts.features.entries import FileCheck, Vector
from workflow_scripts.features.missing import describe_missing, missing_finding, served_finding
from workflow_scripts.settings.findings import Finding, listing
from workflow_scripts.settings.labels import canonical, parts_of


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
        Label in the data to name in the file, which is taken before the label's own.
    """

    control: str = "given"
    missing: str = "error"
    combinations: str = "error"
    aliases: Mapping[str, str] = field(default_factory=dict)

    def with_canonical_names(self, control: str) -> Policies:
        """Return the same with aliases by the one name of each (`labels.canonical`)."""
        aliases = {
            canonical(label, control): canonical(name, control)
            for label, name in self.aliases.items()
        }
        return replace(self, aliases=aliases)

    def parts(self, label: str, control: str) -> tuple[str, ...]:
        """Return the perturbations that a combination is made of, nothing for a single one."""
        parts = parts_of(label, control)
        return tuple(part for part in parts if self.aliases.get(part) != control)


@dataclass
class Assignment:
    """Vectors by label.

    Attributes
    ----------
    vectors
        Label to vector [dimension].
    made
        How the vectors came about that are not the file's own for that label.
    lacking
        Labels for which the file has nothing, whatever became of them; of combinations with the
        parts that have none.
    """

    vectors: dict[str, Vector] = field(default_factory=dict)
    made: dict[str, str] = field(default_factory=dict)
    lacking: dict[str, list[str]] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)


def wanted_names(labels: Sequence[str], control: str, policies: Policies) -> set[str]:
    """Return the names that a feature file may serve these labels with."""
    served = [label for label in labels if label != control or policies.control == "given"]
    names = {part for label in served for part in (label, *policies.parts(label, control))}
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
            names.update(policies.parts(label, control) or (label,))
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
            given.made.update({label: note} if note else {})
        elif parts := policies.parts(label, control):
            if _combine(label, parts, policies, check, given) and label not in given.vectors:
                undecided.append(label)
        elif not _is_faulty(label, policies, check):
            given.lacking[label] = []
    if policies.control == "given":
        found = _find(control, policies, check)
        if found is not None:
            given.vectors[control], note = found
            given.made.update({control: note} if note else {})
        elif not _is_faulty(control, policies, check):
            given.lacking[control] = []
    if undecided:
        text = (
            f"combinations without a vector of their own: {listing(undecided, 8)}; say how to make "
            "one of their parts': features.combinations=sum or mean"
        )
        given.findings.append(
            Finding("error", "features-combinations", f"{check.source}: {text}", tuple(undecided))
        )
    _decide_missing(given, labels, control, policies, check)
    _give_control(given, control, policies, check)
    _note_idle_aliases(policies, check)
    return given


def _find(label: str, policies: Policies, check: FileCheck) -> tuple[Vector, str] | None:
    """Return the vector that serves a label, and how it came about if not by its own name."""
    alias = policies.aliases.get(label)
    if alias in check.vectors:
        origin = f", {check.origins[alias]}" if alias in check.origins else ""
        return check.vectors[alias], f"the vector of {alias} (features.aliases){origin}"
    if label in check.vectors:
        return check.vectors[label], check.origins.get(label, "")
    return None


def _is_faulty(label: str, policies: Policies, check: FileCheck) -> bool:
    return not check.faulty.isdisjoint((label, policies.aliases.get(label, label)))


def _combine(
    label: str,
    parts: tuple[str, ...],
    policies: Policies,
    check: FileCheck,
    given: Assignment,
) -> bool:
    """Make a combination of its parts, if the policy says how; tell whether they are all there."""
    found = [_find(part, policies, check) for part in parts]
    if absent := [part for part, vector in zip(parts, found, strict=True) if vector is None]:
        if lacking := [part for part in absent if not _is_faulty(part, policies, check)]:
            given.lacking[label] = lacking
        return False
    vectors = np.stack([vector for vector, _ in filter(None, found)])
    made = zip(parts, (note for _, note in filter(None, found)), strict=True)
    notes = [f"{part}: {note}" for part, note in made if note]
    end = f" ({'; '.join(dict.fromkeys(notes))})" if notes else ""
    if len(parts) == 1:
        given.vectors[label], given.made[label] = vectors[0], f"the vector of {parts[0]}{end}"
    elif policies.combinations != "error":
        total = vectors.sum(axis=0) if policies.combinations == "sum" else vectors.mean(axis=0)
        given.vectors[label] = total
        given.made[label] = f"the {policies.combinations} of {' and '.join(parts)}{end}"
    return True


def _decide_missing(
    given: Assignment,
    labels: Sequence[str],
    control: str,
    policies: Policies,
    check: FileCheck,
) -> None:
    there = [vector for label, vector in given.vectors.items() if label != control]
    served: dict[str, list[str]] = {}
    if policies.missing in ("mean", "zero") and there:
        served = {label: parts for label, parts in given.lacking.items() if label != control}
    lacking = {label: parts for label, parts in given.lacking.items() if label not in served}
    if served:
        zeros = policies.missing == "zero"
        stand_in = np.zeros_like(there[0]) if zeros else np.mean(there, axis=0)
        become = f"{'zeros' if zeros else 'the mean of the others'} (features.missing)"
        for label in served:
            given.vectors[label], given.made[label] = stand_in, become
        missing = describe_missing(served, control, policies.aliases, check)
        given.findings.append(served_finding(missing, become, len(labels), check))
    if lacking:
        missing = describe_missing(lacking, control, policies.aliases, check)
        embed = policies.missing == "embed"
        none_found = not given.vectors
        given.findings.append(
            missing_finding(missing, control, len(labels), embed, check, none_found)
        )


def _give_control(given: Assignment, control: str, policies: Policies, check: FileCheck) -> None:
    there = [vector for label, vector in given.vectors.items() if label != control]
    if policies.control == "given":
        return
    if not there:
        if not given.lacking and not check.failed:
            text = f"no perturbation but the control ({control}) is in the data: none has a vector"
            given.findings.append(
                Finding("error", "features-control", f"{check.source}: {text}", (control,))
            )
        return
    zeros = policies.control == "zeros"
    given.vectors[control] = np.zeros_like(there[0]) if zeros else np.mean(there, axis=0)
    given.made[control] = f"{'zeros' if zeros else 'the mean of the others'} (features.control)"


def _note_idle_aliases(policies: Policies, check: FileCheck) -> None:
    """Note aliases that lead nowhere, whose label has a vector all the same."""
    there = check.vectors.keys() | check.faulty
    idle = {
        label: f"{label}: {alias}"
        for label, alias in policies.aliases.items()
        if label in check.wanted and label in there and alias not in there
    }
    if idle:
        check.found(
            "note",
            "features-aliases",
            idle,
            "features.aliases names what it lacks; the label's own vector is taken",
        )
