"""Reads YAML files as OmegaConf does, and remembers the line of every key."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
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
_TAGS = {_TAG + kind for kind in ("str", "int", "float", "bool", "null", "map", "seq")}
_MAX_VALUES = 100_000  # aliases can make a small file expand without end
_MAX_DEPTH = 100  # libyaml crashes on tens of thousands of open brackets


class _Strict(get_yaml_loader()):  # type: ignore[misc]
    """PyYAML's own parser with OmegaConf's scalars."""


class _Fast(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """libyaml, ten times as fast, with OmegaConf's scalars."""

    yaml_implicit_resolvers = _Strict.yaml_implicit_resolvers


@dataclass(frozen=True, slots=True, eq=False)
class YamlFile:
    """One file, read once.

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
    defaults: list[Any] | None
    package: str | None
    lines: dict[KeyPath, int]

    def at(self, key: KeyPath = ()) -> str:
        """Return where a key, or else the nearest key around it, stands, as ``file:line``."""
        around = (key[:length] for length in range(len(key), 0, -1))
        return f"{self.path}:{next((self.lines[k] for k in around if k in self.lines), 1)}"


def read_yaml(path: Path) -> YamlFile:
    """Read a YAML file, parsing it only if it changed since this process last read it.

    Raises
    ------
    ConfigError
        Where it can't be read, or isn't one mapping (or list) of plain values.
    """
    try:
        status = path.stat()
        return _parsed(path, status.st_mtime_ns, status.st_size)
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{path}: is not UTF-8 text (byte {error.start}): save it as UTF-8"
        ) from error
    except OSError as error:
        raise ConfigError(f"{path}: can't be read: {error.strerror}") from error


def without_sweep(file: YamlFile) -> YamlFile:
    """Return a run file as one run sees it."""
    if not isinstance(file.values, dict) or "sweep" not in file.values:
        return file
    return replace(file, values={k: v for k, v in file.values.items() if k != "sweep"})


@lru_cache(maxsize=1024)
def _parsed(path: Path, _mtime_ns: int, _size: int) -> YamlFile:
    text = path.read_text(encoding="utf-8-sig")
    reader = _Reader(path, text)
    values = reader.read()
    defaults = values.pop("defaults", None) if isinstance(values, dict) else None
    if (
        isinstance(values, dict)
        and ("defaults",) in reader.lines
        and not isinstance(defaults, list)
    ):
        raise ConfigError(
            f"{path}:{reader.lines[('defaults',)]}: `defaults` is {kind_of(defaults)}, not a list: "
            "write one `- group: option` a line"
        )
    try:
        package = package_header(text[:512])["package"]
    except ValueError:
        headers = enumerate(text[:512].splitlines(), 1)
        odd = (n for n, line in headers if "@" in line and len(line.strip(" #").split(" ")) != 2)
        line = next(odd, 1)
        raise ConfigError(
            f"{path}:{line}: should be `# @package NAME`, with one name and nothing after it"
        ) from None
    return YamlFile(path, values, defaults, package, reader.lines)


class _Reader:
    """Turns one document into plain values, and notes the line of each key on the way."""

    def __init__(self, path: Path, text: str) -> None:
        self.path = path
        self.text = text
        self.lines: dict[KeyPath, int] = {}

    def read(self) -> dict[Any, Any] | list[Any]:
        """Return the document's mapping or list, a mapping for an empty one."""
        self._refuse_depth()
        # libyaml lets tabs and question marks pass that PyYAML, and so Hydra, refuses.
        parser = _Strict if "\t" in self.text or "?" in self.text else _Fast
        loader = None
        try:
            loader = parser(self.text)
            node = loader.get_single_node()
            values = None
            if node is not None:
                self._note(loader, node, ())
                values = loader.construct_document(node)
        except yaml.MarkedYAMLError as error:
            raise self._syntax_error(error) from error
        except yaml.YAMLError as error:
            line = self.text.count("\n", 0, getattr(error, "position", 0)) + 1
            reason = " ".join(str(error).split())
            raise ConfigError(f"{self.path}:{line}: is not YAML: {reason}") from error
        except RecursionError as error:
            raise ConfigError(f"{self.path}:1: is nested too deeply") from error
        finally:
            if loader is not None:
                loader.dispose()
        if values is None:
            return {}
        if not isinstance(values, dict | list):
            raise ConfigError(
                f"{self.path}:1: holds the single value {shortened(values)}: a config is "
                "`key: value` lines"
            )
        return values

    def _refuse_depth(self) -> None:
        """Raise ConfigError before libyaml, which crashes, reads what is nested too deeply."""
        depth = 0
        for match in re.finditer(r"[\[{\]}]|(?:[-?:] ){100}", self.text):
            depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(match[0], _MAX_DEPTH + 1)
            if depth > _MAX_DEPTH:
                line = self.text.count("\n", 0, match.start()) + 1
                raise ConfigError(
                    f"{self.path}:{line}: is nested more than {_MAX_DEPTH} levels deep"
                )

    def _note(self, loader: Any, node: yaml.Node, key: KeyPath) -> None:
        """Note the lines of a node's keys; refuse what a config can't hold."""
        if len(self.lines) > _MAX_VALUES:
            raise self._fail(node, f"expands to more than {_MAX_VALUES} values")
        if len(key) > _MAX_DEPTH:
            raise self._fail(node, "is nested too deeply, or an alias (*name) inside what it names")
        if node.tag not in _TAGS:
            raise self._refused_tag(node)
        if isinstance(node, yaml.ScalarNode):
            self._check_scalar(loader, node)
        for part, child, line in self._parts(loader, node):
            self.lines[*key, part] = line
            self._note(loader, child, (*key, part))

    def _parts(self, loader: Any, node: yaml.Node) -> Iterator[tuple[Any, yaml.Node, int]]:
        """Yield the name, value and line of what a node holds."""
        if isinstance(node, yaml.SequenceNode):
            for number, item in enumerate(node.value):
                yield number, item, item.start_mark.line + 1
        elif isinstance(node, yaml.MappingNode):
            seen: dict[str, int] = {}
            for name in (name for name, _ in node.value if name.tag == _TAG + "str"):
                if name.value in seen:
                    first = seen[name.value]
                    raise self._fail(
                        name, f"the key `{name.value}` is here twice (first on line {first})"
                    )
                seen[name.value] = name.start_mark.line + 1
            if any(name.tag == _TAG + "merge" for name, _ in node.value):
                loader.flatten_mapping(node)
            for name, child in node.value:
                if not isinstance(name, yaml.ScalarNode) or name.tag == _TAG + "null":
                    raise self._fail(
                        name, "a key must be a word or a number, not a list, mapping or null"
                    )
                if name.tag == _TAG + "value":
                    name.tag = _TAG + "str"
                self._check_scalar(loader, name)
                yield loader.construct_object(name), child, name.start_mark.line + 1

    def _check_scalar(self, loader: Any, node: yaml.ScalarNode) -> None:
        if node.tag not in _TAGS:
            raise self._refused_tag(node)
        try:
            value = loader.construct_object(node)
            if isinstance(value, str):
                value.encode()
                if "${" in value:
                    OmegaConf.create([value])
        except OmegaConfBaseException as error:
            closed = node.value.count("${") <= node.value.count("}")
            hint = str(error).splitlines()[0] if closed else "`${` needs a closing '}'"
            raise self._fail(node, f"in {shortened(node.value)}: {hint}") from error
        except (ValueError, KeyError, IndexError, OverflowError) as error:
            kind = node.tag.removeprefix(_TAG)
            raise self._fail(node, f"{shortened(node.value)} is no {kind}") from error

    def _refused_tag(self, node: yaml.Node) -> ConfigError:
        if node.tag in (_TAG + "merge", _TAG + "value"):
            return self._fail(node, f"put quotes around {node.value!r}: YAML has a use for it")
        tag = "!!" + node.tag.removeprefix(_TAG) if node.tag.startswith(_TAG) else node.tag
        return self._fail(
            node,
            f"the tag {tag} is refused: a config holds text, numbers, booleans, null, "
            "lists and mappings",
        )

    def _fail(self, node: yaml.Node, message: str) -> ConfigError:
        return ConfigError(f"{self.path}:{node.start_mark.line + 1}: {message}")

    def _syntax_error(self, error: yaml.MarkedYAMLError) -> ConfigError:
        lines = self.text.splitlines()
        marks = [mark.line for mark in (error.problem_mark, error.context_mark) if mark is not None]
        # What is never closed is noticed at the end of the file: name the line where it began.
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
        return ConfigError(
            f"{self.path}:{line + 1}: {problem}{hint}, in {shortened(shown.strip())}"
        )
