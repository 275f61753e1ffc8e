"""How the cells of a run are read: the cells slice of the settings."""

from __future__ import annotations

from dataclasses import dataclass, field

from workflow_scripts.cells.annotations import Columns
from workflow_scripts.cells.matrices import MatrixChoice
from workflow_scripts.settings.choices import CHOSEN_GENES, EMBED_KEY, EXPRESSION
from workflow_scripts.settings.slices import Slice


@dataclass(frozen=True)
class CellSettings:
    """How cells are read.

    Attributes
    ----------
    columns
        Which obs column holds what.
    control
        Label of the unperturbed cells.
    values
        counts, log1p or auto.
    target_sum
        Counts that a raw cell is scaled to before log1p.
    genes
        same: all files must have the same genes; intersection: those of all files are kept.
    matrix
        Which matrix of a file holds the cells.
    embedding
        Name of a matrix of obsm with an embedding of each cell, kept beside its expression; None
        for none.
    """

    columns: Columns
    control: str
    values: str
    target_sum: float
    genes: str = "same"
    matrix: MatrixChoice = field(default_factory=MatrixChoice)
    embedding: str | None = None

    @classmethod
    def from_slice(cls, settings: Slice) -> CellSettings:
        """Take the settings out of the cells slice."""
        name = settings[EMBED_KEY]
        return cls(
            Columns(
                settings["data.kwargs.pert_col"],
                settings["data.kwargs.cell_type_key"],
                settings["data.kwargs.batch_col"],
            ),
            settings["data.kwargs.control_pert"],
            settings["cells.values"],
            float(settings["cells.target_sum"]),
            settings["cells.genes"],
            MatrixChoice(
                settings["cells.layer"],
                CHOSEN_GENES if name == CHOSEN_GENES else None,
                settings["cells.gene_names"],
            ),
            None if name in EXPRESSION else name,
        )
