"""Say which perturbations have no vector, what the file may call them, and what to do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from workflow_scripts.features.entries import FileCheck
from workflow_scripts.features.names import KnownNames, alias_setting, visible
from workflow_scripts.settings.findings import Finding, listing
from workflow_scripts.settings.labels import is_control_name

_COMPARED = 20
"""Names that are compared with all of the file's, which takes a tenth of a second each."""


@dataclass(frozen=True)
class Missing:
    """Perturbations without a vector, in words.

    Attributes
    ----------
    labels
        Label to what is known of it.
    meant
        Name to the one by which the file, or the FASTA, probably has it.
    """

    labels: Mapping[str, str]
    meant: Mapping[str, str]


def describe_missing(
    lacking: Mapping[str, Sequence[str]],
    control: str,
    aliases: Mapping[str, str],
    check: FileCheck,
) -> Missing:
    """Describe labels, each with the parts of it (or itself) that have no vector."""
    known = KnownNames(check.vectors)
    labels: dict[str, str] = {}
    meant: dict[str, str] = {}
    for at, (label, parts) in enumerate(lacking.items()):
        notes = []
        for name in dict.fromkeys((label, *parts)):
            same = known.same(name) or (known.control() if name == control else None)
            likely = same or check.elsewhere.get(name)
            # Of a combination, the part is what has a slip of the pen.
            compared = at < _COMPARED and not likely and (name != label or not parts)
            near = known.near(name) if compared else None
            said = ""
            if name in aliases:
                said = f"features.aliases calls it {visible(aliases[name])}, which is not there"
            elif not likely and name != control and is_control_name(name):
                meant[name] = control
                said = f"perhaps the control, {visible(control)}"
            elif likely:
                meant[name] = likely
                said = f"{'it' if same else 'the FASTA'} has {visible(likely)}"
            elif near:
                said = f"did you mean {visible(near)}?"
            if name != label:
                said = f"no {visible(name)}{': ' if said else ''}{said}"
            notes.append(said)
        said = "; ".join(filter(None, notes))
        labels[label] = f"{visible(label)} ({said})" if said else visible(label)
    return Missing(labels, meant)


def served_finding(missing: Missing, become: str, n_labels: int, check: FileCheck) -> Finding:
    """Warn of perturbations that get a stand-in."""
    text = (
        f"no vector for {len(missing.labels)} of the data's {n_labels} perturbations; they get "
        f"{become}: {listing(missing.labels.values())}"
    )
    ways = list(_aliases(missing))
    end = "".join(f"; {way}" for way in ways)
    return Finding(
        "warning", "features-missing", f"{check.source}: {text}{end}", tuple(missing.labels)
    )


def missing_finding(
    missing: Missing, control: str, n_labels: int, embed: bool, check: FileCheck, none_found: bool
) -> Finding:
    """Report perturbations without a vector, with every way out."""
    names = tuple(missing.labels)
    text = (
        f"no vector for {len(names)} of the data's {n_labels} perturbations: "
        f"{listing(missing.labels.values())}"
    )
    if none_found and check.vectors:
        text += f"; the names in it are {listing(map(visible, check.vectors), 5)}"
    ways = [*_aliases(missing), *_ways(names, control, embed)]
    return Finding(
        "error", "features-missing", "; ".join([f"{check.source}: {text}", *ways]), names
    )


def _aliases(missing: Missing) -> Iterator[str]:
    for label, name in missing.meant.items():
        yield f"where another name is meant: {alias_setting(label, name)}"
        return


def _ways(missing: Sequence[str], control: str, embed: bool) -> Iterator[str]:
    if any(name != control for name in missing):
        other = "mean or zero" if embed else "embed, mean or zero"
        yield (
            f"{'add their proteins to features.embedding.fasta' if embed else 'add their vectors'}"
            f", remove these perturbations from the data, or choose features.missing={other}"
        )
    if control in missing:
        yield f"for the control ({control}) alone, features.control=zeros or mean will do"
