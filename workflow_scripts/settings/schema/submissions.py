"""The competitions whose files can be made, and their rules."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

KEY = "prediction.submission"


@dataclass(frozen=True)
class Challenge:
    """What a competition asks of a file.

    Attributes
    ----------
    name
        What a person calls it.
    file
        What the file is called.
    scale
        Of its values, as ``prediction.output`` names it.
    n_genes
        Genes that are scored; another number is a warning, as of the official tool.
    most_cells
        Cells of a file, controls among them; None: any number.
    cells_per_target
        Cells of each target and context; None: any number.
    most_counts
        Counts of a cell; None where values are log1p.
    control
        Label of the control; None where there are none in the file.
    """

    name: str
    file: str
    scale: str
    n_genes: int
    most_cells: int | None = None
    cells_per_target: int | None = None
    most_counts: int | None = None
    control: str | None = None


VCC2025 = Challenge(
    "the Virtual Cell Challenge 2025",
    "submission.vcc",
    "log1p",
    n_genes=18_080,
    most_cells=200_000,
    control="non-targeting",
)
"""As `cell-eval prep` 0.8.2 has it."""

VCC2026 = Challenge(
    "the Virtual Cell Challenge 2026",
    "submission.h5ad",
    "counts",
    n_genes=18_533,
    cells_per_target=400,
    most_counts=1_000_000,
)
"""As its upload contract has it [read]."""

CHALLENGES: Mapping[str, Challenge] = {"vcc2025": VCC2025, "vcc2026": VCC2026}
"""By what ``prediction.submission`` calls them."""
