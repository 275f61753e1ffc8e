"""One run: its settings, how it was asked for, and what each stage is told of it."""

from __future__ import annotations

import functools
import json
import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from workflow_scripts.settings.choices import ENSEMBLE, given_model, model_file
from workflow_scripts.settings.dump import to_yaml
from workflow_scripts.settings.errors import ConfigError
from workflow_scripts.settings.finished import write_atomically
from workflow_scripts.settings.known_digests import edited_files, sealed, signature
from workflow_scripts.settings.schema import KEYS, Key
from workflow_scripts.settings.slices import ABSENT, Slice, canonical_json, value_at
from workflow_scripts.settings.split_file import (
    dataset_files,
    fetched_name,
    label_files,
    read_split_file,
)
from workflow_scripts.settings.stages import (
    ASKED,
    STAGES,
    asks,
    engines_of,
    home_of,
    numerics_of,
    stages_of,
)

_FILES = (
    *("data.kwargs.toml_config_path", "data.kwargs.perturbation_features_file"),
    *("features.embedding.fasta", "genes.file", "prediction.genes", "prediction.targets"),
)
_MODELS = ("prediction.checkpoint", ENSEMBLE)
"""Keys that name files, or lists of them; rules look at those of the cells and of init_from."""

DEMO = "simulated/demo"
"""Folder of the demo's files, which a rule makes."""


@dataclass(frozen=True)
class Run:
    """One run: its settings, and how they were asked for.

    Attributes
    ----------
    folder
        Where everything of the run lands: ``output_dir/name``, normalised, or a folder in there.
    config
        Nested, resolved, checked config.
    trace
        Where every value came from: the text of config.trace.tsv.
    warnings
        What a person should know of the config, though it can be run.
    digest
        SHA-256 of the frozen text and its trace.
    run_file
        The file it came from.
    overrides
        What was applied on top, the run's implied name included.
    """

    folder: str
    config: Mapping[str, Any]
    trace: str
    warnings: tuple[str, ...]
    digest: str
    config_dir: Path
    run_file: Path
    overrides: tuple[str, ...]

    def freeze_arguments(self) -> str:
        """Return the arguments with which `config freeze` composes this run again."""
        arguments = [str(self.run_file), "--config-dir", str(self.config_dir)]
        return shlex.join([*arguments, "--digest", self.digest, "--", *self.overrides])

    def stage_json(self, stage: str) -> str:
        """Return the canonical JSON of what ``stage`` reads of the settings.

        Versions stand beside it: another one gives other results, so it has to trigger as well.
        So does whether genes are chosen: the set of a job's inputs then changes, which Snakemake
        doesn't look at where a job before it re-runs, as freeze_config does. And so do the files
        that the stage reads, whatever their times.
        """
        content: dict[str, Any] = dict(self.slice(stage).content())
        content["numerics"] = numerics_of(stage)
        if engines := engines_of(stage):
            content["engines"] = {name: _version(name) for name in engines}
        if self.config["genes"]["select"] != "all" and _reads_chosen_genes(stage):
            content["genes"] = "chosen"
        if files := _signatures(content["identity"]):
            content["files"] = files
        content["operational"] = [key.path for key in _keys_of(stage, "operational")]
        return canonical_json(sealed(content))

    def slice(self, stage: str) -> Slice:
        """Return the settings that trigger a stage; their operational keys are left out."""
        parts: dict[str, dict[str, Any]] = {"identity": {}, "extent": {}}
        for kind, part in parts.items():
            for key in _keys_of(stage, kind):
                if (value := value_at(self.config, key.path)) is not ABSENT:
                    part[key.path] = value
        return Slice(parts["identity"], parts["extent"])

    def mend_records(self) -> Iterator[Path]:
        """Take away, or write anew, the records that were edited or damaged; yield their paths.

        What was found is kept beside them. Scores are made anew by the job that finds them gone.
        """
        folder = Path(self.folder)
        sealed_records = ("provenance.json", "scores.json")
        for record in [*(folder / name for name in sealed_records), *folder.glob("stages/*.json")]:
            for path in edited_files(record):
                os.replace(path, path.with_name(f"{path.name}.edited"))
                if path.parent.name == "stages":
                    write_atomically(path, f"{self.stage_json(path.stem)}\n")
                elif path.name == "config.yaml":
                    write_atomically(path, to_yaml(self.config))
                elif path.name == "config.trace.tsv":
                    write_atomically(path, self.trace)
                yield path

    @property
    def asks(self) -> bool:
        """Whether something else than the test split is predicted."""
        return asks(self.config)

    @property
    def home(self) -> str:
        """Folder of the run's training, which is the same whatever is predicted."""
        return home_of(self.config)

    @functools.cached_property
    def stages(self) -> frozenset[str]:
        """Rules that work on this run; those that only write or link are left out."""
        return frozenset(stages_of(self.config))

    def datasets(self) -> dict[str, list[str]]:
        """Return the files of every dataset.

        Raises
        ------
        ConfigError
            Where the split file that names them can't be read.
        """
        return dataset_files(self._datasets())

    def _datasets(self) -> Mapping[str, str | Sequence[str]]:
        given: Mapping[str, str | Sequence[str]] | None = self.config["cells"]["datasets"]
        if given is None:
            toml = self.config["data"]["kwargs"]["toml_config_path"]
            given = read_split_file(Path(toml)).datasets if toml else {}
        return given

    def addresses(self) -> dict[str, str]:
        """Return the address of each file that has to be fetched, by where it is fetched to."""
        try:
            given = [*self._datasets().values(), self.config["prediction"]["adata"] or []]
        except ConfigError:  # the audit of the cells says why
            return {}
        entries = [one for part in given for one in ([part] if isinstance(part, str) else part)]
        return {name: entry for entry in entries if (name := fetched_name(entry))}

    def cells_json(self) -> str:
        """Return the canonical JSON of the cells slice: what is packed, and how.

        A split file that can't be read, or that names nothing that is there, is no error yet: the
        slice says so, for the audit to report it together with all the rest.
        """
        content = self._cells_content()
        try:
            content.update(_files_of(self._datasets()))
        except ConfigError as error:
            content.update(datasets={}, unreadable=str(error))
        return canonical_json(content)

    def asked_cells_json(self) -> str:
        """Return the cells slice of the files that are predicted from: as the run's, but theirs."""
        content = self._cells_content()
        if column := self.config["prediction"]["context_col"]:
            content["identity"]["data.kwargs.cell_type_key"] = column
        content.update(_files_of({ASKED: self.config["prediction"]["adata"]}))
        return canonical_json(content)

    def _cells_content(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(self.stage_json("cells"))
        del content["seal"], content["identity"]["cells.datasets"]  # the files stand beside
        return content


@functools.cache
def _keys_of(stage: str, kind: str) -> tuple[Key, ...]:
    return tuple(key for key in KEYS.values() if stage in key.stages and key.kind == kind)


def _reads_chosen_genes(name: str) -> bool:
    stages = (stage for stage in STAGES.values() if stage.slice == name)
    return any({"select_genes", "pack_cells"} <= {*stage.after} for stage in stages)


def _signatures(values: Mapping[str, Any]) -> dict[str, list[int] | str]:
    """Return the signature of each file that the keys of a stage name, by its path as written.

    Left out are files that rules make, which may not be there yet: Snakemake goes by their times.
    """
    models = [model_file(path) for path in map(given_model, _named(values, _MODELS)) if path]
    files = [*_named(values, _FILES), *(str(path) for path in models if not _is_published(path))]
    found = {path: signature(path) for path in files if not path.startswith(f"{DEMO}/")}
    return {path: there for path, there in found.items() if there is not None}


def _named(values: Mapping[str, Any], keys: Sequence[str]) -> list[str]:
    given = [values.get(key) for key in keys]
    return [path for one in given for path in (one if isinstance(one, list) else [one]) if path]


def _is_published(path: Path) -> bool:
    """Tell whether a file is a checkpoint of a run, which a rule makes."""
    return path.parent.name == "checkpoints" and (path.parents[1] / "stages").is_dir()


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


def from_here(path: str) -> str:
    """Return a path from the working directory, where it lies below that."""
    relative = os.path.relpath(path)
    return path if relative.startswith("..") else relative


def _absolute(given: str | Sequence[str]) -> list[str]:
    entries = [given] if isinstance(given, str) else given
    return [os.path.abspath(os.path.expanduser(entry)) for entry in entries]


_version = functools.cache(version)
"""Of an installed package: for many runs it would be looked up many times."""
