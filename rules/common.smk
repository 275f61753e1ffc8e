# The runs that were asked for become settings; every other file of rules reads them here.
# Pure: nothing is written, and nothing heavy is imported, since every remote job parses this again.
#
# needs: config/, config/workflow.yaml, --config runs=… overrides=… cache_dir=…
# makes: RUNS (by folder, output_dir/name), CACHE, CELLS, and what the input functions below return

import functools
import json
import sys
from pathlib import Path
from shlex import quote

from snakemake.exceptions import WorkflowError

ROOT = Path(str(workflow.current_basedir)).resolve().parent
sys.path.insert(0, str(ROOT))

from workflow_scripts.settings.errors import ConfigError
from workflow_scripts.settings.model_path import given_model, known_by
from workflow_scripts.settings.runs import resolve_runs
from workflow_scripts.settings.schema.stages import FEATURE_BASELINES
from workflow_scripts.settings.schema.workflow_file import KEYS as WORKFLOW_KEYS
from workflow_scripts.settings.slices import text_digest
from workflow_scripts.settings.yaml_files import read_yaml

# `python -m workflow_scripts.…` finds this package from any folder, and from another workflow.
# Without conda or a container, jobs have the Python that runs Snakemake, activated or not.
prefix = f"export PYTHONPATH={quote(str(ROOT))}; "
if not workflow.deployment_settings.deployment_method:
    prefix += f"export PATH={quote(str(Path(sys.executable).parent))}:$PATH; "
shell.prefix(prefix)

known = [key.path for key in WORKFLOW_KEYS]
if unknown := sorted(config.keys() - set(known)):
    raise WorkflowError(
        f"--config {unknown[0]}=…: no such key; there are {', '.join(known)}. Keys of a run go "
        f"into overrides, as in --config overrides='{unknown[0]}=…'"
    )
config = {**read_yaml(ROOT / "config" / "workflow.yaml").values, **config}
CACHE = str(Path(str(config["cache_dir"] or "cache")).expanduser())

# What rules declare of the cells lies in the working directory, wherever the cache is: Snakemake
# deletes a declared file before its job, and another invocation may be reading a shared cache.
CELLS = "cache/cells"

try:
    RUNS = resolve_runs(ROOT / "config", config["runs"], config["overrides"])
except ConfigError as error:
    raise WorkflowError(str(error)) from None
if workflow.is_main_process:  # and not once more in every remote job
    for warning in dict.fromkeys(
        text for run in RUNS.values() for text in run.warnings
    ):
        logger.warning(f"warning: {warning}")

# What the rule simulate_demo writes; it is named in config/runs/demo.yaml.
DEMO = "simulated/demo"
DEMO_FILES = [
    f"{DEMO}/{name}"
    for name in (
        "sim_alpha.h5ad",
        "sim_beta.h5ad",
        "sim_gamma.h5ad",
        "starter.toml",
        "ESM2_like_features.pt",
        "README.txt",
    )
]


wildcard_constraints:
    run="|".join(map(re.escape, RUNS)),
    cells="[0-9a-f]{16}",


def there(path):
    """Return a person's file as an input, if it is there or a rule makes it.

    A file that is missing is not declared: the audits say so in words, together with whatever
    else is wrong, and its appearance later changes the inputs, so that they run again.
    """
    return [path] if path and (path in DEMO_FILES or Path(path).exists()) else []


@functools.cache
def cells_digest(run):
    """Return the digest that names the packed cells of a run."""
    return text_digest(RUNS[run].cells_json())[:16]


@functools.cache
def run_of_cells(cells):
    """Return a run that has these cells: any of them says the same of them."""
    return next(RUNS[run] for run in RUNS if cells_digest(run) == cells)


def cells_file(name):
    """Return the input function for a file of the run's packed cells."""
    return lambda wildcards: f"{CELLS}/{cells_digest(wildcards.run)}/{name}"


def source_files(wildcards):
    """Return the h5ad files of a digest."""
    try:
        datasets = run_of_cells(wildcards.cells).datasets()
    except ConfigError:
        return []
    return [
        path for files in datasets.values() for name in files for path in there(name)
    ]


def data_key(run, key):
    """Return a value of data.kwargs."""
    return RUNS[run].config["data"]["kwargs"][key]


def initial_model(run):
    """Return the path of the model that a run starts from; null where it starts from none."""
    return RUNS[run].config["model"]["kwargs"].get("init_from")


def given_weights(run):
    """Return the path of the model that predicts, where the run trains none; null where it does."""
    return given_model(RUNS[run].config["prediction"]["checkpoint"])


def training_runs():
    """Return the runs that train a model."""
    return [run for run in RUNS if given_weights(run) is None]


def weights(wildcards):
    """Return the file that stands for the model that predicts, as an input."""
    run = wildcards.run
    if path := given_weights(run):
        return there(str(known_by(path)))
    return f"{run}/checkpoints/{RUNS[run].config['prediction']['checkpoint']}.ckpt"


def initial_model_note(wildcards):
    """Return the note of that model's content, as an input: nothing, where there is none."""
    return (
        [f"{wildcards.run}/initial_model.json"] if initial_model(wildcards.run) else []
    )


def gene_list(run):
    """Return the file that names the genes of a run, as an input, where one does."""
    return there(RUNS[run].config["genes"]["file"])


def chosen_genes(wildcards):
    """Return the selection of a run's genes, as an input: nothing, where all are read."""
    everything = RUNS[wildcards.run].config["genes"]["select"] == "all"
    return [] if everything else [f"{wildcards.run}/genes.json"]


def baseline_features(wildcards):
    """Return the features of a run, as an input: nothing, where no baseline asked for reads them."""
    asked = RUNS[wildcards.run].config["prediction"]["baselines"]
    read = set(asked) & set(FEATURE_BASELINES)
    return [f"{wildcards.run}/features.safetensors"] if read else []


def scored_files(run):
    """Return what is scored of a run: nothing, where nothing is held out for test."""
    if RUNS[run].config["splits"]["test"] == "none":
        return []
    return [
        f"{run}/{name}" for name in ("metrics.tsv", "scores.json", "effects.parquet")
    ]


def tested_runs():
    """Return the runs that hold something out for test."""
    return [run for run in RUNS if scored_files(run)]


def warnings_of(run):
    """Return the warnings that preflight had, for the end of the output."""
    found = json.loads(Path(run, "preflight/findings.json").read_text())["findings"]
    return [
        f"warning: {entry['message']}"
        for entries in found.values()
        for entry in entries
        if entry["severity"] == "warning"
    ]


def feature_setting(run, *names):
    """Return a value of features."""
    return functools.reduce(dict.__getitem__, names, RUNS[run].config["features"])


def feature_files(run):
    """Return the feature files of a run that are there, as inputs."""
    files = data_key(run, "perturbation_features_file")
    return [
        path
        for name in (files if isinstance(files, list) else [files])
        for path in there(name)
    ]
