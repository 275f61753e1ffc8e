"""Names of genes as people write them: other spellings, former symbols, spreadsheets' dates.

Nothing here renames anything: it finds what to suggest. The former symbols are HGNC's, those that
perturbation screens of the last years still carry.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterator, Sequence

FORMER: dict[str, str] = {
    **{f"{acid}ARS": f"{acid}ARS1" for acid in "ACDGHIKLMNQRSTVWY"},
    "EPRS": "EPRS1",
    "ATP5A1": "ATP5F1A",
    "ATP5B": "ATP5F1B",
    "ATP5C1": "ATP5F1C",
    "ATP5D": "ATP5F1D",
    "ATP5O": "ATP5PO",
    "C19orf43": "TRIR",
    "C7orf26": "INTS15",
    "CASC5": "KNL1",
    "CCDC84": "CENATAC",
    "CTGF": "CCN2",
    "CYR61": "CCN1",
    "DEC1": "DELEC1",
    "FAM208A": "TASOR",
    "FAM60A": "SINHCAF",
    "H2AFX": "H2AX",
    "H2AFZ": "H2AZ1",
    "H3F3A": "H3-3A",
    "H3F3B": "H3-3B",
    "KIF1BP": "KIFBP",
    "MLL": "KMT2A",
    "MLL2": "KMT2D",
    "MRE11A": "MRE11",
    "NOV": "CCN3",
    "PARK2": "PRKN",
    "SKIV2L": "SKIC2",
    "TTC37": "SKIC3",
    "WDR61": "SKIC8",
    "WHSC1": "NSD2",
}
"""Former symbol to the approved one."""

_CURRENT = {new: old for old, new in FORMER.items()}
_FAMILIES = {"SEPT": "SEPTIN", "MARCH": "MARCHF", "MARC": "MTARC"}
_CURRENT_FAMILIES = {new: old for old, new in _FAMILIES.items()}
_NUMBERED = re.compile(r"([A-Z]+)(\d+)")
_COMPARED = 20
_DATE = re.compile(r"(?:(\d{1,2})-(sep|mar|dec)|(sep|mar|dec)-(\d{1,2}))", re.IGNORECASE)
_FROM_DATE = {"sep": ("SEPT", "SEPTIN"), "mar": ("MARCH", "MARCHF"), "dec": ("DEC", "DELEC")}


def folded(name: str) -> str:
    """Return a name without case, dashes, underscores and spaces."""
    return re.sub(r"[-_\s.]", "", name).casefold()


def approved(name: str) -> str:
    """Return the approved symbol of a former one, any other name as it is."""
    found = _NUMBERED.fullmatch(name)
    if found and found[1] in _FAMILIES:
        return f"{_FAMILIES[found[1]]}{found[2]}"
    return FORMER.get(name, name)


def other_names(name: str) -> Iterator[str]:
    """Yield the approved and the former symbol of a gene, and what a spreadsheet's date was."""
    if approved(name) != name:
        yield approved(name)
    if name in _CURRENT:
        yield _CURRENT[name]
    found = _NUMBERED.fullmatch(name)
    if found and found[1] in _CURRENT_FAMILIES:
        yield f"{_CURRENT_FAMILIES[found[1]]}{found[2]}"
    if found := _DATE.fullmatch(name):
        number, month = found[1] or found[4], (found[2] or found[3]).casefold()
        yield from (f"{prefix}{int(number)}" for prefix in _FROM_DATE[month])


def likely_names(missing: Sequence[str], known: Collection[str]) -> dict[str, str]:
    """Return, of the missing names, the known name that probably means the same.

    In order: another spelling of it, another symbol of the gene and, for the first `_COMPARED`
    names alone since it is slow, a name a letter or two away.
    """
    spellings = {folded(other): other for other in known}
    likely = {}
    for at, name in enumerate(missing):
        others = (other for other in other_names(name) if other in known)
        near = spellings.get(folded(name)) or next(others, None)
        if near is None and at < _COMPARED:
            near = next(iter(difflib.get_close_matches(name, known, n=1, cutoff=0.85)), None)
        if near is not None:
            likely[name] = near
    return likely
