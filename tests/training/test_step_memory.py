"""A step that is run without data holds what a real one does."""

from __future__ import annotations

import gc
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from tests.cells.test_packing import pack
from workflow_scripts.features.vectors import Features
from workflow_scripts.models import set_loss, state_transition_settings
from workflow_scripts.training import step_memory, trainer
from workflow_scripts.training.batches import Batch
from workflow_scripts.training.module import TrainingModule
from workflow_scripts.training.plan import TrainingPlan
from workflow_scripts.training.schedule import Schedule
from workflow_scripts.training.starting_model import build_model
from workflow_scripts.training.step import step_objective
from workflow_scripts.training.step_memory import ModelMemory, model_memory, settled_precision
from workflow_scripts.training.utilization import flop_counter

GENES, FEATURES, BATCHES = 200, 12, 3

LLAMA: dict[str, Any] = {
    "cell_set_len": 16,
    "hidden_dim": 32,
    "n_encoder_layers": 2,
    "n_decoder_layers": 3,
    "use_basal_projection": False,
    "transformer_backbone_key": "llama",
    "transformer_backbone_kwargs": {
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
    },
}
GPT2: dict[str, Any] = {
    **LLAMA,
    "batch_encoder": True,
    "mask_attn": True,
    "transformer_backbone_key": "GPT2",
    "transformer_backbone_kwargs": {"n_layer": 2, "n_head": 4, "n_inner": 64},
}
TOKENS: dict[str, Any] = {**LLAMA, "confidence_token": True, "use_batch_token": True}
FROZEN: dict[str, Any] = {**LLAMA, "freeze_pert_backbone": True}
MODELS = {"llama": LLAMA, "GPT2": GPT2, "tokens": TOKENS, "frozen": FROZEN}
LOSSES = {
    "energy": {"loss": "energy"},
    "mse": {"loss": "mse"},
    "sinkhorn": {"loss": "sinkhorn"},
    "se": {"loss": "se"},
    "chunks": {"loss": "energy", "mmd_num_chunks": 3, "regularization": 0.1},
}


DECODER = {"gene_decoder_bool": True, "decoder_hidden_dims": [24, 16]}


def plan(kwargs: dict[str, Any], sets: int = 3, **changes: Any) -> TrainingPlan:
    whole = TrainingPlan(
        model_kwargs=kwargs,
        output_space="all",
        set_size=kwargs["cell_set_len"],
        sets_per_step=sets,
        by_batch=False,
        yield_controls=True,
        map_controls=True,
        weighting="proportional",
        most_cells=None,
        lr=1e-4,
        weight_decay=5e-4,
        clip=10.0,
        seed=42,
        precision="auto",
        schedule=Schedule(),
        ema=None,
        select_by="val_loss",
        patience=None,
        max_steps=100,
        val_freq=100,
        save_every=100,
        validation_sets=4,
        validation_fraction=1.0,
    )
    return replace(whole, **changes)


def memory(asked: TrainingPlan, n_genes: int = GENES, **changes: Any) -> ModelMemory:
    options: dict[str, Any] = {"precision": "32-true", "device": "cpu", **changes}
    return model_memory(asked, n_genes=n_genes, feature_dim=FEATURES, n_batches=BATCHES, **options)


def module_and_batch(
    asked: TrainingPlan, n_genes: int = GENES, embedding_dim: int | None = None
) -> tuple[TrainingModule, Batch]:
    """Return what trains and what it trains on, both with their data."""
    width = n_genes if embedding_dim is None else embedding_dim
    settings = state_transition_settings(
        asked.model_kwargs,
        input_dim=width,
        output_dim=width,
        pert_dim=FEATURES,
        output_space=asked.output_space,
        expression_output=embedding_dim is None,
        n_batches=BATCHES,
        n_genes=None if embedding_dim is None else n_genes,
    )
    loss = set_loss(asked.model_kwargs)
    shape = (asked.sets_per_step, asked.set_size)
    observed = torch.rand(*shape, width)
    batch = Batch(
        torch.rand(*shape, width),
        observed,
        torch.rand(shape[0], FEATURES),
        torch.zeros(shape, dtype=torch.int64),
        torch.arange(shape[0]),
        observed if embedding_dim is None else torch.rand(*shape, n_genes),
    )
    return TrainingModule(build_model(settings, asked), loss, asked, {}, lambda numbers: []), batch


def autocast(precision: str) -> torch.autocast:
    mixed = precision != "32-true"
    return torch.autocast("cpu", torch.bfloat16, enabled=mixed, cache_enabled=False)


def kept_by_autograd(module: TrainingModule, batch: Batch, precision: str) -> int:
    """Add up what a real forward pass with its loss saves, every storage once."""
    known = {tensor.untyped_storage().data_ptr() for tensor in (*module.parameters(), *batch)}
    saved: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        saved[storage.data_ptr()] = storage
        return tensor

    with autocast(precision), torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
        module.training_step(batch, 0)
    return sum(storage.nbytes() for at, storage in saved.items() if at not in known)


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("key", MODELS)
def test_activations_are_what_autograd_keeps_in_a_real_step(key, loss, precision):
    asked = plan({**MODELS[key], **LOSSES[loss]})
    told = memory(asked, precision=precision)
    module, batch = module_and_batch(asked)
    assert told.activation_bytes == kept_by_autograd(module, batch, precision)
    assert told.batch_bytes == bytes_of(batch)


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
@pytest.mark.parametrize("space", ["all", "embedding"])
def test_step_of_an_embedding_holds_its_decoder_and_the_expression_too(space, precision):
    asked = plan({**LLAMA, **DECODER}, output_space=space)
    told = memory(asked, precision=precision, embedding_dim=20)
    module, batch = module_and_batch(asked, embedding_dim=20)
    kept = kept_by_autograd(module, batch, precision)
    # Torch's stand-in has the statistics of a bfloat16 layer norm two bytes too narrow.
    statistics = 2 * 2 * len(DECODER["decoder_hidden_dims"]) * batch.batch.numel()
    assert kept - told.activation_bytes == (0 if precision == "32-true" else statistics)
    assert told.batch_bytes == bytes_of(batch)
    assert batch.expression.nbytes == batch.expression.numel() * 4 > batch.observed.nbytes
    assert told.n_parameters == sum(parameter.numel() for parameter in module.parameters())
    assert any(name.startswith("model.gene_decoder.") for name, _ in module.named_parameters())


def bytes_of(batch: Batch) -> int:
    """Add up a batch; tensors that are one count once."""
    return sum({tensor.data_ptr(): tensor.nbytes for tensor in batch}.values())


def largest_allocated(module: TrainingModule, batch: Batch, precision: str) -> int:
    """Return the most that torch's allocator holds in a real second step, as it counts itself."""
    optimizer = module.configure_optimizers()
    largest = 0
    held = bytes_of(batch) + sum(p.nbytes for p in module.parameters())
    for _ in range(2):
        gc.collect()
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
            with autocast(precision):
                loss = module.training_step(batch, 0)
            optimizer.zero_grad()
            loss.backward()
            module.configure_gradient_clipping(optimizer)
            optimizer.step()
            del loss
        events = [e for e in seen.profiler.kineto_results.events() if e.name() == "[memory]"]
        changes = np.array([e.nbytes() for e in sorted(events, key=lambda e: e.start_ns())])
        largest = held + int(np.cumsum(changes).max())
        held += int(changes.sum())
    return largest


@pytest.mark.parametrize(
    ("key", "loss", "precision", "hidden", "genes"),
    [
        ("llama", "energy", "32-true", 32, 2000),  # cells × genes decide: largest in the backward
        ("llama", "mse", "bf16-mixed", 512, 100),  # weights decide: largest in the update
        ("GPT2", "se", "bf16-mixed", 64, 1000),
    ],
)
def test_largest_moment_is_what_torch_allocates_in_a_real_step(key, loss, precision, hidden, genes):
    asked = plan({**MODELS[key], **LOSSES[loss], "hidden_dim": hidden}, sets=6)
    told = memory(asked, genes, precision=precision)
    real = largest_allocated(*module_and_batch(asked, genes), precision)
    assert told.total == pytest.approx(real, rel=0.02)


def test_parameters_are_those_of_the_model_that_the_trainer_builds(tmp_path, make_screen):
    store = pack(tmp_path / "store", make_screen())
    names = np.array(["A", "B", "C", "control"])
    features = Features(tuple(names), np.eye(4, dtype=np.float32))
    asked = plan(GPT2)
    real = trainer._module(asked, store, features, {}, lambda numbers: [])
    told = model_memory(
        asked,
        n_genes=store.n_genes,
        feature_dim=4,
        n_batches=store.cells["batch"].cat.categories.size,
        precision="32-true",
        device="cpu",
    )
    n_parameters = sum(parameter.numel() for parameter in real.parameters())
    assert told.n_parameters == n_parameters
    # Weights, gradients and Adam's two moments in float32, and a step count for each weight.
    steps = 4 * sum(1 for _ in real.parameters())
    assert told.parameter_bytes == 16 * n_parameters + steps
    assert told.checkpoint_bytes == 12 * n_parameters + steps


@pytest.mark.parametrize("name", ["llama", "GPT2", "tokens"])
def test_operations_are_those_of_a_real_step(name):
    asked = plan(MODELS[name])
    module, batch = module_and_batch(asked)
    with flop_counter() as counter:
        loss = step_objective(module.model, module._loss, batch, decoder_weight=1.0).total
        loss.backward()
    told = memory(asked).flops
    assert told == counter.get_total_flops()
    # A weight takes a product in the forward pass, one for its own gradient, one for its input's,
    # of each row that passes: near six operations a cell, or a set for what encodes perturbations.
    n_parameters, n_cells = memory(asked).n_parameters, 3 * asked.set_size
    assert 2 * n_parameters * n_cells < told < 12 * n_parameters * n_cells


def test_total_is_its_parts():
    told = memory(plan(LLAMA))
    parts = (told.parameter_bytes, told.batch_bytes, told.activation_bytes, told.working_bytes)
    assert sum(parts) == told.total
    assert min(parts) > 0


def test_autocast_costs_a_gpu_more_and_dropped_attention_the_same():
    deep = plan(GPT2 | {"cell_set_len": 64, "mask_attn": False})  # a tenth dropped: GPT2's default
    backbone = {**GPT2["transformer_backbone_kwargs"], "attn_pdrop": 0.0}
    without = plan({**dict(deep.model_kwargs), "transformer_backbone_kwargs": backbone})
    on_cpu, on_gpu = (memory(deep, device=device) for device in ("cpu", "cuda"))
    # What is dropped of the attention is decided by set, so its weights are kept everywhere.
    assert on_gpu.activation_bytes == on_cpu.activation_bytes
    assert on_gpu.activation_bytes > memory(without, device="cuda").activation_bytes
    # In bfloat16, some operations are computed in float32 on a GPU alone.
    mixed = [memory(without, device=d, precision="bf16-mixed") for d in ("cpu", "cuda")]
    assert mixed[0].activation_bytes < mixed[1].activation_bytes


@pytest.mark.parametrize(
    "operation",
    [lambda x: torch.nn.functional.layer_norm(x, (4,)), lambda x: torch.pow(x, 3), lambda x: x**2],
)
def test_operations_that_a_gpu_computes_in_float32_are_so_counted(operation):
    cells = torch.ones(3, 4, dtype=torch.bfloat16)
    with autocast("bf16-mixed"):
        assert operation(cells).dtype == torch.bfloat16
        with step_memory._LikeCuda():
            assert operation(cells).dtype == torch.float32
    with step_memory._LikeCuda():
        assert operation(cells).dtype == torch.bfloat16


def test_mixed_precision_needs_less_where_cells_outweigh_weights():
    asked = plan(GPT2, sets=16)
    single, mixed = (memory(asked, precision=p) for p in ("32-true", "bf16-mixed"))
    assert mixed.activation_bytes < 0.8 * single.activation_bytes
    assert memory(asked, precision="16-mixed") == mixed


def test_estimating_leaves_the_random_state_alone():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    memory(plan(LLAMA))
    assert torch.equal(before, torch.get_rng_state())


def test_auto_is_settled_as_the_trainer_settles_it():
    assert settled_precision(plan(LLAMA), "cpu") == "32-true"
    assert settled_precision(plan(LLAMA, precision="16-mixed"), "cuda") == "16-mixed"
    if not torch.cuda.is_available():
        assert settled_precision(plan(LLAMA), "cuda") == "bf16-mixed"
