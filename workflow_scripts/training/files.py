"""The files that a training reads; light, for work that is done already."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from workflow_scripts.cells.gene_choice import genes_digest
from workflow_scripts.stage import Cells


@dataclass(frozen=True)
class TrainingFiles:
    """What a training reads.

    Attributes
    ----------
    cells
        Manifest of the packed cells (JSON).
    splits
        Split of each group (Parquet).
    genes
        Genes that were chosen (JSON); all if not given.
    features
        Vectors of the perturbations (safetensors).
    threads
        Most CPU threads; all there are if not given.
    """

    cells: Cells
    splits: Path
    genes: Annotated[Path, genes_digest] | None
    features: Path
    threads: int | None
