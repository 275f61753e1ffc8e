"""The folder of a simulated screen: written whole, and never over somebody's own data."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import anndata
import h5py
import numpy as np
import pandas as pd
import torch

from workflow_scripts.cells.simulation import (
    CONTROL,
    SimulatedContext,
    SimulatedScreen,
    SimulationSettings,
)
from workflow_scripts.errors import DataError

FEATURES = "ESM2_like_features.pt"
SPLITS = "starter.toml"
README = "README.txt"

# In every file, so that a copy alone still says what it is; how the folder knows its own files.
MARK = "Simulated data, made by Stateline's simulate_demo. No cell was measured."
# torch.load reads the records that it knows and passes by others.
_MARK_RECORD = "features/simulated.txt"


def check_folder(folder: Path, contexts: Sequence[str]) -> None:
    """Check that a folder holds nothing but what an earlier simulation left there.

    Parameters
    ----------
    folder
        May be missing or empty.
    contexts
        Names of the contexts about to be written.

    Raises
    ------
    DataError
        The path is no folder, or holds a file that no simulation wrote.
    """
    if not folder.exists():
        return
    if not folder.is_dir():
        raise DataError(f"{folder}: a file is there; name a folder for the simulated screen")
    own = {f"{context}.h5ad" for context in contexts} | {FEATURES, SPLITS, README}
    partial = {_partial(folder / name).name for name in own}
    foreign = sorted(
        path.name
        for path in folder.iterdir()
        if path.name not in partial and not (path.name in own and _is_marked(path))
    )
    if foreign:
        raise DataError(
            f"{folder}: holds files that simulate_demo did not make ({', '.join(foreign[:10])}), "
            "and they may be somebody's data; nothing was written. Name another folder, or move "
            "them away"
        )


def write_screen(screen: SimulatedScreen, settings: SimulationSettings, folder: Path) -> None:
    """Write a screen as h5ad files, a feature file, a split file and a README.

    Each file is written whole or not at all; earlier simulated files are replaced.

    Raises
    ------
    DataError
        The folder holds files that no simulation wrote.
    """
    check_folder(folder, [context.name for context in screen.contexts])
    folder.mkdir(parents=True, exist_ok=True)
    for context in screen.contexts:
        _write(folder / f"{context.name}.h5ad", _h5ad_writer(screen, context, settings.seed))
    _write(folder / FEATURES, lambda path: _write_features(path, screen))
    _write(folder / SPLITS, lambda path: _write_text(path, render_splits(screen, settings, folder)))
    _write(folder / README, lambda path: _write_text(path, render_readme(screen, settings)))


def render_splits(screen: SimulatedScreen, settings: SimulationSettings, folder: Path) -> str:
    """Write the split file: the last context keeps some perturbations for test and validation."""
    held_in = screen.contexts[-1].name
    # A JSON string or list of strings is a TOML one too.
    lists = "\n".join(f"{split} = {json.dumps(names)}" for split, names in screen.held_out.items())
    files = json.dumps(f"{folder.as_posix()}/*.h5ad", ensure_ascii=False)
    return f"""# {MARK}
# Seed {settings.seed}. Paths are relative to the folder that Snakemake runs in.

[datasets]
simulated = {files}

# All contexts train, but for what is held out below.
[training]
simulated = "train"

# Weak and strong perturbations alike. The other contexts have them for training: the question is
# how a known perturbation acts in a context where it was not seen.
[fewshot."simulated.{held_in}"]
{lists}
"""


def render_readme(screen: SimulatedScreen, settings: SimulationSettings) -> str:
    """Write what the folder holds, for a person who comes across it."""
    names = ", ".join(f"{context.name}.h5ad" for context in screen.contexts)
    return f"""{MARK}

Made with: python -m workflow_scripts.simulate_demo, seed {settings.seed},
{settings.n_cells} cells, {settings.n_genes} genes, {settings.n_perturbations} perturbations.
The model behind it: workflow_scripts/cells/simulation.py.

{names}
    One context each: raw counts; obs has target_gene, cell_type and batch_var; the control is
    {CONTROL}.
{FEATURES}
    A vector a perturbation and one for the control, drawn at random and made to drive the effects.
    No protein was embedded.
{SPLITS}
    The split: which perturbations of {screen.contexts[-1].name} are held out.

Nothing here says anything about a real gene. The folder can be deleted and made again.
"""


def _h5ad_writer(
    screen: SimulatedScreen, context: SimulatedContext, seed: int
) -> Callable[[Path], None]:
    cells = anndata.AnnData(
        X=context.counts,
        obs=context.obs,
        var=pd.DataFrame(index=np.array(screen.genes)),
        uns={"simulated": f"{MARK} Seed {seed}."},
    )
    return lambda path: cells.write_h5ad(path)


def _write_features(path: Path, screen: SimulatedScreen) -> None:
    tensors = {name: torch.from_numpy(vector) for name, vector in screen.features.items()}
    with path.open("wb") as file:
        torch.save(tensors, file)
    with zipfile.ZipFile(path, "a") as archive:
        root = archive.namelist()[0].partition("/")[0]
        archive.writestr(zipfile.ZipInfo(f"{root}/{_MARK_RECORD}"), MARK)


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def _partial(path: Path) -> Path:
    """Name the file that becomes ``path`` once it is whole."""
    return path.with_name(f".{path.name}.partial")


def _write(path: Path, writer: Callable[[Path], None]) -> None:
    partial = _partial(path)
    writer(partial)
    partial.replace(path)


def _is_marked(path: Path) -> bool:
    """Tell whether a file carries the mark of a simulation."""
    if not path.is_file():
        return False
    try:
        if path.suffix == ".h5ad":
            with h5py.File(path, "r") as file:
                return "uns/simulated" in file
        if path.suffix == ".pt":
            with zipfile.ZipFile(path) as archive:
                return any(name.endswith(f"/{_MARK_RECORD}") for name in archive.namelist())
        with path.open(encoding="utf-8") as file:
            return file.readline().strip("# \n") == MARK
    except (OSError, UnicodeDecodeError, zipfile.BadZipFile):
        return False
