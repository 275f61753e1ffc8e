"""A gene whose output was negative at first must be able to learn that it is expressed."""

from __future__ import annotations

import anndata
import pytest

from tests.finished_run import OPTIONS
from tests.snakemake_runs import snakemake

LONGER = "training.lr=1e-2 training.max_steps=300 training.val_freq=150"


@pytest.mark.long
@pytest.mark.xfail(strict=True, reason="Models and training")
def test_no_expressed_gene_is_predicted_as_zero_in_every_cell(finished_run):
    target = "out/tiny/predictions.h5ad"
    snakemake(finished_run, *OPTIONS, f"overrides={LONGER}", "--", target)
    predicted = anndata.read_h5ad(finished_run / target).to_df()
    observed = anndata.read_h5ad(finished_run / "out/tiny/observed.h5ad")
    perturbed = ~observed.obs.eq("control").any(axis=1).to_numpy()
    expressed = (observed.to_df()[perturbed] > 0).mean() > 0.3
    dead = (predicted[perturbed] == 0).all()
    assert expressed.sum() >= 20
    assert not (expressed & dead).any(), f"{(expressed & dead).sum()} genes"
