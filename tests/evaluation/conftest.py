"""Small observed screens and predictions of them, with sane defaults."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_matrix

CONTROL = "non-targeting"
N_GENES = 60


@dataclass(frozen=True)
class Screen:
    """Log1p values of a few hundred cells, and their labels."""

    values: np.ndarray
    obs: pd.DataFrame
    genes: tuple[str, ...]

    def is_control(self) -> np.ndarray:
        return (self.obs["perturbation"] == CONTROL).to_numpy()

    def effects_removed(self) -> np.ndarray:
        """Every perturbed cell replaced by a control cell of its context."""
        values = self.values.copy()
        for context in self.obs["context"].unique():
            here = (self.obs["context"] == context).to_numpy()
            controls = np.flatnonzero(here & self.is_control())
            asked = np.flatnonzero(here & ~self.is_control())
            values[asked] = self.values[np.resize(controls, len(asked))]
        return values

    def one_profile(self) -> np.ndarray:
        """Every perturbed cell replaced by the mean of the perturbed cells of its context."""
        values = self.values.copy()
        for context in self.obs["context"].unique():
            asked = (self.obs["context"] == context).to_numpy() & ~self.is_control()
            values[asked] = self.values[asked].mean(axis=0)
        return values


@pytest.fixture(scope="session")
def draw_screen() -> Callable[..., Screen]:
    def make(
        perturbations: tuple[str, ...] = tuple(f"G{number:02d}" for number in range(8)),
        contexts: tuple[str, ...] = ("left", "right"),
        n_controls: int = 70,
        cells_each: tuple[int, ...] = (19, 33, 17, 41, 29, 37, 23, 31),
        seed: int = 0,
    ) -> Screen:
        rng = np.random.default_rng(seed)
        genes = tuple(f"G{number:02d}" for number in range(N_GENES))
        baseline = rng.gamma(1.0, 1.0, N_GENES) + 0.05
        change = {
            name: np.exp(rng.normal(0.0, 1.2, N_GENES) * (rng.random(N_GENES) < 0.3))
            for name in perturbations
        } | {CONTROL: np.ones(N_GENES)}
        values, rows = [], []
        for context in contexts:
            here = baseline * np.exp(rng.normal(0.0, 0.3, N_GENES))
            sizes = {CONTROL: n_controls} | dict(
                zip(perturbations, np.resize(cells_each, len(perturbations)), strict=True)
            )
            for name, n_cells in sizes.items():
                counts = rng.poisson(20 * here * change[name], (n_cells, N_GENES)).astype(float)
                values.append(np.log1p(1e4 * counts / counts.sum(axis=1, keepdims=True)))
                rows += [(name, context)] * n_cells
        obs = pd.DataFrame(rows, columns=["perturbation", "context"]).assign(batch="b1")
        obs.index = [f"cell{number}" for number in range(len(obs))]
        return Screen(np.vstack(values).astype(np.float32), obs, genes)

    return make


@pytest.fixture(scope="session")
def screen(draw_screen) -> Screen:
    return draw_screen()


@pytest.fixture
def write(tmp_path) -> Callable[..., Path]:
    """Write cells as an h5ad file, sparse unless told otherwise."""

    def write(
        name: str,
        screen: Screen,
        values: np.ndarray | None = None,
        *,
        dense: bool = False,
        uns: Mapping[str, object] | None = None,
    ) -> Path:
        matrix = screen.values if values is None else values
        path = tmp_path / f"{name}.h5ad"
        path.parent.mkdir(exist_ok=True)
        anndata.AnnData(
            X=matrix if dense else csr_matrix(matrix),
            obs=screen.obs.assign(barcode=screen.obs.index),
            var=pd.DataFrame(index=list(screen.genes)),
            uns={"stateline": {"control": CONTROL}} if uns is None else dict(uns),
        ).write_h5ad(path)
        return path

    return write
