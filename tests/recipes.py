"""Tiny stand-ins of the data that the run files of config/runs are for.

Each has the layout of the real files: their paths, columns, labels and kinds of values, with fewer
cells, genes and perturbations. What a person has to prepare is prepared by the commands of
docs/recipes.md themselves.
"""

from __future__ import annotations

import itertools
import re
import shutil
import subprocess
import sys
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import scipy.sparse
import torch

from workflow_scripts import simulate_demo

ROOT = Path(__file__).parents[1]
RUNS = ROOT / "config" / "runs"
GENES = tuple(f"g{number}" for number in range(40))
TARGETS = GENES[1:13]
CONTROL = "non-targeting"
CELLS_PER_GROUP = 6

SUPPORT = Path("competition_support_set")
LINES = {
    "competition_train": "ARC_H1",
    "k562_gwps": "k562",
    "rpe1": "rpe1",
    "jurkat": "jurkat",
    "k562": "k562",
    "hepg2": "hepg2",
}
"""Files of the support set, and the context that each one's cells say."""

STARTER = """
[datasets]
replogle_h1 = "competition_support_set/{competition_train,k562_gwps,rpe1,jurkat,k562,hepg2}.h5"

[training]
replogle_h1 = "train"

[zeroshot]
"replogle_h1.hepg2" = "test"

[fewshot]
"""

DMSO = "[('DMSO_TF', 0.0, 'uM')]"
DRUGS = tuple(
    f"[('{name}', {dose}, 'uM')]"
    for name in ("Infigratinib", "Erdafitinib ", "Bestatin (hydrochloride)")
    for dose in (0.05, 0.5, 5.0)
)
HELD_OUT_LINES = ("C32", "HOP62", "HepG2/C3A", "Hs 766T", "PANC-1")


def write_cells(
    path: Path,
    labels: Mapping[str, Sequence[str]],
    *,
    genes: Sequence[str] = GENES,
    values: str = "counts",
    dense: bool = False,
) -> None:
    """Write an h5ad file with cells of every combination of the labels, obs column by column.

    ``values``: counts, log1p of normalised ones, or logged, of raw ones.
    """
    generator = np.random.default_rng(zlib.crc32(path.name.encode()))
    groups = list(itertools.product(*labels.values()))
    obs = pd.DataFrame(groups * CELLS_PER_GROUP, columns=list(labels))
    obs.index = [f"{path.stem}-{number}" for number in range(len(obs))]
    matrix = generator.poisson(2.0, (len(obs), len(genes))).astype(np.float32)
    if values == "log1p":
        matrix *= 1e4 / matrix.sum(axis=1, keepdims=True)
    if values != "counts":
        matrix = np.log1p(matrix)
    path.parent.mkdir(parents=True, exist_ok=True)
    anndata.AnnData(
        matrix if dense else scipy.sparse.csr_matrix(matrix),
        obs.astype("category"),
        pd.DataFrame(index=list(genes)),
    ).write_h5ad(path)


def documented(heading: str, language: str) -> str:
    """Return the commands that docs/recipes.md has under a heading."""
    page = (ROOT / "docs" / "recipes.md").read_text()
    part = page.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    (block,) = re.findall(rf"```{language}\n(.*?)```", part, re.DOTALL)
    return str(block)


def write_features() -> None:
    """Write the vectors of the support set: those of genes, none of the control."""
    generator = torch.Generator().manual_seed(0)
    vectors = {name: torch.randn(8, generator=generator) for name in GENES}
    SUPPORT.mkdir(exist_ok=True)
    torch.save(vectors, SUPPORT / "ESM2_pert_features.pt")


def write_support_set() -> None:
    """Write the support set of 2025: H1's values are the logarithm of counts as they are."""
    write_features()
    for name, context in LINES.items():
        h1 = name == "competition_train"
        write_cells(
            SUPPORT / f"{name}.h5",
            {
                "target_gene": (CONTROL, *TARGETS[: 10 if h1 else 6]),
                "batch_var": ("batch_1", "batch_2"),
                "cell_type": (context,),
            },
            values="logged" if h1 else "log1p",
            dense=not h1,
        )
    (SUPPORT / "gene_names.csv").write_text("\n".join(GENES) + "\n")
    (SUPPORT / "starter.toml").write_text(STARTER)


def write_vcc2025() -> None:
    """Write the support set, and the targets of the validation round."""
    write_support_set()
    rows = "".join(f"{name},{20 + at},54551.0\n" for at, name in enumerate(GENES[20:24]))
    counts = SUPPORT / "pert_counts_Validation.csv"
    counts.write_text("target_gene,n_cells,median_umi_per_cell\n" + rows)
    command = documented("Virtual Cell Challenge 2025", "bash")
    subprocess.run(["bash", "-ec", command], check=True)


def write_vcc2026() -> None:
    """Write H1's counts, which lack two genes of the list, and the contexts' controls."""
    write_features()
    folder = Path("vcc2026")
    write_cells(
        folder / "adata_Training.h5ad",
        {
            "target_gene": (CONTROL, *TARGETS),
            "guide_id": ("first|second",),
            "batch": ("Flex_1_01", "Flex_1_02"),
        },
        genes=(*GENES[2:][::-1], "of_2025_alone"),
    )
    for name in "ABC":
        guides = tuple(f"non-targeting-{number:02}" for number in range(4))
        labels = {"context": (name,), "ntc_id": guides, "target_gene": (CONTROL,)}
        write_cells(folder / f"context_{name}.h5ad", labels)
    (folder / "gene_names.csv").write_text("\n".join(["gene_name", *GENES]) + "\n")
    (folder / "pert_counts.csv").write_text("\n".join(["target_gene", *GENES[20:24]]) + "\n")
    command = documented("Virtual Cell Challenge 2026", "python")
    subprocess.run([sys.executable, "-W", "error", "-c", command], check=True)


def write_replogle() -> None:
    """Write the file that holds all four lines."""
    write_cells(
        Path("replogle/replogle_concat.h5ad"),
        {
            "gene": (CONTROL, *TARGETS),
            "cell_line": ("hepg2", "jurkat", "k562", "rpe1"),
            "gem_group": ("1", "2"),
        },
        values="log1p",
        dense=True,
    )


def write_tahoe() -> None:
    """Write two plates, each with some of the drugs and with DMSO, in seven lines."""
    for at, plate in enumerate(("plate1", "plate2")):
        write_cells(
            Path(f"tahoe/{plate}_filt_Vevo_Tahoe100M_WServicesFrom_ParseGigalab.h5ad"),
            {
                "plate": (plate,),
                "drugname_drugconc": (DMSO, *DRUGS[at::2]),
                "cell_name": ("A549", "NCI-H460", *HELD_OUT_LINES),
            },
        )
    Path("config/runs").mkdir(parents=True)
    shutil.copy(RUNS / "tahoe.toml", "config/runs")


def write_demo() -> None:
    """Simulate the demo's screen, small."""
    sizes = ["--n-cells", "1200", "--n-genes", "150", "--n-perturbations", "24"]
    simulate_demo.simulate_demo(["--out-dir", "simulated/demo", *sizes])


STAND_INS: Mapping[str, Callable[[], None]] = {
    "demo": write_demo,
    "first_run": write_support_set,
    "vcc2025": write_vcc2025,
    "vcc2026": write_vcc2026,
    "replogle_fewshot": write_replogle,
    "replogle_zeroshot": write_replogle,
    "tahoe": write_tahoe,
}
"""What writes the data of each run file, into the working directory."""
