"""Broken h5ad files."""

from __future__ import annotations

import anndata
import h5py
import numpy as np
import scipy.sparse

from tests.preflight.broken import Broken, nothing
from tests.preflight.good_run import GENES, Inputs, named


def values(change):
    """Change the values of the second file; the first keeps its own."""

    def spoil(inputs: Inputs) -> None:
        def edit(adata: anndata.AnnData) -> None:
            adata.X = np.asarray(change(adata.X.astype(np.float64)), dtype=np.float32)

        inputs.edit(edit)

    return spoil


def both(change):
    def spoil(inputs: Inputs) -> None:
        for path in (inputs.first, inputs.second):
            inputs.edit(change, path)

    return spoil


def scaled(matrix: np.ndarray) -> np.ndarray:
    return matrix / matrix.sum(axis=1, keepdims=True) * 200.0


def one(matrix: np.ndarray, value: float) -> np.ndarray:
    matrix[5, 7] = value
    return matrix


def rows_of_zeros(matrix: np.ndarray) -> np.ndarray:
    matrix[[3, 8]] = 0.0
    return matrix


def genes(names):
    return lambda inputs: inputs.edit(lambda adata: setattr(adata, "var_names", named(names)))


def columns(inputs: Inputs, encoding) -> None:
    def change(adata: anndata.AnnData) -> None:
        adata.X[2, 3] = -1.0
        adata.X = encoding(adata.X)

    inputs.edit(change)


def old_labels(file: h5py.File) -> None:
    codes, names = file["obs/gene/codes"][:], file["obs/gene/categories"][:]
    del file["obs/gene"]
    file["obs/__categories/gene"] = names
    column = file["obs"].create_dataset("gene", data=codes)
    column.attrs["categories"] = file["obs/__categories/gene"].ref


def chosen_genes(adata: anndata.AnnData) -> None:
    logged = np.log1p(adata.X / adata.X.sum(axis=1, keepdims=True) * 1e4)
    adata.obsm["X_hvg"] = logged[:, [2, 5, 7]].astype(np.float32)


EMBEDDED = (
    "data.kwargs.embed_key=X_pca",
    "data.kwargs.output_space=embedding",
    "model.kwargs.gene_decoder_bool=true",
)


def embedding(width: int, *broken: float):
    """Give a file an embedding; the values to break it with stand in its third row."""

    def add(adata: anndata.AnnData) -> None:
        matrix = np.random.default_rng(0).standard_normal((adata.n_obs, width))
        matrix[2, : len(broken)] = broken
        adata.obsm["X_pca"] = matrix.astype(np.float32)

    return add


def embeddings(*broken: float, second: int = 8):
    def spoil(inputs: Inputs) -> None:
        inputs.edit(embedding(8), inputs.first)
        inputs.edit(embedding(second, *broken))

    return spoil


def own_batch(inputs: Inputs) -> None:
    inputs.label("gem_group", "b1", "b3")
    inputs.label("gem_group", "b2", "b3")
    inputs.toml('[fewshot."screen.rpe1"]\nval = ["g1"]\ntest', '[fewshot."screen.k562"]\nval')
    inputs.toml("[fewshot", '[zeroshot]\n"screen.rpe1" = "test"\n[fewshot')


CASES = {
    "columns: perturbations under another name": Broken(
        lambda inputs: inputs.edit(
            lambda a: setattr(a, "obs", a.obs.rename(columns={"gene": "genes"}))
        ),
        "column",
        (
            "screen_rpe1.h5ad: obs has no column 'gene'",
            "did you mean 'genes'? set data.kwargs.pert_col",
        ),
    ),
    "columns: typo of the context's": Broken(
        lambda inputs: inputs.data(cell_type_key="celltype"),
        "column",
        ("obs has no column 'celltype'", "did you mean 'cell_type'? set data.kwargs.cell_type_key"),
    ),
    "columns: no technical batches": Broken(
        lambda inputs: inputs.edit(lambda a: a.obs.drop(columns="gem_group", inplace=True)),
        "column",
        ("obs has no column 'gem_group'", "set data.kwargs.batch_col"),
    ),
    "columns: cells without a label": Broken(
        lambda inputs: inputs.label("gene", "g5", None, 2),
        "column",
        ("obs column 'gene' (data.kwargs.pert_col) has 2 missing values, first in rows",),
    ),
    "columns: missing labels turned into text": Broken(
        lambda inputs: inputs.label("gene", "g5", "nan", 2),
        "column",
        ("has 2 missing values (written as 'nan')", "label these cells or remove them"),
    ),
    "columns: cells without a batch": Broken(
        lambda inputs: inputs.label("gem_group", "b1", None, 4),
        "column",
        ("obs column 'gem_group' (data.kwargs.batch_col) has 4 missing values",),
    ),
    "columns: batches as fractions": Broken(
        lambda inputs: inputs.edit(
            lambda a: a.obs.__setitem__("gem_group", np.linspace(0.5, 1.5, a.n_obs))
        ),
        "column",
        ("obs column 'gem_group' (data.kwargs.batch_col) holds fractional numbers",),
    ),
    "columns: categories of an old anndata": Broken(
        lambda inputs: inputs.hdf5(old_labels),
        "column",
        ("stored as anndata before 0.8 did it", "write the file anew"),
    ),
    "control: typo": Broken(
        lambda inputs: inputs.data(control_pert="contrl"),
        "no-control",
        (
            "no cell is labelled 'contrl', the control (near it: control)",
            "data.kwargs.control_pert",
        ),
    ),
    "control: none in one context": Broken(
        lambda inputs: inputs.edit(lambda a: a[(a.obs["gene"] != "control").to_numpy()].copy()),
        "no-control-in-context",
        ("screen_rpe1.h5ad: context 'rpe1'", "has no cell labelled 'control'"),
    ),
    "labels: a blank at the end": Broken(
        lambda inputs: inputs.label("gene", "g5", "g5 ", 3),
        "labels-alike",
        ("perturbations that differ only by blanks: 'g5', 'g5 '", "make them one"),
    ),
    "genes: one twice": Broken(
        genes(["g1", *GENES[1:]]),
        "duplicate-genes",
        ("screen_rpe1.h5ad: 1 gene names occur more than once (g1)", "cells.gene_names"),
    ),
    "genes: one without a name": Broken(
        genes([" ", *GENES[1:]]), "nameless-genes", ("screen_rpe1.h5ad: 1 genes have no name",)
    ),
    "genes: others in the second file": Broken(
        genes(["x", "y", *GENES[2:]]),
        "genes-differ",
        ("2 are only here (x, y), 2 only there (g0, g1)", "cells.genes=intersection"),
    ),
    "genes: ids in one file, symbols in the other": Broken(
        genes([f"ENSG{number:011d}" for number in range(len(GENES))]),
        "gene-ids-and-symbols",
        ("its genes are Ensembl ids, those of", "are symbols", "cells.gene_names"),
    ),
    "genes: no such column": Broken(
        nothing,
        "file",
        ("screen_k562.h5ad: var has no column 'symbol'", "set cells.gene_names"),
        ("cells.gene_names=symbol",),
    ),
    "matrix: chosen genes without names": Broken(
        both(chosen_genes),
        "file",
        ("obsm/X_hvg has 3 columns, and nothing says which genes they are", "uns['X_hvg_names']"),
        ("data.kwargs.embed_key=X_hvg",),
    ),
    "matrix: no chosen genes": Broken(
        nothing,
        "file",
        ("there is no obsm/X_hvg", "set data.kwargs.embed_key"),
        ("data.kwargs.embed_key=X_hvg",),
    ),
    "embedding: not there": Broken(
        embeddings(),
        "embedding",
        ("screen_k562.h5ad: there is no obsm/X_pcs: did you mean `X_pca`?", "set data.kwargs.emb"),
        (*EMBEDDED[1:], "data.kwargs.embed_key=X_pcs"),
    ),
    "embedding: in one file alone": Broken(
        lambda inputs: inputs.edit(embedding(8), inputs.first),
        "embedding",
        ("screen_rpe1.h5ad: there is no obsm/X_pca", "set data.kwargs.embed_key"),
        EMBEDDED,
    ),
    "embedding: of two widths": Broken(
        embeddings(second=9),
        "embedding-widths",
        ("obsm/X_pca is not as wide in every file: 8 in ", "screen_k562.h5ad, 9 in "),
        EMBEDDED,
    ),
    "embedding: NaN": Broken(
        embeddings(np.nan, np.inf),
        "embedding",
        ("screen_rpe1.h5ad: obsm/X_pca has 2 NaN or infinite values, the first in row 2",),
        EMBEDDED,
    ),
    "embedding: too narrow for the residual to live in it": Broken(
        lambda inputs: [inputs.edit(embedding(5), path) for path in (inputs.first, inputs.second)],
        "model",
        ("needs output_dim ≥ 8, found 5",),
        (*EMBEDDED, "data.kwargs.output_space=all"),
    ),
    "matrix: no such layer": Broken(
        both(lambda a: a.layers.__setitem__("counts", a.X.copy())),
        "file",
        ("there is no layers/count: did you mean `counts`?", "set cells.layer"),
        ("cells.layer=count",),
    ),
    "matrix: no cells": Broken(
        lambda inputs: inputs.edit(lambda a: a[:0].copy()),
        "file",
        ("screen_rpe1.h5ad: X is empty (0 cells, 80 columns)",),
    ),
    "matrix: not there": Broken(
        lambda inputs: inputs.hdf5(lambda file: file.__delitem__("X")),
        "file",
        ("screen_rpe1.h5ad: not an h5ad file: it has no X",),
    ),
    "matrix: damaged": Broken(
        lambda inputs: inputs.hdf5(lambda file: file["X/indices"].__setitem__(3, 80)),
        "file",
        ("screen_rpe1.h5ad: X has a value of gene number 80, and there are 80", "is damaged"),
    ),
    "file: a table": Broken(
        lambda inputs: inputs.second.write_text("cell,g1\na,1\n"),
        "file",
        ("screen_rpe1.h5ad: not a readable h5ad (HDF5) file",),
    ),
    "file: cut off": Broken(
        lambda inputs: inputs.second.write_bytes(inputs.second.read_bytes()[:9000]),
        "file",
        ("screen_rpe1.h5ad: not a readable h5ad (HDF5) file", "truncated"),
    ),
    "values: counts here, log1p there": Broken(
        values(lambda x: np.log1p(scaled(x))),
        "mixed-values",
        ("some files hold raw counts", "and others log1p values", "make them the same"),
    ),
    "values: scaled": Broken(
        values(lambda x: x - 1.5),
        "values",
        ("screen_rpe1.h5ad: X has negative values (the smallest is -1.5)", "raw counts or log1p"),
    ),
    "values: negative, in columns": Broken(
        lambda inputs: columns(inputs, scipy.sparse.csc_matrix),
        "values",
        ("X has negative values (the smallest is -1)",),
    ),
    "values: negative, dense": Broken(
        lambda inputs: columns(inputs, np.asarray), "values", ("X has negative values",)
    ),
    "values: NaN": Broken(
        values(lambda x: one(x, np.nan)), "values", ("X has 1 NaN or infinite values",)
    ),
    "values: infinite": Broken(
        values(lambda x: one(x, np.inf)), "values", ("X has 1 NaN or infinite values",)
    ),
    "values: normalised, not logged": Broken(
        both(lambda a: setattr(a, "X", scaled(a.X).astype(np.float32))),
        "values",
        ("cells that all sum to 200", "were they normalised, but not logged?"),
    ),
    "values: the logarithm of raw counts": Broken(
        both(lambda a: setattr(a, "X", np.log1p(a.X))),
        "values",
        ("the log1p of raw counts, which were not normalised", "cells.values=log1p"),
    ),
    "values: declared as counts": Broken(
        both(lambda a: setattr(a, "X", np.log1p(scaled(a.X)).astype(np.float32))),
        "values",
        ("cells.values says counts, but", "X has fractional values", "cells.values=log1p or auto"),
        ("cells.values=counts",),
    ),
    "values: cells with nothing": Broken(
        values(rows_of_zeros), "empty-cells", ("screen_rpe1.h5ad: 2 cells have no count",)
    ),
    "batches: tested ones that nothing trains": Broken(
        own_batch,
        "batches-untrained",
        ("1 batches of held-out cells have no cell in training: b3", "batch_encoder=false"),
        ("model.kwargs.batch_encoder=true", "splits.held_out_controls=keep_out"),
    ),
    "memory: the step is too large for the GPU": Broken(
        nothing,
        "device-memory",
        ("a training step needs", "GPU memory", "lower model.kwargs.hidden_dim"),
        ("engine.gpu_memory=0.001",),
    ),
    "memory: the step is too large for the machine": Broken(
        nothing,
        "host-memory",
        ("training needs", "of memory", "lower engine.batch", "engine.gpu_memory"),
        ("training.batch_size=20000000",),
    ),
}
