"""What one training step holds in memory: the step itself is run, on tensors without data."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from workflow_scripts.models import set_loss
from workflow_scripts.training.batches import Batch
from workflow_scripts.training.plan import TrainingPlan
from workflow_scripts.training.starting_model import build_model, planned_settings
from workflow_scripts.training.step import clip_gradients, make_optimizer, step_objective
from workflow_scripts.training.utilization import flop_counter

Device = Literal["cpu", "cuda"]
Arithmetic = Literal["32-true", "bf16-mixed", "16-mixed"]

_AUTOCAST: Mapping[Arithmetic, torch.dtype] = {
    "bf16-mixed": torch.bfloat16,
    "16-mixed": torch.float16,
}

_FLOAT32_ON_CUDA = (
    torch.pow,
    Tensor.pow,
    Tensor.__pow__,
    torch.nn.functional.layer_norm,
)
"""What the models call of the operations that autocast computes in float32 on a GPU, and in the
lower precision on the CPU (docs.pytorch.org/docs/stable/amp.html, "Autocast Op Reference")."""


@dataclass(frozen=True)
class ModelMemory:
    """What training holds in memory beside the data that wait to be used, in bytes.

    Attributes
    ----------
    n_parameters
        Numbers that are learned.
    parameter_bytes
        Weights, their moving average where one is taken, and gradients and what the optimizer keeps
        for each that is not frozen.
    checkpoint_bytes
        Weights, their average and the optimizer's state: the size of a checkpoint.
    batch_bytes
        The step's batch: control cells, observed cells, features, codes of batches, and with an
        embedding the expression that is decoded to.
    activation_bytes
        What autograd keeps between the forward pass with its loss and the backward pass, without
        parameters and batch.
    working_bytes
        What the largest moment of a step holds beyond these three.
    total
        The largest moment of a step: forward, loss, backward, clipping or update.
    flops
        Operations of the step's matrix products, not bytes: two for a product and its sum.
    """

    n_parameters: int
    parameter_bytes: int
    checkpoint_bytes: int
    batch_bytes: int
    activation_bytes: int
    working_bytes: int
    total: int
    flops: int


def model_memory(
    plan: TrainingPlan,
    *,
    n_genes: int,
    feature_dim: int,
    n_batches: int,
    precision: Arithmetic,
    device: Device,
    embedding_dim: int | None = None,
) -> ModelMemory:
    """Work out what a training step holds, by running one without data.

    What trains the model goes through a whole step, in Lightning's order: forward and loss while
    the last gradients are still there, backward, clipping, update. Its tensors have shapes, types
    and lifetimes, but no contents (`FakeTensorMode`), and every storage is counted from the
    operation that makes it to its end. So nothing here has to be changed with the model.

    On the CPU this equals what torch's allocator counts in a real step. What is not seen: scratch
    space inside an operation (matrix products), gaps between blocks of memory, and on a GPU the
    context and cuBLAS. A value that decides what runs next is answered with 1: no set of the step
    holds a NaN, and the loss is finite; the steps of Sinkhorn's annealing keep nothing.

    A GPU's step is run as the CPU would, but for what it does differently: autocast computes some
    operations in float32, and Adam works on all parameters at once. Attention without dropout keeps
    no probabilities on either: all fused kernels compute them again.

    Parameters
    ----------
    plan
        What to train.
    n_genes, feature_dim, n_batches
        Genes of the packed cells, width of the perturbations' features, technical batches.
    precision
        The arithmetic; where the plan says auto, `settled_precision` decides.
    device
        Where the model trains.
    embedding_dim
        Width of the embedding that the model reads; None where it reads expression.

    Raises
    ------
    ConfigError
        Where ``model.kwargs`` describe no model.
    """
    ledger, counter = _Ledger(), flop_counter()
    with FakeTensorMode(), ledger, _LikeCuda() if device == "cuda" else nullcontext():
        settings = planned_settings(
            plan,
            n_genes=n_genes,
            feature_dim=feature_dim,
            n_batches=n_batches,
            embedding_dim=embedding_dim,
        )
        model, loss_of = build_model(settings, plan), set_loss(plan.model_kwargs)
        average = {} if plan.ema is None else build_model(settings, plan).state_dict()
        optimizer = make_optimizer(model, plan)
        for group in optimizer.param_groups:
            # What torch chooses by the device, and can't where there is only a stand-in.
            group["foreach"] = device == "cuda"
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        for parameter in trained:
            parameter.grad = torch.empty_like(parameter)
        optimizer.step()  # from now on its moments are there
        parameter_bytes = ledger.alive
        kept = (model.state_dict(), average, optimizer.state_dict()["state"])
        checkpoint_bytes = sum(t.nbytes for t in tree_leaves(kept) if isinstance(t, Tensor))
        batch = _batch(plan, n_genes, feature_dim, embedding_dim)
        batch_bytes = ledger.alive - parameter_bytes
        ledger.start()
        with counter:
            with _autocast(precision), torch.autograd.graph.saved_tensors_hooks(ledger.save, _same):
                loss = step_objective(
                    *(model, loss_of, batch), decoder_weight=plan.decoder_weight
                ).total
            activation_bytes = ledger.saved_bytes
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            clip_gradients(model, plan)
            optimizer.step()
    return ModelMemory(
        n_parameters=sum(parameter.numel() for parameter in trained),
        parameter_bytes=parameter_bytes,
        checkpoint_bytes=checkpoint_bytes,
        batch_bytes=batch_bytes,
        activation_bytes=activation_bytes,
        working_bytes=ledger.peak - parameter_bytes - batch_bytes - activation_bytes,
        total=ledger.peak,
        flops=counter.get_total_flops(),
    )


def products_in(precision: Arithmetic) -> torch.dtype:
    """Return what the factors of a step's matrix products are rounded to."""
    return _AUTOCAST.get(precision, torch.float32)


def settled_precision(plan: TrainingPlan, device: Device) -> Arithmetic:
    """Return the arithmetic that the trainer will choose where the plan says auto.

    A GPU that isn't here (training goes to another node) is taken for one that has bfloat16.
    """
    if plan.precision != "auto":
        return plan.precision
    if device == "cpu" or (torch.cuda.is_available() and not torch.cuda.is_bf16_supported()):
        return "32-true"
    return "bf16-mixed"


class _Ledger(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of the storages that are alive, and the most there were."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.alive = 0
        self.peak = 0
        self._storages: dict[int, tuple[weakref.ref[torch.UntypedStorage], int]] = {}
        self._old: frozenset[int] = frozenset()
        self._saved: set[int] = set()

    def start(self) -> None:
        """Forget the peak so far; what is alive now belongs to no step."""
        self.peak = self.alive
        self._old = frozenset(self._storages)

    def save(self, tensor: Tensor) -> Tensor:
        """Note what autograd keeps, as a hook of it."""
        key = tensor.untyped_storage()._cdata
        if key not in self._old:
            self._saved.add(key)
        return tensor

    @property
    def saved_bytes(self) -> int:
        """Bytes of what autograd keeps and did not find there; views of one storage count once."""
        return sum(self._storages[key][1] for key in self._saved)

    def __torch_dispatch__(
        self,
        func: torch._ops.OpOverload[Any, Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func is torch.ops.aten._local_scalar_dense.default:
            return 1.0
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor):
                self._enter(tensor.untyped_storage())
        return result

    def _enter(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key not in self._storages:
            end = functools.partial(self._leave, key, size)
            self._storages[key] = weakref.ref(storage, end), size
            self.alive += size
            self.peak = max(self.peak, self.alive)

    def _leave(self, key: int, size: int, _: object) -> None:
        self.alive -= size
        del self._storages[key]
        self._saved.discard(key)


class _LikeCuda(TorchFunctionMode):
    """Replaces the operations whose memory differs on a GPU by such as keep what a GPU keeps."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func in _FLOAT32_ON_CUDA and torch.is_autocast_enabled("cpu"):
            args = (args[0].float(), *args[1:])
        return func(*args, **(kwargs or {}))


def _same(tensor: Tensor) -> Tensor:
    return tensor


def _autocast(precision: Arithmetic) -> torch.autocast:
    # The stand-in is on the CPU, whatever the device; no cache, as in Lightning's plugin.
    dtype = _AUTOCAST.get(precision)
    return torch.autocast("cpu", dtype, enabled=dtype is not None, cache_enabled=False)


def _batch(plan: TrainingPlan, n_genes: int, feature_dim: int, embedding_dim: int | None) -> Batch:
    shape = (plan.sets_per_step, plan.set_size)
    width = n_genes if embedding_dim is None else embedding_dim
    observed = torch.empty(*shape, width)
    return Batch(
        control=torch.empty(*shape, width),
        observed=observed,
        features=torch.empty(plan.sets_per_step, feature_dim),
        batch=torch.zeros(shape, dtype=torch.int64),
        numbers=torch.arange(plan.sets_per_step),
        expression=observed if embedding_dim is None else torch.empty(*shape, n_genes),
    )
