"""Train the model of a run to its last step, from wherever an earlier start left off."""

from __future__ import annotations

import os
import time
from contextlib import nullcontext

from workflow_scripts.cache.identity import IdentityFolder
from workflow_scripts.cache.writing import link
from workflow_scripts.command import run_command
from workflow_scripts.gpu_slots import own_gpus
from workflow_scripts.settings.slices import Slice, shown_config
from workflow_scripts.stage import Config, Output, stage
from workflow_scripts.training.files import TrainingFiles
from workflow_scripts.training.large_pages import use_large_pages
from workflow_scripts.training.processes import Processes, idle_seconds
from workflow_scripts.training.starts import STARTS, keep_starts


def processes_of(settings: Slice) -> Processes:
    """Return which process of its training this is."""
    return Processes.of(settings["training.devices"], settings["engine.nodes"], os.environ)


@stage("train", rank=lambda settings: processes_of(settings).rank)
def train(
    settings: Slice,
    config: Config,
    files: TrainingFiles,
    work: IdentityFolder,
    final: Output,
    best: Output,
    metrics: Output,
    starts: Output,
) -> None:
    """Train the model of a run to its last step, from wherever an earlier start left off.

    Parameters
    ----------
    final
        State after the last step, to write (checkpoint).
    best
        State of the best validation, to write (checkpoint).
    metrics
        Losses by step, to write (CSV).
    starts
        Starts of the training, to write (JSON).
    """
    use_large_pages()
    if settings["engine.deterministic"]:
        # Has to be there before the first product on a GPU.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    since, processes = (time.monotonic(), idle_seconds()), processes_of(settings)
    first, device = processes.rank == 0, settings["model.device"]
    with own_gpus(processes.on_node, device) if first else nullcontext():
        from workflow_scripts.training.run import link_states, train_run

        shown = shown_config(config)
        last = train_run(settings, files, work, processes, since=since, shown=shown)
    if first:
        link_states(work.path, last, final, best)
        keep_starts(work.path / STARTS)
        link(work.path / "training.csv", metrics)
        link(work.path / STARTS, starts)


if __name__ == "__main__":
    run_command(train)
