"""Reads YAML files as OmegaConf does, safely, and remembers the line of every key."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from workflow_scripts.settings.errors import ConfigError
from workflow_scripts.settings.interpolation_grammar import check_interpolation
from workflow_scripts.settings.literals import GrammarError

KeyPath = tuple[Any, ...]

_TAG = "tag:yaml.org,2002:"
_SCALAR_TAGS = {_TAG + kind for kind in ("str", "int", "float", "bool", "null")}
# OmegaConf's floats: unlike PyYAML's, an exponent needs neither a dot nor a sign.
_FLOAT = re.compile(
    r"""^(?:
        [-+]?\d+(?:_\d+)*\.[\d_]*(?:[eE][-+]?\d+)?
      | [-+]?\d+(?:_\d+)*[eE][-+]?\d+
      | \.\d+(?:_\d+)*(?:[eE][-+]\d+)?
      | [-+]?\d+(?:_\d+)*(?::[0-5]?\d)+\.[\d_]*
      | [-+]?\.(?:inf|Inf|INF)
      | \.(?:nan|NaN|NAN)
    )$""",
    re.VERBOSE | re.ASCII,
)
_MAX_VALUES = 100_000  # aliases can make a small file expand without end


def _omegaconf_loader(base: Any) -> Any:
    """Give a safe loader with OmegaConf's scalars: more floats, and dates stay strings."""

    class Loader(base):  # type: ignore[misc]
        yaml_implicit_resolvers = {  # noqa: RUF012  (PyYAML's own form)
            first: [(tag, regexp) for tag, regexp in resolvers if tag != _TAG + "timestamp"]
            for first, resolvers in base.yaml_implicit_resolvers.items()
        }

    Loader.add_implicit_resolver(_TAG + "float", _FLOAT, list("-+0123456789."))
    return Loader


_STRICT = _omegaconf_loader(yaml.SafeLoader)
_FAST = _omegaconf_loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader))


@dataclass(frozen=True, slots=True, eq=False)
class YamlFile:
    """One file, read once: what is worked out of it is kept by which object it is.

    Attributes
    ----------
    path
        Where it is, as the caller named it: what messages show.
    values
        The config it holds, without its defaults list. Shared: copy before changing it.
    defaults
        The defaults list as written, None where there is none.
    package
        What its ``# @package`` header says, None without one.
    lines
        The line of every key and list item, counted from 1.
    """

    path: Path
    values: dict[Any, Any] | list[Any]
    defaults: Any
    package: str | None
    lines: dict[KeyPath, int]

    def at(self, key: KeyPath = ()) -> str:
        """Say where a key stands, as ``file:line``."""
        return f"{self.path}:{self.lines.get(key, 1)}"


def read_yaml(path: Path) -> YamlFile:
    """Read a YAML file, parsing it only if it changed since this process last read it."""
    try:
        status = path.stat()
    except OSError as error:
        raise ConfigError(f"{path}: can't be read: {error.strerror}") from error
    return _parse(path, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=1024)
def _parse(path: Path, _mtime_ns: int, _size: int) -> YamlFile:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{path}: is not UTF-8 text (byte {error.start}): save it as UTF-8"
        ) from error
    except OSError as error:
        raise ConfigError(f"{path}: can't be read: {error.strerror}") from error
    reader = _Reader(path, text)
    values = reader.read()
    defaults = None
    if isinstance(values, dict) and "defaults" in values:
        values = dict(values)
        defaults = values.pop("defaults")
        if not isinstance(defaults, list):
            raise ConfigError(
                f"{path}:{reader.lines[('defaults',)]}: `defaults` is {_kind(defaults)}, "
                "not a list: write one `- group: option` a line"
            )
    return YamlFile(path, values, defaults, _header(path, text), reader.lines)


def _kind(value: Any) -> str:
    if isinstance(value, dict):
        return "a mapping"
    return "empty" if value is None else repr(value)


def _header(path: Path, text: str) -> str | None:
    """Find the ``# @package NAME`` among the comment lines that open a file."""
    package = None
    for number, raw in enumerate(text[:512].splitlines(), start=1):
        line = raw.strip()
        if not line:
            continue
        if not re.match(r"#+\s*@", line):
            break
        words = line.lstrip("#").split()
        if len(words) != 2:
            raise ConfigError(
                f"{path}:{number}: {raw.strip()!r} should be `# @package NAME`, "
                "with one name and nothing after it"
            )
        if words[0] == "@package":
            package = words[1]
    return package


class _Reader:
    """Turns one document's YAML nodes into plain values, noting lines on the way."""

    def __init__(self, path: Path, text: str) -> None:
        self.path = path
        self.text = text
        self.lines: dict[KeyPath, int] = {}
        # libyaml is ten times as fast but lets tabs and question marks pass that PyYAML, and so
        # Hydra, refuses.
        self._loader = (_STRICT if "\t" in text or "?" in text else _FAST)(text)
        self._open: set[int] = set()

    def read(self) -> dict[Any, Any] | list[Any]:
        try:
            node = self._loader.get_single_node()
            value = None if node is None else self._value(node, ())
        except yaml.MarkedYAMLError as error:
            raise self._syntax_error(error) from error
        except yaml.YAMLError as error:
            raise ConfigError(f"{self.path}: is not YAML: {error}") from error
        finally:
            self._loader.dispose()
        if value is None:
            return {}
        if not isinstance(value, dict | list):
            raise ConfigError(
                f"{self.path}:1: holds the single value {value!r}: a config is `key: value` lines"
            )
        return value

    def _syntax_error(self, error: yaml.MarkedYAMLError) -> ConfigError:
        lines = self.text.splitlines()
        marks = [mark.line for mark in (error.problem_mark, error.context_mark) if mark is not None]
        # What is never closed is noticed at the end of the file: say where it began.
        line = next((line for line in marks if line < len(lines)), 0)
        problem = error.problem or error.context or "can't be read"
        shown = lines[line] if line < len(lines) else ""
        hint = ""
        if "\t" in shown[: len(shown) - len(shown.lstrip())]:
            hint = ": YAML is indented with spaces, this line has a tab"
        elif re.search(r"[\[{,:] *\$\{", shown):
            hint = ": inside {…} and […] an interpolation needs quotes, '${…}'"
        elif "another document" in problem:
            problem = "a second document begins here, and a config file holds one"
        return ConfigError(f"{self.path}:{line + 1}: {problem}{hint}, in {shown.strip()!r}")

    def _fail(self, node: yaml.Node, message: str) -> ConfigError:
        return ConfigError(f"{self.path}:{node.start_mark.line + 1}: {message}")

    def _value(self, node: yaml.Node, key: KeyPath) -> Any:
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node)
        if node.tag not in (_TAG + "map", _TAG + "seq"):
            raise self._unsafe(node)
        assert isinstance(node, yaml.CollectionNode)
        if id(node) in self._open:
            raise self._fail(node, "an alias (*name) stands inside what it names")
        if len(self.lines) > _MAX_VALUES:
            raise self._fail(node, f"expands to more than {_MAX_VALUES} values")
        self._open.add(id(node))
        try:
            if isinstance(node, yaml.SequenceNode):
                return [self._item(item, (*key, n)) for n, item in enumerate(node.value)]
            assert isinstance(node, yaml.MappingNode)
            return self._mapping(node, key)
        finally:
            self._open.discard(id(node))

    def _item(self, node: yaml.Node, key: KeyPath) -> Any:
        self.lines[key] = node.start_mark.line + 1
        return self._value(node, key)

    def _mapping(self, node: yaml.MappingNode, key: KeyPath) -> dict[Any, Any]:
        seen: dict[str, int] = {}
        for name, _ in node.value:
            if name.tag != _TAG + "str":
                continue
            if name.value in seen:
                raise self._fail(
                    name, f"the key `{name.value}` is here twice (first on line {seen[name.value]})"
                )
            seen[name.value] = name.start_mark.line + 1
        result: dict[Any, Any] = {}
        for name, child in self._pairs(node):
            part = self._key(name)
            self.lines[(*key, part)] = name.start_mark.line + 1
            result[part] = self._value(child, (*key, part))
        return result

    def _pairs(self, node: yaml.MappingNode) -> Iterator[tuple[yaml.Node, yaml.Node]]:
        """Give a mapping's pairs, those merged in with ``<<`` first, as YAML orders them."""
        if any(name.tag == _TAG + "merge" for name, _ in node.value):
            self._loader.flatten_mapping(node)
        yield from node.value

    def _key(self, node: yaml.Node) -> Any:
        if node.tag == _TAG + "value":
            return node.value
        value = self._scalar(node) if isinstance(node, yaml.ScalarNode) else None
        if value is None:
            raise self._fail(node, "a key must be a word or a number, not a list, mapping or null")
        return value

    def _scalar(self, node: yaml.ScalarNode) -> Any:
        if node.tag not in _SCALAR_TAGS:
            raise self._unsafe(node)
        if node.tag == _TAG + "str":
            if "${" in node.value:
                self._check_interpolation(node)
            return node.value
        try:
            construct = self._loader.yaml_constructors[node.tag]
            return construct(self._loader, node)
        except (ValueError, KeyError) as error:
            kind = node.tag.removeprefix(_TAG)
            raise self._fail(node, f"{node.value!r} is no {kind}") from error

    def _check_interpolation(self, node: yaml.ScalarNode) -> None:
        try:
            check_interpolation(node.value)
        except GrammarError as error:
            raise self._fail(node, f"in {node.value!r}: {error}") from error

    def _unsafe(self, node: yaml.Node) -> ConfigError:
        if node.tag in (_TAG + "merge", _TAG + "value"):
            return self._fail(node, f"put quotes around {node.value!r}: YAML has a use for it")
        tag = "!!" + node.tag.removeprefix(_TAG) if node.tag.startswith(_TAG) else node.tag
        return self._fail(
            node,
            f"the tag {tag} is refused: a config holds text, numbers, booleans, null, "
            "lists and mappings",
        )
