"""Matplotlib figures as SVG that lives inside a page.

Figures are drawn with stand-in colours, and each becomes a CSS variable with its light value as
the fallback: the page recolours its figures in the dark, and a figure saved alone still looks
right. Text stays text (to be searched, copied and read aloud).
"""

from __future__ import annotations

import io
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.figure import Figure

from workflow_scripts.settings.findings import printable

INK, MUTED, GRID = "#010101", "#020202", "#030303"
OWN, BASELINE, VALIDATION, HIGHLIGHT = "#040404", "#050505", "#060606", "#070707"

_VARIABLES: Mapping[str, str] = {
    INK: "var(--ink, #1b2430)",
    MUTED: "var(--muted, #5a6675)",
    GRID: "var(--line, #d5dbe3)",
    OWN: "var(--own, #0072b2)",
    BASELINE: "var(--baseline, #7a7f87)",
    VALIDATION: "var(--validation, #d55e00)",
    HIGHLIGHT: "var(--highlight, #d55e00)",
}
"""Stand-in to variable. Blue and vermilion are of Okabe and Ito's palette, which people with the
common colour blindnesses tell apart; shapes and labels say the same in every figure."""

_SVG = "http://www.w3.org/2000/svg"
_XLINK_HREF = "{http://www.w3.org/1999/xlink}href"
_LOCAL_URL = re.compile(r"url\(#")
_STYLE: Mapping[str, Any] = {
    "axes.edgecolor": MUTED,
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.unicode_minus": True,
    "figure.facecolor": "none",
    "font.size": 9.0,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "stateline",
    "text.color": INK,
    # Names of genes and perturbations may hold a dollar sign.
    "text.parse_math": False,
    "xtick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.color": MUTED,
    "ytick.labelcolor": INK,
}


@contextmanager
def blank_figure(width: float, height: float) -> Iterator[Figure]:
    """Give an empty figure in the page's style, of a size in inches."""
    with mpl.rc_context(cast(Any, _STYLE)):
        yield Figure(figsize=(width, height), layout="constrained")


def to_markup(figure: Figure, name: str, description: str) -> Markup:
    """Return a figure as an ``<svg>`` element for a page.

    Parameters
    ----------
    figure
        Drawn inside `blank_figure`, and still inside when this is called.
    name
        Unique on the page: every id of the figure starts with it.
    description
        What a person who can't see the figure should know.
    """
    buffer = io.BytesIO()
    # No date and no creator, so that the same run gives the same bytes.
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure.savefig(buffer, format="svg", metadata=nothing)
    # XML takes no control characters, which labels may hold.
    root = ET.fromstring(printable(buffer.getvalue().decode()))
    _localise(root, name)
    _share_styles(root)
    for size in ("width", "height"):
        root.attrib.pop(size, None)
    root.set("role", "img")
    root.set("aria-label", printable(description))
    ET.register_namespace("", _SVG)
    return Markup(ET.tostring(root, encoding="unicode"))


def _localise(root: ET.Element, name: str) -> None:
    """Prefix ids and references to them, and turn stand-in colours into variables."""
    used = {
        element.get(_XLINK_HREF, "").removeprefix("#")
        for element in root.iter()
        if _XLINK_HREF in element.attrib
    }
    used |= {
        reference
        for element in root.iter()
        for value in element.attrib.values()
        for reference in re.findall(r"url\(#([^)]+)\)", value)
    }
    for element in root.iter():
        identifier = element.attrib.pop("id", None)
        if identifier in used:
            element.set("id", f"{name}-{identifier}")
        reference = element.attrib.pop(_XLINK_HREF, None)
        if reference is not None:
            element.set("href", f"#{name}-{reference.removeprefix('#')}")
        for attribute, value in element.attrib.items():
            if "url(#" in value:
                element.set(attribute, _LOCAL_URL.sub(f"url(#{name}-", value))
        style = element.get("style")
        if style is not None:
            element.set("style", _recolour(style))


def _share_styles(root: ET.Element) -> None:
    """Say the style of a group's dots once, on the group: half of a scatter plot's bytes."""
    for group in root.iter(f"{{{_SVG}}}g"):
        dots = [child for child in group if child.tag == f"{{{_SVG}}}use"]
        styles = {dot.get("style") for dot in dots}
        if len(styles) == 1 and len(dots) == len(group) and group.get("style") is None:
            group.set("style", styles.pop() or "")
            for dot in dots:
                dot.attrib.pop("style", None)
        for dot in dots:
            for axis in ("x", "y"):
                # A hundredth of a point can't be seen.
                dot.set(axis, f"{float(dot.get(axis, '0')):.2f}")


def _recolour(style: str) -> str:
    for stand_in, variable in _VARIABLES.items():
        style = style.replace(stand_in, variable)
    return style
