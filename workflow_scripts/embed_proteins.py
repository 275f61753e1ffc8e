"""Compute ESM2 features of the genes that a run's feature file lacks."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from workflow_scripts.cache.writing import publishing
from workflow_scripts.command import command_parser, run_command
from workflow_scripts.errors import ConfigError, DataError
from workflow_scripts.settings.findings import listing
from workflow_scripts.settings.slices import Slice
from workflow_scripts.stage import Folder, Output, stage


def by_hand(arguments: Sequence[str]) -> None:
    r"""By hand, of the genes of a FASTA (its name and --help list the options).

    As in:

    python -m workflow_scripts.embed_proteins proteome.fasta.gz facebook/esm2_t33_650M_UR50D \
        --genes TP53 CDKN1A --out features.safetensors
    """
    parser = command_parser("python -m workflow_scripts.embed_proteins", by_hand.__doc__ or "")
    parser.add_argument(
        "fasta", type=Path, metavar="FASTA", help="proteins, gene symbols in headers"
    )
    parser.add_argument(
        "model", metavar="MODEL", help="folder of an ESM2 model, or its name on the hub"
    )
    parser.add_argument("--genes", nargs="*", help="genes to embed; all if none is given")
    parser.add_argument("--window", type=int, default=1022, help="residues that are seen at once")
    for option, choices in (
        ("--precision", ("32-true", "bf16-true")),
        ("--device", ("auto", "cpu", "cuda")),
    ):
        parser.add_argument(option, choices=choices, default=choices[0], help="how it computes")
    cache = Path("cache/proteins")
    parser.add_argument("--cache", type=Path, default=cache, help="folder that keeps vectors")
    parser.add_argument("--out", type=Path, required=True, help="vectors to write (safetensors)")
    given = parser.parse_args(arguments)
    from workflow_scripts.features.embedded_genes import embed_genes, write_embedded
    from workflow_scripts.features.validation import EmbeddingSettings

    settings = EmbeddingSettings(given.model, given.fasta, given.window, given.precision)
    wanted = set(given.genes) if given.genes else None
    vectors, facts = embed_genes(settings, wanted, given.device, given.cache)
    if not vectors:
        raise DataError(
            f"{given.fasta}: has none of the genes asked for ({listing(sorted(wanted or ()), 5)}); "
            "name them as its headers do"
        )
    with publishing(given.out) as beside:
        write_embedded(beside, vectors, facts)


@stage("features", by_hand, kept=False)
def embed_proteins(
    settings: Slice, groups: Path, cells_audit: Path, cache: Folder, out: Output
) -> None:
    """Compute ESM2 features of the genes that a run's feature file lacks.

    What goes wrong is recorded, not raised: validate_features reports it.

    Parameters
    ----------
    groups
        Groups of cells (Parquet).
    cells_audit
        Audit of the cells (JSON).
    cache
        Folder that keeps vectors, so that a killed start goes on.
    out
        Vectors of proteins, to write (safetensors).
    """
    import pandas as pd

    from workflow_scripts.features.embedded_genes import embed_genes, genes_lacking, write_embedded
    from workflow_scripts.features.validation import FeatureSettings

    asked = FeatureSettings.from_slice(settings)
    if asked.embedding is None:
        raise ConfigError(
            "features.embedding names no model and no FASTA; set features.embedding.model and fasta"
        )
    labels = sorted(pd.read_parquet(groups)["perturbation"].unique())
    wanted = genes_lacking(asked, labels, json.loads(cells_audit.read_text())["control"])
    try:
        vectors, facts = embed_genes(asked.embedding, wanted, "auto", cache)
    except (ConfigError, DataError) as error:
        print(f"nothing was embedded: {error}")
        vectors, facts = {}, {"model": asked.embedding.model, "problem": str(error)}
    write_embedded(out, vectors, facts)


if __name__ == "__main__":
    run_command(embed_proteins)
