"""Weights & Biases, where the config asks for it: never a reason for a training to fail."""

from __future__ import annotations

import netrc
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import WandbLogger

from workflow_scripts.settings.slices import Slice

INIT_SECONDS = 30.0
"""How long an online start may take before the run is kept offline."""


def wandb_logger(settings: Slice, shown: Mapping[str, Any], run_folder: Path) -> WandbLogger | None:
    """Return the logger that the settings ask for, or None.

    Without a key or a network the run is kept offline (``wandb sync`` sends it later). What goes
    wrong is said in one line, and the training goes on.

    Parameters
    ----------
    settings
        Of train.
    shown
        The frozen config, nested: what the run's page lists.
    run_folder
        Holds the run's wandb id, so that a resumed training continues the same curve.
    """
    if not settings["use_wandb"]:
        return None
    import wandb  # half a second that most trainings don't need

    folder = Path(settings["wandb.local_wandb_dir"])
    for offline in [False, True] if _has_key() else [True]:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            identifier = _run_id(run_folder / "wandb_id")
            logger = WandbLogger(
                name=settings["name"],
                save_dir=folder,
                id=identifier,
                project=settings["wandb.project"],
                entity=settings["wandb.entity"],
                tags=list(settings["wandb.tags"]),
                offline=offline,
                resume="allow",
                config=dict(shown),
                settings=wandb.Settings(init_timeout=INIT_SECONDS),
            )
            # Reading the run starts it: a refused key or a network that hangs shows here.
            _ = logger.experiment
        except Exception as error:  # whatever wandb raises, the training matters more
            how = "" if offline else " online"
            # The failed start leaves a service behind, where the id is in use.
            wandb.teardown()
            print(f"wandb: not logging{how} ({type(error).__name__}: {error})", flush=True)
            continue
        place = f"offline, in {folder}/wandb; `wandb sync` sends it" if offline else "online"
        print(f"wandb: {settings['wandb.project']}/{identifier} ({place})", flush=True)
        return logger
    return None


def _has_key() -> bool:
    if os.environ.get("WANDB_MODE") in ("offline", "disabled"):
        return False
    if os.environ.get("WANDB_API_KEY"):
        return True
    try:
        return netrc.netrc().authenticators("api.wandb.ai") is not None
    except (OSError, netrc.NetrcParseError):
        return False


def _run_id(path: Path) -> str:
    if not path.exists():
        path.write_text(os.urandom(4).hex())
    return path.read_text()
