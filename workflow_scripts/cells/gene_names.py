"""Hold names of genes that somebody chose to the genes that there are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from workflow_scripts.errors import DataError
from workflow_scripts.settings.findings import Finding, listing
from workflow_scripts.settings.suggestions import closest

_SHOWN = 5
"""Unknown names that are looked up among the known ones: each takes some 0.05 s among 18,080."""


def audit_genes(names: Sequence[str], known: Iterable[str], where: str) -> list[Finding]:
    """Find what keeps names from being a selection of the known genes.

    Parameters
    ----------
    names
        The selection.
    known
        All genes of the cells.
    where
        File or key that the names come from, for the messages.
    """
    genes = [str(gene) for gene in known]
    if not names:
        text = f"{where}: names no gene; name those to read, or read all with genes.select=all"
        return [Finding("error", "no-gene-named", text)]
    findings = []
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        text = f"{where}: {len(twice)} genes are named twice: {listing(twice, 8)}; name each once"
        findings.append(Finding("error", "genes-named-twice", text, tuple(twice)))
    there = set(genes)
    if lacking := [name for name in dict.fromkeys(names) if name not in there]:
        shown = [_with_nearest(name, genes) for name in lacking[:_SHOWN]] + lacking[_SHOWN:]
        text = (
            f"{where}: {len(lacking)} of {len(names)} names are no gene of the cells: "
            f"{listing(shown, 8)}; correct them or take them out"
        )
        findings.append(Finding("error", "unknown-genes", text, tuple(lacking)))
    return findings


def check_genes(names: Sequence[str], known: Iterable[str], where: str) -> None:
    """Refuse names that are no selection of the known genes, as `audit_genes` finds."""
    if found := audit_genes(names, known, where):
        raise DataError("\n".join(finding.message for finding in found))


def _with_nearest(name: str, genes: Sequence[str]) -> str:
    near = closest(name, genes)
    return name if near is None else f"{name} (did you mean {near}?)"
