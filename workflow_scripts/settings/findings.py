"""What a check found: collected, written down, and shown all together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

Severity = Literal["error", "warning", "note"]
_ORDER: Mapping[str, int] = {"error": 0, "warning": 1, "note": 2}


@dataclass(frozen=True)
class Finding:
    """One thing a person should know about their input.

    Attributes
    ----------
    severity
        ``error`` stops the run before training, ``warning`` and ``note`` are reported.
    code
        Short stable name, for tests and for looking it up.
    message
        What, where (file and key), what was found, and what to do.
    names
        All the names concerned (perturbations, cells, genes), where the message shows the first.
    """

    severity: Severity
    code: str
    message: str
    names: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the finding as JSON types."""
        return asdict(self)


def from_dicts(entries: Iterable[Mapping[str, Any]]) -> list[Finding]:
    """Read findings back from an audit."""
    return [
        Finding(entry["severity"], entry["code"], entry["message"], tuple(entry.get("names", ())))
        for entry in entries
    ]


def has_errors(findings: Iterable[Finding]) -> bool:
    """Tell whether one of the findings stops the run."""
    return any(finding.severity == "error" for finding in findings)


def in_order(findings: Sequence[Finding]) -> list[Finding]:
    """Return the findings with errors first, then warnings, then notes."""
    return sorted(findings, key=lambda finding: _ORDER[finding.severity])


def render(findings: Sequence[Finding]) -> str:
    """Return the findings as text, errors first."""
    return "\n".join(
        f"{finding.severity}: {printable(finding.message)}" for finding in in_order(findings)
    )


def printable(text: str) -> str:
    """Return text with control characters escaped: labels may hold some that steer a terminal."""
    return "".join(c if c.isprintable() or c in "\n\t" else ascii(c)[1:-1] for c in text)


def listing(names: Iterable[object], limit: int = 20) -> str:
    """Return names joined by commas, the first ``limit`` of them and a count of the rest."""
    texts = [str(name) for name in names]
    shown = ", ".join(texts[:limit])
    return shown if len(texts) <= limit else f"{shown}, … ({len(texts) - limit} more)"


def size(n_bytes: float) -> str:
    """Return a number of bytes in the unit that suits it."""
    for unit in ("bytes", "kB", "MB"):
        if n_bytes < 1000:
            return f"{n_bytes:.0f} {unit}"
        n_bytes /= 1000
    return f"{n_bytes:,.1f} GB"
