r"""Compute ESM2 features of genes from their proteins' sequences.

In a workflow: those that the run's feature file lacks (features.missing: embed). By hand, for any
genes. Vectors that were computed before are kept in --cache, so that a killed run goes on.

Example:

    python -m workflow_scripts.embed_proteins --fasta UP000005640_9606.fasta.gz \
        --model facebook/esm2_t33_650M_UR50D --genes TP53 --genes CDKN1A \
        --out features.safetensors
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workflow_scripts.cache.digests import file_digest
from workflow_scripts.cache.writing import publishing
from workflow_scripts.command import command_parser, run_command
from workflow_scripts.errors import ConfigError, DataError
from workflow_scripts.features.names import KnownNames
from workflow_scripts.features.proteins import read_fasta
from workflow_scripts.gpu_slots import own_gpus
from workflow_scripts.settings.findings import listing
from workflow_scripts.settings.slices import read_settings

if TYPE_CHECKING:
    from workflow_scripts.features.validation import EmbeddingSettings


def main(arguments: Sequence[str]) -> None:
    """Read sequences, embed the genes asked for, and write one tensor a gene."""
    parser = command_parser("python -m workflow_scripts.embed_proteins", __doc__)
    run = parser.add_argument_group("for a run, all three")
    run.add_argument("--settings", type=Path, help="stage file of features")
    run.add_argument("--groups", type=Path, help="groups of cells (Parquet)")
    run.add_argument("--cells-audit", type=Path, help="audit of the cells, for the control's label")
    hand = parser.add_argument_group("by hand, at least the first two")
    hand.add_argument("--fasta", type=Path, help="protein sequences, the gene symbol in the header")
    hand.add_argument("--model", help="folder of an ESM2 model, or its name on the hub")
    hand.add_argument(
        "--genes",
        action="append",
        metavar="GENE",
        help="a gene, may be repeated; all of the FASTA if none is given",
    )
    hand.add_argument("--window", type=int, default=1022, help="residues that are seen at once")
    hand.add_argument(
        "--precision",
        default="32-true",
        choices=("32-true", "bf16-true"),
        help="numbers that the model computes with",
    )
    parser.add_argument(
        "--device",
        default="auto",
        choices=("auto", "cpu", "cuda"),
        help="where it computes; auto takes a GPU if one is there",
    )
    parser.add_argument(
        "--cache", type=Path, default=Path("cache/proteins"), help="folder that keeps vectors"
    )
    parser.add_argument("--out", type=Path, required=True, help="vectors to write (safetensors)")
    given = parser.parse_args(arguments)

    # Only now: --help and mistyped options needn't wait for these.
    import numpy as np
    import safetensors.numpy

    from workflow_scripts.features.validation import EmbeddingSettings

    if given.settings is None:
        if given.fasta is None or given.model is None:
            parser.error("give --fasta and --model, or --settings of a run")
        settings = EmbeddingSettings(given.model, given.fasta, given.window, given.precision)
        wanted = None if given.genes is None else set(given.genes)
    else:
        if given.groups is None or given.cells_audit is None:
            parser.error("--settings of a run goes with its --groups and --cells-audit")
        settings, wanted = _of_run(given)
    try:
        with own_gpus(1, given.device):
            vectors, facts = _embed(settings, wanted, given.device, given.cache)
        if not vectors and given.settings is None:
            asked = listing(sorted(wanted or ()), 5)
            raise DataError(
                f"{settings.fasta}: has none of the genes asked for ({asked}); name them as its "
                "headers do"
            )
    except (ConfigError, DataError) as error:
        if given.settings is None:
            raise
        # validate_features makes a finding of it, beside everything else that is wrong.
        print(f"nothing was embedded: {error}")
        vectors, facts = {}, {"model": settings.model, "problem": str(error)}
    with publishing(given.out) as beside:
        whole = safetensors.numpy.save(
            {gene: np.ascontiguousarray(vector) for gene, vector in sorted(vectors.items())},
            {"embedding": json.dumps(facts)},
        )
        beside.write_bytes(whole)


def _of_run(given: argparse.Namespace) -> tuple[EmbeddingSettings, set[str]]:
    import pandas as pd

    from workflow_scripts.features.assignment import names_to_embed
    from workflow_scripts.features.entries import plain_text
    from workflow_scripts.features.reading import read_entries
    from workflow_scripts.features.validation import FeatureSettings
    from workflow_scripts.settings.labels import canonical

    settings = FeatureSettings.from_slice(read_settings(given.settings))
    if settings.embedding is None:
        raise ConfigError(
            "features.embedding names no model and no FASTA; set features.embedding.model and fasta"
        )
    labels = sorted(pd.read_parquet(given.groups)["perturbation"].unique())
    control = json.loads(given.cells_audit.read_text())["control"]
    there: set[str] = set()
    try:
        for source in settings.sources:
            names = (name for name, _ in read_entries(source))
            texts = (plain_text(name) for name in names if isinstance(name, str | bytes))
            there |= {canonical(text, control) for text in texts}
    except DataError as error:
        # validate_features says so, beside everything else that is wrong.
        print(f"nothing to embed: {error}")
        return settings.embedding, set()
    return settings.embedding, names_to_embed(labels, control, settings.policies, there)


def _embed(
    settings: EmbeddingSettings, wanted: set[str] | None, device: str, cache: Path
) -> tuple[Mapping[str, Any], dict[str, Any]]:
    facts: dict[str, Any] = {
        "model": settings.model,
        "fasta": str(settings.fasta),
        "window": settings.window,
        "precision": settings.precision,
    }
    if wanted is not None and not wanted:
        return {}, facts
    proteins = read_fasta(settings.fasta)
    genes = proteins.sequences.keys() if wanted is None else wanted & proteins.sequences.keys()
    sequences = {gene: proteins.sequences[gene] for gene in sorted(genes)}
    absent = sorted((wanted or set()) - genes)
    known = KnownNames(proteins.sequences if absent else {})
    likely = {gene: other for gene in absent if (other := known.same(gene))}
    facts |= {
        "fasta_sha256": file_digest(settings.fasta),
        "absent": absent,
        "likely": likely,
        "replaced": [gene for gene in proteins.replaced if gene in genes],
        "unnamed": len(proteins.unnamed),
    }
    print(
        f"{settings.fasta}: {len(proteins.sequences)} genes ({proteins.n_isoforms} shorter "
        f"isoforms left out, {len(proteins.unnamed)} headers without a gene symbol)"
    )
    if absent:
        meant = {gene: f"{gene} (it has {other})" for gene, other in likely.items()}
        print(f"not in it: {listing(meant.get(gene, gene) for gene in absent)}")
    if not sequences:
        return {}, facts
    # Only now: torch and transformers take seconds to import.
    from workflow_scripts.features.embedding import ProteinEncoder, embed_cached

    encoder = ProteinEncoder(settings.model, device, settings.precision, settings.window)
    facts["digest"] = encoder.digest()
    return embed_cached(sequences, encoder, cache), facts


if __name__ == "__main__":
    run_command(main)
