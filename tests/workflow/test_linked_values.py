"""An h5ad whose values lie in another file, by a link of HDF5."""

from __future__ import annotations

import h5py
import pytest

from tests.preflight.good_run import write_good
from tests.snakemake_runs import snakemake

CHECK = ("--config", "runs=run/run.yaml", "--", "check")


@pytest.mark.long
def test_values_behind_an_external_link_are_refused(tmp_path):
    inputs = write_good(tmp_path / "run")
    values = inputs.folder / "values.h5"

    def link(file: h5py.File) -> None:
        with h5py.File(values, "w") as other:
            file.copy("X", other)
        del file["X"]
        file["X"] = h5py.ExternalLink(values.name, "X")

    inputs.hdf5(link)
    done = snakemake(tmp_path, *CHECK, expect=1)
    assert "screen_rpe1.h5ad: /X is a link into another file, values.h5" in done.text
