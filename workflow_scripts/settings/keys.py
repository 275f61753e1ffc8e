"""How a key of the config is declared, and the values that keys share."""

from __future__ import annotations

import unicodedata
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

Kind = Literal["identity", "extent", "operational", "inert"]
"""What a change of a key does to finished work.

``identity`` changes the result at a given step: the stage starts afresh. ``extent`` says how far
and how often: the stage runs again and continues. ``operational`` changes no result: nothing runs
again. ``inert`` is accepted because users' files carry it, and read by nothing.
"""

T = TypeVar("T")
UNSUPPORTED = "Stateline does not support it"


class Section(BaseModel):
    """A section of the config: it refuses unknown keys and converts no value."""

    model_config = ConfigDict(
        allow_inf_nan=False,
        extra="forbid",
        protected_namespaces=(),
        strict=True,
        use_attribute_docstrings=True,
    )


def identity(readers: str, *, unit: str = "", optional: bool = False, **limits: Any) -> Any:
    """Declare a key whose change makes ``readers`` start afresh.

    ``optional`` keys may be absent from a config. ``limits`` are those of `pydantic.Field`.
    """
    return _key("identity", readers, optional, limits, unit=unit)


def extent(readers: str, *, unit: str = "", **limits: Any) -> Any:
    """Declare a key whose change makes ``readers`` run again and continue."""
    return _key("extent", readers, False, limits, unit=unit)


def operational(readers: str, *, unit: str = "", **limits: Any) -> Any:
    """Declare a key that ``readers`` read, and whose change runs nothing again.

    The Snakefile reads keys of the reader ``workflow``.
    """
    return _key("operational", readers, False, limits, unit=unit)


def inert(reason: str, **more: Any) -> Any:
    """Declare a key that nothing reads, for this reason.

    ``usual`` is the value that it has in every preset: a run that sets another one is warned.
    """
    shown = {name: more.pop(name) for name in ("usual", "unit") if name in more}
    return _key("inert", "", True, more, reason=reason, **shown)


def unsupported(instead: str = "", **usual: Any) -> Any:
    """Declare a key that takes only the value that asks for nothing."""
    return inert(UNSUPPORTED + (f"; {instead}" if instead else ""), **usual)


def _key(kind: Kind, readers: str, optional: bool, limits: dict[str, Any], **more: Any) -> Any:
    extra = {"kind": kind, "readers": readers.split(), **more}
    return Field(None if optional else ..., json_schema_extra={"key": extra}, **limits)


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
AnyValue = bool | int | float | str | list[Any] | None
Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]
"""A seed that every random number generator behind the stages takes."""
