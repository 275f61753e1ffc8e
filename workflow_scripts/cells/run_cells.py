"""Which cells a run reads: the files of its datasets, and the settings that pack them."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from workflow_scripts.cache.digests import canonical_json
from workflow_scripts.cells.split_file import (
    dataset_files,
    fetched_name,
    label_files,
    read_split_file,
)
from workflow_scripts.errors import ConfigError
from workflow_scripts.settings.run import Run, from_here
from workflow_scripts.settings.stages import ASKED


def datasets_of(run: Run) -> dict[str, list[str]]:
    """Return the files of every dataset of a run.

    Raises
    ------
    ConfigError
        If the split file that names them can't be read.
    """
    return dataset_files(_given(run))


def addresses_of(run: Run) -> dict[str, str]:
    """Return the address of each file that has to be fetched, by where it is fetched to."""
    try:
        given = [*_given(run).values(), run.config["prediction"]["adata"] or []]
    except ConfigError:  # the audit of the cells reports it
        return {}
    entries = [one for part in given for one in ([part] if isinstance(part, str) else part)]
    return {name: entry for entry in entries if (name := fetched_name(entry))}


def ignored_datasets(run: Run) -> list[str]:
    """Return the warning that ``cells.datasets`` replaces what the split file says of datasets."""
    given, toml = run.config["cells"]["datasets"], run.config["data"]["kwargs"]["toml_config_path"]
    if not given or not toml:
        return []
    try:
        others = read_split_file(Path(toml)).datasets
    except ConfigError:  # the audit of the splits reports it
        return []
    if not others or dataset_files(others) == dataset_files(given):
        return []
    return [
        f"{run.run_file}: cells.datasets names the files, and the [datasets] of {toml} are "
        "ignored; set cells.datasets=null to use those"
    ]


def cells_json(run: Run) -> str:
    """Return the canonical JSON of the cells slice: what is packed, and how.

    A split file that can't be read, or that names no file, is not an error yet: the slice records
    it, and the audit reports it together with everything else.
    """
    content = _content(run)
    try:
        content.update(_files_of(_given(run)))
    except ConfigError as error:
        content.update(datasets={}, unreadable=str(error))
    return canonical_json(content)


def asked_cells_json(run: Run) -> str:
    """Return the cells slice of ``prediction.adata``: as the run's, but for its files."""
    content = _content(run)
    if column := run.config["prediction"]["context_col"]:
        content["identity"]["data.kwargs.cell_type_key"] = column
    content.update(_files_of({ASKED: run.config["prediction"]["adata"]}))
    return canonical_json(content)


def _given(run: Run) -> Mapping[str, str | Sequence[str]]:
    given: Mapping[str, str | Sequence[str]] | None = run.config["cells"]["datasets"]
    if given is None:
        toml = run.config["data"]["kwargs"]["toml_config_path"]
        given = read_split_file(Path(toml)).datasets if toml else {}
    return given


def _content(run: Run) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(run.stage_json("cells"))
    del content["seal"], content["identity"]["cells.datasets"]  # the files stand beside
    return content


def _files_of(datasets: Mapping[str, str | Sequence[str]]) -> dict[str, Any]:
    """Return the files of datasets by label, and what names them where it leads to none.

    Those below the working directory are named from there, so that a project can be moved.
    """
    files = dataset_files(datasets)
    content: dict[str, Any] = {"datasets": {}}
    for name, paths in files.items():
        labels = label_files([os.path.abspath(path) for path in paths])
        content["datasets"][name] = {label: from_here(path) for label, path in labels.items()}
    if empty := {name: _absolute(datasets[name]) for name in files if not files[name]}:
        content["matched_nothing"] = empty
    return content


def _absolute(given: str | Sequence[str]) -> list[str]:
    entries = [given] if isinstance(given, str) else given
    return [os.path.abspath(os.path.expanduser(entry)) for entry in entries]
