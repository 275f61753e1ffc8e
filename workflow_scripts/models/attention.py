"""Attention among the cells of a set, as layers of ``transformers`` ask for it."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from workflow_scripts.models.dropout import SetDropout

ATTENTION = "set_dropout"
"""Name of the attention below, for ``attn_implementation`` of transformers."""


def attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    is_causal: bool | None = None,
    **others: object,
) -> tuple[Tensor, None]:
    """Attend as transformers does, but for dropped weights: those must know their sets.

    Fused kernels draw what they drop themselves. Without dropout they serve; with it, weights are
    computed and kept.

    Parameters
    ----------
    module
        The attention layer; its `SetDropout` is ``set_dropout``.
    query, key, value
        Shapes [sets, heads, cells, head] and, of the latter two, maybe fewer heads.
    attention_mask
        True where a cell may look; None: everywhere, or at what came before, if causal.
    dropout
        Share of weights that transformers asks to drop: 0 where it isn't training.
    scaling
        Factor on the products; one by the square root of the head's width if None.
    is_causal
        Whether a cell sees only those before it; None: as the layer says.
    others
        What transformers passes on for other implementations.
    """
    if not dropout:
        attended = sdpa_attention_forward(
            *(module, query, key, value, attention_mask),
            scaling=scaling,
            is_causal=is_causal,
        )
        return attended[0], None
    groups = query.shape[1] // key.shape[1]
    if groups > 1:
        key, value = (heads.repeat_interleave(groups, dim=1) for heads in (key, value))
    if attention_mask is None and (module.is_causal if is_causal is None else is_causal):
        n_cells = query.shape[2]
        attention_mask = query.new_ones(n_cells, n_cells, dtype=torch.bool).tril()
    products = query @ key.transpose(2, 3) * (scaling or query.shape[3] ** -0.5)
    if attention_mask is not None:
        products = products.masked_fill(~attention_mask, -torch.inf)
    weights = products.softmax(dim=3, dtype=torch.float32).to(value.dtype)
    assert isinstance(module.set_dropout, SetDropout)
    return (module.set_dropout(weights) @ value).transpose(1, 2).contiguous(), None


ALL_ATTENTION_FUNCTIONS.register(ATTENTION, attend)
