"""The split file (TOML): which files are a dataset, and what is held out.

The format is the one that users have: ``[datasets]`` name = folder, file or glob; ``[training]``
name = "train"; ``[zeroshot]`` "name.context" = "train|val|test"; ``[fewshot."name.context"]``
with lists ``val`` and ``test`` of perturbations.
"""

from __future__ import annotations

import glob
import itertools
import os
import posixpath
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from workflow_scripts.cache.digests import text_digest
from workflow_scripts.errors import ConfigError, kind_of
from workflow_scripts.settings.findings import listing
from workflow_scripts.settings.labels import canonical

SPLITS = ("train", "val", "test")
REMOTE = re.compile(r"[a-z][a-z0-9+.-]*://")
"""How the address of a file elsewhere begins: https://, s3://, gs://."""

FETCHED = "cache/fetched"
"""Folder that such files are fetched into."""

_SECTIONS = ("datasets", "training", "zeroshot", "fewshot")

_MOST_TABLES = 10_000
_TABLE = re.compile(r"^\s*\[", re.MULTILINE)
_MOST_PATTERNS = 10_000
"""Paths that one entry may stand for; more is a slip, as of braces in braces."""


@dataclass(frozen=True)
class SplitFile:
    """A split file as it is written, before it meets any data.

    Attributes
    ----------
    path
        Where it was read, for messages.
    datasets
        Dataset name to the paths and patterns given for it.
    training
        Names of the datasets that train by default.
    zeroshot
        "name.context" to the split of all its perturbed cells.
    fewshot
        "name.context" to split (val, test, or train, which is what remains) to perturbations.
    """

    path: str
    datasets: Mapping[str, tuple[str, ...]]
    training: tuple[str, ...]
    zeroshot: Mapping[str, str]
    fewshot: Mapping[str, Mapping[str, tuple[str, ...]]]

    def with_canonical_names(self, control: str) -> SplitFile:
        """Return the same with the one name of each perturbation (`labels.canonical`)."""
        fewshot = {
            name: {
                split: tuple(dict.fromkeys(canonical(label, control) for label in labels))
                for split, labels in lists.items()
            }
            for name, lists in self.fewshot.items()
        }
        return replace(self, fewshot=fewshot)


def read_split_file(path: Path) -> SplitFile:
    """Read a split file; a ConfigError names the file, the entry and what it may be."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        dots = max((line.partition("=")[0].count(".") for line in text.splitlines()), default=0)
        if len(_TABLE.findall(text)) > _MOST_TABLES or dots > 100:
            raise ConfigError(
                f"{path}: has more than {_MOST_TABLES:,} sections, or a key of more than 100 parts"
            )
        content = tomllib.loads(text)
    except FileNotFoundError as error:
        raise ConfigError(
            f"{path}: no such split file; data.kwargs.toml_config_path names it, "
            f"relative to {Path.cwd()}"
        ) from error
    except (OSError, ValueError, RecursionError) as error:  # of a number, or of nesting, too
        raise ConfigError(f"{path}: not a readable TOML file: {error}") from error
    unknown = [name for name in content if name not in _SECTIONS]
    if unknown:
        raise ConfigError(
            f"{path}: unknown section {listing((f'[{name}]' for name in unknown), 8)}; "
            f"there are {', '.join(f'[{name}]' for name in _SECTIONS)}"
        )
    for section in _SECTIONS:
        if not isinstance(content.get(section, {}), dict):
            raise ConfigError(f"{path}: {section} is not a table; write it as [{section}]")
    return SplitFile(
        str(path),
        {name: _paths(path, name, value) for name, value in content.get("datasets", {}).items()},
        tuple(_training(path, content.get("training", {}))),
        dict(_zeroshot(path, content.get("zeroshot", {}))),
        dict(_fewshot(path, content.get("fewshot", {}))),
    )


def dataset_files(datasets: Mapping[str, str | Sequence[str]]) -> dict[str, list[str]]:
    """Return the files of every dataset, sorted, each once.

    A folder stands for its ``*.h5ad`` and ``*.h5`` files, a pattern for the files it matches
    (with ``{a,b}`` alternatives), and a plain path for itself, there or not: whether it exists is
    for the one who reads it to say. A path with brackets that exists is no pattern. An address
    stands for where it is fetched to. Relative paths are relative to the working directory.
    """
    files: dict[str, list[str]] = {}
    for name, given in datasets.items():
        entries = [given] if isinstance(given, str) else given
        # One file may be spelled in several ways: "./data" and "data/*.h5ad".
        found = {
            os.path.realpath(path): os.path.normpath(path)
            for entry in entries
            for path in _expand(os.path.expanduser(entry))
        }
        files[name] = sorted(found.values())
    return files


def fetched_name(entry: str) -> str | None:
    """Return where a file is fetched to that is named by its address; None of any other entry.

    Relative to the working directory. The address tells it from others of its name.
    """
    if not REMOTE.match(entry):
        return None
    address, _, fragment = entry.partition("#")
    if fragment and not re.fullmatch("sha256=[0-9a-fA-F]{64}", fragment):
        raise ConfigError(f"{entry}: after # stands {fragment}; it takes sha256=… (64 digits)")
    return f"{FETCHED}/{text_digest(address)[:16]}/{posixpath.basename(address)}"


def label_files(paths: Sequence[str]) -> dict[str, str]:
    """Return a label for each file of a dataset: as much of its path's end as tells it apart.

    Labels stand in what is computed, so that moving the data to another folder changes nothing.
    """
    parts = {path: Path(path).parts for path in paths}
    labels = {}
    for path, own in parts.items():
        others = [other for name, other in parts.items() if name != path]
        length = next(n for n in range(1, len(own) + 1) if all(o[-n:] != own[-n:] for o in others))
        labels["/".join(own[-length:])] = path
    return labels


def _expand(entry: str) -> list[str]:
    if name := fetched_name(entry):
        return [name]
    paths = []
    patterns = list(itertools.islice(_braces(entry), _MOST_PATTERNS + 1))
    if len(patterns) > _MOST_PATTERNS:
        raise ConfigError(f"{entry}: stands for more than {_MOST_PATTERNS:,} paths; name a folder")
    for pattern in patterns:
        if Path(pattern).is_dir():
            children = Path(pattern).iterdir()
            paths += [str(p) for p in children if p.suffix in (".h5ad", ".h5") and p.is_file()]
        elif any(character in pattern for character in "*?[") and not Path(pattern).exists():
            paths += glob.glob(pattern, recursive=True)
        else:
            paths.append(pattern)
    return paths


def _braces(pattern: str) -> Iterator[str]:
    """Yield what ``a{b,c}d`` stands for: ``abd`` and ``acd``; groups may nest."""
    start = pattern.find("{")
    depth, pieces, last = 0, [], start + 1
    for position in range(start, len(pattern)) if start >= 0 else ():
        character = pattern[position]
        if character == "{":
            depth += 1
        elif character == "," and depth == 1:
            pieces.append(pattern[last:position])
            last = position + 1
        elif character == "}":
            depth -= 1
            if depth == 0:
                pieces.append(pattern[last:position])
                head, tail = pattern[:start], pattern[position + 1 :]
                for piece in pieces:
                    yield from _braces(head + piece + tail)
                return
    yield pattern


def _paths(path: Path, name: str, value: Any) -> tuple[str, ...]:
    entries = [value] if isinstance(value, str) else value
    if isinstance(entries, list) and entries and all(isinstance(e, str) and e for e in entries):
        return tuple(entries)
    raise ConfigError(
        f"{path}: [datasets] {name} is {kind_of(value)}; it takes a folder, a file or a pattern"
    )


def _training(path: Path, section: Mapping[str, Any]) -> list[str]:
    for name, value in section.items():
        if value != "train":
            raise ConfigError(f'{path}: [training] {name} is {value!r}; it can only be "train"')
    return list(section)


def _zeroshot(path: Path, section: Mapping[str, Any]) -> Mapping[str, str]:
    for name, value in section.items():
        if isinstance(value, dict):
            quoted = f'"{name}.{next(iter(value), "context")}"'
            raise ConfigError(f"{path}: [zeroshot] {name}: write the name in quotes, {quoted}")
        if value not in SPLITS:
            raise ConfigError(f"{path}: [zeroshot] {name} is {value!r}; it can be train, val, test")
    return section


def _fewshot(path: Path, section: Mapping[str, Any]) -> Mapping[str, Mapping[str, tuple[str, ...]]]:
    read = {}
    for name, value in section.items():
        where = f'{path}: [fewshot."{name}"]'
        if not isinstance(value, dict):
            raise ConfigError(f"{where} is {value!r}; it takes lists val and test")
        for split, labels in value.items():
            if isinstance(labels, dict):
                raise ConfigError(
                    f"{path}: [fewshot.{name}.{split}]: write the name in quotes, "
                    f'[fewshot."{name}.{split}"]'
                )
            if split not in SPLITS:
                raise ConfigError(f"{where} {split}: no such split; there are val and test")
            if not (isinstance(labels, list) and all(isinstance(x, str) for x in labels)):
                raise ConfigError(f"{where} {split} is {labels!r}; list names in quotes")
        # "train" is what remains; the audit holds a list of it to that.
        held_out = {label for split in ("val", "test") for label in value.get(split, ())}
        if both := sorted(held_out & set(value.get("train", ()))):
            raise ConfigError(f"{where} train names {', '.join(both)}, which val or test names too")
        read[name] = {split: tuple(labels) for split, labels in value.items()}
    return read
