"""Predicted cells as the files that competitions take."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from pathlib import Path

import anndata
import anndata.io
import h5py
import numpy as np
import pandas as pd
import pyarrow
from anndata import AnnData
from scipy.sparse import csr_matrix

from workflow_scripts.cache.writing import replacing
from workflow_scripts.cells.h5ad_matrices import SparseMatrix
from workflow_scripts.errors import DataError
from workflow_scripts.settings.choices import CHALLENGES, VCC2025, Challenge
from workflow_scripts.settings.findings import listing

_ROWS = 4096
"""Cells that are read at once."""

_WATERMARK = b"vcc-prep"
"""What `cell-eval prep` (0.8.2) writes into watermark.txt, by which its files are known."""

_COPIED = 1 << 24
"""Bytes that are compressed at once."""


def write_submission(kind: str, source: Path, path: Path) -> list[str]:
    """Write what a competition takes.

    Parameters
    ----------
    kind
        ``prediction.submission``: vcc2025 (the archive that `cell-eval prep` makes, of log1p
        values, the controls among them) or vcc2026 (raw counts of the perturbed cells alone).
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
    challenge = CHALLENGES[kind]
    cells = anndata.read_h5ad(source, backed="r")
    try:
        control, scale = (str(cells.uns["stateline"][name]) for name in ("control", "scale"))
        labels = cells.obs[["perturbation", "context"]].astype(str)
        labels = labels.set_axis(pd.RangeIndex(len(labels)))
        if challenge.control is None:
            labels = labels[labels["perturbation"] != control]
        for fault in _faults(challenge, scale, labels):
            raise DataError(f"{source}: {fault}")
        with replacing(path) as beside:
            if challenge is VCC2025:
                if labels["context"].nunique() == 1:
                    labels = labels.drop(columns="context")
                names = {"perturbation": "target_gene", "context": "celltype"}
                _write_archive(beside, cells, labels.rename(columns=names))
            else:
                obs = labels.rename(columns={"perturbation": "target_gene"})
                largest = _write_cells(beside, cells, obs, compressed=True)
                most = challenge.most_counts
                if most is not None and largest > most:
                    raise DataError(
                        f"{source}: a cell with {largest:,.0f} counts, and {challenge.name} takes "
                        f"{most:,}; predict from controls with fewer (prediction.adata)"
                    )
        return [*_warnings(challenge, control, cells.n_vars)]
    finally:
        cells.file.close()


def _faults(challenge: Challenge, scale: str, labels: pd.DataFrame) -> Iterator[str]:
    """Yield the rules that predictions break, by their labels."""
    if scale != challenge.scale:
        yield (
            f"its values are {scale}, and {challenge.name} takes {challenge.scale}; set "
            f"prediction.output={challenge.scale}"
        )
    most, each = challenge.most_cells, challenge.cells_per_target
    if most is not None and len(labels) > most:
        yield (
            f"{len(labels):,} cells, controls among them, and {challenge.name} takes {most:,}; ask "
            "for fewer of each target (prediction.cells_per_target), or predict from a file with "
            "fewer controls (prediction.adata)"
        )
    sizes = labels.value_counts(["perturbation", "context"], sort=False)
    if each is not None and len(wrong := sizes[sizes != each]):
        rows = wrong.reset_index(name="n").itertuples(index=False)
        found = (f"{target} in {context}: {n}" for target, context, n in rows)
        yield (
            f"{challenge.name} takes {each} cells of each target and context; {listing(found, 5)}; "
            f"set prediction.cells_per_target={each}"
        )


def _warnings(challenge: Challenge, control: str, n_genes: int) -> Iterator[str]:
    if n_genes != challenge.n_genes:
        yield (
            f"{n_genes:,} genes, and {challenge.name} scores {challenge.n_genes:,}: name its list "
            "with prediction.genes"
        )
    if challenge.control not in (None, control):
        yield (
            f"the control is called {control!r}; {challenge.name} calls it {challenge.control!r}"
        )


def _write_archive(path: Path, cells: AnnData, obs: pd.DataFrame) -> None:
    """Write cells as an archive with a compressed file, which isn't compressed inside."""
    parts = [path.with_name(f"{path.name}.{end}") for end in ("h5ad", "zst", "txt")]
    plain, packed, watermark = parts
    try:
        _write_cells(plain, cells, obs, compressed=False)
        with (
            plain.open("rb") as file,
            pyarrow.CompressedOutputStream(str(packed), "zstd") as stream,
        ):
            while block := file.read(_COPIED):
                stream.write(block)
        plain.unlink()
        watermark.write_bytes(_WATERMARK)
        with tarfile.open(path, "w") as archive:
            archive.add(packed, "pred.h5ad.zst")
            archive.add(watermark, "watermark.txt")
    finally:
        for part in parts:
            part.unlink(missing_ok=True)


def _write_cells(path: Path, cells: AnnData, obs: pd.DataFrame, *, compressed: bool) -> float:
    """Write the cells of these rows with nothing but labels; return the largest sum of a cell."""
    largest, rows = 0.0, obs.index.to_numpy()
    with h5py.File(path, "w") as file:
        file.attrs.update({"encoding-type": "anndata", "encoding-version": "0.1.0"})
        matrix = SparseMatrix(file, "X", (len(rows), cells.n_vars), compressed=compressed)
        for start in range(0, len(rows), _ROWS):
            block = csr_matrix(cells.X[rows[start : start + _ROWS]], dtype=np.float32)
            largest = max(largest, float(block.sum(axis=1).max()))
            matrix.append(block)
        table = obs.astype("category").set_axis([str(number) for number in range(len(obs))])
        anndata.io.write_elem(file, "obs", table)
        anndata.io.write_elem(file, "var", pd.DataFrame(index=cells.var_names))
    return largest
