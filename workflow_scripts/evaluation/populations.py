"""Files of observed or predicted cells, checked against each other and read by context."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
from anndata import AnnData
from scipy.sparse import issparse, vstack

from workflow_scripts.cells.results import PAIR
from workflow_scripts.errors import DataError
from workflow_scripts.evaluation.engine import SCALES


@dataclass(frozen=True)
class Population:
    """The cells of one open h5ad file, read a context at a time.

    Attributes
    ----------
    control
        The label of its control cells.
    genes
        In their order.
    labels
        Columns context and perturbation, as strings, a row a cell.
    stored
        The open file; only the cells asked for are read.
    description
        What the file says of itself, as JSON types.
    """

    path: Path
    control: str
    genes: pd.Index[str]
    labels: pd.DataFrame
    stored: AnnData
    description: dict[str, Any]

    @property
    def scale(self) -> str:
        """What its values are: ``log1p`` of normalised counts, or raw ``counts``."""
        return str(self.description.get("scale", "log1p"))

    def perturbations(self, context: str) -> set[str]:
        """Return the perturbations of a context, without the control."""
        return {*self.labels.loc[self.labels["context"] == context, "perturbation"]} - {
            self.control
        }

    def tested_contexts(self) -> list[str]:
        """Return the contexts that hold perturbed cells, sorted."""
        perturbed = self.labels.loc[self.labels["perturbation"] != self.control, "context"]
        return sorted(perturbed.unique())

    def outside_panel(self, context: str) -> list[str]:
        """Return the perturbations of a context whose target is no measured gene, sorted.

        A combination ("A+B") is among them even when both genes are measured: the engine can
        exclude one gene a perturbation, and a choice between the two would be arbitrary.
        """
        return sorted(self.perturbations(context) - {*self.genes})

    def cells(self, context: str) -> AnnData:
        """Read the cells of a context, with nothing but their perturbation in obs."""
        here = (self.labels["context"] == context).to_numpy()
        rows = np.flatnonzero(here)
        # A span at a time: HDF5 reads scattered rows of a dense matrix several times slower.
        spans = np.split(rows, np.flatnonzero(np.diff(rows) > 1) + 1)
        parts = [self.stored.X[span[0] : span[-1] + 1] for span in spans]
        values = vstack(parts, format="csr") if issparse(parts[0]) else np.concatenate(parts)
        if not np.isfinite(values.data if issparse(values) else values).all():
            raise DataError(
                f"{self.path}: some values of X in the context {context!r} are not finite "
                "(NaN or infinite): predict again from a checkpoint with a finite loss"
            )
        obs = self.labels.loc[here, ["perturbation"]].set_axis([str(row) for row in rows])
        return AnnData(values, obs, pd.DataFrame(index=self.genes))

    def notes(self) -> dict[str, int]:
        """Count the perturbations in a context by what a baseline fell back on for them."""
        if "prediction_note" not in self.stored.obs:
            return {}
        table = self.labels.assign(note=self.stored.obs["prediction_note"].astype(str))
        table = table[(table["note"] != "") & (table["perturbation"] != self.control)]
        counts = table.drop_duplicates()["note"].value_counts()
        return {str(note): int(counts[note]) for note in sorted(counts.index)}


@contextmanager
def open_population(path: Path) -> Iterator[Population]:
    """Open a file of cells, without reading its values.

    Raises
    ------
    DataError
        The file is missing or is no h5ad file, lacks a column or the control's label, has no
        control cells in a context that holds perturbed ones, or names a gene twice.
    """
    try:
        stored = anndata.read_h5ad(path, backed="r")
    except Exception as error:  # whatever HDF5, anndata and pandas stumble over
        raise DataError(
            f"{path}: no h5ad file can be read there ({error}): predict again"
        ) from error
    try:
        yield _checked(path, stored)
    finally:
        stored.file.close()


def _checked(path: Path, stored: AnnData) -> Population:
    described = stored.uns.get("stateline", {})
    if lacking := [column for column in PAIR if column not in stored.obs]:
        raise DataError(
            f"{path}: obs lacks {lacking} and has {list(stored.obs.columns)}: write each cell's "
            "perturbation and context there"
        )
    if described.get("control") is None:
        raise DataError(
            f"{path}: uns['stateline']['control'], the control's label, is missing; write it there"
        )
    repeated = stored.var_names[stored.var_names.duplicated()]
    if len(repeated):
        raise DataError(f"{path}: var names a gene twice ({list(repeated[:5])}): make names unique")
    labels = stored.obs[PAIR].astype(str)
    control = str(described["control"])
    for context, names in labels.groupby("context")["perturbation"]:
        if control not in {*names}:
            raise DataError(
                f"{path}: the context {context!r} has perturbed cells and no control cell "
                f"({control!r} in obs['perturbation']): add the observed controls"
            )
    plain = {name: getattr(value, "item", lambda v=value: v)() for name, value in described.items()}
    return Population(path, control, stored.var_names.astype(str), labels, stored, plain)


def check_scale(population: Population, input_type: str) -> None:
    """Check that cells are on the scale that the scorer is told."""
    if (found := SCALES[population.scale]) != input_type:
        raise DataError(
            f"{population.path}: its values are {population.scale} (cell-eval2's {found}), and "
            f"evaluation.input_type is {input_type}; make that null, or predict the other scale "
            "(prediction.output)"
        )


def check_same_cells_asked(observed: Population, predicted: Population) -> None:
    """Check that predictions answer to what was observed: genes, contexts, perturbations."""
    where = f"{predicted.path} (predicted) and {observed.path} (observed)"
    for what, key in (("the control is", "control"), ("values are", "scale")):
        left, right = getattr(predicted, key), getattr(observed, key)
        if left != right:
            raise DataError(
                f"{where}: {what} {left} in the first and {right} in the second: predict for the "
                "observed cells again"
            )
    parts: list[tuple[str, set[str], set[str]]] = [
        ("genes", {*observed.genes}, {*predicted.genes}),
        ("contexts", {*observed.tested_contexts()}, {*predicted.tested_contexts()}),
    ]
    for context in observed.tested_contexts():
        name = f"perturbations of the context {context!r}"
        parts.append((name, observed.perturbations(context), predicted.perturbations(context)))
    for what, left, right in parts:
        if left != right:
            raise DataError(
                f"{where} hold different {what}: observed only {sorted(left - right)[:20]}, "
                f"predicted only {sorted(right - left)[:20]}: predict exactly what is to be scored"
            )
    if not observed.genes.equals(predicted.genes):
        at = int(np.flatnonzero(observed.genes != predicted.genes)[0])
        raise DataError(
            f"{where}: the genes are the same in another order: number {at} is "
            f"{observed.genes[at]!r} observed and {predicted.genes[at]!r} predicted: reorder the "
            "predictions' columns with their names"
        )
