"""Broken configs: they stop everything before any job."""

from __future__ import annotations

CASES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "typo of a key": (
        ("training.max_step=5",),
        ("`training` has no key `max_step`: did you mean `max_steps`?",),
    ),
    "a key that nothing reads, set to do something": (
        ("model.kwargs.nb_decoder=true",),
        ("model.kwargs.nb_decoder: is true; it takes false",),
    ),
    "a text in place of a number": (
        ("training.lr=fast",),
        ("training.lr: is 'fast'", "number"),
    ),
    "validation after the last step": (
        ("training.val_freq=50",),
        ("training.val_freq: is 50, more than training.max_steps",),
    ),
    "one column for two things": (
        ("data.kwargs.batch_col=gene",),
        ("data.kwargs.batch_col: is 'gene', which is also data.kwargs.pert_col",),
    ),
    "heads that don't fit the width": (
        ("model.kwargs.hidden_dim=17", "~model.kwargs.transformer_backbone_kwargs.head_dim"),
        ("model.kwargs", "17"),
    ),
    "embedding without a model": (
        ("features.missing=embed", "features.embedding.fasta=proteins.fa"),
        ("features.embedding.model", "features.missing=embed needs it"),
    ),
    "typo of a metric": (
        ("evaluation.extra_metrics=[pds_cosin]",),
        ("did you mean `pds_cosine`?",),
    ),
    "genes by a list that isn't named": (
        ("genes.select=list",),
        ("genes.file: is null, but genes.select is list",),
    ),
    "a list of genes that nothing would read": (
        ("genes.file=mine.txt",),
        ("genes.file: is 'mine.txt', but genes.select is all, where nothing reads it",),
    ),
    "an embedding that nothing decodes": (
        ("data.kwargs.embed_key=X_pca",),
        (
            "model.kwargs.gene_decoder_bool: is false, but data.kwargs.embed_key is X_pca",
            "set model.kwargs.gene_decoder_bool=true",
        ),
    ),
}
"""Name to overrides, and what the message must hold."""
