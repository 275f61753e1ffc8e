"""Score the denoised baseline and calibrated cells on screens whose pairs are held out in turn.

Each pair of a perturbation and a context is held out once per repeat: of `FOLDS` runs of the
workflow, each tests another part of the perturbations in each context. Predictions go through the
workflow's own writer and cell-eval2. Papalexi et al. 2021 and the K562 cells of Norman et al. 2019
(both of ../shared/data) have replicates as contexts: their scores measure noise removed, not
transfer. Choices were made on rep_1 and rep_2 of Papalexi; the figures are those of rep_3.

Every fold is kept in the folder, so that a start after a stop goes on. Prints Markdown tables.

    python benchmarks/quality.py --folder results/quality papalexi k562 gliomas sim2 mild flat
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
import yaml
from scipy import stats
from scipy.sparse import csr_matrix

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
DATA = ROOT.parent / "shared" / "data"
FOLDS = 3
LEAST_TESTED, LEAST_TRAINED = 10, 5
"""Cells of a pair that may be tested, and that may train."""

PRIMARY = {
    "expr_mse": "lower",
    "delta_pearson": "higher",
    "pds_cosine": "higher",
    "de_wilcoxon_overlap": "higher",
}
os.environ.setdefault("TQDM_DISABLE", "1")  # read by tqdm when it is imported
SHOWN = (*PRIMARY, "pds_l1", "n_significant", "own_gene")
OLD = ("control", "mean_response", "context_mean", "perturbation_mean_effect", "additive")
"""The baselines of before, each also with its cells written as before."""


@dataclass(frozen=True)
class Screen:
    """A file of cells, and the columns that say what they are."""

    path: Path
    perturbation: str
    context: str
    control: str
    counts: bool
    reported: tuple[str, ...] | None = None  # contexts; None: all
    more: Path | None = None  # a dataset that trains as a whole
    combinations: bool = False  # those of known parts are held out of all contexts


def papalexi(folder: Path) -> Screen:
    path = DATA / "papalexi2021_thp1.h5ad"
    return Screen(path, "target_gene", "batch_var", "non-targeting", True, ("rep_3",))


def norman(folder: Path) -> Screen:
    """K562 cells with activated genes; contexts are lanes 1 to 3, 4 to 6, and 7 and 8."""
    cells = anndata.read_h5ad(DATA / "perturbench_devel.h5ad")
    cells = cells[cells.obs["cell_type"] == "k562"].copy()
    lane = cells.obs_names.str.extract(r"-(\d+)$")[0].astype(int)
    cells.obs["lanes"] = np.array(["lanes_1_3", "lanes_4_6", "lanes_7_8"])[
        np.digitize(lane, [4, 7])
    ]
    return written(folder / "k562.h5ad", cells, "perturbation", "lanes")


def norman_combinations(folder: Path) -> Screen:
    """The same cells, to predict combinations that no context trains on."""
    return replace(norman(folder), combinations=True)


def gliomas(folder: Path) -> Screen:
    """Three glioma lines under drugs, all but noise."""
    cells = anndata.read_h5ad(DATA / "perturbench_devel.h5ad")
    cells = cells[cells.obs["cell_type"] != "k562"].copy()
    return written(folder / "gliomas.h5ad", cells, "perturbation", "cell_type")


def written(path: Path, cells: anndata.AnnData, perturbation: str, context: str) -> Screen:
    """Write the genes that half a percent of the cells express, as log1p values."""
    expressed = np.asarray((cells.X > 0).mean(axis=0)).ravel() > 0.005
    cells = cells[:, expressed].copy()
    for name in (perturbation, context):
        cells.obs[name] = cells.obs[name].astype(str).astype("category")
    cells.uns = {"log1p": {}}
    cells.write_h5ad(path)
    return Screen(path, perturbation, context, "control", False)


def simulated(
    seed: int, *, spread: float, own: float, factors: int | None = 8, more: bool = False
) -> Callable[[Path], Screen]:
    """Return what simulates counts of 40 perturbations and 300 genes in three contexts.

    Parameters
    ----------
    seed
        Of all chance.
    spread
        Standard deviation of the contexts' log expression about the common one.
    own
        Of how strongly, on a log scale, each factor acts in each context.
    factors
        What effects are made of, each of 8 % of the genes; None: each effect has genes of its own.
    more
        Write two further contexts to a dataset of its own.
    """

    def write(folder: Path) -> Screen:
        rng = np.random.default_rng(seed)
        n_genes, n_perturbations = 300, 40
        width = factors or n_perturbations
        loads = np.eye(width) if factors is None else rng.normal(size=(n_perturbations, width))
        genes_of = rng.random((width, n_genes)) < 0.08
        loadings = rng.normal(size=(width, n_genes)) * genes_of * (0.6 if factors else 1.5)
        base = rng.gamma(0.5, 1.0, n_genes)
        counts, obs = [], []
        for context in ("a", "b", "c", *(("d", "e") if more else ())):
            mean = base * np.exp(spread * rng.normal(size=n_genes))
            strengths = np.exp(own * rng.normal(size=width))
            for number in range(n_perturbations + 1):
                n_cells = 300 if number == 0 else 60
                effect = np.zeros(n_genes)
                if number:
                    effect = ((loads[number - 1] * strengths) @ loadings).clip(-2.5, 2.5)
                rates = mean * np.exp(effect + 0.15 * rng.normal(size=(n_cells, n_genes)))
                depth = 1500 * rng.lognormal(0.0, 0.3, (n_cells, 1))
                counts.append(rng.poisson(rates / rates.sum(axis=1, keepdims=True) * depth))
                label = f"P{number:02d}" if number else "control"
                obs += [(label, context)] * n_cells
        table = pd.DataFrame(obs, columns=["perturbation", "context"]).astype("category")
        table.index = [f"cell{number}" for number in range(len(table))]
        var = pd.DataFrame(index=[f"G{number}" for number in range(n_genes)])
        matrix = csr_matrix(np.concatenate(counts).astype(np.float32))
        cells, is_first = anndata.AnnData(matrix, table, var), table["context"].isin([*"abc"])
        paths = {folder / "cells.h5ad": is_first, folder / "more.h5ad": ~is_first}
        for path, chosen in paths.items():
            if chosen.any():
                cells[chosen.to_numpy()].write_h5ad(path)
        path, second = paths
        return Screen(
            path, "perturbation", "context", "control", True, more=second if more else None
        )

    return write


SCREENS: Mapping[str, Callable[[Path], Screen]] = {
    "papalexi": papalexi,
    "k562": norman,
    "k562_combinations": norman_combinations,
    "gliomas": gliomas,
    "sim2": simulated(2, spread=1.2, own=0.6),
    "sim2_more": simulated(2, spread=1.2, own=0.6, more=True),
    "mild": simulated(3, spread=0.8, own=0.3),
    "flat": simulated(4, spread=1.2, own=0.6, factors=None),
    "papalexi_counts": papalexi,
    "sim2_counts": simulated(2, spread=1.2, own=0.6),
}
"""Those of counts are scored with the preset vcc2026."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("screens", nargs="*", default=list(SCREENS), choices=[*SCREENS, []])
    parser.add_argument("--folder", type=Path, default=ROOT / "results" / "quality")
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    for name in given.screens:
        began = time.monotonic()
        folder = given.folder.resolve() / name
        folder.mkdir(parents=True, exist_ok=True)
        screen = SCREENS[name](folder)
        table = scored(folder, name, screen, given.repeats)
        hours = (time.monotonic() - began) / 3600
        print(f"\n### {name} ({given.repeats} repeats, {hours:.2f} h)")
        reported = table["context"].isin(screen.reported or {*table["context"]})
        for part in (table[~reported], table[reported]):
            if len(part):
                contexts = ", ".join(sorted({*part["context"]}))
                print(f"\n{contexts}\n", summary(part), sep="\n", flush=True)


def scored(folder: Path, name: str, screen: Screen, repeats: int) -> pd.DataFrame:
    """Return the scores of every pair, by predictor and metric, averaged over repeats."""
    asked = [(repeat, fold) for repeat in range(repeats) for fold in range(FOLDS)]
    kept = {at: folder / "scores" / f"{at[0]}-{at[1]}.parquet" for at in asked}
    missing = [at for at, path in kept.items() if not path.exists()]
    if missing:
        (folder / "scores").mkdir(exist_ok=True)
        prepare(folder, screen, missing)
        with ProcessPoolExecutor(2) as pool:
            work = [(folder, at, kept[at], name.endswith("_counts")) for at in missing]
            list(pool.map(score_fold, work))
    tables = pd.concat([pd.read_parquet(path) for path in kept.values()])
    keys = ["predictor", "context", "perturbation", "metric"]
    return tables.groupby(keys, observed=True)["value"].mean().reset_index()


def prepare(folder: Path, screen: Screen, folds: list[tuple[int, int]]) -> None:
    """Have the workflow pack and split the cells, and make what the folds' baselines read."""
    names = []
    obs = anndata.read_h5ad(screen.path, backed="r").obs
    labels = obs[screen.perturbation].astype(str)
    sizes = labels.groupby([obs[screen.context].astype(str), labels]).size().unstack(fill_value=0)
    tested = (sizes.drop(columns=screen.control) >= LEAST_TESTED).sum() >= 2
    perturbations = sorted(tested.index[tested])
    if screen.combinations:
        joined = [name for name in perturbations if "+" in name]
        perturbations = [name for name in joined if {*name.split("+")} <= {*sizes.columns}]
    few = sizes.where(sizes < LEAST_TRAINED).stack().index
    for repeat, fold in folds:
        order = np.random.default_rng([7, repeat]).permutation(len(perturbations))
        held_out = {
            context: [
                perturbations[number]
                for rank, number in enumerate(order)
                if (rank + shift * (not screen.combinations)) % FOLDS == fold
                and counts[perturbations[number]] >= LEAST_TESTED
            ]
            for shift, (context, counts) in enumerate(sizes.iterrows())
        }
        run = f"fold_{repeat}_{fold}"
        files = {"d": screen.path} | ({"more": screen.more} if screen.more else {})
        splits = "[datasets]\n" + "".join(f'{at} = "{path}"\n' for at, path in files.items())
        splits += "[training]\n" + "".join(f'{at} = "train"\n' for at in files)
        for context, test in held_out.items():
            # The workflow wants a validation split, which baselines don't read: the smallest pairs.
            left = [label for at, label in few if at == context and label not in test]
            left = left or [sizes.loc[context].drop(test).idxmin()]
            splits += (
                f'[fewshot."d.{context}"]\nval = {json.dumps(left)}\ntest = {json.dumps(test)}\n'
            )
        (folder / f"{run}.toml").write_text(splits)
        config = {
            "defaults": [{"override /model": "state_sm"}],
            "name": run,
            "output_dir": "results",
            "use_wandb": False,
            "data": {
                "kwargs": {
                    "toml_config_path": f"{run}.toml",
                    "pert_col": screen.perturbation,
                    "cell_type_key": screen.context,
                    "batch_col": screen.context,
                    "control_pert": screen.control,
                }
            },
            "cells": {"values": "counts" if screen.counts else "log1p"},
            "prediction": {"baselines": ["denoised"]},
        }
        content = "# @package _global_\n" + yaml.safe_dump(config, sort_keys=False)
        (folder / f"{run}.yaml").write_text(content)
        names.append(run)
    runs = ",".join(f"{name}.yaml" for name in names)
    targets = [f"results/{name}/baselines" for name in names]
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile")]
    command += ["--directory", str(folder), "--cores", "2", *targets, "--quiet", "all"]
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    subprocess.run([*command, "--config", f"runs={runs}"], check=True, cwd=folder, env=environment)


def score_fold(work: tuple[Path, tuple[int, int], Path, bool]) -> None:
    """Write the cells of every predictor, in every way, and score them."""
    from workflow_scripts.evaluation import scoring
    from workflow_scripts.evaluation.engine import EvaluationSettings

    folder, (repeat, fold), path, counts = work
    files = folder / f"predicted_{repeat}_{fold}"
    files.mkdir(exist_ok=True)
    observed = files / "observed.h5ad"
    predictions = dict(
        predicted(folder / "results" / f"fold_{repeat}_{fold}", files, observed, counts)
    )
    kinds = {"preset": "vcc2026", "profile": "vcc2026", "input_type": "counts"} if counts else {}
    found = scoring.evaluate(
        observed,
        predictions,
        EvaluationSettings(**kinds),
        resamples=0,
        threads=1,
        tell=lambda _: None,
    )
    columns = ["model", "context", "perturbation", "metric", "value"]
    table = found.metrics[columns].rename(columns={"model": "predictor"})
    if not counts:
        by_genes = [significant(observed, file, name) for name, file in predictions.items()]
        by_genes.append(significant(observed, observed, "observed"))
        table = pd.concat([table, *by_genes])
    table.astype(dict.fromkeys(columns[1:4], str)).to_parquet(path)
    for file in files.iterdir():
        file.unlink()
    files.rmdir()
    print(f"{folder.name}: repeat {repeat}, fold {fold}", file=sys.stderr, flush=True)


def predicted(run: Path, files: Path, observed: Path, counts: bool) -> Iterator[tuple[str, Path]]:
    """Write the cells of every predictor; yield its name and its file."""
    from workflow_scripts.features.vectors import load_features
    from workflow_scripts.prediction.baselines import Baselines
    from workflow_scripts.prediction.files import PredictionFiles
    from workflow_scripts.prediction.prediction import Prediction
    from workflow_scripts.settings.slices import read_settings

    settings = read_settings(run / "stages" / "predict_baselines.json", run / "config.yaml")
    if counts:
        settings = replace(settings, identity={**settings.identity, "prediction.output": "counts"})
    (cells,) = run.parents[1].glob("cache/cells/*/manifest.json")
    features = run / "features.safetensors"
    given = PredictionFiles(cells, run / "splits.parquet", [features], None, None, None)
    prediction = Prediction.open(given, settings)
    prediction.write_observed(observed)
    fitted = Baselines.fit(prediction.trained_on, prediction.splits, prediction.targets)
    fitted = fitted.with_features(load_features(features), 0)
    direct = replace(
        prediction,
        settings=replace(settings, identity={**settings.identity, "prediction.cells": "direct"}),
    )
    ways: dict[str, tuple[Prediction, Any]] = {
        f"{name} direct": (direct, fitted.build(name)) for name in OLD
    }
    ways["additive recentred"] = prediction, fitted.build("additive_recentred")
    ways |= {name: (prediction, fitted.build(name)) for name in (*OLD[1:], "denoised")}
    denoised, names = fitted.build("denoised"), sorted(fitted.perturbations)
    others = dict(zip(names, [*names[1:], *names[:1]], strict=True))
    ways["denoised x 1.2"] = prediction, Changed(denoised, 1.2)
    ways["denoised, borrowing of others"] = prediction, Changed(denoised, labels=others)
    ways["denoised, independent ranks"] = independent(prediction), denoised
    for name, (written_by, predictor) in ways.items():
        path = files / f"{name}.h5ad"
        written_by.write(path, predictor, name)
        yield name, path


def independent(prediction: Any) -> Any:
    """Return a prediction whose cells have sampling noise."""

    class Independent(type(prediction)):  # type: ignore[misc]
        def calibrated(self, *given: Any) -> Any:
            return replace(super().calibrated(*given), stratified=False)

    return Independent(**{each.name: getattr(prediction, each.name) for each in fields(prediction)})


class Changed:
    """A predictor whose effects are larger, or whose cells borrow of other perturbations."""

    def __init__(self, inner: Any, factor: float = 1.0, labels: Mapping[str, str] | None = None):
        self.inner, self.factor = inner, factor
        self.labels = inner.labels if labels is None else labels

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def mean_effects(self, *given: Any) -> np.ndarray:
        effects: np.ndarray = self.factor * self.inner.mean_effects(*given)
        return effects


def significant(observed: Path, path: Path, name: str) -> pd.DataFrame:
    """Return how many genes differ from the controls, and whether a target's own gene does.

    By a rank test of each gene, at a false discovery rate of 5 % within a perturbation.
    """
    reference, cells = (anndata.read_h5ad(each) for each in (observed, path))
    rows = []
    genes = list(cells.var_names)
    for context in cells.obs["context"].unique():
        control = cells.uns["stateline"]["control"]
        of_context = reference[reference.obs["context"] == context]
        controls = of_context[of_context.obs["perturbation"] == control].X.toarray()
        there = cells[cells.obs["context"] == context]
        for label, of_label in there.obs.groupby("perturbation", observed=True):
            if label == control:
                continue
            values = csr_matrix(there[of_label.index].X).toarray()
            tests = stats.mannwhitneyu(values, controls, axis=0, method="asymptotic")
            found = stats.false_discovery_control(np.nan_to_num(tests.pvalue, nan=1.0)) < 0.05
            own = [genes.index(part) for part in str(label).split("+") if part in genes]
            rows.append((context, label, "n_significant", float(found.sum())))
            if own:
                rows.append((context, label, "own_gene", float(found[own].mean())))
    table = pd.DataFrame(rows, columns=["context", "perturbation", "metric", "value"])
    return table.assign(predictor=name)


def summary(table: pd.DataFrame) -> str:
    """Return Markdown: every predictor's means, then the leads of the denoised baseline."""
    there = {*table["metric"]}
    shown = [name for name in SHOWN if name in there] if {*PRIMARY} <= there else sorted(there)
    means = by_context_then_over(table).loc[:, shown]
    lines = [f"| | {' | '.join(shown)} |", "|---" * (len(shown) + 1) + "|"]
    for name, row in means.iterrows():
        lines.append(f"| {name} | {' | '.join(f'{value:.4g}' for value in row)} |")
    if not {*PRIMARY} <= {*shown}:
        return "\n".join(lines)
    lines += [
        "",
        "| lead of denoised | over | lead | 90 % interval | p (Holm) |",
        "|---|---|---|---|---|",
    ]
    best = {
        metric: means.loc[[f"{name} direct" for name in OLD], metric].agg(
            "idxmin" if way == "lower" else "idxmax"
        )
        for metric, way in PRIMARY.items()
    }
    for rivals in (dict.fromkeys(PRIMARY, "additive"), best):
        found = {metric: lead(table, metric, rival) for metric, rival in rivals.items()}
        corrected = holm([p for *_, p in found.values()])
        for (metric, rival), p in zip(rivals.items(), corrected, strict=True):
            middle, low, high, _ = found[metric]
            lines.append(
                f"| {metric} | {rival} | {middle:+.3f} | {low:+.3f} to {high:+.3f} | {p:.3f} |"
            )
    return "\n".join(lines)


def by_context_then_over(table: pd.DataFrame) -> pd.DataFrame:
    """Return the mean over perturbations, then over contexts: predictors × metrics."""
    keys = ["predictor", "metric", "context"]
    return table.groupby(keys, observed=True)["value"].mean().groupby(keys[:2]).mean().unstack()


def lead(table: pd.DataFrame, metric: str, rival: str) -> tuple[float, float, float, float]:
    """Return a lead, its 90 % interval and the p of none, perturbations drawn with replacement.

    Of expr_mse, the part of the rival's error that is gone.
    """
    rows = table[table["metric"] == metric]
    wide = rows.pivot(index="perturbation", columns=["predictor", "context"], values="value")
    both = [wide[name].to_numpy() for name in ("denoised", rival)]
    drawn = np.random.default_rng(0).integers(0, len(wide), (5000, len(wide)))
    drawn = np.vstack([np.arange(len(wide)), drawn])
    ours, theirs = (np.nanmean(np.nanmean(values[drawn], axis=1), axis=1) for values in both)
    leads = 1.0 - ours / theirs if PRIMARY[metric] == "lower" else ours - theirs
    low, high = np.quantile(leads[1:], [0.05, 0.95])
    return leads[0], low, high, (1 + (leads[1:] <= 0).sum()) / len(leads)


def holm(values: list[float]) -> list[float]:
    """Return p-values corrected for their number (Holm 1979)."""
    from statsmodels.stats.multitest import multipletests

    return list(multipletests(values, method="holm")[1])


if __name__ == "__main__":
    main()
