"""What no training step can go below: its matrix products, and the traffic of its optimizer.

The products are counted from the model's layers: each linear layer has one forward and two backward
(of its weights, and of its input where that has a gradient), attention two forward and four
backward, the energy distance three forward and two backward. They run on tensors that are there.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from model_step import Training
from torch import Tensor, nn


@dataclass(frozen=True)
class Product:
    """``batch`` products of [rows, inner] with [inner, columns].

    Attributes
    ----------
    left_turned, right_turned
        The operand lies in memory as its transpose.
    exact
        In float32 whatever the precision of the rest.
    """

    rows: int
    inner: int
    columns: int
    batch: int = 1
    left_turned: bool = False
    right_turned: bool = False
    exact: bool = False

    @property
    def flop(self) -> int:
        """Multiplications and additions."""
        return 2 * self.batch * self.rows * self.inner * self.columns


def products(training: Training, sets: int, cells: int) -> list[Product]:
    """List the matrix products of a step of a llama model."""
    model, found = training.model, []
    for name, layer in model.named_modules():
        if isinstance(layer, nn.Linear):
            rows = sets if name.startswith("pert_encoder") else sets * cells
            wide, narrow = layer.in_features, layer.out_features
            found.append(Product(rows, wide, narrow, right_turned=True))
            found.append(Product(narrow, rows, wide, left_turned=True))
            # The data need no gradient.
            if name not in ("pert_encoder.0", "basal_encoder", "basal_encoder.0"):
                found.append(Product(rows, narrow, wide))
    backbone = model.settings.backbone
    head, heads = backbone["head_dim"], sets * backbone["num_attention_heads"]
    layers = backbone["num_hidden_layers"]
    scores = Product(cells, head, cells, heads, right_turned=True)
    mixed = Product(cells, cells, head, heads)
    mixed_turned = Product(cells, cells, head, heads, left_turned=True)
    found += [scores, mixed, mixed_turned, scores, mixed, mixed_turned] * layers
    genes = model.settings.output_dim
    found += [Product(cells, genes, cells, sets, right_turned=True, exact=True)] * 3
    found += [Product(cells, cells, genes, sets, exact=True)] * 2
    return found


class Floor:
    """A step's products and its optimizer, without all the rest.

    Parameters
    ----------
    training
        Whose parameters are updated: they get a gradient that stays.
    sets, cells
        Size of the step.
    """

    def __init__(self, training: Training, sets: int, cells: int) -> None:
        self.listed = products(training, sets, cells)
        self._training = training
        self.device = training.device
        self._kinds = {each: _Operands(each, training) for each in set(self.listed)}
        for parameter in training.model.parameters():
            parameter.grad = torch.full_like(parameter, 1e-4)

    @property
    def flop(self) -> int:
        """Operations of all products."""
        return sum(each.flop for each in self.listed)

    def multiply(self) -> None:
        """Do the products once."""
        for each in self.listed:
            self._kinds[each].run()

    def update(self) -> None:
        """Let the optimizer take its step."""
        self._training.optimizer.step()


class _Operands:
    def __init__(self, product: Product, training: Training) -> None:
        dtype = torch.float32 if product.exact else training.autocast or torch.float32
        make = partial(torch.rand, dtype=dtype, device=training.device)
        turned: list[Tensor] = []
        for shape, is_turned in (
            ((product.rows, product.inner), product.left_turned),
            ((product.inner, product.columns), product.right_turned),
        ):
            there = make(product.batch, *(shape[::-1] if is_turned else shape))
            turned.append(there.mT if is_turned else there)
        self._left, self._right = turned
        self._result = make(product.batch, product.rows, product.columns)
        if product.batch == 1:
            self._left, self._right, self._result = (
                each[0] for each in (self._left, self._right, self._result)
            )

    def run(self) -> None:
        torch.matmul(self._left, self._right, out=self._result)
