"""Whether options of the loss mean here what they mean to the reference: on the same cells.

Example:

    python benchmarks/reference_losses.py --reference PYTHON

The reference (arc-state 0.11.1, in an environment of its own with the interpreter PYTHON) is asked
as its users ask it: a model is built, predicts, and returns the losses of a training and of a
validation step, and the names of what it would store. What it predicted goes through our losses.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parents[1]
SETS, CELLS, GENES = 2, 16, 40
WAYS: dict[str, dict[str, Any]] = {
    **{f"{loss}, one chunk": {"loss": loss} for loss in ("energy", "mse", "sinkhorn", "se")},
    **{
        f"{loss}, three chunks": {"loss": loss, "mmd_num_chunks": 3}
        for loss in ("energy", "mse", "sinkhorn", "se")
    },
    "energy, regularization": {"loss": "energy", "regularization": 0.5},
}
STORED: dict[str, dict[str, Any]] = {
    "no residual": {"predict_residual": False},
    "batch token": {"use_batch_token": True},
}


def ask(out: Path) -> None:
    """Ask the reference; runs in its environment."""
    from state.tx.models.state_transition import StateTransitionPerturbationModel

    sizes = {"hidden_size": 32, "intermediate_size": 64, "head_dim": 16, "num_hidden_layers": 1}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 2}
    backbone = {"bidirectional_attention": True, "max_position_embeddings": CELLS, **sizes, **heads}

    def build(**options: Any) -> Any:
        torch.manual_seed(1)
        widths = {"input_dim": GENES, "output_dim": GENES, "gene_dim": GENES, "hvg_dim": GENES}
        given = {
            **widths,
            **{"hidden_dim": 32, "pert_dim": 7, "batch_dim": 3, "cell_set_len": CELLS},
            **{"embed_key": "X", "output_space": "all", "basal_mapping_strategy": "batch"},
            **{"transformer_backbone_key": "llama", "transformer_backbone_kwargs": backbone},
            **{"n_encoder_layers": 2, "n_decoder_layers": 2, "use_basal_projection": False},
            **{"predict_residual": True, "distributional_loss": "energy", "dropout": 0.0},
            **{"batch_size": SETS, "lr": 1e-4, **options},
        }
        if given["loss"] == "sinkhorn":
            given |= {"loss": "energy", "distributional_loss": "sinkhorn"}
        model = StateTransitionPerturbationModel(**given).eval()
        model.log = model.log_dict = lambda *_, **__: None
        return model

    torch.manual_seed(0)
    control, observed = torch.rand(2, SETS, CELLS, GENES)
    names = {"pert_name": "a", "batch_name": "b", "cell_type": "c"}
    batch = {
        "ctrl_cell_emb": control.flatten(0, 1),
        "pert_cell_emb": observed.flatten(0, 1),
        "pert_emb": torch.randn(SETS, 7).repeat_interleave(CELLS, dim=0),
        "batch": torch.zeros(SETS * CELLS, dtype=torch.int64),
        **{name: [value] * (SETS * CELLS) for name, value in names.items()},
    }
    losses, stored = {}, {}
    with torch.no_grad():
        for name, options in WAYS.items():
            model = build(**options)
            predicted = model.forward(batch).view(SETS, CELLS, GENES)
            validation = model.validation_step(batch, 0)["loss"]
            losses[name] = [float(model.training_step(batch, 0)), float(validation)]
    for name, options in STORED.items():
        stored[name] = sorted(build(loss="energy", **options).state_dict())
    torch.save({"control": control, "observed": observed, "predicted": predicted}, out)
    out.with_suffix(".json").write_text(json.dumps({"losses": losses, "stored": stored}))


def compare(out: Path) -> None:
    """Print both sides' losses, and stop where they differ."""
    from workflow_scripts.models.losses import SetLoss, mean_change

    cells = torch.load(out, weights_only=True)
    predicted, observed, control = (cells[name] for name in ("predicted", "observed", "control"))
    said = json.loads(out.with_suffix(".json").read_text())
    print("| loss | step: reference | here | validation: reference | here |\n|---|---|---|---|---|")
    for name, (step, validation) in said["losses"].items():
        options = dict(WAYS[name])
        if options["loss"] == "sinkhorn":
            options |= {"loss": "energy", "distributional_loss": "sinkhorn"}
        loss = SetLoss(**options)
        ours = loss(predicted, observed).item()
        everything = torch.ones(SETS, dtype=torch.bool)
        change = mean_change(predicted, control, everything).item()
        total = ours + loss.regularization * change
        print(f"| {name} | {step:.6f} | {total:.6f} | {validation:.6f} | {ours:.6f} |")
        for theirs, here in ((step, total), (validation, ours)):
            assert abs(theirs - here) <= 1e-4 * abs(theirs), (name, theirs, here)
    for name, names in said["stored"].items():
        kept = [key for key in names if key.startswith(("final_down_then_up", "batch_"))]
        print(f"\nstored with {name}: {', '.join(kept)}")


def main() -> None:
    """Ask one side, compare with the other."""
    if sys.argv[1:2] == ["--ask"]:  # the reference's side, which has nothing of this project
        ask(Path(sys.argv[2]))
        return
    sys.path.insert(0, str(ROOT))
    from workflow_scripts.command import command_parser

    parser = command_parser("python benchmarks/reference_losses.py", __doc__)
    parser.add_argument(
        "--reference",
        required=True,
        metavar="PYTHON",
        help="python of an environment with arc-state 0.11",
    )
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "cells.pt"
        asking = [given.reference, __file__, "--ask", str(out)]
        subprocess.run(asking, check=True, stdout=subprocess.DEVNULL, env={"PATH": ""})
        compare(out)


if __name__ == "__main__":
    main()
