"""Check that the tokens of a model have something to learn from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from workflow_scripts.settings.problem import Problem


def tokens(values: Mapping[str, Any]) -> Iterator[Problem]:
    """Give the problems of tokens beside the masks, batches and encoders of the same config."""
    mask, batches = "model.kwargs.mask_attn", "data.kwargs.basal_mapping_strategy"
    encoder, token = "model.kwargs.batch_encoder", "model.kwargs.use_batch_token"
    for path in (token, "model.kwargs.confidence_token", "model.kwargs.confidence_head"):
        if values.get(path) and values.get(mask):
            text = f"is true, but {mask} lets the token see itself alone; make one of them false"
            yield Problem(path, text, (mask,))
    if values.get(token) and values.get(encoder):
        text = f"is true, but {encoder} tells the batch that the token would learn; choose one"
        yield Problem(token, text, (encoder,))
    if values.get(token) and values.get(batches, "batch") != "batch":
        yield Problem(
            token,
            f"is true, but {batches} is {values[batches]}, so that a set has no one technical "
            "batch to name; make that batch",
            (batches,),
        )
