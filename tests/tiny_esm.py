"""An ESM2 so small that it embeds at once, with random weights, and FASTA files for it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from transformers import EsmConfig, EsmModel, EsmTokenizer

DIMENSION = 16

_TOKENS = "<cls> <pad> <eos> <unk> L A G V S E R T I D P K Q N F Y M H W C X B U Z O . - <mask>"


def write_tiny_esm(folder: Path) -> Path:
    """Save a model as ESM2 is one: rotary positions, dropout of tokens. Return its folder."""
    tokens = _TOKENS.split()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(tokens))
    torch.manual_seed(0)
    network = EsmModel(
        EsmConfig(
            vocab_size=len(tokens),
            hidden_size=DIMENSION,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=32,
            position_embedding_type="rotary",
            pad_token_id=tokens.index("<pad>"),
            mask_token_id=tokens.index("<mask>"),
            token_dropout=True,
            emb_layer_norm_before=False,
        ),
        add_pooling_layer=False,
    )
    # Small random weights leave attention flat: larger ones, so that a wrong mask shows.
    for parameter in network.parameters():
        parameter.data *= 8 if parameter.dim() > 1 else 1
    network.save_pretrained(folder)
    EsmTokenizer(str(folder / "vocab.txt")).save_pretrained(folder)
    return folder


def write_fasta(path: Path, sequences: Mapping[str, str]) -> Path:
    """Write proteins by gene symbol."""
    path.write_text("".join(f">{gene}\n{residues}\n" for gene, residues in sequences.items()))
    return path
