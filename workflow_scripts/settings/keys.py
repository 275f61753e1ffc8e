"""How a key of the config is declared, and the values that keys share."""

from __future__ import annotations

import ast
import functools
import itertools
import sys
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, create_model

from workflow_scripts.settings.dump import inline

Kind = Literal["identity", "extent", "operational", "inert"]
"""What a change of a key does to finished work.

``identity`` changes the result at a given step: the stage starts afresh. ``extent`` says how far
and how often: the stage runs again and continues. ``operational`` changes no result: nothing runs
again. ``inert`` is accepted because users' files carry it, and read by nothing.
"""

T = TypeVar("T")
S = TypeVar("S", bound="Section")
AnyValue = bool | int | float | str | list[Any] | None
_UNREAD: Mapping[str, Mapping[str, Mapping[str, Any]]] = yaml.load(
    (Path(__file__).parent / "unread.yaml").read_text("utf-8"),
    getattr(yaml, "CSafeLoader", yaml.SafeLoader),  # noqa: S506  (both are safe)
)
UNSUPPORTED = "Stateline does not support it"
_TYPES = {
    "string": ("str", "text"),
    "boolean": ("bool", "true or false"),
    "integer": ("int", "a whole number"),
    "number": ("float", "a number"),
    "array": ("list", "a list"),
    "object": ("dict", "a mapping"),
    "null": ("null", "null"),
}
"""What tables and messages call a type of JSON Schema."""
_LIMITS = {
    "minimum": (">=", "of at least"),
    "exclusiveMinimum": (">", "above"),
    "maximum": ("<=", "of at most"),
    "exclusiveMaximum": ("<", "below"),
}
_ITEMS = {"string": "texts", "integer": "whole numbers"}


class Section(BaseModel):
    """A section of the config: it refuses unknown keys and converts no value."""

    model_config = ConfigDict(
        allow_inf_nan=False,
        defer_build=True,
        extra="forbid",
        protected_namespaces=(),
        strict=True,
    )

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        # pydantic would find the source of each class anew, among all imported modules: seconds.
        meanings = _docstrings(cls.__module__).get(cls.__name__, {})
        for name, field in cls.model_fields.items():
            field.description = meanings.get(name, field.description)


@functools.cache
def _docstrings(module: str) -> dict[str, dict[str, str]]:
    """Return the text below each field, by class, of a module that is being imported."""
    source = Path(str(sys.modules[module].__file__)).read_text("utf-8")
    found: dict[str, dict[str, str]] = {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.ClassDef):
            texts = found[node.name] = {}
            for field, text in itertools.pairwise(node.body):
                match field, text:
                    case ast.AnnAssign(target=ast.Name(name)), ast.Expr(ast.Constant(str(meaning))):
                        texts[name] = meaning
    return found


@dataclass(frozen=True)
class Key:
    """One key of the config.

    Attributes
    ----------
    kind
        What a change of it does.
    stages
        Who reads it: stages, and ``workflow`` for the Snakefile. Empty for inert keys.
    unit
        What a number counts or is measured in.
    optional
        Whether a config may lack it.
    reason
        Of an inert key: why nothing reads it, and what to do instead.
    usual
        Of an inert key: the value in every preset; ``...`` if there is no single one.
    path
        Dotted path.
    meaning
        What it means; of an inert key, what it means where users' files come from.
    section
        The section that declares it.
    """

    kind: Kind
    stages: tuple[str, ...] = ()
    unit: str = ""
    optional: bool = False
    reason: str = ""
    usual: Any = ...
    path: str = ""
    meaning: str = ""
    section: type[BaseModel] = Section

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition(".")[2]

    def __call__(self, schema: dict[str, Any]) -> None:
        """Describe the key in its JSON Schema, which pydantic passes."""
        readers = f"{self.kind.capitalize()}: {', '.join(self.stages)}"
        unit = f" Unit: {self.unit}." if self.unit else ""
        does = f"Read by nothing: {self.reason}" if self.kind == "inert" else readers
        schema["description"] = f"{' '.join(schema['description'].split())}.{unit} {does}."

    @functools.cached_property
    def alternatives(self) -> list[dict[str, Any]]:
        """JSON Schema of each type that it takes."""
        return _flat(self.section.model_json_schema()["properties"][self.name])

    @property
    def types(self) -> set[str]:
        """JSON types that it takes."""
        return {part["type"] for part in self.alternatives}

    @property
    def choices(self) -> list[Any]:
        """Values that it, or its items, are limited to."""
        return [choice for part in self.alternatives for choice in choices_of(part)]

    @property
    def type_in_tables(self) -> str:
        """Its types: ``list of str | null``."""
        names = []
        for part in self.alternatives:
            name = inline(part["const"]) if "const" in part else _TYPES[part["type"]][0]
            if part["type"] == "array":
                name += f" of {_TYPES.get(part['items'].get('type'), ('any',))[0]}"
            names.append(name)
        return "" if self.kind == "inert" and len(names) > 3 else " | ".join(dict.fromkeys(names))

    @property
    def range_in_tables(self) -> str:
        """Values of its type that it takes: ``>= 0, auto``; empty for any."""
        texts = []
        for part in self.alternatives:
            texts += [inline(choice) for choice in choices_of(part)]
            texts += [f"{sign} {limit}" for sign, _, limit in _limits_of(part)]
        return ", ".join(texts)

    @property
    def takes(self) -> str:
        """Values that it takes, for messages: ``a number above 0 (GB) or null``."""
        return _either(self.alternatives, self.unit)

    @property
    def entries_take(self) -> str:
        """Values that the entries of a mapping take, for messages."""
        (entry,) = self.alternatives[0]["patternProperties"].values()
        return _either(_flat(entry))


def choices_of(part: dict[str, Any]) -> list[Any]:
    """Return the values that a type of a JSON Schema, or its items, are limited to."""
    part = part.get("items", part)
    return [part["const"]] if "const" in part else list(part.get("enum", ()))


def _flat(schema: dict[str, Any]) -> list[dict[str, Any]]:
    if "anyOf" not in schema:
        return [schema]
    return [part for inner in schema["anyOf"] for part in _flat(inner)]


def _limits_of(part: dict[str, Any]) -> list[tuple[str, str, str]]:
    return [(*words, f"{part[name]:.15g}") for name, words in _LIMITS.items() if name in part]


def _either(parts: list[dict[str, Any]], unit: str = "") -> str:
    texts = [_in_words(part) for part in parts]
    texts[0] += f" ({unit})" if unit else ""
    return _listed(texts)


def _in_words(part: dict[str, Any]) -> str:
    choices = _listed([inline(choice) for choice in choices_of(part)])
    if part["type"] == "array":
        return f"a list of {choices or _ITEMS.get(part['items'].get('type'), 'values')}"
    limits = " and ".join(f"{words} {limit}" for _, words, limit in _limits_of(part))
    return choices or f"{_TYPES[part['type']][1]} {limits}".strip()


def _listed(texts: list[str]) -> str:
    *first, last = texts or [""]
    return f"{', '.join(first)} or {last}" if first else last


def declare(
    kind: Kind, readers: str, *, unit: str = "", optional: bool = False, **limits: Any
) -> Any:
    """Declare a key that ``readers`` read: stages, and ``workflow`` for the Snakefile.

    ``optional`` keys may be absent from a config. ``limits`` are those of `pydantic.Field`.
    """
    return _field(Key(kind, tuple(readers.split()), unit, optional), limits)


identity = functools.partial(declare, "identity")
extent = functools.partial(declare, "extent")
operational = functools.partial(declare, "operational")


def inert(reason: str, *, usual: Any = ..., unit: str = "", **limits: Any) -> Any:
    """Declare a key that nothing reads, for this reason.

    ``usual`` is the value that it has in every preset: a run that sets another one is warned.
    """
    return _field(Key("inert", (), unit, True, reason, usual), limits)


def with_unread(name: str) -> Callable[[type[S]], type[S]]:
    """Add the keys to a section that configs of other programs carry there (unread.yaml)."""

    def extended(section: type[S]) -> type[S]:
        fields: dict[str, Any] = {}
        for key, about in _UNREAD[name].items():
            about = {"usual": ..., "reason": "", **about}
            values: Any = AnyValue
            if "only" in about:
                about["usual"] = about["only"]
                about["reason"] = "; ".join(filter(None, (UNSUPPORTED, about["reason"])))
                values = _only(about["only"])
            declared = inert(about["reason"], usual=about["usual"], description=about["meaning"])
            fields[key] = (values, declared)
        return create_model(section.__name__, __base__=section, **fields)

    return extended


def _only(value: Any) -> Any:
    """Return the type that takes one value alone."""
    if isinstance(value, float):
        return Annotated[float, Field(ge=value, le=value)]
    return None if value is None else Literal[value]


def _field(key: Key, limits: dict[str, Any]) -> Any:
    return Field(None if key.optional else ..., json_schema_extra=key, **limits)


def _printable(text: str) -> str:
    if any(unicodedata.category(sign) in ("Cc", "Cs") for sign in text):
        raise ValueError("remove the line breaks, tabs and control characters")
    return text


def _not_none(text: str) -> str:
    if text == "None":
        raise ValueError("for no value, write null")
    return text


def _no_braces(text: str) -> str:
    if "{" in text or "}" in text:
        raise ValueError("remove the braces: Snakemake reads them as wildcards")
    return text


def _folder_name(text: str) -> str:
    if text in (".", "..") or "/" in text:
        raise ValueError("it must be the name of a folder; output_dir sets where that folder lies")
    if text != text.strip():
        raise ValueError("remove the spaces at its ends")
    if len(text.encode()) > 255:
        raise ValueError("it must be the name of a folder: at most 255 bytes")
    return text


def _no_repeats(items: list[T]) -> list[T]:
    repeated = [item for place, item in enumerate(items) if item in items[:place]]
    if repeated:
        raise ValueError(f"it has {repeated[0]!r} twice; remove one")
    return items


Text = Annotated[str, Field(pattern=r"\S"), AfterValidator(_printable)]
NullableText = Annotated[Text, AfterValidator(_not_none)] | None
Folder = Annotated[Text, AfterValidator(_no_braces)]
FolderName = Annotated[Folder, AfterValidator(_folder_name)]
Items = Annotated[list[T], AfterValidator(_no_repeats)]
"""A list without repeats."""
Positive = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]
"""A seed that every random number generator behind the stages takes."""
