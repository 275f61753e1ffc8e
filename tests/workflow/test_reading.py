"""Each stage reads exactly the keys that the schema gives it: a real run, with a spy on reading.

What that run leaves has the columns that docs/data.md lists.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import pandas as pd
import pytest

from tests.pages import quoted, section, table
from tests.stages import Stages
from tests.tiny_run import write_tiny_run
from workflow_scripts.cells.run_cells import cells_json, datasets_of
from workflow_scripts.settings.runs import resolve_run
from workflow_scripts.settings.schema import KEYS
from workflow_scripts.settings.slices import Slice, read_settings
from workflow_scripts.settings.stages import SLICES

ROOT = Path(__file__).parents[2]
SCHEMA = {stage: {key.path for key in KEYS.values() if stage in key.stages} for stage in SLICES}
# Named by the cells stage's own JSON as the files that they lead to, not by these keys.
RESOLVED_BEFORE = {"cells.datasets"}
BACKBONE = "model.kwargs.transformer_backbone_kwargs."
LLAMA = [
    "use_wandb=true",
    "+data.kwargs.val_subsample_fraction=1.0",
    "model.kwargs.batch_encoder=true",
    f"+{BACKBONE}bidirectional_attention=true",
    "genes.select=hvg",
    "genes.n_top=12",
    "prediction.submission=vcc2025",
]
GPT2 = [
    *("model=pertsets", "model.kwargs.cell_set_len=4", "model.kwargs.hidden_dim=16"),
    *(f"{BACKBONE}n_layer=1", f"{BACKBONE}n_head=2", f"+{BACKBONE}n_inner=16"),
    *(
        "+model.kwargs.dropout=0.2",
        "+training.gradient_accumulation_steps=2",
        "+model.kwargs.mmd_num_chunks=2",
    ),
    *("+model.kwargs.use_batch_token=true", "data.kwargs.basal_mapping_strategy=batch"),
    # What the tiny run says of a llama.
    *(f"~{BACKBONE}{name}" for name in ("intermediate_size", "num_hidden_layers", "head_dim")),
    *(f"~{BACKBONE}{name}" for name in ("num_attention_heads", "num_key_value_heads")),
]
COUNTS = [
    *("prediction.output=counts", "prediction.cells=direct", "prediction.targets=want.csv"),
    *("prediction.cells_per_target=4", "evaluation.profile=pds"),
]


class Watched(Stages):
    """Stages that note who reads what."""

    def __init__(self, folder: Path, overrides: list[str]) -> None:
        self.read: dict[str, set[str]] = {stage: set() for stage in SLICES}
        super().__init__(folder / "run.yaml", overrides)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Watched]]:
    """Return runs that were carried out: a llama's, one of counts, and a GPT2's training.

    The GPT2 reads an embedding. The run of counts lists what it predicts, too.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WANDB_MODE", "offline")
        patch.setenv("WANDB_SILENT", "true")
        current: list[Watched] = []
        original = Slice.__getitem__

        def noting(self: Slice, path: str) -> Any:
            value = original(self, path)
            current[-1].read[current[-1].stage].add(path)
            return value

        patch.setattr(Slice, "__getitem__", noting)
        for name, overrides in (("llama", LLAMA), ("gpt2", GPT2), ("counts", COUNTS)):
            folder = tmp_path_factory.mktemp(name)
            write_tiny_run(folder, embedding=("X_pca", 9) if name == "gpt2" else None)
            patch.chdir(folder)
            Path("want.csv").write_text("perturbation\ng1\n")
            current.append(Watched(folder, overrides))
            current[-1].check()
            current[-1].pack()
            current[-1].train()
            if name != "gpt2":
                current[-1].rest()
        yield current


@pytest.mark.parametrize("stage", SLICES)
def test_a_stage_reads_all_the_keys_that_name_it_and_no_others(
    stage: str, runs: list[Watched]
) -> None:
    read = set().union(*(run.read[stage] for run in runs))
    assert sorted(read) == sorted(SCHEMA[stage] - RESOLVED_BEFORE)


def test_no_inert_key_is_read_by_anybody(runs: list[Watched]) -> None:
    read = set().union(*(paths for run in runs for paths in run.read.values()))
    assert [path for path in read if KEYS[path].kind == "inert"] == []


def test_every_other_key_names_its_readers() -> None:
    for key in KEYS.values():
        assert bool(key.stages) == (key.kind != "inert"), key.path
        assert set(key.stages) <= {*SLICES, "workflow"}, key.path
        assert bool(key.reason) == (key.kind == "inert"), key.path


@pytest.mark.parametrize("stage", SLICES)
def test_a_stage_can_not_read_any_other_key(stage: str, runs: list[Watched]) -> None:
    folder = runs[0].folder
    settings = read_settings(folder / f"stages/{stage}.json", folder / "config.yaml")
    for key in KEYS.values():
        if stage not in key.stages:
            with pytest.raises(KeyError, match="no key of this stage"):
                settings[key.path]


WRITTEN = {
    "cells.parquet": "cache/cells/tiny/*/cells.parquet",
    "metrics.tsv": "metrics.out",
    "effects.parquet": "effects.out",
    "metrics_per_perturbation.parquet": "per_perturbation.parquet",
}
"""Where the stages here write files that lie elsewhere in a workflow."""


@pytest.mark.parametrize(
    ("file", "columns"), [(quoted(row[0])[0], quoted(row[2])) for row in table("data.md", "Tables")]
)
def test_tables_have_the_columns_that_the_page_lists(
    file: str, columns: list[str], runs: list[Watched]
) -> None:
    (path,) = runs[0].folder.glob(WRITTEN.get(file, file))
    read = (
        pd.read_parquet if file.endswith(".parquet") else functools.partial(pd.read_csv, sep="\t")
    )
    written = list(read(path).columns)
    # Of highly variable genes, scanpy's own columns follow.
    assert written[: len(columns) if file == "genes.tsv" else None] == columns


@pytest.mark.parametrize(
    ("file", "columns"),
    [(quoted(row[0])[0], quoted(row[1])) for row in table("data.md", "Files of cells")],
)
def test_files_of_cells_have_the_columns_that_the_page_lists(
    file: str, columns: list[str], runs: list[Watched]
) -> None:
    with h5py.File(runs[0].folder / file) as cells:
        assert sorted(cells["obs"].attrs["column-order"]) == sorted(columns)
        named = set(cells["uns/stateline"])
    text = section("data.md", "Files of cells")
    assert named <= set(quoted(text))


def test_the_workflow_reads_what_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_tiny_run(tmp_path)
    monkeypatch.chdir(tmp_path)
    named = {key.path for key in KEYS.values() if "workflow" in key.stages}
    assert named == {"name", "output_dir"}
    run = resolve_run(ROOT / "config", "run.yaml", ["name=a", "output_dir=b"])
    assert run.folder == "b/a"


def test_files_of_the_cells_are_found_through_either_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tiny_run(tmp_path)
    monkeypatch.chdir(tmp_path)
    by_toml = resolve_run(ROOT / "config", "run.yaml", [])
    by_key = resolve_run(ROOT / "config", "run.yaml", ["cells.datasets={screen: screen.h5ad}"])
    assert cells_json(by_toml) == cells_json(by_key)
    (tmp_path / "other.h5ad").write_bytes(b"")
    other = resolve_run(ROOT / "config", "run.yaml", ["cells.datasets={screen: other.h5ad}"])
    assert cells_json(other) != cells_json(by_key)
    assert datasets_of(by_toml) == {"screen": ["screen.h5ad"]}
