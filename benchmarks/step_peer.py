"""One side of a comparison: a process that takes training steps when it is told to.

Example: echo step 3 | python benchmarks/step_peer.py ours DATA

The sides take turns: each waits, idle, for a line on its standard input that names a part of a step
and says how often to take it, and answers with a JSON list of the seconds. ``reference`` runs in an
environment of its own, which has arc-state and nothing of this project: whatever only one side has
is imported by that side.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

Step = Callable[[], object]

CLIP = 10.0
"""Largest norm of the gradient: training.gradient_clip_val of the seed."""


def ours(data: dict[str, torch.Tensor], *, compiled: bool = False) -> tuple[dict[str, Step], int]:
    """Return a step of this project's training, and its number of parameters."""
    from model_step import Training

    from workflow_scripts.training.batches import Batch

    training = Training(torch.device("cpu"), data["control"].shape[2])
    if compiled:
        training.compile()
    codes = torch.zeros(data["control"].shape[:2], dtype=torch.int64)
    numbers = torch.arange(len(codes))
    cells = data["observed"]
    batch = Batch(data["control"], cells, data["features"], codes, numbers, cells)
    return {"step": lambda: training.step(batch)}, training.n_parameters


def reference(data: dict[str, torch.Tensor]) -> tuple[dict[str, Step], int]:
    """Return a step of the reference's model, loss and optimizer, and its number of parameters.

    Its own ``training_step`` and ``configure_optimizers`` are what its trainer calls; the rest of
    the step is Lightning's: gradients set to None, backward, clipping by the norm, update. The
    constructor's arguments are those that its checkpoints hold, its batch is that of cell-load.
    """
    from state.tx.models.state_transition import StateTransitionPerturbationModel

    sets, cells, n_genes = data["control"].shape
    backbone = {
        "bidirectional_attention": True,
        "max_position_embeddings": cells,
        "hidden_size": 672,
        "intermediate_size": 2688,
        "num_hidden_layers": 4,
        "num_attention_heads": 8,
        "num_key_value_heads": 8,
        "head_dim": 84,
        "use_cache": False,
        "attention_dropout": 0.0,
        "hidden_dropout": 0.0,
        "layer_norm_eps": 1e-6,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "tie_word_embeddings": False,
        "rotary_dim": 0,
        "use_rotary_embeddings": False,
        "n_positions": cells,
    }
    whole = n_genes > 5_000  # all genes, or the highly variable ones
    model = StateTransitionPerturbationModel(
        input_dim=n_genes,
        hidden_dim=672,
        output_dim=n_genes,
        pert_dim=data["features"].shape[1],
        batch_dim=1,
        dropout=0.1,
        lr=1e-4,
        loss_fn="mse",
        control_pert="control",
        embed_key=None if whole else "X_hvg",
        output_space="all" if whole else "gene",
        gene_names=None,
        batch_size=sets,
        gene_dim=n_genes,
        hvg_dim=n_genes,
        decoder_cfg=None,
        cell_set_len=cells,
        blur=0.05,
        loss="energy",
        n_encoder_layers=4,
        n_decoder_layers=4,
        use_basal_projection=False,
        gene_decoder_bool=False,
        basal_mapping_strategy="random",
        predict_residual=True,
        distributional_loss="energy",
        transformer_backbone_key="llama",
        transformer_backbone_kwargs=backbone,
    )
    model.train()
    optimizer = model.configure_optimizers()
    batch = {
        "ctrl_cell_emb": data["control"].flatten(0, 1),
        "pert_cell_emb": data["observed"].flatten(0, 1),
        "pert_emb": data["features"].repeat_interleave(cells, dim=0),
        "batch": torch.zeros(sets * cells, dtype=torch.int64),
    }

    def step() -> None:
        loss = model.training_step(batch, 0)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()

    # A vocabulary that it never looks at is no part of what it trains.
    counted = [p for n, p in model.named_parameters() if "embed_tokens" not in n]
    return {"step": step}, sum(parameter.numel() for parameter in counted)


def floor(data: dict[str, torch.Tensor]) -> tuple[dict[str, Step], int]:
    """Return the step's products and its optimizer alone, and their number of parameters."""
    from floor import Floor
    from model_step import Training

    training = Training(torch.device("cpu"), data["control"].shape[2])
    bare = Floor(training, *data["control"].shape[:2])
    print(f"{bare.flop / 1e9:.0f} GFLOP of products", file=sys.stderr)
    return {"products": bare.multiply, "update": bare.update}, training.n_parameters


def main() -> None:
    """Answer until the input ends."""
    side, path = sys.argv[1:]
    if side != "reference":
        from workflow_scripts.training.large_pages import use_large_pages

        use_large_pages()
    # What a model prints of itself is no answer.
    answers, sys.stdout = sys.stdout, sys.stderr
    data: dict[str, torch.Tensor] = torch.load(Path(path), weights_only=True)
    torch.manual_seed(0)
    sides = {
        "ours": ours,
        "compiled": partial(ours, compiled=True),
        "reference": reference,
        "floor": floor,
    }
    steps, n_parameters = sides[side](data)
    print(json.dumps(n_parameters), file=answers, flush=True)
    for line in sys.stdin:
        name, times = line.split()
        took = []
        for _ in range(int(times)):
            start = time.perf_counter()
            steps[name]()
            took.append(time.perf_counter() - start)
        print(json.dumps(took), file=answers, flush=True)


if __name__ == "__main__":
    main()
