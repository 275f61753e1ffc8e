"""Writes a config as YAML, byte for byte as OmegaConf does."""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import Any

import yaml

from workflow_scripts.settings.hydra_internals import (
    get_omega_conf_dumper,
    is_float,
    yaml_is_bool,
)


class _Dumper(get_omega_conf_dumper()):  # type: ignore[misc]
    """OmegaConf's dumper, without aliases."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def to_yaml(config: Any) -> str:
    """Return a config's YAML text, byte for byte as ``OmegaConf.to_yaml`` does."""
    text: str = yaml.dump(config, Dumper=_Dumper, allow_unicode=True, sort_keys=False)
    return text


_REPRESENTER = yaml.representer.SafeRepresenter()  # of numbers that every reader agrees on
# Texts that stay themselves in a line of YAML, whatever stands around them.
_BARE = re.compile(r"[\w./][\w./@%+ -]*(?<! )")


def inline(value: Any) -> str:
    """Give a value as one line of YAML, for tables: ``[a, b]``, ``{a: 1}``, ``null``, ``1.0e-06``.

    A text stands bare where every reader takes it for that text, otherwise in JSON's quotes.
    """
    if isinstance(value, list):
        return "[" + ", ".join(map(inline, value)) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{inline(k)}: {inline(v)}" for k, v in value.items()) + "}"
    if value is None or isinstance(value, bool | int | float):
        return str(_REPRESENTER.represent_data(value).value)
    return _inline_text(str(value))


@lru_cache(maxsize=4096)
def _inline_text(text: str) -> str:
    resolvers = yaml.SafeLoader.yaml_implicit_resolvers.get(text[:1], [])
    special = any(regexp.match(text) for _, regexp in resolvers)
    if _BARE.fullmatch(text) and not (special or yaml_is_bool(text) or is_float(text)):
        return text
    return json.dumps(text, ensure_ascii=False)
