"""Writes a config as YAML, byte for byte as OmegaConf does."""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import Any

import yaml

from workflow_scripts.settings.hydra_internals import get_omega_conf_dumper

# What YAML 1.1 may read as a boolean: OmegaConf quotes these texts, y and n among them.
_BOOLEANS = {
    spelling
    for word in ("y", "n", "yes", "no", "on", "off", "true", "false")
    for spelling in (word, word.capitalize(), word.upper())
}


def _is_number(text: str) -> bool:
    """Tell whether Python reads a text as a number, which is the rule OmegaConf quotes by."""
    try:
        float(text)
    except ValueError:
        return False
    return True


class _Dumper(get_omega_conf_dumper()):  # type: ignore[misc]
    """OmegaConf's dumper, without aliases."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def to_yaml(config: Any) -> str:
    """Return a config's YAML text, byte for byte as ``OmegaConf.to_yaml`` does."""
    text: str = yaml.dump(
        config,
        Dumper=_Dumper,
        default_flow_style=False,
        allow_unicode=True,
        sort_keys=False,
    )
    return text


_REPRESENTER = yaml.representer.SafeRepresenter()  # knows the floats that every reader agrees on
# Texts that stay themselves in a line of YAML, whatever stands around them.
_BARE = re.compile(r"[\w./][\w./@%+ -]*(?<! )")


def inline(value: Any) -> str:
    """Give a value as one line of YAML, for tables: ``[a, b]``, ``{a: 1}``, ``null``, ``1.0e-06``.

    A text stands bare where every reader takes it for that text, otherwise in JSON's quotes.
    """
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return str(_REPRESENTER.represent_float(value).value)
    if isinstance(value, int):
        return str(value)
    if isinstance(value, list):
        return "[" + ", ".join(map(inline, value)) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{inline(k)}: {inline(v)}" for k, v in value.items()) + "}"
    return _inline_text(str(value))


@lru_cache(maxsize=4096)
def _inline_text(text: str) -> str:
    plain = yaml.SafeLoader.yaml_implicit_resolvers
    first = text[:1]
    special = any(regexp.match(text) for _, regexp in plain.get(first, []))
    if _BARE.fullmatch(text) and not special and text not in _BOOLEANS and not _is_number(text):
        return text
    return json.dumps(text, ensure_ascii=False)
