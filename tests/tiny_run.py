"""A run so small that the whole chain takes seconds, on a screen of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import yaml

from tests.screens import write_screen

PERTURBATIONS = ("control", "g1", "g2", "g3", "g4", "g5", "g6")

TOML = """
[datasets]
screen = "screen.h5ad"

[training]
screen = "train"

[fewshot."screen.rpe1"]
val = ["g1"]
test = ["g2", "g3", "g4"]
"""

MODEL: dict[str, Any] = {
    "cell_set_len": 4,
    "hidden_dim": 16,
    "n_encoder_layers": 2,
    "n_decoder_layers": 2,
    "transformer_backbone_kwargs": {
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "head_dim": 8,
    },
}


DECODER: dict[str, Any] = {"gene_decoder_bool": True, "decoder_hidden_dims": [16, 8]}
"""What a run on an embedding says of its model beside that."""


def tiny_config(**data: Any) -> dict[str, Any]:
    """Return the content of the run file; ``data`` replaces values of data.kwargs."""
    return {
        "defaults": [{"override /model": "state_sm"}],
        "name": "tiny",
        "output_dir": "out",
        "use_wandb": False,
        "data": {
            "kwargs": {
                "toml_config_path": "starter.toml",
                "perturbation_features_file": "features.pt",
                "num_workers": 0,
                "control_pert": "control",
                **data,
            }
        },
        "model": {"kwargs": MODEL},
        "training": {
            "batch_size": 2,
            "lr": 1e-3,
            "max_steps": 4,
            "val_freq": 2,
            "ckpt_every_n_steps": 2,
        },
    }


def write_tiny_run(folder: Path, *, embedding: tuple[str, int] | None = None, **data: Any) -> Path:
    """Write screen, split file, features and run file into ``folder``; return the run file.

    ``embedding`` is the name and the width of one that the run reads.
    """
    write_screen(
        folder / "screen.h5ad",
        perturbations=PERTURBATIONS,
        cells_per_group=12,
        embedding=embedding,
    )
    (folder / "starter.toml").write_text(TOML)
    generator = torch.Generator().manual_seed(0)
    torch.save(
        {name: torch.randn(5, generator=generator) for name in PERTURBATIONS},
        folder / "features.pt",
    )
    run_file = folder / "run.yaml"
    config = tiny_config(**data)
    if embedding is not None:
        config["data"]["kwargs"] |= {"embed_key": embedding[0], "output_space": "embedding"}
        config["model"]["kwargs"] = MODEL | DECODER
    run_file.write_text(yaml.safe_dump(config, sort_keys=False))
    return run_file
