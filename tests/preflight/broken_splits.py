"""Broken split files, and leaks."""

from __future__ import annotations

import anndata
import numpy as np

from tests.preflight.broken import Broken, nothing
from tests.preflight.good_run import Inputs


def toml(old: str, new: str):
    return lambda inputs: inputs.toml(old, new)


def renamed_copies(inputs: Inputs, label: str) -> None:
    """Put copies of the first three g2 cells among the cells of another perturbation."""

    def change(adata: anndata.AnnData) -> anndata.AnnData:
        copies = adata[np.flatnonzero(adata.obs["gene"] == "g2")[:3]].copy()
        copies.obs_names = [f"copy-{number}" for number in range(3)]
        copies.obs["gene"] = label
        return anndata.concat([adata, copies])

    inputs.edit(change)


def copied_into_the_first(inputs: Inputs) -> None:
    held_out = anndata.read_h5ad(inputs.second)
    held_out = held_out[held_out.obs["gene"] == "g3"].copy()
    held_out.X = held_out.X.toarray()
    held_out.obs = held_out.obs.astype(object)
    held_out.obs["cell_type"] = "k562"
    inputs.edit(lambda adata: anndata.concat([adata, held_out]), inputs.first)


TWO_DATASETS = (
    'screen = "{0}/screen_*.h5ad"',
    'screen = "{0}/screen_k562.h5ad"\nother = "{0}/screen_rpe1.h5ad"',
)


def same_context_in_two_datasets(inputs: Inputs) -> None:
    inputs.label("cell_type", "rpe1", "k562")
    inputs.toml(*(text.format(inputs.folder.name) for text in TWO_DATASETS))
    inputs.toml("screen.rpe1", "screen.k562")
    inputs.toml('screen = "train"', 'screen = "train"\nother = "train"')


CASES = {
    "splits: no such file": Broken(
        lambda inputs: (inputs.folder / "starter.toml").unlink(),
        "split-file",
        ("starter.toml: no such split file", "data.kwargs.toml_config_path names it"),
    ),
    "splits: none named": Broken(
        lambda inputs: inputs.data(toml_config_path=None),
        "no-datasets",
        ("no dataset is named", "data.kwargs.toml_config_path", "cells.datasets"),
    ),
    "splits: not TOML": Broken(
        toml('screen = "train"', "screen = train"),
        "split-file",
        ("starter.toml: not a readable TOML file", "line 6"),
    ),
    "splits: unknown section": Broken(
        toml("[fewshot.", "[few_shot."),
        "split-file",
        ("starter.toml: unknown section [few_shot]", "[fewshot]"),
    ),
    "splits: name without quotes": Broken(
        toml('[fewshot."screen.rpe1"]', "[fewshot.screen.rpe1]"),
        "split-file",
        ('write the name in quotes, [fewshot."screen.rpe1"]',),
    ),
    "splits: training says something else": Broken(
        toml('screen = "train"', 'screen = "test"'),
        "split-file",
        ("[training] screen is 'test'; it can only be \"train\"",),
    ),
    "splits: unknown split": Broken(
        toml("[fewshot", '[zeroshot]\n"screen.k562" = "tset"\n[fewshot'),
        "split-file",
        ("[zeroshot] screen.k562 is 'tset'; it can be train, val, test",),
    ),
    "splits: list named wrongly": Broken(
        toml("val = ", "validation = "),
        "split-file",
        ("validation: no such split; there are val and test",),
    ),
    "splits: typo in the dataset that trains": Broken(
        toml('screen = "train"', 'scren = "train"'),
        "unknown-dataset",
        ("[training] scren: the data has no dataset 'scren'; did you mean 'screen'?",),
    ),
    "splits: typo in a few-shot context": Broken(
        toml("screen.rpe1", "screen.RPE1"),
        "unknown-context",
        ("the data has no context 'screen.RPE1'; did you mean 'screen.rpe1'?", "screen.k562"),
    ),
    "splits: typo in a zero-shot context": Broken(
        toml("[fewshot", '[zeroshot]\n"screen.k652" = "test"\n[fewshot'),
        "unknown-context",
        ('[zeroshot] "screen.k652"', "did you mean 'screen.k562'?"),
    ),
    "splits: typo in a held-out perturbation": Broken(
        toml('"g3"', '"g33"'),
        "unknown-perturbation",
        ("[fewshot.\"screen.rpe1\"] test: the data has no perturbation 'g33'", "'g3'?"),
    ),
    "splits: held-out perturbation in another case": Broken(
        toml('"g3"', '"G3"'), "unknown-perturbation", ("no perturbation 'G3'", "g3")
    ),
    "splits: control held out": Broken(
        toml('val = ["g1"]', 'val = ["control"]'),
        "control-held-out",
        ("names the control 'control'", "take it out of the list"),
    ),
    "splits: in val and in test": Broken(
        toml('val = ["g1"]', 'val = ["g1", "g2"]'),
        "val-and-test",
        ("names g2 both in val and in test", "splits.overlap=test_wins"),
    ),
    "splits: held out and trained": Broken(
        toml('val = ["g1"]', 'val = ["g1"]\ntrain = ["g3", "g5"]'),
        "split-file",
        ("train names g3, which val or test names too",),
    ),
    "splits: no validation": Broken(
        toml('val = ["g1"]\n', ""),
        "empty-val",
        ("starter.toml: the val split is empty", "splits.validation=from_train"),
    ),
    "splits: nothing tested": Broken(
        toml('test = ["g2", "g3", "g4"]\n', ""),
        "empty-test",
        ("the test split is empty", "splits.make", "splits.test=none"),
    ),
    "splits: nothing trains": Broken(
        toml("[fewshot", '[zeroshot]\n"screen.k562" = "test"\n"screen.rpe1" = "val"\n[fewshot'),
        "empty-train",
        ("the train split is empty", "[training]"),
    ),
    "splits: no validation without a test": Broken(
        toml('val = ["g1"]\n', ""), "empty-val", ("from_train",), ("splits.test=none",)
    ),
    "splits: typo in a context to draw from": Broken(
        nothing,
        "unknown-context",
        ("splits.make.contexts: the data has no context 'screen.k526'", "screen.k562"),
        ("splits.make.contexts=[screen.k526]",),
    ),
    "splits: drawn and named": Broken(
        nothing,
        "made-and-named",
        ("splits.make.contexts names 'screen.rpe1'", "starter.toml", "take it out of one"),
        ("splits.make.contexts=[screen.rpe1]",),
    ),
    "splits: pattern matches no file": Broken(
        toml("screen_*", "scren_*"),
        "no-files",
        ("dataset screen: /", "scren_*.h5ad matches no file", "[datasets]"),
    ),
    "splits: one of the alternatives is missing": Broken(
        toml("screen_*", "screen_{k562,hepg2}"),
        "file",
        ("screen_hepg2.h5ad: no such file", "[datasets]"),
    ),
    "splits: one file in two datasets": Broken(
        lambda inputs: inputs.toml(
            f'screen = "{inputs.folder.name}/screen_*.h5ad"',
            f'screen = "{inputs.folder.name}/screen_*.h5ad"\n'
            f'again = "{inputs.folder.name}/screen_k562.h5ad"',
        ),
        "file-in-two-datasets",
        ("screen_k562.h5ad: belongs to dataset again and to dataset screen",),
    ),
    "splits: tested here and trained there": Broken(
        same_context_in_two_datasets,
        "tested-and-trained",
        ("tested in one dataset and trained on in another: k562/g2, k562/g3, k562/g4",),
    ),
    "leak: held-out cells among another perturbation's": Broken(
        lambda inputs: renamed_copies(inputs, "g5"),
        "held-out-cells-train",
        ("3 held-out cells are among the training cells under another name", "copy-0"),
    ),
    "leak: held-out cells among the controls": Broken(
        lambda inputs: renamed_copies(inputs, "control"),
        "held-out-cells-train",
        ("rpe1/g2, test", "rpe1/control", "remove the copies"),
    ),
    "leak: a held-out perturbation in another file": Broken(
        copied_into_the_first,
        "held-out-cells-train",
        ("12 held-out cells are among the training cells", "screen_k562.h5ad"),
    ),
}
