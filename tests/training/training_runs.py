"""Trainings of seconds: the command `train` on a small screen, here or in a process of its own."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import torch
import yaml

from tests import warm
from tests.tiny_run import tiny_config
from workflow_scripts import train
from workflow_scripts.cells.annotations import Columns
from workflow_scripts.cells.audit import audit_cells
from workflow_scripts.cells.cell_settings import CellSettings
from workflow_scripts.cells.manifest import write_manifest
from workflow_scripts.cells.packing import pack_cells
from workflow_scripts.cells.split_file import read_split_file
from workflow_scripts.cells.splits import SplitSettings, split_groups
from workflow_scripts.features.validation import FeatureSettings, validate_features
from workflow_scripts.features.vectors import write_features
from workflow_scripts.settings.runs import resolve_run
from workflow_scripts.training.metrics_file import UNREPEATED
from workflow_scripts.training.starts import STARTS, read_starts

ROOT = Path(__file__).parents[2]
STEPS = ("training.max_steps=24", "training.val_freq=4", "training.ckpt_every_n_steps=6")


class Training:
    """The inputs of `train`, in a folder of their own."""

    def __init__(
        self, folder: Path, screen: Path, *, val: Sequence[str] = ("A",), test: str = "B"
    ) -> None:
        self.folder = folder
        settings = CellSettings(Columns("gene", "cell_type", "gem_group"), "control", "auto", 1e4)
        manifest = pack_cells({"d": {"screen": str(screen)}}, settings, folder / "store")
        write_manifest({**manifest, "folder": "store"}, folder / "manifest.json")
        toml = folder / "starter.toml"
        toml.write_text(
            '[datasets]\nd = "x"\n[training]\nd = "train"\n'
            f'[fewshot."d.rpe1"]\nval = {list(val)}\ntest = ["{test}"]\n'
        )
        groups = audit_cells({"d": {"screen": str(screen)}}, settings).groups
        rule = SplitSettings("from_toml", 0.1, "error", 0)
        splits = split_groups(groups, read_split_file(toml), rule)
        splits.table.to_parquet(folder / "splits.parquet")
        audit = validate_features(groups, "control", FeatureSettings())
        write_features(audit.features, folder / "features.safetensors")

    def arguments(self, out: str, *overrides: str) -> list[str]:
        """Return the options of `train` that train into the folder ``out``."""
        run_file = self.folder / "run.yaml"
        run_file.write_text(yaml.safe_dump(tiny_config(perturbation_features_file=None)))
        run = resolve_run(ROOT / "config", str(run_file), [*STEPS, *overrides])
        stage = self.folder / f"{out}-train.json"
        stage.write_text(run.stage_json("train"))
        config = self.folder / f"{out}-config.yaml"
        config.write_text(json.dumps(run.config))
        return [
            *("--threads", "1", "--settings", str(stage), "--config", str(config)),
            *("--cells", str(self.folder / "manifest.json")),
            *("--splits", str(self.folder / "splits.parquet")),
            *("--features", str(self.folder / "features.safetensors")),
            *("--final", str(self.folder / out / "final.ckpt")),
            *("--best", str(self.folder / out / "best.ckpt")),
            *("--metrics", str(self.folder / out / "log.csv")),
            *("--starts", str(self.folder / out / "starts.json")),
            *("--work-dir", str(self.folder / out)),
        ]

    def run(self, out: str, *overrides: str) -> str:
        """Train in this process; return what it printed."""
        with redirect_stdout(StringIO()) as said:
            train.train(self.arguments(out, *overrides))
        return said.getvalue()

    def command(self, out: str, *overrides: str) -> list[str]:
        """Return the command that trains in a process of its own."""
        return [sys.executable, "-m", "workflow_scripts.train", *self.arguments(out, *overrides)]

    def run_apart(self, out: str, *overrides: str) -> str:
        """Train in a process of its own; return what it printed."""
        done = self.start(out, *overrides)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def start(self, out: str, *overrides: str) -> subprocess.CompletedProcess[str]:
        """Train in a process of its own, however it ends."""
        command = [warm.python(), *self.command(out, *overrides)[1:]]
        return subprocess.run(command, capture_output=True, text=True, cwd=ROOT)

    def weights(self, out: str, name: str = "final.ckpt") -> dict[str, torch.Tensor]:
        content = torch.load(self.folder / out / name, weights_only=True)
        return content["state_dict"]

    def log(self, out: str) -> list[dict[str, str]]:
        with (self.folder / out / "log.csv").open() as file:
            return [
                {k: v for k, v in row.items() if k not in UNREPEATED}
                for row in csv.DictReader(file)
            ]

    def starts(self, out: str) -> list[dict[str, Any]]:
        """Return what is noted of the starts of a training."""
        return read_starts(self.folder / out / STARTS)


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


def kill_after(command: list[str], folder: Path, pattern: str) -> None:
    """Start a training and kill it, without notice, once a checkpoint of that name is there."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=ROOT)
    while not list(folder.glob(pattern)):
        assert process.poll() is None, "the training ended before it could be killed"
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
