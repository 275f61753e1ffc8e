"""Environment variables that hold secrets: kept as references, looked up where they are used.

A frozen config is shared, logged and committed, so ``${oc.env:HF_TOKEN}`` stands in it as it was
written. Which variables are meant is told by their names.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Any

from workflow_scripts.settings.errors import ConfigError
from workflow_scripts.settings.interpolation_grammar import Call, Text, parse_interpolation_at
from workflow_scripts.settings.literals import GrammarError

_WORDS = frozenset(
    {
        *("KEY", "KEYS", "TOKEN", "TOKENS", "SECRET", "SECRETS", "CREDENTIAL", "CREDENTIALS"),
        *("PASSWORD", "PASSWORDS", "PASSWD", "PASSPHRASE", "PASS", "PAT", "AUTH"),
    }
)
_ENDINGS = ("APIKEY", "TOKEN", "PASSWORD", "PASSWD", "SECRET")
_RESOLVER = "oc.env"


def is_secret_name(name: str) -> bool:
    """Tell whether a variable's name says that it holds a key, a token, a password or the like."""
    words = name.upper().split("_")
    return any(word in _WORDS or word.endswith(_ENDINGS) for word in words)


def reference(name: str, default: list[Any]) -> str:
    """Write the reference to a variable, with its default where the list holds one."""
    if not default:
        return f"${{{_RESOLVER}:{name}}}"
    return f"${{{_RESOLVER}:{name},{_argument(default[0])}}}"


def holds_secret(value: Any) -> bool:
    """Tell whether a value, or one inside it, refers to a secret."""
    if isinstance(value, dict):
        return any(map(holds_secret, value.values()))
    if isinstance(value, list):
        return any(map(holds_secret, value))
    return isinstance(value, str) and any(True for _ in _references(value))


def reveal(value: Any) -> Any:
    """Look up the secrets that a value of a frozen config refers to.

    Raises
    ------
    ConfigError
        Where a variable isn't set, and no default stands beside it.
    """
    if isinstance(value, dict):
        return {key: reveal(item) for key, item in value.items()}
    if isinstance(value, list):
        return [reveal(item) for item in value]
    if not isinstance(value, str):
        return value
    pieces, at = [], 0
    for call, start, end in _references(value):
        pieces += [value[at:start], str(_look_up(call))]
        at = end
        if start == 0 and end == len(value):
            return _look_up(call)
    return "".join([*pieces, value[at:]])


def _references(text: str) -> Iterator[tuple[Call, int, int]]:
    """Find the references to secrets in a text: what they say, where they begin and end."""
    at = text.find("${")
    while at >= 0:
        end = at + 2
        try:
            found, stop = parse_interpolation_at(text, at)
        except GrammarError:
            found, stop = None, end  # an escaped ${, which is text by now
        if isinstance(found, Call) and _is_secret(found):
            yield found, at, stop
            end = stop
        at = text.find("${", end)


def _is_secret(call: Call) -> bool:
    name = call.arguments[0] if call.arguments else None
    return "".join(map(str, call.name)) == _RESOLVER and (
        isinstance(name, str) and is_secret_name(name)
    )


def _look_up(expression: Any) -> Any:
    if isinstance(expression, Text):
        return "".join(str(_look_up(piece)) for piece in expression.pieces)
    if not isinstance(expression, Call):
        return expression
    name, *default = expression.arguments
    if name in os.environ:
        return os.environ[name]
    if not default:
        raise ConfigError(
            f"the environment variable {name} isn't set, and the config takes a value from it: "
            f"set it where this stage runs, or write a default: {reference(name, ['default'])}"
        )
    return None if default[0] is None else str(_look_up(default[0]))


def _argument(value: Any) -> str:
    """Write a default so that it reads back as the same text."""
    if value is None:
        return "null"
    text = str(value)
    if re.fullmatch(r"[A-Za-z][\w./:-]*", text, re.ASCII) and text.lower() not in _LITERALS:
        return text
    # Backslashes count only before the quote and at the end, where each pair stands for one.
    escaped = re.sub(r"(\\*)'", r"\1\1\\'", text)
    return "'" + re.sub(r"(\\+)\Z", r"\1\1", escaped) + "'"


_LITERALS = ("null", "true", "false", "inf", "nan")
