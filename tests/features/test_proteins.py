"""A protein's vector is the model's own mean over residues, whatever it is embedded with."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import safetensors.numpy
import torch
from transformers import EsmConfig, EsmModel, EsmTokenizer

from tests.tiny_esm import write_fasta, write_tiny_esm
from workflow_scripts.embed_proteins import embed_proteins
from workflow_scripts.errors import ConfigError, DataError
from workflow_scripts.features.embedding import ProteinEncoder, embed_cached
from workflow_scripts.features.proteins import windows

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


def test_what_was_embedded_is_read_and_another_model_is_not(model, tmp_path):
    sequences = proteins(20, 30)
    first = embed_cached({"G0": sequences["G0"]}, encoder(model), tmp_path)
    (kept,) = tmp_path.glob("*/*.npy")
    np.save(kept, first["G0"] + 1)
    (kept.parent / ".digests" / kept.name).unlink()
    again = embed_cached(sequences, encoder(model), tmp_path)
    np.testing.assert_array_equal(again["G0"], first["G0"] + 1)
    other = embed_cached(sequences, encoder(model, window=64), tmp_path)
    np.testing.assert_array_equal(other["G0"], first["G0"])


def test_embedded_protein_whose_file_is_damaged_is_embedded_again(model, tmp_path):
    sequences = proteins(20)
    first = embed_cached(sequences, encoder(model), tmp_path)
    (kept,) = tmp_path.glob("*/*.npy")
    for damaged in (first["G0"] + 1, first["G0"][:2]):
        np.save(kept, damaged)
        again = embed_cached(sequences, encoder(model), tmp_path)
        np.testing.assert_array_equal(again["G0"], first["G0"])


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


@pytest.fixture
def copied(model, tmp_path) -> Path:
    return shutil.copytree(model, tmp_path / "copy")


def cut_weights(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-99])


def narrow_weights(folder: Path) -> None:
    weights = safetensors.numpy.load_file(folder / "model.safetensors")
    name = next(name for name in weights if "key.weight" in name)
    weights[name] = weights[name][:5]
    safetensors.numpy.save_file(weights, folder / "model.safetensors", {"format": "pt"})


def drop_tokens(folder: Path) -> None:
    for file in folder.glob("*token*"):
        file.unlink()
    (folder / "vocab.txt").unlink()


def pickle_code(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    torch.save({"weights": Code()}, folder / "pytorch_model.bin")


class Code:
    """Unpickling it would print."""

    def __reduce__(self):
        return print, ("this code ran",)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (cut_weights, "incomplete metadata"),
        (narrow_weights, "ignore_mismatched_sizes"),
        (drop_tokens, "can't be loaded"),
        (pickle_code, "its weights are a pickle that could run code; it needs model.safetensors"),
    ],
)
def test_spoiled_models_are_refused_in_words(copied, capsys, spoil, says):
    spoil(copied)
    with pytest.raises(ConfigError, match=rf"features\.embedding\.model: .*{says}"):
        encoder(str(copied))
    assert "this code ran" not in capsys.readouterr().out


def test_a_window_that_holds_nothing_or_too_much_is_refused(model, copied):
    with pytest.raises(ConfigError, match="window is 0; it must be at least 1"):
        encoder(model, window=0)
    config = json.loads((copied / "config.json").read_text())
    config |= {"position_embedding_type": "absolute", "max_position_embeddings": 104}
    EsmModel(EsmConfig(**config), add_pooling_layer=False).save_pretrained(copied)
    with pytest.raises(ConfigError, match=r"window is 101, but .* sees no more than 100 residues"):
        encoder(str(copied), window=101)
    ((_, vector),) = encoder(str(copied), window=100).embed(["A" * 100])
    assert np.isfinite(vector).all()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_gpu_that_is_not_there_is_named(model):
    with pytest.raises(ConfigError, match="--device cuda: torch finds no GPU"):
        ProteinEncoder(model, "cuda", "32-true", 1022)


def test_a_model_that_gives_no_numbers_is_refused_and_nothing_is_kept(copied, tmp_path):
    weights = safetensors.numpy.load_file(copied / "model.safetensors")
    name = next(name for name in weights if "key.weight" in name)
    weights[name] = weights[name] * np.float32(np.nan)
    safetensors.numpy.save_file(weights, copied / "model.safetensors", {"format": "pt"})
    with pytest.raises(ConfigError, match="gives NaN or infinite values for TP53"):
        embed_cached({"TP53": "MEEPQSD"}, encoder(str(copied)), tmp_path / "cache")
    assert not list((tmp_path / "cache").glob("*/*.npy"))


def test_by_hand_it_embeds_the_genes_asked_for(tmp_path, model, capsys):
    fasta = write_fasta(tmp_path / "p.fa", proteins(20, 30, 40))
    out = tmp_path / "out.safetensors"
    given = [str(fasta), model, "--cache", str(tmp_path / "cache")]
    embed_proteins([*given, "--genes", "G1", "gone", "--out", str(out)])
    assert list(safetensors.numpy.load_file(out)) == ["G1"]
    assert "not in it: gone" in capsys.readouterr().out
    embed_proteins([*given, "--out", str(out)])
    assert sorted(safetensors.numpy.load_file(out)) == ["G0", "G1", "G2"]
    with pytest.raises(DataError, match=r"p\.fa: has none of the genes asked for"):
        embed_proteins([*given, "--genes", "g-1", "--out", str(out)])
    assert "not in it: g-1 (it has G1)" in capsys.readouterr().out


@pytest.mark.parametrize("name", [str.encode, np.str_, str])
def test_of_a_run_it_embeds_what_the_file_lacks_whatever_its_keys_are(tmp_path, model, name):
    torch.save({name("G0"): torch.ones(16), name("control"): torch.ones(16)}, tmp_path / "f.pt")
    write_fasta(tmp_path / "p.fa", {**proteins(20, 30), "SEPTIN2": "MEEPQSD"})
    settings = {
        "data.kwargs.perturbation_features_file": str(tmp_path / "f.pt"),
        "features.missing": "embed",
        "features.control": "given",
        "features.combinations": "error",
        "features.aliases": {},
        "features.stand_in": False,
        "features.embedding.model": model,
        "features.embedding.fasta": str(tmp_path / "p.fa"),
        "features.embedding.window": 64,
        "features.embedding.precision": "32-true",
    }
    stage = {"stage": "features", "identity": settings, "extent": {}}
    (tmp_path / "features.json").write_text(json.dumps(stage))
    (tmp_path / "cells_audit.json").write_text(json.dumps({"control": "control"}))
    labels = ["G0", "G1", "SEPT2", "control"]
    pd.DataFrame({"perturbation": labels}).to_parquet(tmp_path / "groups.parquet")
    given = {"settings": "features.json", "groups": "groups.parquet", "cache": "cache"}
    given |= {"cells-audit": "cells_audit.json", "out": "out.safetensors"}
    paths = {key: str(tmp_path / file) for key, file in given.items()}
    arguments = [part for key, path in paths.items() for part in (f"--{key}", path)]
    embed_proteins(arguments)
    with safetensors.safe_open(tmp_path / "out.safetensors", "numpy") as file:
        assert list(file.keys()) == ["G1"]
        facts = json.loads(file.metadata()["embedding"])
    assert facts["likely"] == {"SEPT2": "SEPTIN2"}
    # Where the file has everything, nothing is embedded, and nothing is wrong.
    pd.DataFrame({"perturbation": ["G0", "control"]}).to_parquet(tmp_path / "groups.parquet")
    embed_proteins(arguments)
    with safetensors.safe_open(tmp_path / "out.safetensors", "numpy") as file:
        assert not list(file.keys())
        assert "problem" not in json.loads(file.metadata()["embedding"])


def test_a_killed_embedding_goes_on_to_the_same_bits(tmp_path, model, capsys):
    fasta = write_fasta(tmp_path / "p.fa", proteins(*range(700, 750)))

    def arguments(cache: str, out: str) -> list[str]:
        where = ["--cache", str(tmp_path / cache), "--out", str(tmp_path / out)]
        return [str(fasta), model, "--device", "cpu", *where]

    embed_proteins(arguments("whole", "whole.safetensors"))
    command = [sys.executable, "-m", "workflow_scripts.embed_proteins"]
    killed = subprocess.Popen([*command, *arguments("killed", "killed.safetensors")])
    while not list((tmp_path / "killed").glob("*/*.npy")):
        assert killed.poll() is None
        time.sleep(0.01)
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()
    kept = len(list((tmp_path / "killed").glob("*/*.npy")))
    assert kept < 50
    assert not (tmp_path / "killed.safetensors").exists()
    capsys.readouterr()
    embed_proteins(arguments("killed", "killed.safetensors"))
    assert f"50 proteins, {50 - kept} to embed" in capsys.readouterr().out
    whole = (tmp_path / "whole.safetensors").read_bytes()
    assert (tmp_path / "killed.safetensors").read_bytes() == whole


def test_facts_of_the_embedding_stand_in_the_file(tmp_path, model):
    fasta = write_fasta(tmp_path / "p.fa", proteins(20))
    out = tmp_path / "out.safetensors"
    where = ["--out", str(out), "--cache", str(tmp_path / "cache")]
    embed_proteins([str(fasta), model, "--window", "64", *where])
    with safetensors.safe_open(out, "numpy") as file:
        facts = json.loads(file.metadata()["embedding"])
    assert facts["model"] == model
    assert facts["window"] == 64
    assert len(facts["fasta_sha256"]) == 64
