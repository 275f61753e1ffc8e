"""Finished work, kept under its identity.

A stage that computes for long keeps what it finished in a folder that is named by everything the
result depends on and that no rule declares, so that Snakemake never deletes it. Asked again with
an unchanged identity, the stage links its own finished work to the declared outputs.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from workflow_scripts.settings.slices import canonical_json, text_digest

_MARK = "finished.json"

NUMERICS: Mapping[str, int] = {
    "cells": 1,
    "train": 1,
    "predict": 1,
    "predict_baselines": 1,
    "evaluate": 1,
}
"""Version of each stage's arithmetic: raised by hand when the same inputs give other results."""


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def identity_of(stage: str, settings: Mapping[str, Any], inputs: Mapping[str, str]) -> str:
    """Return the identity of a stage's work, 32 hexadecimal characters.

    Parameters
    ----------
    stage
        Name of the stage, a key of `NUMERICS`.
    settings
        Identity part of the stage's slice.
    inputs
        Name to content digest of every input that the result depends on.
    """
    content = {
        "stage": stage,
        "numerics": NUMERICS[stage],
        "settings": dict(settings),
        "inputs": dict(inputs),
    }
    return text_digest(canonical_json(content))[:32]


class IdentityFolder:
    """The folder of one identity: work in progress, then finished work."""

    def __init__(self, parent: Path, identity: str) -> None:
        self.identity = identity
        self.path = parent / identity
        self.path.mkdir(parents=True, exist_ok=True)

    def has_finished(self, *names: str) -> bool:
        """Tell whether the work was completed with these files, and all of its files are whole."""
        try:
            sizes: Mapping[str, int] = json.loads((self.path / _MARK).read_text())
            whole = all((self.path / name).stat().st_size == size for name, size in sizes.items())
        except (OSError, ValueError):
            return False
        return whole and all(name in sizes for name in names)

    def finish(self, names: Sequence[str]) -> None:
        """Mark the work as complete; ``names`` are its files inside the folder."""
        sizes = {name: (self.path / name).stat().st_size for name in names}
        write_atomically(self.path / _MARK, canonical_json(sizes))

    def publish(self, outputs: Mapping[str, Path]) -> None:
        """Link finished files (name inside the folder) to the outputs that a rule declares."""
        for name, output in outputs.items():
            link(self.path / name, output)


def link(source: Path, target: Path) -> None:
    """Make ``target`` the same file as ``source``, atomically; a copy across file systems."""
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.with_name(f".{target.name}.{os.getpid()}")
    beside.unlink(missing_ok=True)
    try:
        os.link(source, beside)
    except OSError:
        shutil.copy2(source, beside)
    # The declared output must not be older than the inputs of its rule.
    os.utime(beside)
    os.replace(beside, target)
    # rename(2) does nothing when both names are links to one file, and leaves both.
    beside.unlink(missing_ok=True)


def write_atomically(path: Path, text: str) -> None:
    """Write a text file that is whole or absent, whatever happens meanwhile."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_text(text, encoding="utf-8")
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)
