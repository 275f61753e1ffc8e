"""Keys of ``model.kwargs.transformer_backbone_kwargs``, and which backbone takes which."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from workflow_scripts.settings.schema.key import Key, identity, inert, not_built

SECTION = "model.kwargs.transformer_backbone_kwargs"

READ_BY: Mapping[str, frozenset[str]] = {
    "llama": frozenset(
        {
            "hidden_size",
            "intermediate_size",
            "num_hidden_layers",
            "num_attention_heads",
            "num_key_value_heads",
            "head_dim",
            "attention_dropout",
            "bidirectional_attention",
        }
    ),
    "GPT2": frozenset(
        {
            "hidden_size",
            "n_embd",
            "n_layer",
            "n_head",
            "n_inner",
            "attn_pdrop",
            "resid_pdrop",
            "embd_pdrop",
            "bidirectional_attention",
        }
    ),
}
"""What each backbone reads."""

NEEDED_BY: Mapping[str, tuple[str, ...]] = {
    "llama": ("intermediate_size", "num_hidden_layers", "num_attention_heads"),
    "GPT2": ("n_layer", "n_head"),
}
"""What each can't do without."""

COUNTERPARTS: Mapping[str, str] = {
    "n_embd": "hidden_size",
    "n_layer": "num_hidden_layers",
    "n_head": "num_attention_heads",
    "n_inner": "intermediate_size",
    "attn_pdrop": "attention_dropout",
}
"""GPT2's names of what llama names otherwise."""

POSITIONS: Mapping[str, str] = {"llama": "max_position_embeddings", "GPT2": "n_positions"}
"""The length of a set, as each backbone names it."""


def _read(name: str, takes: type, meaning: str, zh: str, **more: Any) -> Key:
    return identity(
        f"{SECTION}.{name}", takes, "preflight train", meaning, zh, optional=True, **more
    )


def _count(name: str, meaning: str, zh: str, unit: str = "") -> Key:
    return _read(name, int, meaning, zh, at_least=1, unit=unit)


def _share(name: str, meaning: str, zh: str) -> Key:
    return _read(name, float, meaning, zh, at_least=0, at_most=1)


def _positions(name: str, meaning: str, zh: str) -> Key:
    return inert(
        f"{SECTION}.{name}",
        meaning,
        zh,
        "cells have no positions; it must not be less than cell_set_len",
        "细胞没有位置编码;但不得小于 cell_set_len",
        types=(int,),
        nullable=False,
        at_least=1,
        unit="cells",
        optional=True,
    )


def _of_text(name: str, meaning: str, zh: str, **more: Any) -> Key:
    return inert(
        f"{SECTION}.{name}",
        meaning,
        zh,
        "it belongs to models of text, and a cell is no word",
        "属于文本模型;细胞不是词",
        optional=True,
        **more,
    )


KEYS: tuple[Key, ...] = (
    _positions(
        "max_position_embeddings",
        "llama's name of the longest sequence",
        "llama 的最大序列长度",
    ),
    _positions("n_positions", "GPT2's name of the longest sequence", "GPT2 的最大序列长度"),
    _count(
        "hidden_size",
        "Width of the backbone, which is model.kwargs.hidden_dim",
        "主干宽度,须等于 model.kwargs.hidden_dim",
    ),
    _count(
        "n_embd",
        "GPT2's name of hidden_size; must be model.kwargs.hidden_dim",
        "GPT2 中 hidden_size 的名称,须等于 model.kwargs.hidden_dim",
    ),
    _count(
        "intermediate_size",
        "Width inside the feed-forward part of a llama layer",
        "llama 前馈层的中间宽度",
    ),
    _count(
        "n_inner",
        "Width inside the feed-forward part of a GPT2 layer; 4 × hidden_dim where it is absent",
        "GPT2 前馈层的中间宽度;缺省为 4 × hidden_dim",
    ),
    _count("num_hidden_layers", "Layers of a llama backbone", "llama 主干的层数", "layers"),
    _count("n_layer", "Layers of a GPT2 backbone", "GPT2 主干的层数", "layers"),
    _count(
        "num_attention_heads",
        "Attention heads of a llama layer",
        "llama 每层的注意力头数",
        "heads",
    ),
    _count(
        "n_head",
        "Attention heads of a GPT2 layer; they must divide hidden_dim",
        "GPT2 每层的注意力头数,须整除 hidden_dim",
        "heads",
    ),
    _count(
        "num_key_value_heads",
        "Heads of keys and values of a llama layer, shared by num_attention_heads; as many as "
        "those where it is absent",
        "llama 每层的键值头数,须整除 num_attention_heads;缺省与其相等",
        "heads",
    ),
    _count(
        "head_dim",
        "Width of a llama's attention head; hidden_dim / num_attention_heads where it is absent",
        "llama 每个注意力头的宽度;缺省为 hidden_dim / num_attention_heads",
    ),
    _share(
        "attention_dropout", "Share of llama's attention dropped", "llama 注意力的 dropout 比例"
    ),
    _share(
        "attn_pdrop",
        "Share of GPT2's attention dropped; 0.1 where it is absent",
        "GPT2 注意力的 dropout 比例;缺省为 0.1",
    ),
    _share(
        "resid_pdrop",
        "Share dropped of what a GPT2 layer adds; 0.1 where it is absent",
        "GPT2 残差支路的 dropout 比例;缺省为 0.1",
    ),
    _share(
        "embd_pdrop",
        "Share dropped of what enters a GPT2 backbone; 0.1 where it is absent",
        "GPT2 主干输入的 dropout 比例;缺省为 0.1",
    ),
    _read(
        "bidirectional_attention",
        bool,
        "Let every cell attend to all cells of its set, as it also does where the key is absent; "
        "false: only to those before it, so that their order changes the prediction",
        "集合内细胞是否互相注意(缺省即是);false 表示只注意排在前面的细胞,预测因而与细胞顺序有关",
    ),
    inert(
        f"{SECTION}.layer_norm_eps",
        "Added to the variance in each normalisation",
        "归一化时加在方差上的小量",
        "no backbone has a key of this name: it is 1e-6 in a llama, 1e-5 in a GPT2",
        "两种主干都没有这个键:llama 固定为 1e-6,GPT2 固定为 1e-5",
        optional=True,
        default=1e-6,
    ),
    _of_text(
        "use_cache", "Keep keys and values while generating", "生成时是否缓存键值", default=False
    ),
    _of_text("vocab_size", "Number of different words", "词表大小"),
    _of_text("pad_token_id", "Number of the padding word", "填充 token 的编号", default=0),
    _of_text(
        "bos_token_id", "Number of the word that begins a text", "起始 token 的编号", default=1
    ),
    _of_text("eos_token_id", "Number of the word that ends a text", "结束 token 的编号", default=2),
    _of_text(
        "tie_word_embeddings",
        "Share weights between the words' input and output embeddings",
        "是否共享输入与输出词向量",
        default=False,
    ),
    not_built(
        f"{SECTION}.hidden_dropout",
        "Share of hidden values dropped",
        "隐藏状态的 dropout 比例",
        types=(float,),
        choices=(0,),
        default=0.0,
        optional=True,
    ),
    not_built(
        f"{SECTION}.rotary_dim",
        "Numbers of a head that rotate with the position",
        "每个头中参与旋转位置编码的维数",
        types=(int,),
        choices=(0,),
        optional=True,
    ),
    not_built(
        f"{SECTION}.use_rotary_embeddings",
        "Turn queries and keys with the position of a cell in its set",
        "是否使用旋转位置编码",
        optional=True,
    ),
)
