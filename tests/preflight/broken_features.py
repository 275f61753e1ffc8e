"""Broken feature files."""

from __future__ import annotations

import anndata
import numpy as np
import pandas as pd
import torch
from safetensors.torch import save_file

from tests.preflight.broken import Broken
from tests.preflight.good_run import Inputs, good_vectors


class Code:
    """Pickled code: loading it would call print."""

    def __reduce__(self):
        return print, ("this code ran",)


def saved(content: object):
    return lambda inputs: torch.save(content, inputs.folder / "features.pt")


def other_file(name: str, write) -> object:
    def spoil(inputs: Inputs) -> None:
        write(inputs.folder / name)
        inputs.data(perturbation_features_file=f"{inputs.folder.name}/{name}")

    return spoil


def frame(drop: tuple[str, ...] = (), twice: tuple[str, ...] = ()) -> pd.DataFrame:
    rows = {name: vector.numpy() for name, vector in good_vectors().items() if name not in drop}
    table = pd.DataFrame.from_dict(rows, orient="index")
    return pd.concat([table, table.loc[list(twice)] + 1])


def cut(inputs: Inputs) -> None:
    path = inputs.folder / "features.pt"
    path.write_bytes(path.read_bytes()[:-200])


def cut_safetensors(path):
    save_file(good_vectors(), path)
    path.write_bytes(path.read_bytes()[:-8])


def objects(path):
    np.savez(path, **{name: np.array([name, None], dtype=object) for name in good_vectors()})


def without(*names: str) -> dict[str, torch.Tensor]:
    return {name: vector for name, vector in good_vectors().items() if name not in names}


CASES = {
    "features: a perturbation is missing": Broken(
        lambda inputs: inputs.features(g2=None),
        "features-missing",
        (
            "features.pt: no vector for 1 of the data's 7 perturbations: g2",
            "features.missing=embed",
        ),
    ),
    "features: several are missing": Broken(
        saved(without("g2", "g5", "g6")),
        "features-missing",
        ("no vector for 3 of the data's 7 perturbations: g2, g5, g6", "add their vectors"),
    ),
    "features: the control is missing": Broken(
        lambda inputs: inputs.features(control=None),
        "features-missing",
        ("features.pt: no vector for", "control", "features.control=zeros or mean"),
    ),
    "features: another case": Broken(
        lambda inputs: inputs.features(g2=None, G2=torch.ones(5)),
        "features-missing",
        ("g2 (it has G2)", "features.aliases"),
    ),
    "features: a dash in the name": Broken(
        lambda inputs: inputs.features(g3=None, **{"g-3": torch.ones(5)}),
        "features-missing",
        ("g3 (it has g-3)",),
    ),
    "features: combination without a rule": Broken(
        lambda inputs: inputs.label("gene", "g6", "g1+g5"),
        "features-combinations",
        ("combinations without a vector of their own: g1+g5", "features.combinations=sum or mean"),
    ),
    "features: code in the file": Broken(
        saved({"g1": Code()}),
        "features-unreadable",
        ("features.pt: refused, since reading it could run code",),
    ),
    "features: no vectors": Broken(saved({}), "features-empty", ("features.pt: holds no vectors",)),
    "features: numbers as keys": Broken(
        saved(dict(enumerate(good_vectors().values()))),
        "features-names",
        ("features.pt", "keys are not text", "the keys must be the perturbations' names"),
    ),
    "features: unequal lengths": Broken(
        lambda inputs: inputs.features(g2=torch.ones(3)),
        "features-lengths",
        ("most have 5 values, these do not: g2 [3]", "embed them all with one model"),
    ),
    "features: whole numbers": Broken(
        saved({name: torch.arange(5) for name in good_vectors()}),
        "features-type",
        ("features.pt", "g1 (torch.int64)", "save a floating tensor"),
    ),
    "features: NaN": Broken(
        lambda inputs: inputs.features(g4=torch.tensor([1.0, np.nan, 0, 0, 0])),
        "features-not-finite",
        ("vectors with NaN or infinite values: g4", "embed them anew"),
    ),
    "features: zeros": Broken(
        lambda inputs: inputs.features(g4=torch.zeros(5)),
        "features-zero",
        ("vectors of zeros", "g4", "features.missing"),
    ),
    "features: a list": Broken(
        saved(list(good_vectors().values())),
        "features-unreadable",
        ("features.pt", "list"),
    ),
    "features: one dictionary inside another": Broken(
        saved({"embeddings": good_vectors()}),
        "features-type",
        ("features.pt", "embeddings (dict of 7", "must be saved by itself"),
    ),
    "features: cut off": Broken(cut, "features-unreadable", ("features.pt",)),
    "features: a pointer in place of the file": Broken(
        lambda inputs: (inputs.folder / "features.pt").write_text(
            "version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 400\n"
        ),
        "features-unreadable",
        ("features.pt",),
    ),
    "features: no such file": Broken(
        lambda inputs: inputs.data(perturbation_features_file="features.pth"),
        "features-unreadable",
        ("features.pth: no such file", "data.kwargs.perturbation_features_file"),
    ),
    "features: safetensors cut off": Broken(
        other_file("features.safetensors", cut_safetensors),
        "features-unreadable",
        ("features.safetensors",),
    ),
    "features: npz of objects": Broken(
        other_file("features.npz", objects), "features-unreadable", ("features.npz",)
    ),
    "features: csv lacks one": Broken(
        other_file("features.csv", lambda path: frame(drop=("g2",)).to_csv(path)),
        "features-missing",
        ("features.csv: no vector for 1 of the data's 7 perturbations: g2",),
    ),
    "features: csv has one twice": Broken(
        other_file("features.csv", lambda path: frame(twice=("g2",)).to_csv(path)),
        "features-repeated",
        ("features.csv", "g2"),
    ),
    "features: parquet lacks one": Broken(
        other_file("features.parquet", lambda path: frame(drop=("g3",)).to_parquet(path)),
        "features-missing",
        ("features.parquet: no vector for 1 of the data's 7 perturbations: g3",),
    ),
    "features: h5ad lacks one": Broken(
        other_file(
            "features.h5ad",
            lambda path: anndata.AnnData(frame(drop=("g4",)).astype("float32")).write_h5ad(path),
        ),
        "features-missing",
        ("features.h5ad: no vector for 1 of the data's 7 perturbations: g4",),
    ),
    "features: the second file lacks one": Broken(
        lambda inputs: (
            torch.save(without("g2"), inputs.folder / "more.pt"),
            inputs.data(
                perturbation_features_file=[
                    f"{inputs.folder.name}/features.pt",
                    f"{inputs.folder.name}/more.pt",
                ]
            ),
        ),
        "features-missing",
        ("more.pt: no vector for 1 of the data's 7 perturbations: g2",),
    ),
}
