"""What the jobs of a run read: the input functions of the rules."""

from __future__ import annotations

import functools
import itertools
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from workflow_scripts.cache.digests import text_digest
from workflow_scripts.cells.run_cells import (
    addresses_of,
    asked_cells_json,
    cells_json,
    ignored_datasets,
)
from workflow_scripts.settings.choices import (
    CHALLENGES,
    ENSEMBLE,
    FEATURE_BASELINES,
    INIT_FROM,
    VALIDATION,
    given_model,
    model_file,
)
from workflow_scripts.settings.run import DEMO, Run, from_here
from workflow_scripts.settings.runs import resolve_run
from workflow_scripts.settings.stages import FILES_OF_KEYS, SHARED, STAGES, stages_of

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

ASKED_FILES = ("groups.parquet", "cells_audit.json", "genes.txt")

SCORED = (*SHOWN, "genes.parquet", "evaluation_results.json")


@dataclass(frozen=True)
class RunInputs(Run):
    """A run with the files that its jobs read, each as a list that can be empty.

    A file of a person that is missing is not an input: the audits report it together with
    everything else that is wrong, and its appearance later changes the inputs, so that they run
    again.
    """

    @classmethod
    def of(cls, run: Run) -> RunInputs:
        """Add the inputs to a run."""
        return cls(**{field.name: getattr(run, field.name) for field in fields(Run)})

    def there(self, path: str | Path | None) -> list[str]:
        """Return a person's file as an input, if it exists or a rule makes it."""
        if path is None:
            return []
        made = str(path) in DEMO_FILES or str(path) in self.addresses
        return [str(path)] if made or Path(path).exists() else []

    @functools.cached_property
    def all_warnings(self) -> tuple[str, ...]:
        """What a person should know of the config and of the files that it names."""
        return (*self.warnings, *ignored_datasets(self))

    @functools.cached_property
    def addresses(self) -> Mapping[str, str]:
        """Address of each file that has to be fetched, by where it is fetched to."""
        return addresses_of(self)

    @functools.cached_property
    def packing(self) -> Mapping[str, str]:
        """Settings of the packed cells that the run needs, by the digest that names them."""
        texts = [cells_json(self)]
        if self.reads_other_cells:
            texts.append(asked_cells_json(self))
        return {text_digest(text)[:16]: text for text in texts}

    @property
    def reads_other_cells(self) -> bool:
        """Whether it predicts from other cells than those it trains on."""
        return self._prediction["adata"] is not None

    @property
    def cells(self) -> str:
        """Folder of what is declared of its packed cells."""
        return f"{CELLS}/{next(iter(self.packing))}"

    @property
    def asked_cells(self) -> str:
        """The same of the cells that it predicts from: its own, or others."""
        return f"{CELLS}/{[*self.packing][-1]}"

    @property
    def _prediction(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.config["prediction"]
        return found

    @property
    def split_file(self) -> list[str]:
        """The split file."""
        return self.there(self.config["data"]["kwargs"]["toml_config_path"])

    @property
    def feature_files(self) -> list[str]:
        """The feature files."""
        given = self.config["data"]["kwargs"]["perturbation_features_file"]
        return [file for path in _listed(given) for file in self.there(path)]

    @property
    def fasta(self) -> list[str]:
        """The protein sequences."""
        return self.there(self.config["features"]["embedding"]["fasta"])

    @property
    def embedded(self) -> list[str]:
        """The vectors of embedded proteins, if missing ones are embedded."""
        asked = self.config["features"]["missing"] == "embed"
        return [f"{self.folder}/embedded.safetensors"] if asked else []

    @property
    def gene_list(self) -> list[str]:
        """The list of the genes to read."""
        return self.there(self.config["genes"]["file"])

    @property
    def chosen_genes(self) -> list[str]:
        """The selection of genes, unless all are read."""
        all_are_read = self.config["genes"]["select"] == "all"
        return [] if all_are_read else [f"{self.folder}/genes.json"]

    @property
    def initial_model(self) -> list[str]:
        """The file that stands for the model that training starts from."""
        path = self.config["model"]["kwargs"].get("init_from")
        return self.there(model_file(path)) if path else []

    @property
    def given_weights(self) -> str | None:
        """Path of the model that predicts, if the run trains none."""
        return given_model(self._prediction["checkpoint"])

    @property
    def weights(self) -> list[str]:
        """The file that stands for the model that predicts."""
        if path := self.given_weights:
            return self.there(model_file(path))
        state = self._prediction["checkpoint"]
        # A state after some steps is found in the training's folder once it has ended.
        return [f"{self.folder}/checkpoints/{state if isinstance(state, str) else 'final'}.ckpt"]

    @property
    def checkpoint(self) -> str:
        """Path of the model that predicts, or of the state of the run's own training."""
        state = self._prediction["checkpoint"]
        if isinstance(state, int):
            return f"{self.home}/checkpoints/step-{state}.ckpt"
        return self.given_weights or self.weights[0]

    @property
    def ensemble(self) -> list[str]:
        """The files that stand for the other models that predict."""
        paths = map(model_file, self._prediction["ensemble"])
        return [file for path in paths for file in self.there(path)]

    @property
    def target_list(self) -> list[str]:
        """The table of what to predict."""
        return self.there(self._prediction["targets"])

    @property
    def written_genes(self) -> list[str]:
        """The list of the genes that predictions contain."""
        return self.there(self._prediction["genes"])

    @property
    def genes_to_find(self) -> list[str]:
        """The genes that other cells must have, if they are known before the selection."""
        known = self.reads_other_cells and self.config["genes"]["select"] == "all"
        return [f"{self.cells}/genes.txt"] if known else []

    @property
    def known_features(self) -> list[str]:
        """The features of what trains and of what is predicted."""
        names = ["features", *(["target_features"] if self.asks else [])]
        return [f"{self.folder}/{name}.safetensors" for name in names]

    @property
    def vectors(self) -> list[str]:
        """The features that the model is asked for.

        Of the perturbations that are predicted, and if an amplitude is fitted or controls are
        predicted, also of those of the run.
        """
        scored = self.config.get("evaluation") or {}
        fits = self._prediction["amplitude"] == VALIDATION or scored.get("controls") == "predicted"
        return [*reversed(self.known_features)][: 2 if fits else 1]

    @property
    def baseline_features(self) -> list[str]:
        """The features that baselines read."""
        reads = {*self._prediction["baselines"]} & {*FEATURE_BASELINES}
        return self.known_features if reads else []

    @property
    def negative_controls(self) -> list[str]:
        """The predictions of negative controls that the model makes."""
        asked = "predict_negative_controls" in self.stages
        return [f"{self.folder}/negative_controls"] if asked else []

    @property
    def scored(self) -> list[str]:
        """What scoring writes, if the run is scored."""
        return [f"{self.folder}/{name}" for name in SCORED] if "evaluate" in self.stages else []

    @property
    def submission(self) -> list[str]:
        """The file for a competition."""
        kind = self._prediction["submission"]
        asked = kind is not None and "predict" in self.stages
        return [f"{self.folder}/{CHALLENGES[kind].file}"] if asked else []

    def other_cells_file(self, name: str) -> list[str]:
        """Return a file about the other cells that it predicts from."""
        return [f"{self.asked_cells}/{name}"] if self.reads_other_cells else []

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
        values = self.slice(slice_name).identity
        named = [(key, path) for key in FILES_OF_KEYS & {*values} for path in _listed(values[key])]
        models = (ENSEMBLE, INIT_FROM)
        paths = [model_file(path) if path and key in models else path for key, path in named]
        return {**found, "named": [file for path in paths for file in self.there(path)]}

    @functools.cached_property
    def _files(self) -> dict[str, str | list[str]]:
        """What rules read, by what most of them call it."""
        own = [
            *("config.yaml", "provenance.json", "preflight.json", "splits.parquet"),
            *("splits_audit.json", "features.safetensors", "features_audit.json"),
            *("predictions.h5ad", "observed.h5ad", "baselines", "anchors.json"),
        ]
        of_cells = ("groups.parquet", "batches.parquet", "twins.parquet", "cells_audit.json")
        trained = self.given_weights is None
        return {
            **{_stem(name): f"{self.folder}/{name}" for name in own},
            **{_stem(name): f"{self.cells}/{name}" for name in of_cells},
            **{_stem(name): [f"{self.folder}/{name}"] if self.scored else [] for name in SHOWN},
            "passed": f"{self.folder}/preflight.json",
            "trace": f"{self.folder}/config.trace.tsv",
            "cells": f"{self.cells}/manifest.json",
            "all_genes": f"{self.cells}/genes.txt",
            "genes": self.chosen_genes,
            "embedded": self.embedded,
            "one_hot_of": [],
            "weights": self.weights,
            "targets": self._if_asked("targets.parquet"),
            "targets_audit": self._if_asked("targets_audit.json"),
            "target_features_audit": self._if_asked("target_features_audit.json"),
            "asked_cells": f"{self.asked_cells}/manifest.json",
            "asked_cells_audit": self.other_cells_file("cells_audit.json"),
            "asked_batches": self.other_cells_file("batches.parquet"),
            "run_genes": self.genes_to_find,
            "negative_controls": self.negative_controls,
            "training_metrics": [f"{self.folder}/training.csv"] if trained else [],
            "starts": [f"{self.folder}/starts.json"] if trained else [],
        }

    @functools.cached_property
    def _files_of_rules(self) -> dict[str, dict[str, str | list[str]]]:
        """What a rule reads in place of what others read."""
        return {
            "list_targets": {_stem(name): f"{self.asked_cells}/{name}" for name in ASKED_FILES},
            # Apart from the run's features, so that what is asked for changes nothing of training.
            "validate_target_features": {
                "groups": f"{self.folder}/targets.parquet",
                "one_hot_of": f"{self.folder}/features.safetensors",
            },
            "predict": {"features": self.vectors},
            "predict_negative_controls": {"features": self.vectors},
            "predict_baselines": {"features": self.baseline_features},
            "evaluate": {"features": self.known_features},
        }

    def _if_asked(self, name: str) -> list[str]:
        """Return a file about what is predicted in place of the test split."""
        return [f"{self.folder}/{name}"] if self.asks else []

    @property
    def cell_files(self) -> list[Path]:
        """The files that say what is packed of the cells that it needs."""
        return [Path(CELLS, name, CELL_FILES) for name in self.packing]

    def made_by(self, rule: str) -> Path:
        """Return the output of a rule that exists once the rule is done."""
        folder = self.cells if rule in SHARED else self.folder
        return Path(folder, stages_of(self.config)[rule].output)

    def newer_inputs(self, rule: str) -> list[Path]:
        """Return the inputs of a rule that changed after it: it did not come to run again."""
        stages = stages_of(self.config)
        inputs = [Path(self.folder, "stages", f"{stages[rule].slice}.json")]
        inputs = self.cell_files[:1] if rule in SHARED else inputs
        inputs += map(Path, self.initial_model if rule == "train" else [])
        # Whatever a run makes is made from its cells.
        before = {SHARED[0], *stages[rule].after} & {*stages}
        inputs += [self.made_by(name) for name in stages if name in before]
        made = _changed(self.made_by(rule))
        return [path for path in inputs if made and made < _changed(path)]

    @functools.cached_property
    def is_behind(self) -> bool:
        """Whether an earlier start ended after something had changed, and before all followed."""
        return any(map(self.newer_inputs, stages_of(self.config)))


def runs_of_target_jobs(arguments: Sequence[str], config_dir: Path) -> dict[str, Run] | None:
    """Return the runs, by folder, of the jobs that a remote Snakemake process was started for.

    Each is composed again from its provenance: of a large sweep, a job needs one run.

    Parameters
    ----------
    arguments
        The command line, as ``sys.argv``.
    config_dir
        The config tree.

    Returns
    -------
    None if there are no such jobs, one of them belongs to several runs, or a run is not as it was
    frozen: then all runs have to be resolved.
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
    folders = [folder for folder, run in runs.items() if run.scored]
    return folders if len(folders) > 1 else []


def comparison(runs: Mapping[str, RunInputs]) -> list[str]:
    """Return the page and the table that compare runs, which lie beside the runs."""
    folders = {str(Path(folder).parent) for folder in compared(runs)}
    if not folders:
        return []
    place = folders.pop() if len(folders) == 1 else os.path.commonpath([*folders])
    return [os.path.normpath(f"{place}/compare.{ending}") for ending in ("html", "tsv")]


def put_aside(runs: Mapping[str, RunInputs], ending: str) -> list[str]:
    """Return what was found damaged and is not made again yet: Snakemake sees no need by itself.

    Parameters
    ----------
    runs
        Runs by folder.
    ending
        Ending of the damaged file, which lies beside the missing one.
    """
    folders = [folder for run in runs.values() for folder in _folders_of(run)]
    found = {
        f"{folder}/{path.name.removesuffix(ending)}"
        for folder in dict.fromkeys(folders)
        for path in Path(folder).glob(f"*{ending}")
    }
    return sorted(path for path in found if not Path(path).exists())


def _folders_of(run: RunInputs) -> Iterator[str]:
    yield from (run.cells, run.asked_cells, run.folder, f"{run.folder}/checkpoints")


def _listed(given: str | Sequence[str] | None) -> Sequence[str | None]:
    return [given] if given is None or isinstance(given, str) else given


def _stem(name: str) -> str:
    return name.partition(".")[0]


def _changed(path: Path) -> int:
    """Return when a file was last written, in nanoseconds; 0 if there is none."""
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return 0
