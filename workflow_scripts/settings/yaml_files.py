"""Reads YAML files as OmegaConf does, and remembers the line of every key."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from workflow_scripts.errors import ConfigError, kind_of, shortened
from workflow_scripts.settings.hydra_internals import get_yaml_loader, package_header

KeyPath = tuple[Any, ...]

_TAG = "tag:yaml.org,2002:"
_TAGS: dict[type[yaml.Node], set[str]] = {
    yaml.MappingNode: {_TAG + "map"},
    yaml.SequenceNode: {_TAG + "seq"},
    yaml.ScalarNode: {_TAG + kind for kind in ("str", "int", "float", "bool", "null")},
}
_MAX_VALUES = 100_000  # aliases can make a small file expand without end
_MAX_DEPTH = 100  # libyaml crashes on tens of thousands of open brackets


class _Strict(get_yaml_loader()):  # type: ignore[misc]
    """PyYAML's own parser with OmegaConf's scalars."""


class _Fast(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """libyaml, ten times as fast, with OmegaConf's scalars."""

    yaml_implicit_resolvers = _Strict.yaml_implicit_resolvers


@dataclass(slots=True, eq=False)
class YamlFile:
    """One file, read once and shared: copy what it holds before changing it."""

    path: Path
    """Where it is, as the caller named it: what messages show."""
    values: Any = field(default_factory=dict)
    """The config it holds, without its defaults list."""
    defaults: list[Any] | None = None
    """The defaults list as written, None where there is none."""
    package: str | None = None
    """What its ``# @package`` header says, None without one."""
    lines: dict[KeyPath, int] = field(default_factory=dict)
    """The line of every key and list item, counted from 1."""

    def at(self, key: KeyPath = ()) -> str:
        """Return where a key, or else the nearest key around it, stands, as ``file:line``."""
        around = (key[:length] for length in range(len(key), 0, -1))
        return f"{self.path}:{next((self.lines[k] for k in around if k in self.lines), 1)}"


def read_yaml(path: Path) -> YamlFile:
    """Read a YAML file of one mapping or list, parsing it only if it changed since last time."""
    try:
        status = path.stat()
        return _parsed(path, status.st_mtime_ns, status.st_size)
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{path}: is not UTF-8 text (byte {error.start}): save it as UTF-8"
        ) from error
    except OSError as error:
        raise ConfigError(f"{path}: can't be read: {error.strerror}") from error


@lru_cache(maxsize=1024)
def _parsed(path: Path, _mtime_ns: int, _size: int) -> YamlFile:
    text = path.read_text(encoding="utf-8-sig")
    file = YamlFile(path)
    _refuse_depth(path, text)
    try:
        file.values = _Reader(file, text).document()
    except yaml.MarkedYAMLError as error:
        raise _syntax_error(path, text, error) from error
    except yaml.YAMLError as error:
        line = _line(text, getattr(error, "position", 0))
        reason = " ".join(str(error).split())
        raise ConfigError(f"{path}:{line}: is not YAML: {reason}") from error
    except RecursionError as error:
        raise ConfigError(f"{path}:1: is nested too deeply") from error
    if isinstance(file.values, dict) and "defaults" in file.values:
        file.defaults = file.values.pop("defaults")
        if not isinstance(file.defaults, list):
            raise ConfigError(
                f"{file.at(('defaults',))}: `defaults` is {kind_of(file.defaults)}, not a list: "
                "write one `- group: option` a line"
            )
    try:
        file.package = package_header(text[:512])["package"]
    except ValueError as error:
        raise ConfigError(
            f"{path}:{_line(text, text.find('@'))}: should be `# @package NAME`, with one name and "
            "nothing after it"
        ) from error
    return file


def _line(text: str, position: int) -> int:
    return text.count("\n", 0, position) + 1


def _refuse_depth(path: Path, text: str) -> None:
    """Raise ConfigError before libyaml, which crashes, reads what is nested too deeply."""
    depth = 0
    for match in re.finditer(r"[\[{\]}]|(?:[-?:] ){100}", text):
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(match[0], _MAX_DEPTH + 1)
        if depth > _MAX_DEPTH:
            raise ConfigError(
                f"{path}:{_line(text, match.start())}: is nested more than {_MAX_DEPTH} levels deep"
            )


class _Reader:
    """Turns one document into plain values, and notes the line of each key on the way."""

    def __init__(self, file: YamlFile, text: str) -> None:
        self.file = file
        # libyaml lets tabs and question marks pass that PyYAML, and so Hydra, refuses.
        self.loader = (_Strict if "\t" in text or "?" in text else _Fast)(text)
        self.merged: set[yaml.Node] = set()

    def document(self) -> dict[Any, Any] | list[Any]:
        """Return the document's mapping or list, a mapping for an empty one."""
        node = self.loader.get_single_node()
        values = None if node is None else self._value(node, ())
        if values is not None and not isinstance(values, dict | list):
            raise self._error(
                node, f"holds the single value {shortened(values)}: a config is `key: value` lines"
            )
        return {} if values is None else values

    def _value(self, node: yaml.Node, key: KeyPath) -> Any:
        """Return what a node holds; refuse what a config can't hold."""
        lines = self.file.lines
        inside = 0 if isinstance(node, yaml.ScalarNode) else len(node.value)
        if len(lines) + inside > _MAX_VALUES:
            raise self._error(node, f"expands to more than {_MAX_VALUES} values")
        if len(key) > _MAX_DEPTH:
            raise self._error(
                node, "is nested too deeply, or an alias (*name) inside what it names"
            )
        if node.tag not in _TAGS[type(node)]:
            tag = re.sub(f"^{_TAG}", "!!", node.tag)
            raise self._error(
                node,
                f"the tag {tag} is refused: a config holds text, numbers, booleans, null, lists "
                "and mappings; quotes make text of anything",
            )
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node)
        if isinstance(node, yaml.MappingNode):
            self._merge(node)
            parts = [(self._name(name), name, child) for name, child in node.value]
        else:
            parts = [(number, item, item) for number, item in enumerate(node.value)]
        found: dict[Any, Any] = {}
        for part, marked, child in parts:
            lines[*key, part] = marked.start_mark.line + 1
            found[part] = self._value(child, (*key, part))
        return found if isinstance(node, yaml.MappingNode) else list(found.values())

    def _merge(self, node: yaml.MappingNode) -> None:
        """Put what ``<<`` names into a mapping; refuse a key that it has twice without that."""
        if node in self.merged:  # by another alias
            return
        self.merged.add(node)
        merges = [child for name, child in node.value if name.tag == _TAG + "merge"]
        for child in merges:
            for source in child.value if isinstance(child, yaml.SequenceNode) else [child]:
                if isinstance(source, yaml.MappingNode):
                    self._merge(source)
        seen: dict[str, int] = {}
        for name in (name for name, _ in node.value if name.tag == _TAG + "str"):
            if name.value in seen:
                raise self._error(
                    name,
                    f"the key `{name.value}` is here twice (first on line {seen[name.value]})",
                )
            seen[name.value] = name.start_mark.line + 1
        self.loader.flatten_mapping(node)
        if merges:  # each key once: merges of merges would repeat them without end
            pairs = {(name.tag, str(name.value)): (name, child) for name, child in node.value}
            node.value = list(pairs.values())

    def _name(self, node: yaml.Node) -> Any:
        if not isinstance(node, yaml.ScalarNode) or node.tag == _TAG + "null":
            raise self._error(node, "a key must be a word or a number, not a list, mapping or null")
        return self._value(node, ())

    def _scalar(self, node: yaml.ScalarNode) -> Any:
        try:
            value = self.loader.construct_object(node)
            if isinstance(value, str):
                value.encode()
                if "${" in value:
                    OmegaConf.create([value])
        except OmegaConfBaseException as error:
            closed = node.value.count("${") <= node.value.count("}")
            hint = str(error).splitlines()[0] if closed else "`${` needs a closing '}'"
            raise self._error(node, f"in {shortened(node.value)}: {hint}") from error
        except (ValueError, LookupError, OverflowError) as error:
            kind = node.tag.removeprefix(_TAG)
            raise self._error(node, f"{shortened(node.value)} is no {kind}") from error
        return value

    def _error(self, node: yaml.Node, message: str) -> ConfigError:
        return ConfigError(f"{self.file.path}:{node.start_mark.line + 1}: {message}")


def _syntax_error(path: Path, text: str, error: yaml.MarkedYAMLError) -> ConfigError:
    lines = text.splitlines()
    marks = [mark.line for mark in (error.problem_mark, error.context_mark) if mark is not None]
    # What is never closed is noticed at the end of the file: name the line where it began.
    line = next((line for line in marks if line < len(lines)), 0)
    shown = lines[line] if line < len(lines) else ""
    hint = ""
    if "\t" in shown[: len(shown) - len(shown.lstrip())]:
        hint = ": YAML is indented with spaces, this line has a tab"
    elif re.search(r"[\[{,:] *\$\{", shown):
        hint = ": inside {…} and […] an interpolation needs quotes, '${…}'"
    problem = error.problem or error.context or "can't be read"
    return ConfigError(f"{path}:{line + 1}: {problem}{hint}, in {shortened(shown.strip())}")


def walk(value: Any, key: KeyPath = ()) -> Iterator[tuple[KeyPath, Any]]:
    """Yield a value and all inside it that mappings hold, a list as one value."""
    yield key, value
    if isinstance(value, dict):
        for part, item in value.items():
            yield from walk(item, (*key, part))


def dotted(key: Sequence[Any]) -> str:
    """Return a key as people write it."""
    return ".".join(map(str, key))
