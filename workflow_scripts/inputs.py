"""What the jobs of a run read: the input functions of the rules."""

from __future__ import annotations

import functools
import itertools
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from workflow_scripts.cache.digests import text_digest
from workflow_scripts.cache.writing import ASIDE
from workflow_scripts.cells.run_cells import (
    addresses_of,
    asked_cells_json,
    cells_json,
    ignored_datasets,
)
from workflow_scripts.settings.choices import (
    FEATURE_BASELINES,
    INIT_FROM,
    VALIDATION,
    given_model,
)
from workflow_scripts.settings.run import DEMO, WEIGHTS, Run, files_named, from_here
from workflow_scripts.settings.runs import resolve_run
from workflow_scripts.settings.slices import ABSENT, value_at
from workflow_scripts.settings.stages import FILES_OF_KEYS, SHARED, STAGES

CELLS = "cache/cells"
"""Folder of what rules declare of the cells.

It is in the working directory wherever the cache is: Snakemake deletes a declared file before its
job, and another invocation may be reading a shared cache.
"""

CELL_FILES = "cell_files.json"
"""Name of the file that says what is packed, and how."""

DEMO_FILES = tuple(
    f"{DEMO}/{name}"
    for name in (
        *("sim_alpha.h5ad", "sim_beta.h5ad", "sim_gamma.h5ad"),
        *("starter.toml", "ESM2_like_features.pt", "README.txt"),
    )
)
"""What the rule simulate_demo writes, as config/runs/demo.yaml names it."""

SHOWN = ("metrics.tsv", "scores.json", "effects.parquet", "metrics_per_perturbation.parquet")
"""Outputs of scoring that the report shows."""

WAITS_FOR = {
    "train": ("passed",),
    "predict": ("passed", "weights"),
    "predict_baselines": ("passed",),
    "predict_negative_controls": ("passed", "weights"),
}
"""What rules wait for that their commands don't name."""

FROZEN = ("config", "trace", "provenance")
"""Inputs that `freeze_config` writes."""

SCORED = (*SHOWN, "genes.parquet", "evaluation_results.json")


class RunInputs(Run):
    """A run with the files that its jobs read, each as a list that can be empty.

    A file of a person that is missing is not an input: the audits report it together with
    everything else that is wrong, and its appearance later changes the inputs, so that they run
    again.
    """

    @classmethod
    def of(cls, run: Run) -> RunInputs:
        """Add the inputs to a run."""
        found = cls(run.composition, run.run_file, run.overrides)
        vars(found).update(vars(run))  # what it has worked out already
        return found

    @functools.cached_property
    def all_warnings(self) -> tuple[str, ...]:
        """What a person should know of the config and of the files that it names."""
        return (*self.warnings, *ignored_datasets(self))

    @functools.cached_property
    def addresses(self) -> Mapping[str, str]:
        """Address of each file that has to be fetched, by where it is fetched to."""
        return addresses_of(self)

    def named(self, key: str) -> list[str]:
        """Return the files or models that a key names, if they exist or a rule makes them."""
        value = value_at(self.config, key)
        files = files_named(key, None if value is ABSENT else value)
        made = {*DEMO_FILES, *self.addresses}
        return [file for file in files if file in made or Path(file).exists()]

    def made(self, stage: str, *names: str) -> list[str]:
        """Return outputs of a stage, its main one if none is named, if the run has the stage."""
        if stage not in self.stages:
            return []
        folder = self.cells if stage in SHARED else self.folder
        return [f"{folder}/{name}" for name in names or (self.stages[stage].output,)]

    @functools.cached_property
    def packing(self) -> Mapping[str, str]:
        """Settings of the packed cells that the run needs, by the digest that names them."""
        texts = [cells_json(self)]
        if self.config["prediction"]["adata"] is not None:
            texts.append(asked_cells_json(self))
        return {text_digest(text)[:16]: text for text in texts}

    @property
    def cells(self) -> str:
        """Folder of what is declared of its packed cells."""
        return f"{CELLS}/{next(iter(self.packing))}"

    @property
    def asked_cells(self) -> str:
        """The same of the cells that it predicts from: its own, or others."""
        return f"{CELLS}/{[*self.packing][-1]}"

    @property
    def ranks(self) -> int:
        """How many devices train together."""
        count: int = self.config["training"]["devices"] * self.config["engine"]["nodes"]
        return count

    @property
    def given_weights(self) -> str | None:
        """Path of the model that predicts, if the run trains none."""
        return given_model(self.config["prediction"]["checkpoint"])

    @property
    def weights(self) -> list[str]:
        """The file that stands for the model that predicts."""
        if self.given_weights:
            return self.named(WEIGHTS)
        state = self.config["prediction"]["checkpoint"]
        # A state after some steps is found in the training's folder once it has ended.
        return [f"{self.folder}/checkpoints/{state if isinstance(state, str) else 'final'}.ckpt"]

    @property
    def checkpoint(self) -> str:
        """Path of the model that predicts, or of the state of the run's own training."""
        state = self.config["prediction"]["checkpoint"]
        if isinstance(state, int):
            return f"{self.home}/checkpoints/step-{state}.ckpt"
        return self.given_weights or self.weights[0]

    def inputs_of(self, rule: str, names: Sequence[str]) -> dict[str, str | list[str]]:
        """Return the files that a rule reads.

        Parameters
        ----------
        rule
            Name of the rule.
        names
            What its command calls them. Added are ``named``, the files that keys of the config
            name, and what it waits for: ``passed``, the stamp of preflight, and ``weights``.
        """
        slice_name = STAGES[rule].slice
        files = {**self._files, "settings": f"{self.folder}/stages/{slice_name}.json"}
        files |= self._files_of_rules.get(rule, {})
        found = {name: files[name] for name in [*names, *WAITS_FOR.get(rule, ())]}
        keys = FILES_OF_KEYS & {*self.slice(slice_name).identity}
        return {**found, "named": [file for key in keys for file in self.named(key)]}

    @functools.cached_property
    def _files(self) -> dict[str, str | list[str]]:
        """What rules read, by what most of them call it."""
        own = [
            *("config.yaml", "provenance.json", "preflight.json", "splits.parquet"),
            *("splits_audit.json", "features.safetensors", "features_audit.json"),
            *("predictions.h5ad", "observed.h5ad", "baselines", "anchors.json"),
        ]
        of_cells = ("groups.parquet", "batches.parquet", "twins.parquet", "cells_audit.json")
        of_targets = "target_features_audit.json"
        other = [self.asked_cells] if self.asked_cells != self.cells else []
        all_genes = f"{self.cells}/genes.txt"
        return {
            **{_stem(name): f"{self.folder}/{name}" for name in own},
            **{_stem(name): f"{self.cells}/{name}" for name in of_cells},
            **{_stem(name): self.made("evaluate", name) for name in SHOWN},
            "passed": f"{self.folder}/preflight.json",
            "trace": f"{self.folder}/config.trace.tsv",
            "cells": f"{self.cells}/manifest.json",
            "all_genes": all_genes,
            "genes": self.made("select_genes"),
            "embedded": self.made("embed_proteins"),
            "one_hot_of": [],
            "weights": self.weights,
            "targets": self.made("list_targets"),
            "targets_audit": self.made("list_targets", "targets_audit.json"),
            "target_features_audit": self.made("validate_target_features", of_targets),
            "asked_cells": f"{self.asked_cells}/manifest.json",
            "asked_cells_audit": [f"{folder}/cells_audit.json" for folder in other],
            "asked_batches": [f"{folder}/batches.parquet" for folder in other],
            # Other cells must have the genes, which are known if none are chosen.
            "run_genes": all_genes if other and "select_genes" not in self.stages else [],
            "negative_controls": self.made("predict_negative_controls"),
            "training_metrics": self.made("train", "training.csv"),
            "starts": self.made("train", "starts.json"),
        }

    @functools.cached_property
    def _files_of_rules(self) -> dict[str, dict[str, str | list[str]]]:
        """What a rule reads in place of what others read."""
        # The features of what trains, and of what is predicted.
        known = [*self.made("validate_features"), *self.made("validate_target_features")]
        prediction, scored = self.config["prediction"], self.config.get("evaluation") or {}
        fits = prediction["amplitude"] == VALIDATION
        asked = known if fits or scored.get("controls") == "predicted" else known[-1:]
        fitted = known if {*prediction["baselines"]} & {*FEATURE_BASELINES} else []
        return {
            "list_targets": {
                _stem(name): f"{self.asked_cells}/{name}"
                for name in ("groups.parquet", "cells_audit.json", "genes.txt")
            },
            # Apart from the run's features, so that what is asked for changes nothing of training.
            "validate_target_features": {
                "groups": f"{self.folder}/targets.parquet",
                "one_hot_of": f"{self.folder}/features.safetensors",
            },
            "predict": {"features": [*reversed(asked)]},
            "predict_negative_controls": {"features": [*reversed(asked)]},
            "predict_baselines": {"features": fitted},
            "evaluate": {"features": known},
        }

    @property
    def cell_files(self) -> list[Path]:
        """The files that say what is packed of the cells that it needs."""
        return [Path(CELLS, name, CELL_FILES) for name in self.packing]

    def newer_inputs(self, rule: str) -> list[Path]:
        """Return the inputs of a rule that changed after it: it did not come to run again."""
        stage = self.stages[rule]
        settings = Path(self.folder, "stages", f"{stage.slice}.json")
        inputs = self.cell_files[:1] if rule in SHARED else [settings]
        inputs += map(Path, self.named(INIT_FROM) if rule == "train" else [])
        # Whatever a run makes is made from its cells.
        before = [name for name in self.stages if name in (SHARED[0], *stage.after)]
        inputs += [Path(path) for name in before for path in self.made(name)]
        made = _changed(Path(*self.made(rule)))
        return [path for path in inputs if made and made < _changed(path)]

    @functools.cached_property
    def is_behind(self) -> bool:
        """Whether an earlier start ended after something had changed, and before all followed."""
        return any(map(self.newer_inputs, self.stages))


def runs_of_target_jobs(arguments: Sequence[str], config_dir: Path) -> dict[str, Run] | None:
    """Return the runs, by folder, of the jobs that a remote Snakemake process was started for.

    Each is composed again from its provenance: of a large sweep, a job needs one run. None if there
    are no such jobs, one of them belongs to several runs, or a run is not as it was frozen: then
    all runs have to be resolved.

    Parameters
    ----------
    arguments
        The command line, as ``sys.argv``.
    config_dir
        The config tree.
    """
    if "--target-jobs" not in arguments:
        return None
    from snakemake.target_jobs import parse_target_jobs_cli_args  # Snakemake alone comes here

    after = arguments[arguments.index("--target-jobs") + 1 :]
    entries = list(itertools.takewhile(lambda text: not text.startswith("--"), after))
    found = {}
    for job in parse_target_jobs_cli_args(entries):
        folder = job.wildcards_dict.get("run", "")
        try:
            record = json.loads(Path(folder, "provenance.json").read_text(encoding="utf-8"))
            run_file = from_here(str(config_dir.resolve().parent / record["run_file"]))
            run = resolve_run(config_dir, run_file, record["overrides"])
            if (run.folder, run.digest) != (folder, record["digest"]):
                return None
        except (OSError, ValueError, LookupError, TypeError):
            return None
        found[folder] = run
    return found


def compared(runs: Mapping[str, RunInputs]) -> list[str]:
    """Return the folders of the runs that are compared: the scored ones, if there are several."""
    folders = [folder for folder, run in runs.items() if "evaluate" in run.stages]
    return folders if len(folders) > 1 else []


def comparison(runs: Mapping[str, RunInputs]) -> list[str]:
    """Return the page and the table that compare runs, which lie beside the runs."""
    folders = {str(Path(folder).parent) for folder in compared(runs)}
    if not folders:
        return []
    place = folders.pop() if len(folders) == 1 else os.path.commonpath([*folders])
    return [os.path.normpath(f"{place}/compare.{ending}") for ending in ("html", "tsv")]


def put_aside(runs: Mapping[str, RunInputs]) -> list[str]:
    """Return what was found damaged and is not made again yet: Snakemake sees no need by itself."""
    folders = {
        folder
        for run in runs.values()
        for folder in (run.cells, run.asked_cells, run.folder, f"{run.folder}/checkpoints")
    }
    damaged = (path for folder in folders for path in Path(folder).glob(f"*{ASIDE}"))
    found = {str(path).removesuffix(ASIDE) for path in damaged}
    return sorted(path for path in found if not Path(path).exists())


def _stem(name: str) -> str:
    return name.partition(".")[0]


def _changed(path: Path) -> int:
    """Return when a file was last written, in nanoseconds; 0 if there is none."""
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return 0
