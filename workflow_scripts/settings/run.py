"""One run: its settings, how it was asked for, and what each stage is told of it."""

from __future__ import annotations

import functools
import os
import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from workflow_scripts.cache.digests import canonical_json, signature
from workflow_scripts.cache.records import edited_files, sealed
from workflow_scripts.cache.writing import write_atomically
from workflow_scripts.settings.choices import ENSEMBLE, INIT_FROM, given_model, model_file
from workflow_scripts.settings.dump import to_yaml
from workflow_scripts.settings.keys import Key
from workflow_scripts.settings.schema import KEYS
from workflow_scripts.settings.slices import ABSENT, Slice, value_at
from workflow_scripts.settings.stages import (
    FILES_OF_KEYS,
    STAGES,
    asks,
    engines_of,
    home_of,
    numerics_of,
    stages_of,
)

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
    named = _named(values, FILES_OF_KEYS - {ENSEMBLE, INIT_FROM})
    given = map(given_model, _named(values, ("prediction.checkpoint", ENSEMBLE, INIT_FROM)))
    models = [model_file(path) for path in given if path]
    files = [*named, *(str(path) for path in models if not _is_published(path))]
    found = {path: signature(path) for path in files if not path.startswith(f"{DEMO}/")}
    return {path: there for path, there in found.items() if there is not None}


def _named(values: Mapping[str, Any], keys: Iterable[str]) -> list[str]:
    given = [values.get(key) for key in keys]
    return [path for one in given for path in (one if isinstance(one, list) else [one]) if path]


def _is_published(path: Path) -> bool:
    """Tell whether a file is a checkpoint of a run, which a rule makes."""
    return path.parent.name == "checkpoints" and (path.parents[1] / "stages").is_dir()


def from_here(path: str) -> str:
    """Return a path from the working directory, where it lies below that."""
    relative = os.path.relpath(path)
    return path if relative.startswith("..") else relative


_version = functools.cache(version)
"""Of an installed package: for many runs it would be looked up many times."""
