"""Two invocations at once, in folders of their own, share one cache undisturbed."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.snakemake_runs import snakemake
from tests.tiny_run import TOML, write_tiny_run
from workflow_scripts.cells.manifest import Manifest


def test_two_at_once_pack_once_and_both_have_the_cells(tmp_path):
    data, shared = tmp_path / "data", tmp_path / "shared"
    data.mkdir()
    paths = {"toml_config_path": "starter.toml", "perturbation_features_file": "features.pt"}
    run_file = write_tiny_run(data, **{key: str(data / name) for key, name in paths.items()})
    # The same files by the same paths, from wherever they are asked for.
    screen = str(data / "screen.h5ad")
    (data / "starter.toml").write_text(
        TOML.replace('screen = "screen.h5ad"', f'screen = "{screen}"')
    )
    folders = [tmp_path / name for name in ("first", "second")]

    def start(folder: Path) -> list[str]:
        folder.mkdir()
        config = (f"runs={run_file}", f"cache_dir={shared}")
        return snakemake(folder, "--until", "pack_cells", "--config", *config).jobs

    with ThreadPoolExecutor() as pool:
        jobs = list(pool.map(start, folders))
    expected = ["freeze_cells", "audit_cells", "pack_cells"]
    assert [sorted(names) for names in jobs] == [sorted(expected)] * 2
    # No rule declares anything in the shared folder: nothing there is deleted before a job.
    (cells,) = (shared / "cells").iterdir()
    (work,) = (path for path in cells.iterdir() if path.is_dir())
    assert {path.name for path in cells.iterdir()} == {work.name, "known_digests.json"}
    for folder in folders:
        (path,) = folder.glob("cache/cells/*/manifest.json")
        manifest = Manifest.read(path)
        assert manifest.folder == work
        assert list(manifest.faults(anew=True)) == []
