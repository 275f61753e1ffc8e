"""Predicted cells as the files that competitions take."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anndata
import anndata.io
import h5py
import numpy as np
import pandas as pd
import pyarrow
from anndata import AnnData
from jaxtyping import Int64
from scipy.sparse import csr_matrix

from workflow_scripts.cache.writing import replacing
from workflow_scripts.cells.h5ad_matrices import SparseMatrix
from workflow_scripts.errors import DataError
from workflow_scripts.settings.choices import COUNTS, LOG1P, VCC2025, VCC2026, Challenge
from workflow_scripts.settings.findings import listing

_ROWS = 4096
"""Cells that are read at once."""

_WATERMARK = b"vcc-prep"
"""What `cell-eval prep` (0.8.2) writes into watermark.txt, by which its files are known."""

_COPIED = 1 << 24
"""Bytes that are compressed at once."""


@dataclass(frozen=True)
class Cells:
    """An open file of predicted cells.

    Attributes
    ----------
    path
        For messages.
    labels
        Columns perturbation and context, a row a cell.
    stored
        The file; only what is asked for is read.
    control, scale
        The control's label, and what the values are.
    """

    path: Path
    labels: pd.DataFrame
    stored: AnnData
    control: str
    scale: str

    def blocks(self, rows: Int64[np.ndarray, " rows"]) -> Iterator[csr_matrix]:
        """Yield cells, some at a time."""
        for start in range(0, len(rows), _ROWS):
            yield csr_matrix(self.stored.X[rows[start : start + _ROWS]], dtype=np.float32)


def write_submission(kind: str, source: Path, path: Path) -> list[str]:
    """Write what a competition takes.

    Parameters
    ----------
    kind
        ``prediction.submission``: vcc2025 or vcc2026.
    source
        Predictions of a run.
    path
        File to write; whole or absent.

    Returns
    -------
    What a person should look at before they hand it in.

    Raises
    ------
    DataError
        Where the predictions break the competition's rules.
    """
    with _opened(source) as cells:
        if kind == "vcc2025":
            return _write_vcc2025(cells, path)
        return _write_vcc2026(cells, path)


def _write_vcc2025(cells: Cells, path: Path) -> list[str]:
    """Write the archive that `cell-eval prep` makes: log1p values, the controls among them."""
    _check_scale(cells, LOG1P, VCC2025)
    n_cells, most = len(cells.labels), VCC2025.most_cells
    if most is not None and n_cells > most:
        raise DataError(
            f"{cells.path}: {n_cells:,} cells, controls among them, and {VCC2025.name} takes "
            f"{most:,}; ask for fewer of each target (prediction.cells_per_target), "
            "or predict from a file with fewer controls (prediction.adata)"
        )
    obs = {"target_gene": cells.labels["perturbation"]}
    if cells.labels["context"].nunique() > 1:
        obs["celltype"] = cells.labels["context"]
    with replacing(path) as beside:
        parts = [beside.with_name(f"{beside.name}.{end}") for end in ("h5ad", "zst", "txt")]
        plain, packed, watermark = parts
        try:
            # Not compressed inside, as the archive is.
            _write_cells(plain, cells, np.arange(n_cells), obs, compressed=False)
            _compress(plain, packed)
            plain.unlink()
            watermark.write_bytes(_WATERMARK)
            with tarfile.open(beside, "w") as archive:
                archive.add(packed, "pred.h5ad.zst")
                archive.add(watermark, "watermark.txt")
        finally:
            for part in parts:
                part.unlink(missing_ok=True)
    warnings = list(_about_genes(cells, VCC2025))
    if cells.control != VCC2025.control:
        warnings.append(
            f"the control is called {cells.control!r}; {VCC2025.name} calls it {VCC2025.control!r}"
        )
    return warnings


def _write_vcc2026(cells: Cells, path: Path) -> list[str]:
    """Write raw counts of the perturbed cells alone, by target and context."""
    _check_scale(cells, COUNTS, VCC2026)
    perturbed = np.flatnonzero(cells.labels["perturbation"] != cells.control)
    asked = cells.labels.iloc[perturbed]
    sizes = asked.value_counts(["perturbation", "context"], sort=False).reset_index(name="n")
    wrong = sizes[sizes["n"] != VCC2026.cells_per_target]
    if len(wrong):
        rows = wrong.itertuples(index=False)
        found = (f"{target} in {context}: {n}" for target, context, n in rows)
        raise DataError(
            f"{cells.path}: {VCC2026.name} takes {VCC2026.cells_per_target} cells of each target "
            f"and context; {listing(found, 5)}; set prediction.cells_per_target="
            f"{VCC2026.cells_per_target}"
        )
    obs = {"target_gene": asked["perturbation"], "context": asked["context"]}
    with replacing(path) as beside:
        largest = _write_cells(beside, cells, perturbed, obs, compressed=True)
        most = VCC2026.most_counts
        if most is not None and largest > most:
            raise DataError(
                f"{cells.path}: a cell with {largest:,.0f} counts, and {VCC2026.name} takes "
                f"{most:,}; predict from controls with fewer (prediction.adata)"
            )
    return list(_about_genes(cells, VCC2026))


def _check_scale(cells: Cells, scale: str, challenge: Challenge) -> None:
    if cells.scale != scale:
        raise DataError(
            f"{cells.path}: its values are {cells.scale}, and {challenge.name} takes {scale}; set "
            f"prediction.output={scale}"
        )


def _about_genes(cells: Cells, challenge: Challenge) -> Iterator[str]:
    if (n_genes := cells.stored.n_vars) != challenge.n_genes:
        yield (
            f"{n_genes:,} genes, and {challenge.name} scores {challenge.n_genes:,}: name its list "
            "with prediction.genes"
        )


def _write_cells(
    path: Path,
    cells: Cells,
    rows: Int64[np.ndarray, " rows"],
    obs: Mapping[str, pd.Series[str]],
    *,
    compressed: bool,
) -> float:
    """Write some cells with nothing but these labels; return the largest sum of a cell."""
    largest = 0.0
    table = pd.DataFrame({name: pd.Categorical(labels) for name, labels in obs.items()})
    table.index = table.index.astype(str)
    with h5py.File(path, "w") as file:
        file.attrs.update({"encoding-type": "anndata", "encoding-version": "0.1.0"})
        matrix = SparseMatrix(file, "X", (len(rows), cells.stored.n_vars), compressed=compressed)
        for block in cells.blocks(rows):
            largest = max(largest, float(block.sum(axis=1).max()))
            matrix.append(block)
        matrix.close()
        anndata.io.write_elem(file, "obs", table)
        anndata.io.write_elem(file, "var", pd.DataFrame(index=cells.stored.var_names))
    return largest


def _compress(source: Path, target: Path) -> None:
    with source.open("rb") as file, pyarrow.CompressedOutputStream(str(target), "zstd") as packed:
        while block := file.read(_COPIED):
            packed.write(block)


@contextmanager
def _opened(path: Path) -> Iterator[Cells]:
    stored = anndata.read_h5ad(path, backed="r")
    try:
        said: Mapping[str, Any] = stored.uns["stateline"]
        columns: Sequence[str] = ("perturbation", "context")
        labels = stored.obs[list(columns)].astype(str).reset_index(drop=True)
        yield Cells(path, labels, stored, str(said["control"]), str(said["scale"]))
    finally:
        stored.file.close()
