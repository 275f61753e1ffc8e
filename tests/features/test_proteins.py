"""A protein's vector is the model's own mean over residues, whatever it is embedded with."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import torch
from transformers import EsmModel, EsmTokenizer

from tests.tiny_esm import write_fasta, write_tiny_esm
from workflow_scripts.embed_proteins import main
from workflow_scripts.features.embedding import ProteinEncoder, embed_cached
from workflow_scripts.features.proteins import read_fasta, windows
from workflow_scripts.settings.errors import ConfigError, DataError

AMINO_ACIDS = "ACDEFGHIKLMNPQRSTVWY"


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_tiny_esm(tmp_path_factory.mktemp("esm")))


def proteins(*lengths: int, seed: int = 0) -> dict[str, str]:
    generator = np.random.default_rng(seed)
    return {
        f"G{at}": "".join(generator.choice(list(AMINO_ACIDS), length))
        for at, length in enumerate(lengths)
    }


def encoder(model: str, window: int = 1022) -> ProteinEncoder:
    return ProteinEncoder(model, "cpu", "32-true", window)


def states(model: str, residues: str) -> torch.Tensor:
    """Return the last layer's states [residues, dimension], by transformers alone."""
    tokens = EsmTokenizer.from_pretrained(model)(residues, return_tensors="pt")
    with torch.inference_mode():
        network = EsmModel.from_pretrained(model, add_pooling_layer=False).eval()
        return network(**tokens).last_hidden_state[0, 1:-1]


LENGTHS = (1, 5, 63, 64, 65, 200, 64, 130)


def test_vectors_are_the_mean_of_the_last_layer_one_protein_at_a_time(model):
    sequences = proteins(*LENGTHS)
    vectors = dict(encoder(model).embed(sequences.values()))
    for sequence in sequences.values():
        expected = states(model, sequence).mean(axis=0)
        np.testing.assert_allclose(vectors[sequence], expected, atol=1e-5)


def test_a_vector_is_bit_identical_whatever_it_is_embedded_with(model):
    sequences = list(proteins(*LENGTHS).values())
    together = dict(encoder(model).embed(sequences))
    for sequence in sequences:
        ((_, alone),) = encoder(model).embed([sequence])
        np.testing.assert_array_equal(alone, together[sequence])


def test_long_proteins_are_read_in_windows_that_count_each_residue_once(model):
    (sequence,) = proteins(150).values()
    ((_, vector),) = encoder(model, window=64).embed([sequence])
    spans = windows(150, 64)
    assert spans == [(0, 64), (32, 96), (64, 128), (86, 150)]
    total, times = torch.zeros(150, 16), torch.zeros(150, 1)
    for start, stop in spans:
        total[start:stop] += states(model, sequence[start:stop])
        times[start:stop] += 1
    np.testing.assert_allclose(vector, (total / times).mean(axis=0), atol=1e-5)


@pytest.mark.parametrize("length", [1, 63, 64, 65, 96, 97, 1000])
def test_windows_cover_every_residue_and_none_is_longer(length):
    spans = windows(length, 64)
    assert {at for start, stop in spans for at in range(start, stop)} == set(range(length))
    assert all(stop - start <= 64 for start, stop in spans)
    assert len(set(spans)) == len(spans)


def test_what_was_embedded_is_read_and_another_model_is_not(model, tmp_path):
    sequences = proteins(20, 30)
    first = embed_cached({"G0": sequences["G0"]}, encoder(model), tmp_path)
    (kept,) = tmp_path.glob("*/*.npy")
    np.save(kept, first["G0"] + 1)
    again = embed_cached(sequences, encoder(model), tmp_path)
    np.testing.assert_array_equal(again["G0"], first["G0"] + 1)
    other = embed_cached(sequences, encoder(model, window=64), tmp_path)
    np.testing.assert_array_equal(other["G0"], first["G0"])


def test_headers_of_all_sources_give_gene_symbols(tmp_path):
    path = tmp_path / "p.fa.gz"
    with gzip.open(path, "wt") as file:
        file.write(
            ">sp|P04637|P53_HUMAN Tumor antigen OS=Homo sapiens OX=9606 GN=TP53 PE=1 SV=4\nMEEP\n"
            "QSD\n>ENSP1 pep gene_symbol:CDKN1A description:x\nMSEPAG*\n"
            ">lcl|NM_1 [gene=HLA-A] [protein=x]\nmav\n>RIOX1 hand made\nMJ*K\n"
            ">tr|Q1|Q1_HUMAN nameless\nMM\n>TP53 an isoform\nMEE\n\n"
        )
    found = read_fasta(path)
    assert found.sequences == {
        "TP53": "MEEPQSD",
        "CDKN1A": "MSEPAG",
        "HLA-A": "MAV",
        "RIOX1": "MXXK",
    }
    assert found.n_isoforms == 1
    assert found.unnamed == ["tr|Q1|Q1_HUMAN nameless"]
    assert found.replaced == ["RIOX1"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such file; features.embedding.fasta"),
        ("", "holds no sequence"),
        ("MEEP\n", r"p\.fa:1: no FASTA file"),
        (">TP53\n>CDKN1A\nM\n", "the sequence of TP53 is empty"),
    ],
)
def test_other_files_are_refused(tmp_path, content, message):
    if content is not None:
        (tmp_path / "p.fa").write_text(content)
    with pytest.raises(DataError, match=message):
        read_fasta(tmp_path / "p.fa")


def test_folders_that_hold_no_esm_model_are_refused(tmp_path, model):
    with pytest.raises(ConfigError, match=r"features\.embedding\.model: .* can't be loaded"):
        encoder(str(tmp_path))
    for file in Path(model).iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    weights = safetensors.numpy.load_file(tmp_path / "model.safetensors")
    weights.pop(next(name for name in weights if "key.weight" in name))
    safetensors.numpy.save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(ConfigError, match="1 weights missing"):
        encoder(str(tmp_path))


def test_by_hand_it_embeds_the_genes_asked_for(tmp_path, model, capsys):
    fasta = write_fasta(tmp_path / "p.fa", proteins(20, 30, 40))
    out = tmp_path / "out.safetensors"
    given = ["--fasta", str(fasta), "--model", model, "--cache", str(tmp_path / "cache")]
    main([*given, "--genes", "G1", "--genes", "gone", "--out", str(out)])
    assert list(safetensors.numpy.load_file(out)) == ["G1"]
    assert "not in it: gone" in capsys.readouterr().out
    main([*given, "--out", str(out)])
    assert sorted(safetensors.numpy.load_file(out)) == ["G0", "G1", "G2"]


def test_a_killed_embedding_goes_on_to_the_same_bits(tmp_path, model):
    fasta = write_fasta(tmp_path / "p.fa", proteins(*range(700, 1000)))

    def command(cache: str, out: str) -> list[str]:
        run = [sys.executable, "-m", "workflow_scripts.embed_proteins", "--fasta", str(fasta)]
        where = ["--cache", str(tmp_path / cache), "--out", str(tmp_path / out)]
        return [*run, "--model", model, "--device", "cpu", *where]

    subprocess.run(command("whole", "whole.safetensors"), check=True, capture_output=True)
    killed = subprocess.Popen(command("killed", "killed.safetensors"))
    while not list((tmp_path / "killed").glob("*/*.npy")):
        assert killed.poll() is None
        time.sleep(0.01)
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()
    kept = len(list((tmp_path / "killed").glob("*/*.npy")))
    assert kept < 300
    assert not (tmp_path / "killed.safetensors").exists()
    again = subprocess.run(
        command("killed", "killed.safetensors"), check=True, capture_output=True, text=True
    )
    assert f"300 proteins, {300 - kept} to embed" in again.stdout
    whole = (tmp_path / "whole.safetensors").read_bytes()
    assert (tmp_path / "killed.safetensors").read_bytes() == whole


def test_facts_of_the_embedding_stand_in_the_file(tmp_path, model):
    fasta = write_fasta(tmp_path / "p.fa", proteins(20))
    out = tmp_path / "out.safetensors"
    where = ["--out", str(out), "--cache", str(tmp_path / "cache")]
    main(["--fasta", str(fasta), "--model", model, "--window", "64", *where])
    with safetensors.safe_open(out, "numpy") as file:
        facts = json.loads(file.metadata()["embedding"])
    assert facts["model"] == model
    assert facts["window"] == 64
    assert len(facts["fasta_sha256"]) == 64
