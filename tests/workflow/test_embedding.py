"""What the feature file lacks is embedded on the way, once, and the report names it."""

from __future__ import annotations

import json

import pytest
import torch

from tests.snakemake_runs import snakemake
from tests.tiny_esm import DIMENSION, write_fasta, write_tiny_esm
from tests.tiny_run import PERTURBATIONS, write_tiny_run

pytestmark = pytest.mark.long

EMBED = "features.missing=embed features.embedding.model=esm features.embedding.fasta=proteins.fa"


def test_missing_features_are_embedded_before_the_check(tmp_path):
    run_file = write_tiny_run(tmp_path)
    write_tiny_esm(tmp_path / "esm")
    sequences = {"g2": "MEEPQSDPSV", "g5": "MSEPAGDVRQ", "g9": "MAV"}
    write_fasta(tmp_path / "proteins.fa", sequences)
    there = [name for name in PERTURBATIONS if name not in ("g2", "g5")]
    torch.save({name: torch.randn(DIMENSION) for name in there}, tmp_path / "features.pt")
    config = ("--config", f"runs={run_file}", f"overrides={EMBED}")
    outcome = snakemake(tmp_path, "out/tiny/preflight.json", *config)
    assert "embed_proteins" in outcome.jobs
    audit = json.loads((tmp_path / "out/tiny/features_audit.json").read_text())
    assert audit["made"] == {"g2": "embedded by esm", "g5": "embedded by esm"}
    assert audit["findings"] == []
    assert len(list((tmp_path / "cache/proteins").glob("*/*.npy"))) == 2

    write_fasta(tmp_path / "proteins.fa", {**sequences, "g2": "MEEPQSDPSW"})
    outcome = snakemake(tmp_path, "out/tiny/preflight.json", *config)
    assert outcome.jobs == ["embed_proteins", "freeze_stage", "preflight", "validate_features"]
    assert len(list((tmp_path / "cache/proteins").glob("*/*.npy"))) == 3

    (tmp_path / "proteins.fa").unlink()
    outcome = snakemake(tmp_path, "out/tiny/preflight.json", *config, expect=1)
    assert "proteins.fa: no such file; features.embedding.fasta names it" in outcome.text
    assert "no vector for 2 of the data's 7 perturbations: g2, g5" in outcome.text
