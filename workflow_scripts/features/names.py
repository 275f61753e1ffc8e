"""Names of genes as people write them: other spellings, former symbols, spreadsheets' dates.

Nothing here renames anything: it finds what to suggest. The former symbols are HGNC's, those that
perturbation screens of the last years still carry.
"""

from __future__ import annotations

import difflib
import json
import re
import unicodedata
from collections.abc import Collection, Iterator

from workflow_scripts.settings.labels import JOINER, control_names, folded

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
_DATE = re.compile(r"(?:(\d{1,2})-(sep|mar|dec)|(sep|mar|dec)-(\d{1,2}))", re.IGNORECASE)
_FROM_DATE = {"sep": ("SEPT", "SEPTIN"), "mar": ("MARCH", "MARCHF"), "dec": ("DEC", "DELEC")}

_KEY = re.compile(r"[A-Za-z_][\w-]*", re.ASCII)
_NO_TEXT = ("null", "true", "false", "nan", "inf")


def name_key(name: str) -> str:
    """Return what the spellings of one name share, of a combination in any order of its parts."""
    parts = (part.strip() for part in name.split(JOINER))
    return JOINER.join(sorted(folded(approved(part)) for part in parts))


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


class KnownNames:
    """Names to look others up in.

    Parameters
    ----------
    names
        Those of a file.
    """

    def __init__(self, names: Collection[str]) -> None:
        self._names = names
        self._by_key: dict[str, str] = {}
        for name in names:
            for spelling in (name, *other_names(name)):
                self._by_key.setdefault(name_key(spelling), name)

    def same(self, name: str) -> str | None:
        """Return another spelling of a name, or another symbol of its gene."""
        for spelling in (name, *other_names(name)):
            found = self._by_key.get(name_key(spelling))
            if found not in (None, name):
                return found
        return None

    def near(self, name: str) -> str | None:
        """Return a name with a slip of the pen. Slow; other digits are another gene."""
        digits = re.findall(r"\d+", name)
        close = difflib.get_close_matches(name, self._names, n=3, cutoff=0.85)
        return next((other for other in close if re.findall(r"\d+", other) == digits), None)

    def control(self) -> str | None:
        """Return what may be the control."""
        return next(iter(control_names(self._names)), None)


def visible(name: str) -> str:
    """Return a name for a message, quoted where a part of it can't be seen."""
    return name if _is_plain(name) else ascii(name)


def alias_setting(label: str, name: str) -> str:
    """Return what to write so that a label of the data gets the vector of a name in the file."""
    plain = _KEY.fullmatch(label) and _KEY.fullmatch(name) and name.casefold() not in _NO_TEXT
    if plain:
        return f"+features.aliases.{label}={name}"
    quoted = (json.dumps(text, ensure_ascii=not _is_plain(text)) for text in (label, name))
    return f"features: {{aliases: {{{': '.join(quoted)}}}}} in the run file"


def _is_plain(name: str) -> bool:
    composed = unicodedata.is_normalized("NFC", name)
    return composed and name.isprintable() and name == name.strip()
