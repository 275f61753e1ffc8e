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

from workflow_scripts.errors import DataError
from workflow_scripts.evaluation.engine import SCALES

_COLUMNS = ("perturbation", "context")


@dataclass(frozen=True)
class Population:
    """Offer the cells of one open h5ad file, a context at a time.

    Attributes
    ----------
    path
        The file, for messages.
    control
        The label of its control cells.
    genes
        Its genes, in order.
    labels
        Columns perturbation and context, as strings, one row a cell.
    stored
        The open file; only the cells asked for are read.
    scale
        What its values are: log1p of normalised counts, or raw ``counts``.
    """

    path: Path
    control: str
    genes: pd.Index[str]
    labels: pd.DataFrame
    stored: AnnData
    scale: str = "log1p"

    @property
    def run(self) -> str:
        """The run that it was written for; empty where the file doesn't say."""
        return str(self.stored.uns["stateline"].get("run", ""))

    @property
    def description(self) -> dict[str, Any]:
        """What the file says of itself, as JSON types."""
        said = self.stored.uns["stateline"]
        return {name: getattr(value, "item", lambda v=value: v)() for name, value in said.items()}

    def perturbations(self, context: str) -> set[str]:
        """Name the perturbations of a context, without the control."""
        return set(self.labels_of(context)) - {self.control}

    def tested_contexts(self) -> list[str]:
        """Name the contexts that hold perturbed cells, sorted."""
        perturbed = self.labels.loc[self.labels["perturbation"] != self.control, "context"]
        return sorted(perturbed.unique())

    def outside_panel(self, context: str) -> list[str]:
        """Name the perturbations of a context whose target is no measured gene, sorted.

        A combination ("A+B") is among them even when both genes are measured: the engine can
        exclude one gene a perturbation, and a choice between the two would be arbitrary.
        """
        return sorted(self.perturbations(context) - set(self.genes))

    def cells(self, context: str) -> AnnData:
        """Read the cells of a context, with nothing but their perturbation in obs.

        Raises
        ------
        DataError
            A value is not finite.
        """
        rows = np.flatnonzero(self.labels["context"] == context)
        # A span at a time: HDF5 reads scattered rows of a dense matrix several times slower.
        spans = np.split(rows, np.flatnonzero(np.diff(rows) > 1) + 1)
        parts = [self.stored.X[span[0] : span[-1] + 1] for span in spans]
        values = vstack(parts, format="csr") if issparse(parts[0]) else np.concatenate(parts)
        if not np.isfinite(values.data if issparse(values) else values).all():
            raise DataError(
                f"{self.path}: some values of X in the context {context!r} are not finite "
                "(NaN or infinite): predict again from a checkpoint with a finite loss"
            )
        return AnnData(
            X=values,
            obs=pd.DataFrame(
                {"perturbation": self.labels_of(context).to_numpy(dtype=str)}
            ).set_axis([str(row) for row in rows]),
            var=pd.DataFrame(index=self.genes),
        )

    def notes(self) -> dict[str, int]:
        """Count, by remark, the perturbations in a context whose predictions carry one.

        Remarks say what a baseline fell back on (``obs["prediction_note"]``).
        """
        if "prediction_note" not in self.stored.obs:
            return {}
        table = self.labels.assign(note=self.stored.obs["prediction_note"].astype(str))
        table = table[(table["note"] != "") & (table["perturbation"] != self.control)]
        counts = table.drop_duplicates()["note"].value_counts()
        return {str(note): int(counts[note]) for note in sorted(counts.index)}

    def labels_of(self, context: str) -> pd.Series[str]:
        """Return the perturbation of each cell of a context, the control's label included."""
        return self.labels.loc[self.labels["context"] == context, "perturbation"]


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
    """Make a population of an open file, or say what it lacks."""
    lacking = [column for column in _COLUMNS if column not in stored.obs]
    if lacking:
        raise DataError(
            f"{path}: obs lacks {lacking} and has {list(stored.obs.columns)}: write each cell's "
            "perturbation and context there"
        )
    said = stored.uns.get("stateline", {})
    control, scale = said.get("control"), str(said.get("scale", "log1p"))
    if control is None:
        raise DataError(
            f"{path}: uns['stateline']['control'], the control's label, is missing; write it there"
        )
    repeated = stored.var_names[stored.var_names.duplicated()]
    if len(repeated):
        raise DataError(f"{path}: var names a gene twice ({list(repeated[:5])}): make names unique")
    population = Population(
        path=path,
        control=str(control),
        genes=stored.var_names.astype(str),
        labels=stored.obs[list(_COLUMNS)].astype(str),
        stored=stored,
        scale=scale,
    )
    for context in population.tested_contexts():
        if population.control not in set(population.labels_of(context)):
            raise DataError(
                f"{path}: the context {context!r} has perturbed cells and no control cell "
                f"({population.control!r} in obs['perturbation']): add the observed controls"
            )
    return population


def check_scale(population: Population, input_type: str) -> None:
    """Check that cells are on the scale that the scorer is told.

    Raises
    ------
    DataError
        They are not.
    """
    if (found := SCALES[population.scale]) != input_type:
        raise DataError(
            f"{population.path}: its values are {population.scale} (cell-eval2's {found}), and "
            f"evaluation.input_type is {input_type}; make that null, or predict the other scale "
            "(prediction.output)"
        )


def check_same_cells_asked(observed: Population, predicted: Population) -> None:
    """Check that predictions answer to what was observed: genes, contexts, perturbations.

    Raises
    ------
    DataError
        They differ; the message says where and in what.
    """
    where = f"{predicted.path} (predicted) and {observed.path} (observed)"
    if not observed.genes.equals(predicted.genes):
        raise DataError(f"{where}: {_difference_of_genes(observed.genes, predicted.genes)}")
    if observed.control != predicted.control:
        raise DataError(
            f"{where}: the control is {predicted.control!r} in the first and "
            f"{observed.control!r} in the second: use one label"
        )
    if observed.scale != predicted.scale:
        raise DataError(
            f"{where}: values are {predicted.scale} in the first and {observed.scale} in the "
            "second: predict on the scale of the observed cells (prediction.output)"
        )
    _check_equal(where, "contexts", observed.tested_contexts(), predicted.tested_contexts())
    for context in observed.tested_contexts():
        _check_equal(
            where,
            f"perturbations of the context {context!r}",
            observed.perturbations(context),
            predicted.perturbations(context),
        )


def _check_equal(where: str, what: str, observed: list[str] | set[str], predicted: object) -> None:
    left, right = set(observed), set(predicted if isinstance(predicted, (list, set)) else ())
    if left != right:
        raise DataError(
            f"{where} hold different {what}: observed only {sorted(left - right)[:20]}, "
            f"predicted only {sorted(right - left)[:20]}: predict exactly what is to be scored"
        )


def _difference_of_genes(observed: pd.Index[str], predicted: pd.Index[str]) -> str:
    missing, extra = observed.difference(predicted), predicted.difference(observed)
    if len(missing) or len(extra):
        return (
            f"the genes differ: {len(missing)} are observed only {list(missing[:5])}, {len(extra)} "
            f"predicted only {list(extra[:5])}: predict the genes of the observed file"
        )
    at = int(np.flatnonzero(observed.to_numpy() != predicted.to_numpy())[0])
    return (
        f"the genes are the same in another order: number {at} is {observed[at]!r} observed and "
        f"{predicted[at]!r} predicted: reorder the predictions' columns with their names"
    )
