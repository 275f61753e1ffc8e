"""Embed the proteins of genes: those that a run's feature files lack, or any others."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy

from workflow_scripts.cache.digests import file_digest
from workflow_scripts.errors import DataError
from workflow_scripts.features.assignment import names_to_embed
from workflow_scripts.features.entries import plain_text
from workflow_scripts.features.names import KnownNames
from workflow_scripts.features.proteins import read_fasta
from workflow_scripts.features.reading import read_entries
from workflow_scripts.features.validation import EmbeddingSettings, FeatureSettings
from workflow_scripts.gpu_slots import own_gpus
from workflow_scripts.settings.findings import listing
from workflow_scripts.settings.labels import canonical


def genes_lacking(settings: FeatureSettings, labels: Sequence[str], control: str) -> set[str]:
    """Return the names of perturbations for which the feature files of a run have no vector."""
    found: set[str] = set()
    try:
        for source in settings.sources:
            names = (name for name, _ in read_entries(source))
            texts = (plain_text(name) for name in names if isinstance(name, str | bytes))
            found |= {canonical(text, control) for text in texts}
    except DataError as error:
        # validate_features says so, beside everything else that is wrong.
        print(f"nothing to embed: {error}")
        return set()
    return names_to_embed(labels, control, settings.policies, found)


def embed_genes(
    settings: EmbeddingSettings, wanted: set[str] | None, device: str, cache: Path
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Embed the proteins of genes.

    Parameters
    ----------
    settings
        Which model, on which sequences.
    wanted
        Names of genes; None for all of the FASTA.
    device
        ``cpu``, ``cuda`` or ``auto``.
    cache
        Folder that keeps vectors, so that a killed start goes on.

    Returns
    -------
    Vectors by gene, and facts about them for `Embedded`.
    """
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
    with own_gpus(1, device):
        # Only now: torch and transformers take seconds to import.
        from workflow_scripts.features.embedding import ProteinEncoder, embed_cached

        encoder = ProteinEncoder(settings.model, device, settings.precision, settings.window)
        facts["digest"] = encoder.digest()
        return dict(embed_cached(sequences, encoder, cache)), facts


def write_embedded(path: Path, vectors: dict[str, Any], facts: dict[str, Any]) -> None:
    """Write vectors, one tensor a gene, and the facts about them (safetensors)."""
    rows = {gene: np.ascontiguousarray(vector) for gene, vector in sorted(vectors.items())}
    path.write_bytes(safetensors.numpy.save(rows, {"embedding": json.dumps(facts)}))
