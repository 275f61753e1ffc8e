"""What was run: the settings that matter most, and the commands that make the run again."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from workflow_scripts.settings.choices import CHOSEN_GENES, EMBED_KEY, given_model
from workflow_scripts.settings.run import run_folder

CHECKPOINT = "prediction.checkpoint"


@dataclass(frozen=True)
class Fact:
    """One setting: its words, its key in the config, its value."""

    label: str
    key: str
    value: str


@dataclass(frozen=True)
class FactGroup:
    """Settings that belong together."""

    title: str
    facts: tuple[Fact, ...]


@dataclass(frozen=True)
class Commands:
    """How to make the run again.

    Attributes
    ----------
    lines
        For a shell, in order, from inside the repository.
    from_frozen
        The same from the frozen config alone, where the lines use a run file.
    remarks
        What they don't bring back.
    """

    lines: tuple[str, ...]
    from_frozen: str | None
    remarks: tuple[str, ...]


_ESSENTIALS: Mapping[str, tuple[tuple[str, str], ...]] = {
    "Model": (
        ("Model", "model.name"),
        ("Backbone", "model.kwargs.transformer_backbone_key"),
        ("Cells a set", "model.kwargs.cell_set_len"),
        ("Width", "model.kwargs.hidden_dim"),
        ("Predicts the residual", "model.kwargs.predict_residual"),
        ("Loss on cell sets", "model.kwargs.loss"),
        ("Kernel of the energy loss", "model.kwargs.distributional_loss"),
        ("Starts from", "model.kwargs.init_from"),
    ),
    "Training": (
        ("Steps", "training.max_steps"),
        ("Sets a step", "training.batch_size"),
        ("Learning rate", "training.lr"),
        ("Weight decay", "training.weight_decay"),
        ("Gradient clipping", "training.gradient_clip_val"),
        ("Moving average of weights", "engine.ema"),
        ("Validation every", "training.val_freq"),
        ("Best validation by", "engine.select_by"),
        ("Checkpoint every", "training.ckpt_every_n_steps"),
        ("Seed", "training.train_seed"),
        ("Predicts", CHECKPOINT),
    ),
    "Data": (
        ("Splits file", "data.kwargs.toml_config_path"),
        ("Perturbation features", "data.kwargs.perturbation_features_file"),
        ("Perturbation column", "data.kwargs.pert_col"),
        ("Context column", "data.kwargs.cell_type_key"),
        ("Technical batch column", "data.kwargs.batch_col"),
        ("Control label", "data.kwargs.control_pert"),
        ("Expression from", EMBED_KEY),
        ("Output space", "data.kwargs.output_space"),
    ),
}

_GIVEN: Mapping[str, tuple[tuple[str, str], ...]] = {
    "Model": (("There already", CHECKPOINT), ("Cells a set", "model.kwargs.cell_set_len")),
    "Data": _ESSENTIALS["Data"],
}
"""The same where the run trains no model: most keys of model and training play no part."""

_NULL_WORDS: Mapping[str, str] = {
    "data.kwargs.perturbation_features_file": "none: one-hot perturbations",
    "model.kwargs.init_from": "random weights",
}
"""What an absent value means, where that is more than nothing."""

# In Hydra's grammar a list of JSON strings carries anything; plain words read better.
_PLAIN_OVERRIDE = re.compile(r"^[\w./=+~@-]+$")


def essentials(config: Mapping[str, Any]) -> list[FactGroup]:
    """Pick the settings that a reader asks for first; those that the config lacks are left out."""
    groups = []
    found, checkpoint = _look_up(config, CHECKPOINT)
    trains = not found or given_model(checkpoint) is None
    for title, entries in (_ESSENTIALS if trains else _GIVEN).items():
        facts = [
            Fact(label, key, _words(key, value))
            for label, key in entries
            for found, value in [_expression(config) if key == EMBED_KEY else _look_up(config, key)]
            if found and not (key.endswith("distributional_loss") and not _energy(config))
        ]
        if facts:
            groups.append(FactGroup(title, tuple(facts)))
    return groups


def changed_settings(trace: Sequence[Mapping[str, str]]) -> list[Mapping[str, str]]:
    """Return the parameters that a run file or an override set to something else than the default.

    Parameters
    ----------
    trace
        Rows of config.trace.tsv.
    """
    return [row for row in trace if row["overridden"] == "yes"]


def _look_up(config: Mapping[str, Any], key: str) -> tuple[bool, Any]:
    node: Any = config
    for part in key.split("."):
        if not isinstance(node, Mapping) or part not in node:
            return False, None
        node = node[part]
    return True, node


def _expression(config: Mapping[str, Any]) -> tuple[bool, str]:
    """Say which matrix of a file is read, and which embedding beside it the model reads."""
    found, name = _look_up(config, EMBED_KEY)
    layer = _look_up(config, "cells.layer")[1]
    if name == CHOSEN_GENES:
        return found, CHOSEN_GENES
    words = "X" if layer is None else f"layers/{layer}"
    if name is not None:
        words += f"; the model reads the embedding {name} and decodes to it"
    return found, words


def _energy(config: Mapping[str, Any]) -> bool:
    return bool(_look_up(config, "model.kwargs.loss")[1] == "energy")


def _words(key: str, value: object) -> str:
    if value is None:
        return _NULL_WORDS.get(key, "none")
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return str(value)


def run_name(config: Mapping[str, Any]) -> str:
    """Return the run's name."""
    return str(config.get("name", "unnamed run"))


def commands(config: Mapping[str, Any], provenance: Mapping[str, Any]) -> Commands:
    """Return the commands that make the run again.

    The run file and overrides come first where they are known; the frozen config is a run file
    too, and says everything by itself.
    """
    lines, remarks = [], []
    commit = provenance["git_commit"]
    if commit:
        lines.append(f"git checkout {shlex.quote(commit)}")
    else:
        remarks.append("No git commit was recorded: the version of the code is all that is known.")
    if provenance["git_dirty"]:
        remarks.append("The code had changes that were not committed: the commit is not all of it.")
    frozen = f"{run_folder(config)}/config.yaml"
    run_file = provenance["run_file"]
    lines.append(_snakemake(run_file or frozen, provenance["overrides"] if run_file else []))
    from_frozen = _snakemake(frozen, []) if run_file else None
    return Commands(tuple(lines), from_frozen, tuple(remarks))


def _snakemake(run_file: str, overrides: list[str]) -> str:
    parts = ["snakemake --cores 4 --resources gpu=1 --config", shlex.quote(f"runs={run_file}")]
    if overrides:
        plain = all(_PLAIN_OVERRIDE.match(override) for override in overrides)
        text = " ".join(overrides) if plain else json.dumps(overrides, ensure_ascii=False)
        parts.append(f"overrides={shlex.quote(text)}")
    return " ".join(parts)
