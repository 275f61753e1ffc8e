"""Bad input is named, placed and explained before any training, and nothing half-written stays."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import anndata
import pytest
import torch

from tests.snakemake_runs import snakemake
from tests.tiny_run import PERTURBATIONS, TOML, write_tiny_run

Spoil = Callable[[Path], object]


def without_features(*names: str) -> Spoil:
    return lambda folder: torch.save(
        {name: torch.ones(5) * at for at, name in enumerate(PERTURBATIONS) if name not in names},
        folder / "features.pt",
    )


def toml(old: str, new: str) -> Spoil:
    return lambda folder: (folder / "starter.toml").write_text(TOML.replace(old, new))


class Code:
    """Pickled code: loading it would call print."""

    def __reduce__(self):
        return print, ("this code ran",)


CASES: dict[str, tuple[Spoil, list[str]]] = {
    "several problems at once": (
        lambda folder: (
            without_features("g2", "g5")(folder),
            toml("g3", "g33")(folder),
        ),
        [
            "features.pt: no vector for 2 of the data's 7 perturbations: g2",
            "g5",
            "has no perturbation 'g33'; did you mean 'g3'?",
            "2 problem(s) to mend before training starts",
        ],
    ),
    "missing h5ad": (
        lambda folder: (folder / "screen.h5ad").unlink(),
        ["screen.h5ad: no such file"],
    ),
    "missing split file": (
        lambda folder: (folder / "starter.toml").unlink(),
        ["starter.toml: no such split file; data.kwargs.toml_config_path names it"],
    ),
    "no split file named": (
        lambda folder: replace(folder / "run.yaml", "starter.toml", "null"),
        ["no dataset is named: neither by [datasets] of the split file"],
    ),
    "missing feature file": (
        lambda folder: (folder / "features.pt").unlink(),
        ["features.pt: no such file; data.kwargs.perturbation_features_file names it"],
    ),
    "features full of code": (
        lambda folder: torch.save({"g1": Code()}, folder / "features.pt"),
        ["features.pt: refused, since reading it could run code"],
    ),
    "features of unequal shape": (
        lambda folder: torch.save(
            {name: torch.ones(3 if name == "g2" else 5) for name in PERTURBATIONS},
            folder / "features.pt",
        ),
        ["vectors differ in length: most have 5 values, these do not: g2 [3]"],
    ),
    "missing column": (
        lambda folder: rename_column(folder, "gene", "target"),
        ["obs has no column 'gene'", "target", "set data.kwargs.pert_col"],
    ),
    "unknown dataset and context": (
        toml('screen = "train"', 'scren = "train"'),
        ["[training] scren: the data has no dataset 'scren'; did you mean 'screen'?"],
    ),
    "unknown context": (
        toml("screen.rpe1", "screen.rpe2"),
        ["the data has no context 'screen.rpe2'; did you mean 'screen.rpe1'?"],
    ),
}


def replace(path: Path, old: str, new: str) -> None:
    path.write_text(path.read_text().replace(old, new))


def rename_column(folder: Path, old: str, new: str) -> None:
    adata = anndata.read_h5ad(folder / "screen.h5ad")
    adata.obs = adata.obs.rename(columns={old: new})
    adata.write_h5ad(folder / "screen.h5ad")


@pytest.mark.parametrize("case", CASES)
def test_bad_input_stops_before_training(tmp_path, case):
    run_file = write_tiny_run(tmp_path)
    spoil, messages = CASES[case]
    spoil(tmp_path)
    outcome = snakemake(tmp_path, "--config", f"runs={run_file}", expect=1)
    for message in messages:
        assert message in outcome.text
    assert "this code ran" not in outcome.text
    assert "train" not in outcome.jobs
    left = {path.name for path in (tmp_path / "out" / "tiny").iterdir()}
    assert not left & {"preflight.json", "checkpoints", "predictions.h5ad", "report.html"}
