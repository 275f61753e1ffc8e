"""Writes a config as YAML, byte for byte as OmegaConf does."""

from __future__ import annotations

from typing import Any

import yaml

# What YAML 1.1 may read as a boolean: OmegaConf quotes these texts, y and n among them.
_BOOLEANS = {
    spelling
    for word in ("y", "n", "yes", "no", "on", "off", "true", "false")
    for spelling in (word, word.capitalize(), word.upper())
}


class _Dumper(yaml.SafeDumper):
    """A dumper that quotes every text another reader could take for a number or a boolean."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represent_text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    ambiguous = text in _BOOLEANS or _is_number(text)
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="'" if ambiguous else None)


def _is_number(text: str) -> bool:
    """Tell whether Python reads a text as a number, which is the rule OmegaConf quotes by."""
    try:
        float(text)
    except ValueError:
        return False
    return True


_Dumper.add_representer(str, _represent_text)


def to_yaml(config: Any) -> str:
    """Give a config's YAML text: keys in order, one a line, floats that every reader agrees on."""
    text: str = yaml.dump(
        config, Dumper=_Dumper, default_flow_style=False, allow_unicode=True, sort_keys=False
    )
    return text
