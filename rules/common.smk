# The runs that were asked for become settings; every other file of rules reads them here.
# Pure: nothing is written, and nothing heavy is imported, since every remote job parses this again.
#
# needs: config/, config/workflow.yaml, --config runs=… overrides=… cache_dir=…
# makes: RUNS (by folder, output_dir/name), CACHE, and the functions that rules name under input,
#        params and shell; workflow_scripts/inputs.py says which files those are

import importlib
import json
import os
import sys
from pathlib import Path
from shlex import quote

from snakemake.exceptions import WorkflowError

ROOT = Path(str(workflow.current_basedir)).resolve().parent
sys.path.insert(0, str(ROOT))

from workflow_scripts.cache.digests import canonical_json, signature
from workflow_scripts.cells.cross_validation import contexts_to_leave_out
from workflow_scripts.errors import ConfigError
from workflow_scripts.inputs import (
    CELLS,
    DEMO_FILES,
    FROZEN,
    SCORED,
    RunInputs,
    compared,
    comparison,
    put_aside,
    runs_of_target_jobs,
)
from workflow_scripts.resources import launcher, memory, minutes, training_memory
from workflow_scripts.settings.run import from_here
from workflow_scripts.settings.runs import resolve_runs
from workflow_scripts.settings.schema import WORKFLOW_KEYS
from workflow_scripts.settings.yaml_files import read_yaml

# `python -m workflow_scripts.…` finds this package from any folder, and from another workflow.
# Without conda or a container, jobs have the Python that runs Snakemake, activated or not.
prefix = f"export PYTHONPATH={quote(str(ROOT))}; "
if not workflow.deployment_settings.deployment_method:
    prefix += f"export PATH={quote(str(Path(sys.executable).parent))}:$PATH; "
shell.prefix(prefix)

known = list(dict.fromkeys(path.partition(".")[0] for path in WORKFLOW_KEYS))
if unknown := sorted(config.keys() - set(known)):
    raise WorkflowError(
        f"--config {unknown[0]}=…: no such key; there are {', '.join(known)}. Keys of a run go "
        f"into overrides, as in --config overrides='{unknown[0]}=…'"
    )
config = {**read_yaml(ROOT / "config" / "workflow.yaml").values, **config}
CACHE = str(Path(str(config["cache_dir"] or "cache")).expanduser())

CONFIG = Path(from_here(str(ROOT / "config")))
try:
    found = runs_of_target_jobs(sys.argv, CONFIG) or resolve_runs(
        CONFIG, config["runs"], config["overrides"], contexts_to_leave_out
    )
except ConfigError as error:
    raise WorkflowError(str(error)) from None
RUNS = {folder: RunInputs.of(run) for folder, run in found.items()}
if workflow.is_main_process:  # and not once more in every remote job
    for warning in dict.fromkeys(
        text for run in RUNS.values() for text in run.all_warnings
    ):
        logger.warning(f"warning: {warning}")

# Files that runs name by an address, by where they are fetched to.
FETCHED = {
    name: address for run in RUNS.values() for name, address in run.addresses.items()
}
# What is packed, and how, by the digest that names the packed cells.
PACKED = {
    cells: json.loads(text)
    for run in RUNS.values()
    for cells, text in run.packing.items()
}


def one_of(names):
    """Return a pattern of any of these names, short where there are many: it is compiled often."""
    shared = os.path.commonprefix([*names])
    rest = "|".join(re.escape(name.removeprefix(shared)) for name in names)
    return f"{re.escape(shared)}(?:{rest})"


wildcard_constraints:
    run=one_of(RUNS),
    cells="[0-9a-f]{16}",
    ending="vcc|h5ad",


def made_by(rule, *names):
    """Return outputs of a rule, its main one if none is named, of all runs that have it."""
    return [file for run in RUNS.values() for file in run.made(rule, *names)]


def in_report(path, caption, what, category="Runs"):
    """Return an output that Snakemake's own report shows."""
    return report(
        path,
        caption=f"captions/{caption}.rst",
        category=category,
        subcategory="{run}" if category == "Runs" else None,
        labels={"what": what},
    )


def stage_of(script):
    """Return the function of a script, with its options."""
    return getattr(importlib.import_module(f"workflow_scripts.{script}"), script)


def command(script, *work_dir):
    """Return the shell command of a stage: its options are named like a rule's files and params."""
    return stage_of(script).shell(*work_dir)


def inputs_of(rule, script=None):
    """Return a file for each input of the function of a rule's script.

    It waits for the check and the frozen config without being triggered by them. Of a job that
    stands behind one that has to run, even so, Snakemake looks at no other input: what an earlier
    start changed, and didn't come to use, would be passed over. Where there is such a thing, they
    trigger like any other, and what is finished returns at once. So they do for a rule that the
    run doesn't have by itself, as the baselines of a list.
    """
    options = stage_of(script or rule).in_rule
    names = [option.name for option in options if option.place == "input"]

    def files(wildcards):
        run = RUNS[wildcards.run]
        found = run.inputs_of(rule, names)
        triggered = run.is_behind or rule not in run.stages
        for name in {"passed", *FROZEN} & {*found}:
            found[name] = found[name] if triggered else ancient(found[name])
        return found

    return unpack(files)


def of_run(name):
    """Return the input function for a property of the run."""
    return lambda wildcards: getattr(RUNS[wildcards.run], name)


def store(cells):
    """Return the parameter that names the packed cells of a run, in the cache."""
    folder = of_run(cells)
    return lambda wildcards: f"{CACHE}/cells/{Path(folder(wildcards)).name}"


def source_files(wildcards):
    """Return the h5ad files that are packed together, if they exist or a rule makes them."""
    datasets = PACKED[wildcards.cells]["datasets"]
    paths = [path for files in datasets.values() for path in files.values()]
    made = {*DEMO_FILES, *FETCHED}
    return [path for path in paths if path in made or Path(path).exists()]


def signatures(wildcards):
    """Return what tells which file is at a path, whatever its time, once the file exists."""
    return {"signatures": {name: signature(name) for name in source_files(wildcards)}}
