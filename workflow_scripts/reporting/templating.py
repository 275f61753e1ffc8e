"""The templates of all pages, and what they may use."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

import jinja2
from markupsafe import Markup

from workflow_scripts.reporting.words import counted, number, on_scale
from workflow_scripts.settings.findings import printable, size

_TEMPLATES = Path(__file__).parent / "templates"


def template_environment() -> jinja2.Environment:
    """Return the environment in which every page is rendered: strict, and escaping."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=lambda value: printable(value) if type(value) is str else value,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = number
    environment.filters["on_scale"] = on_scale
    environment.filters["size"] = size
    environment.filters["counted"] = counted
    environment.filters["count"] = lambda value: f"{value:,}"
    # Our own files, the only text of the page that isn't escaped.
    environment.globals["stylesheet"] = Markup((_TEMPLATES / "style.css").read_text("utf-8"))
    script = (_TEMPLATES / "page.js").read_text("utf-8")
    environment.globals["script"] = Markup(script)
    digest = hashlib.sha256(script.encode()).digest()
    environment.globals["script_digest"] = Markup(base64.b64encode(digest).decode())
    return environment
