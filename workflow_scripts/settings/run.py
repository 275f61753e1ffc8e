"""One run: its settings, how it was asked for, and what each stage is told of it."""

from __future__ import annotations

import functools
import json
import os
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workflow_scripts.cache.digests import canonical_json, signature, text_digest
from workflow_scripts.cache.records import edited_files, sealed
from workflow_scripts.cache.writing import write_atomically
from workflow_scripts.settings.choices import ENSEMBLE, INIT_FROM, given_model, model_file
from workflow_scripts.settings.compose import Composition
from workflow_scripts.settings.dump import to_yaml
from workflow_scripts.settings.grid import value_in_name
from workflow_scripts.settings.slices import ABSENT, Slice, value_at
from workflow_scripts.settings.stages import (
    ASKED,
    FILES_OF_KEYS,
    Stage,
    engines_of,
    home_of,
    numerics_of,
    of_slice,
    stages_of,
)

# The schema and the trace are imported where they are needed: a command that only composes would
# wait a tenth of a second for them.
if TYPE_CHECKING:
    from workflow_scripts.settings.trace import Row

DEMO = "simulated/demo"
"""Folder of the demo's files, which a rule makes."""
WEIGHTS = "prediction.checkpoint"
_version = functools.cache(version)
"""Of an installed package: for many runs it would be looked up many times."""


@dataclass(frozen=True)
class Run:
    """One run: its settings, and how they were asked for.

    Attributes
    ----------
    composition
        What it was composed from, and to.
    run_file
        The file it came from.
    overrides
        What was applied on top, the run's implied name included.
    """

    composition: Composition
    run_file: Path
    overrides: tuple[str, ...]

    @property
    def config(self) -> Mapping[str, Any]:
        """Nested, resolved config."""
        return self.composition.values

    @functools.cached_property
    def folder(self) -> str:
        """Where everything of the run lands."""
        return run_folder(self.config)

    @functools.cached_property
    def rows(self) -> list[Row]:
        """Where every value came from."""
        from workflow_scripts.settings.trace import trace_rows

        return trace_rows(self.composition)

    @functools.cached_property
    def trace(self) -> str:
        """The text of config.trace.tsv."""
        from workflow_scripts.settings.trace import to_tsv

        return to_tsv(self.rows)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a person should know of the config, though it can be run."""
        from workflow_scripts.settings.trace import inert_warnings

        return (*self.composition.warnings, *inert_warnings(self.rows))

    @functools.cached_property
    def digest(self) -> str:
        """SHA-256 of the config and its trace, by which a change of either is seen.

        Of the config as JSON: as YAML it takes most of the time in which many runs are planned.
        """
        return text_digest(f"{json.dumps(self.config)}\n{self.trace}")

    @property
    def home(self) -> str:
        """Folder of the run's training, which is the same whatever is predicted."""
        return home_of(self.config)

    @functools.cached_property
    def stages(self) -> Mapping[str, Stage]:
        """Rules that work on this run; those that only write or link are left out."""
        return stages_of(self.config)

    def freeze_arguments(self) -> str:
        """Return the arguments with which `config freeze` composes this run again."""
        arguments = [str(self.run_file), "--config-dir", str(self.composition.config_dir)]
        return shlex.join([*arguments, "--digest", self.digest, "--", *self.overrides])

    def stage_json(self, stage: str) -> str:
        """Return the canonical JSON of what ``stage`` reads of the settings.

        Versions stand beside it: another one gives other results, so it has to trigger as well.
        So does whether genes are chosen: the set of a job's inputs then changes, which Snakemake
        doesn't look at where a job before it re-runs, as freeze_config does. And so do the files
        that the stage reads, whatever their times.
        """
        from workflow_scripts.settings.schema import KEYS

        content: dict[str, Any] = dict(self.slice(stage).content())
        content["numerics"] = numerics_of(stage)
        if engines := engines_of(stage):
            content["engines"] = {name: _version(name) for name in engines}
        reads_genes = any({"select_genes", "pack_cells"} <= {*one.after} for one in of_slice(stage))
        if reads_genes and "select_genes" in self.stages:
            content["genes"] = "chosen"
        if files := _signatures(content["identity"]):
            content["files"] = files
        operational = (key for key in KEYS.values() if key.kind == "operational")
        content["operational"] = [key.path for key in operational if stage in key.stages]
        return canonical_json(sealed(content))

    def slice(self, stage: str) -> Slice:
        """Return the settings that trigger a stage; their operational keys are left out."""
        from workflow_scripts.settings.schema import KEYS

        parts: dict[str, dict[str, Any]] = {"identity": {}, "extent": {}}
        for key in KEYS.values():
            if (
                key.kind in parts
                and stage in key.stages
                and (value := value_at(self.config, key.path)) is not ABSENT
            ):
                parts[key.kind][key.path] = value
        return Slice(**parts)

    def restore_records(self) -> Iterator[str]:
        """Take away, or write anew, the records that were edited or damaged; yield what is done.

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
                yield (
                    f"{path} didn't hold what the workflow wrote, and is made anew; what it held "
                    f"is in {path.name}.edited, and has no effect (settings are changed in run "
                    "files)"
                )


def run_folder(config: Mapping[str, Any]) -> str:
    """Return where everything of a run lands.

    ``output_dir/name``; where something else than its test split is predicted, a folder in there,
    so that scores and report stay those of the predictions beside them.
    """
    home, prediction = home_of(config), config.get("prediction", {})
    asked = [prediction[key] for key in ("targets", "adata") if prediction.get(key) is not None]
    if not asked:
        return home
    names = [value_in_name(f"./{path}") for path in asked]
    return "/".join([home, ASKED, "-".join([*names, text_digest(canonical_json(asked))[:6]])])


def files_named(key: str, given: Any) -> list[str]:
    """Return the files that a key's value names; of a model, the one that stands for it."""
    entries = given if isinstance(given, list) else [given]
    if key in (WEIGHTS, ENSEMBLE, INIT_FROM):
        entries = [model_file(path) for entry in entries if (path := given_model(entry))]
    return [str(entry) for entry in entries if entry]


def _signatures(values: Mapping[str, Any]) -> dict[str, list[int] | str]:
    """Return the signature of each file that the keys of a stage name, by its path as written.

    Left out are files that rules make, which may not be there yet: Snakemake goes by their times.
    """
    found = {}
    for key in {*FILES_OF_KEYS, WEIGHTS} & values.keys():
        for path in files_named(key, values[key]):
            made = path.startswith(f"{DEMO}/") or _is_published(Path(path))
            if not made and (there := signature(path)) is not None:
                found[path] = there
    return found


def _is_published(path: Path) -> bool:
    """Tell whether a file is a checkpoint of a run, which a rule makes."""
    return path.parent.name == "checkpoints" and (path.parents[1] / "stages").is_dir()


def from_here(path: str) -> str:
    """Return a path from the working directory, where it lies below that."""
    relative = os.path.relpath(path)
    return path if relative.startswith("..") else relative
