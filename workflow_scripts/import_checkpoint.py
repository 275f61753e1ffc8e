"""Turn a checkpoint of the reference implementation into a model folder of this project.

The folder has model.safetensors (weights) and model.json (widths, genes, provenance); predict,
init_from and load_model take it. Nothing in the checkpoint is run.

Example:

    python -m workflow_scripts.import_checkpoint final.ckpt --out models/st --genes genes.txt
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from workflow_scripts.cache.digests import file_digest
from workflow_scripts.command import command_parser, run_command
from workflow_scripts.errors import ConfigError, DataError
from workflow_scripts.settings.findings import listing


def main(arguments: Sequence[str]) -> None:
    """Read the checkpoint, write the model folder, say what it is."""
    parser = command_parser("python -m workflow_scripts.import_checkpoint", __doc__)
    parser.add_argument(
        "checkpoint", type=Path, metavar="CHECKPOINT", help="checkpoint of the reference (.ckpt)"
    )
    parser.add_argument("--out", type=Path, required=True, help="model folder to write")
    parser.add_argument(
        "--attention",
        choices=("full", "causal"),
        help="where a llama checkpoint doesn't say it: whether a cell sees the whole set, or only "
        "the cells before it (with rotary positions)",
    )
    names = "text file with a name a line, in the order of the model's numbers"
    for what in ("genes", "perturbations", "batches"):
        parser.add_argument(f"--{what}", type=Path, help=f"{what}: {names}")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=JSON",
        help="a hyper-parameter that the checkpoint lacks; may be repeated",
    )
    parser.add_argument(
        "--ignore",
        action="append",
        default=[],
        metavar="KEY",
        help="a hyper-parameter that changes no prediction; may be repeated",
    )
    given = parser.parse_args(arguments)
    set_values = _set_values(given.set)

    # Only now, so that --help and mistyped options answer at once.
    from workflow_scripts.models import save_model
    from workflow_scripts.models.reference_import import (
        MARK,
        Answers,
        import_reference,
        n_named_genes,
        read_reference,
    )

    content = read_reference(given.checkpoint)
    answers = Answers(given.attention, set_values, frozenset(given.ignore))
    try:
        model, description = import_reference(content, answers)
    except DataError as error:
        raise DataError(f"{given.checkpoint}: {error}") from error
    settings = model.settings
    genes = _names(given.genes, "genes", n_named_genes(settings)) or description.gene_names
    batches = _names(given.batches, "batches", settings.n_batches or settings.batch_token_classes)
    if MARK not in content:  # an exported model has its own provenance
        source = {
            "imported_from": given.checkpoint.name,
            "sha256": file_digest(given.checkpoint),
            "set": set_values,
            "ignored": sorted(given.ignore),
        }
        description = replace(description, provenance={**source, **description.provenance})
    description = replace(
        description,
        gene_names=genes,
        perturbations=_names(given.perturbations, "perturbations") or description.perturbations,
        batches=batches or description.batches,
    )
    save_model(given.out, model, description)
    attention = "causal" if settings.causal else "full"
    counted = sum(parameter.numel() for parameter in model.parameters())
    print(
        f"{given.out}: {settings.backbone_key} with {attention} attention, {counted:,} parameters, "
        f"{settings.input_dim} numbers a cell in, {settings.output_dim} out"
    )
    if settings.relu_on_embeddings:
        print("note: embeddings are cut at zero, as the reference does without a gene decoder")
    if not genes and n_named_genes(settings):
        print("note: the names of its genes are unknown; give them with --genes")


def _set_values(pairs: Sequence[str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not key:
            raise ConfigError(f"--set {pair}: write KEY=VALUE")
        try:
            values[key] = json.loads(text)
        except ValueError as error:
            raise ConfigError(
                f"--set {pair}: {text!r} is not JSON; write true, null, 4 or a text in double "
                "quotes"
            ) from error
    return values


def _names(path: Path | None, what: str, expected: int | None = None) -> tuple[str, ...]:
    """Read the names of a text file, as many as the model has numbers for them."""
    if path is None:
        return ()
    if not path.is_file():
        raise DataError(f"{path}: no such file; --{what} names a text file")
    names = tuple(line.strip() for line in path.read_text("utf-8-sig").splitlines() if line.strip())
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise DataError(f"{path}: {listing(twice, 5)} twice; each of the {what} has its own name")
    if expected is not None and len(names) != expected:
        raise DataError(f"{path}: {len(names)} names, and the model has {expected} {what}")
    return names


if __name__ == "__main__":
    run_command(main)
