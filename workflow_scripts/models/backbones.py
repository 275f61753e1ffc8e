"""The transformers that let the cells of a set attend to one another.

The layers are those of ``transformers``. Its whole models are not used: they carry a vocabulary and
position embeddings that cells don't have, and they mask the future, of which a set has none.
Attention is therefore full and without positions, so that the order of the cells doesn't matter;
``BackboneSettings.causal`` keeps the other behaviour for imported checkpoints.

Importing this, and so ``transformers``, takes seconds: what builds no model should not.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.models.gpt2.configuration_gpt2 import GPT2Config
from transformers.models.gpt2.modeling_gpt2 import GPT2Block
from transformers.models.llama.configuration_llama import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaDecoderLayer
from transformers.pytorch_utils import Conv1D

from workflow_scripts.models.backbone_settings import INITIAL_STD, BackboneSettings
from workflow_scripts.models.norm import RMSNorm

ROTARY_BASE = 10_000.0
"""Base of the rotary frequencies of causal llama checkpoints (Su et al. 2021, RoFormer, §3.2.2)."""


class LlamaBackbone(nn.Module):
    """Let cells attend to one another through llama layers."""

    def __init__(self, settings: BackboneSettings) -> None:
        super().__init__()
        config = LlamaConfig(
            hidden_size=settings.hidden_dim,
            intermediate_size=settings.intermediate_dim,
            num_hidden_layers=settings.n_layers,
            num_attention_heads=settings.n_heads,
            num_key_value_heads=settings.n_key_value_heads,
            head_dim=settings.head_dim,
            attention_dropout=settings.attention_dropout,
            rms_norm_eps=settings.norm_eps,
            attn_implementation="sdpa",  # type: ignore[call-arg]  # read by the base class
        )
        self.settings = settings
        layers = [LlamaDecoderLayer(config, layer_idx=i) for i in range(settings.n_layers)]
        for layer in layers:
            # transformers' attention masks the future when it is given no mask, unless told here.
            layer.self_attn.is_causal = settings.causal
            for name in ("input_layernorm", "post_attention_layernorm"):
                setattr(layer, name, RMSNorm(settings.hidden_dim, settings.norm_eps))
        self.layers = nn.ModuleList(layers)
        self.norm = RMSNorm(settings.hidden_dim, settings.norm_eps)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=INITIAL_STD)

    def forward(
        self,
        states: Float[Tensor, "sets cells hidden"],
        attention_mask: Bool[Tensor, "#sets #heads cells cells"] | None = None,
    ) -> Float[Tensor, "sets cells hidden"]:
        """Return each cell's state after all layers; the mask is true where a cell may look."""
        if self.settings.causal:
            positions = rotary_positions(states, self.settings.head_dim)
            for layer in self.layers:
                states = layer(states, attention_mask=attention_mask, position_embeddings=positions)
        else:
            for layer in self.layers:
                assert isinstance(layer, LlamaDecoderLayer)
                states = _without_positions(layer, states, attention_mask)
        normed: Tensor = self.norm(states)
        return normed


def _without_positions(
    layer: LlamaDecoderLayer,
    states: Float[Tensor, "sets cells hidden"],
    attention_mask: Bool[Tensor, "#sets #heads cells cells"] | None,
) -> Float[Tensor, "sets cells hidden"]:
    """Apply a llama layer to cells that have no positions.

    The layer's own attention rotates queries and keys, and a rotation by nothing (times one, plus
    zero) is a fifth of all that a layer makes the device do beside its matrix products.
    """
    attention = layer.self_attn
    normed = layer.input_layernorm(states)
    shape = (*states.shape[:-1], -1, attention.head_dim)
    queries, keys, values = (
        project(normed).view(shape).transpose(1, 2)
        for project in (attention.q_proj, attention.k_proj, attention.v_proj)
    )
    heads, _ = sdpa_attention_forward(
        attention,
        queries,
        keys,
        values,
        attention_mask,
        dropout=float(attention.attention_dropout or 0.0) if layer.training else 0.0,
        scaling=attention.scaling,
    )
    states = states + attention.o_proj(heads.reshape(*states.shape[:-1], -1))
    after: Tensor = states + layer.mlp(layer.post_attention_layernorm(states))
    return after


class GPT2Backbone(nn.Module):
    """Let cells attend to one another through GPT2 layers."""

    def __init__(self, settings: BackboneSettings) -> None:
        super().__init__()
        config = GPT2Config(
            n_embd=settings.hidden_dim,
            n_layer=settings.n_layers,
            n_head=settings.n_heads,
            n_inner=settings.intermediate_dim,
            attn_pdrop=settings.attention_dropout,
            resid_pdrop=settings.residual_dropout,
            layer_norm_epsilon=settings.norm_eps,
            attn_implementation="sdpa",  # type: ignore[call-arg]  # read by the base class
        )
        self.settings = settings
        self.drop = nn.Dropout(settings.embedding_dropout)
        blocks = [
            GPT2Block(config, layer_idx=i)  # type: ignore[no-untyped-call]
            for i in range(settings.n_layers)
        ]
        self.h = nn.ModuleList(blocks)
        self.ln_f = nn.LayerNorm(settings.hidden_dim, eps=settings.norm_eps)
        # Radford et al. 2019, §2.3: what is added to the residual stream starts smaller the deeper.
        residual_std = INITIAL_STD / (2 * settings.n_layers) ** 0.5
        for block in blocks:
            block.attn.is_causal = settings.causal
            for name, module in block.named_modules():
                if isinstance(module, Conv1D):
                    std = residual_std if name.endswith("c_proj") else INITIAL_STD
                    nn.init.normal_(module.weight, std=std)
                    nn.init.zeros_(module.bias)

    def forward(
        self,
        states: Float[Tensor, "sets cells hidden"],
        attention_mask: Bool[Tensor, "#sets #heads cells cells"] | None = None,
    ) -> Float[Tensor, "sets cells hidden"]:
        """Return each cell's state after all layers; the mask is true where a cell may look."""
        states = self.drop(states)
        for block in self.h:
            after = block(states, attention_mask=attention_mask)
            # transformers 5.0 returns a tuple, later ones the states themselves.
            states = after[0] if isinstance(after, tuple) else after
        normed: Tensor = self.ln_f(states)
        return normed


def build_backbone(settings: BackboneSettings) -> LlamaBackbone | GPT2Backbone:
    """Build the backbone that the settings describe, its weights from torch's global generator."""
    return LlamaBackbone(settings) if settings.key == "llama" else GPT2Backbone(settings)


def rotary_positions(
    states: Float[Tensor, "sets cells hidden"], head_dim: int
) -> tuple[Float[Tensor, "1 cells head"], Float[Tensor, "1 cells head"]]:
    """Compute cosines and sines that rotate queries and keys by their position.

    Feature j and feature j + head_dim/2 form the pair rotated by ``position × base^(-2j/head_dim)``
    (Su et al. 2021, in the half-split order of transformers' llama).
    """
    n_cells = states.shape[1]
    exponents = torch.arange(0, head_dim, 2, device=states.device, dtype=torch.float32) / head_dim
    positions = torch.arange(n_cells, device=states.device, dtype=torch.float32)
    angles = torch.outer(positions, ROTARY_BASE**-exponents).repeat(1, 2)[None]
    return angles.cos().to(states.dtype), angles.sin().to(states.dtype)
