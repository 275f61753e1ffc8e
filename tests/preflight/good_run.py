"""The good inputs that every broken one is made from by one small change."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anndata
import h5py
import numpy as np
import pandas as pd
import scipy.sparse
import torch
import yaml

from tests.screens import write_screen
from tests.tiny_run import tiny_config

PERTURBATIONS = ("control", "g1", "g2", "g3", "g4", "g5", "g6")
GENES = tuple(f"g{number}" for number in range(80))
BATCHES = ("b1", "b2")

TOML = """
[datasets]
screen = "{folder}/screen_*.h5ad"

[training]
screen = "train"

[fewshot."screen.rpe1"]
val = ["g1"]
test = ["g2", "g3", "g4"]
"""


@dataclass(frozen=True)
class Inputs:
    """A run's inputs, to be broken: paths in its files are relative to ``folder``'s parent."""

    folder: Path

    @property
    def first(self) -> Path:
        """The file with k562."""
        return self.folder / "screen_k562.h5ad"

    @property
    def second(self) -> Path:
        """The file with rpe1, whose perturbations are held out."""
        return self.folder / "screen_rpe1.h5ad"

    @property
    def run_file(self) -> Path:
        """The run file."""
        return self.folder / "run.yaml"

    def edit(self, change: Callable[[anndata.AnnData], Any], path: Path | None = None) -> None:
        """Read an h5ad file (the second by default), change it, and write it."""
        path = path or self.second
        adata = anndata.read_h5ad(path)
        adata.X = adata.X.toarray() if scipy.sparse.issparse(adata.X) else adata.X
        adata.obs = adata.obs.astype(object)
        changed = change(adata)
        adata = adata if changed is None else changed
        adata.obs = adata.obs.apply(
            lambda column: column.astype("category") if column.dtype == object else column
        )
        adata.write_h5ad(path)

    def label(self, column: str, old: str, new: object, count: int | None = None) -> None:
        """Replace a label of the second file's obs, in the first ``count`` cells that have it."""

        def change(adata: anndata.AnnData) -> None:
            rows = np.flatnonzero(adata.obs[column] == old)[:count]
            adata.obs.iloc[rows, adata.obs.columns.get_loc(column)] = new

        self.edit(change)

    def toml(self, old: str, new: str) -> None:
        """Replace a text of the split file, which must be there."""
        path = self.folder / "starter.toml"
        text = path.read_text()
        assert old in text, old
        path.write_text(text.replace(old, new))

    def features(self, **changes: Any) -> None:
        """Write the feature file anew with other vectors; None takes one away."""
        vectors = good_vectors() | changes
        torch.save(
            {name: vector for name, vector in vectors.items() if vector is not None},
            self.folder / "features.pt",
        )

    def config(self, change: Callable[[dict[str, Any]], Any]) -> None:
        """Change the content of the run file."""
        content = yaml.safe_load(self.run_file.read_text())
        change(content)
        self.run_file.write_text(yaml.safe_dump(content, sort_keys=False))

    def data(self, **values: Any) -> None:
        """Change values of data.kwargs in the run file."""
        self.config(lambda content: content["data"]["kwargs"].update(values))

    def hdf5(self, change: Callable[[h5py.File], Any]) -> None:
        """Change the second file below anndata."""
        with h5py.File(self.second, "a") as file:
            change(file)


def good_vectors() -> dict[str, torch.Tensor]:
    """Return a vector for every perturbation."""
    generator = torch.Generator().manual_seed(0)
    return {name: torch.randn(5, generator=generator) for name in PERTURBATIONS}


def write_good(folder: Path) -> Inputs:
    """Write inputs without a fault into a new folder."""
    folder.mkdir()
    inputs = Inputs(folder)
    for at, (path, context) in enumerate(((inputs.first, "k562"), (inputs.second, "rpe1"))):
        write_screen(
            path,
            perturbations=PERTURBATIONS,
            contexts=(context,),
            batches=BATCHES,
            cells_per_group=12,
            genes=GENES,
            seed=at,
        )
    (folder / "starter.toml").write_text(TOML.format(folder=folder.name))
    inputs.features()
    config = tiny_config(
        toml_config_path=f"{folder.name}/starter.toml",
        perturbation_features_file=f"{folder.name}/features.pt",
    )
    config["name"] = folder.name
    inputs.run_file.write_text(yaml.safe_dump(config, sort_keys=False))
    return inputs


def named(labels: list[str]) -> pd.Index:
    """Return an index of these labels."""
    return pd.Index(labels, dtype=object)
