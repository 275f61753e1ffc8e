from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode

from workflow_scripts.models import SetLoss, energy_distance, mean_over_sets, mse, sinkhorn
from workflow_scripts.models.losses import mean_change


def cells(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def naive_energy(predicted: Tensor, observed: Tensor) -> Tensor:
    def mean_distance(a: Tensor, b: Tensor) -> Tensor:
        return (a[:, :, None] - b[:, None]).norm(dim=3).mean(dim=(1, 2))

    return (
        mean_distance(predicted, observed)
        - 0.5 * mean_distance(predicted, predicted)
        - 0.5 * mean_distance(observed, observed)
    )


# --- energy distance ----------------------------------------------------------------------------


def test_energy_distance_of_two_points_each_is_the_number_on_paper() -> None:
    # y = {0, 4}, t = {1, 3}: E|y-t| = (1+3+3+1)/4 = 2, E|y-y'| = 8/4 = 2, E|t-t'| = 4/4 = 1.
    predicted = torch.tensor([[[0.0], [4.0]]])
    observed = torch.tensor([[[1.0], [3.0]]])
    assert_close(energy_distance(predicted, observed), torch.tensor([2 - 0.5 * 2 - 0.5 * 1]))


def test_energy_distance_of_single_cells_is_their_distance() -> None:
    a, b = torch.tensor([[[0.0, 0.0]]]), torch.tensor([[[3.0, 4.0]]])
    assert_close(energy_distance(a, b), torch.tensor([5.0]))


def test_energy_distance_of_a_set_from_itself_is_zero() -> None:
    same = cells(2, 9, 30)
    assert_close(energy_distance(same, same), torch.zeros(2), rtol=0, atol=1e-6)


@pytest.mark.parametrize("shift", [0.0, 100.0])
def test_energy_distance_equals_the_naive_one_even_far_from_the_origin(shift: float) -> None:
    predicted, observed = cells(3, 16, 200), cells(3, 12, 200, seed=1) * 1.3
    expected = naive_energy(predicted.double(), observed.double()).float()
    assert_close(energy_distance(predicted + shift, observed + shift), expected, rtol=1e-4, atol=0)


def test_a_cell_is_at_no_distance_from_itself_however_many_genes_it_has() -> None:
    # So long a sum rounds by more than the threshold below which distances count as zero.
    wide = torch.rand(1, 3, 1_000_000, generator=torch.Generator().manual_seed(0))
    alone, origin = wide[:, :1], torch.zeros(1, 1, 1_000_000)
    assert_close(energy_distance(wide, origin), naive_energy(wide, origin), rtol=1e-5, atol=0)
    assert_close(energy_distance(alone, origin), alone.norm(dim=2)[0], rtol=1e-5, atol=0)


def test_energy_distance_has_the_right_gradient() -> None:
    predicted = cells(2, 4, 3, dtype=torch.float64).requires_grad_()
    observed = cells(2, 5, 3, seed=1, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda y: energy_distance(y, observed), predicted)
    assert torch.autograd.gradcheck(energy_distance, (predicted, observed.requires_grad_()))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_energy_distance_of_many_genes_has_the_gradient_of_the_naive_one(
    dtype: torch.dtype,
) -> None:
    predicted, observed = cells(2, 8, 3000).to(dtype), cells(2, 6, 3000, seed=1).to(dtype)
    exact = predicted.double().requires_grad_()
    naive_energy(exact, observed.double()).sum().backward()
    energy_distance(predicted.requires_grad_(), observed).sum().backward()
    assert predicted.grad is not None
    assert predicted.grad.dtype == dtype
    tolerance = 1e-5 if dtype == torch.float32 else 1e-2
    difference = predicted.grad.double() - exact.grad
    assert difference.norm() < tolerance * exact.grad.norm()


def test_energy_distance_has_a_finite_gradient_where_cells_coincide() -> None:
    observed = cells(1, 4, 6)
    predicted = observed[:, [0, 0, 1, 2]].clone().requires_grad_()
    energy_distance(predicted, observed).sum().backward()
    assert predicted.grad is not None
    assert predicted.grad.isfinite().all()
    # A unit step of one of four cells changes the sum of three means by at most 1/4 of each.
    assert (predicted.grad.norm(dim=2) <= 0.5).all()


def test_energy_distance_never_makes_a_tensor_of_cells_by_cells_by_genes() -> None:
    class Largest(TorchDispatchMode):
        numel = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            result = func(*args, **(kwargs or {}))
            for value in result if isinstance(result, tuple | list) else (result,):
                if isinstance(value, Tensor):
                    self.numel = max(self.numel, value.numel())
            return result

    n_cells, n_genes = 32, 480
    predicted = cells(2, n_cells, n_genes).requires_grad_()
    observed = cells(2, n_cells, n_genes, seed=1)
    with Largest() as largest:
        energy_distance(predicted, observed).sum().backward()
    assert largest.numel == 2 * (2 * n_cells) * n_genes


def test_energy_distance_of_bf16_cells_is_computed_in_float32() -> None:
    predicted, observed = cells(2, 8, 64).bfloat16(), cells(2, 8, 64, seed=1).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        distance = energy_distance(predicted, observed)
    assert distance.dtype == torch.float32
    assert_close(distance, naive_energy(predicted.float(), observed.float()), rtol=1e-5, atol=0)


# --- the other losses ---------------------------------------------------------------------------


def test_mse_is_one_value_a_set() -> None:
    predicted = torch.tensor([[[1.0, 2.0]], [[0.0, 0.0]]])
    observed = torch.tensor([[[1.0, 4.0]], [[3.0, 0.0]]])
    assert_close(mse(predicted, observed), torch.tensor([2.0, 4.5]))


def test_sinkhorn_of_single_cells_is_half_their_squared_distance() -> None:
    a, b = torch.tensor([[[0.0, 0.0]]]), torch.tensor([[[3.0, 4.0]]])
    assert_close(sinkhorn(a, b), torch.tensor([12.5]))


def test_se_is_a_hundredth_of_sinkhorn_plus_energy() -> None:
    predicted, observed = cells(2, 6, 5), cells(2, 6, 5, seed=1)
    expected = 0.01 * sinkhorn(predicted, observed) + energy_distance(predicted, observed)
    assert_close(SetLoss("se").per_set(predicted, observed), expected)


def test_distributional_loss_chooses_what_loss_energy_means() -> None:
    predicted, observed = cells(2, 6, 5), cells(2, 6, 5, seed=1)
    chosen = SetLoss("energy", distributional_loss="sinkhorn", blur=0.2)
    assert_close(chosen.per_set(predicted, observed), sinkhorn(predicted, observed, blur=0.2))
    unread = SetLoss("mse", distributional_loss="sinkhorn")
    assert_close(unread.per_set(predicted, observed), mse(predicted, observed))


def test_chunks_average_the_loss_over_spans_of_genes() -> None:
    predicted, observed = cells(2, 6, 7), cells(2, 6, 7, seed=1)
    spans = [slice(0, 3), slice(3, 6), slice(6, 7)]
    for name, distance in (("energy", energy_distance), ("sinkhorn", sinkhorn)):
        expected = sum(distance(predicted[..., s], observed[..., s]) for s in spans) / 3
        assert_close(SetLoss(name, name, mmd_num_chunks=3).per_set(predicted, observed), expected)


@pytest.mark.parametrize("name", ["mse", "se"])
def test_other_losses_are_of_all_genes_at_once(name: str) -> None:
    predicted, observed = cells(2, 6, 7), cells(2, 6, 7, seed=1)
    chunked = SetLoss(name, mmd_num_chunks=3).per_set(predicted, observed)
    assert_close(chunked, SetLoss(name).per_set(predicted, observed), rtol=0, atol=0)


def test_change_from_control_is_that_of_the_sets_that_count() -> None:
    predicted, control = cells(3, 6, 5).requires_grad_(), cells(3, 6, 5, seed=1)
    control[1, 2, 3] = math.nan
    counts = torch.tensor([True, False, True])
    change = mean_change(predicted, control, counts)
    assert_close(change, (predicted - control)[[0, 2]].abs().mean())
    change.backward()
    assert predicted.grad is not None
    assert not predicted.grad[1].any()
    assert predicted.grad.isfinite().all()


# --- sets with NaN ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["energy", "mse", "sinkhorn", "se"])
def test_a_set_with_nan_is_left_out_of_the_mean_and_of_the_gradient(name: str) -> None:
    loss = SetLoss(name)
    predicted = cells(3, 4, 5).requires_grad_()
    observed = cells(3, 4, 5, seed=1)
    observed[1, 2, 3] = math.nan
    values = loss.per_set(predicted, observed)
    assert values.isnan().tolist() == [False, True, False]
    total = loss(predicted, observed)
    whole = [0, 2]
    assert_close(total, loss(predicted[whole], observed[whole]))
    total.backward()
    assert predicted.grad is not None
    assert not predicted.grad[1].any()
    assert predicted.grad.isfinite().all()
    assert predicted.grad[whole].any()


def test_nothing_but_nan_is_nan() -> None:
    assert SetLoss()(torch.full((2, 3, 4), math.nan), cells(2, 3, 4)).isnan()
    assert mean_over_sets(torch.tensor([math.nan, 3.0])) == 3.0


def test_more_chunks_than_genes_are_refused() -> None:
    with pytest.raises(ValueError, match="9, for 5 genes"):
        SetLoss(mmd_num_chunks=9).per_set(cells(1, 2, 5), cells(1, 2, 5, seed=1))
