# The runs that were asked for become settings; every other file of rules reads them here.
# Pure: nothing is written, and nothing heavy is imported, since every remote job parses this again.
#
# needs: config/, config/workflow.yaml, --config runs=… overrides=… cache_dir=…
# makes: RUNS (by folder, output_dir/name), CACHE, CELLS, and what the input functions below return

import functools
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
from workflow_scripts.cache.writing import ASIDE
from workflow_scripts.cells.cross_validation import contexts_to_leave_out
from workflow_scripts.cells.split_file import FETCHED as FETCHED_TO
from workflow_scripts.errors import ConfigError
from workflow_scripts.inputs import (
    CELLS,
    DEMO_FILES,
    FROZEN,
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


def one_of(names):
    """Return a pattern of any of these names, short where there are many: it is compiled often."""
    shared = os.path.commonprefix([*names])
    rest = "|".join(re.escape(name.removeprefix(shared)) for name in names)
    return f"{re.escape(shared)}(?:{rest})"


wildcard_constraints:
    run=one_of(RUNS),
    cells="[0-9a-f]{16}",
    ending="vcc|h5ad",


# Files that runs name by an address, by where they are fetched to.
FETCHED = {
    name: address for run in RUNS.values() for name, address in run.addresses.items()
}


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


def command(script, *work_dir, launcher=""):
    """Return the shell command of a stage: its options are named like a rule's files and params."""
    return f"{launcher}{stage_of(script).shell(*work_dir)}"
