"""Score the predictions of a run, and the baselines beside them."""

from __future__ import annotations

import os
from pathlib import Path

from workflow_scripts.command import run_command, tell
from workflow_scripts.errors import DataError
from workflow_scripts.settings.slices import Slice
from workflow_scripts.stage import Folder, Output, stage


@stage("evaluate")
def evaluate(
    settings: Slice,
    observed: Path,
    predictions: Path,
    baselines: Path | None,
    negative_controls: Path | None,
    anchors: Path | None,
    splits: Path | None,
    features: list[Path],
    shared_dir: Folder | None,
    threads: int | None,
    metrics: Output,
    scores: Output,
    effects: Output,
    per_perturbation: Output,
    genes: Output,
    results: Output,
) -> None:
    """Score predictions and the baselines beside them with cell-eval2.

    Parameters
    ----------
    observed
        Observed cells (h5ad).
    predictions
        Cells that the model predicted (h5ad).
    baselines
        Folder of cells that baselines predicted (h5ad), each named like its file.
    negative_controls
        Folder of cells that the model predicted from features without information (h5ad).
    anchors
        Anchors of the scale (JSON); scores are not scaled without them.
    splits
        Split of each group (Parquet), for claims and for what is unseen.
    features
        Vectors of the perturbations (safetensors), for the distance to trained ones.
    shared_dir
        Folder of what anchors computed, where scores are kept too for runs that share them.
    threads
        CPU threads; all there are if not given.
    metrics
        Scores of each perturbation, to write (TSV).
    scores
        Means, with the engine and its settings, to write (JSON).
    effects
        Observed and predicted effect of every gene, to write (Parquet).
    per_perturbation
        Scores beside what is known of each perturbation, to write (Parquet).
    genes
        Mean, variance and zeros of every gene, to write (Parquet).
    results
        What the engine itself writes of the model, to write (JSON).
    """
    # Read by tqdm when it is imported: the engine's progress bars would fill a log with noise.
    os.environ.setdefault("TQDM_DISABLE", "1")
    from workflow_scripts.cells import context_differences
    from workflow_scripts.cells.results import DENOISED, AnchorsFile, read_result
    from workflow_scripts.evaluation import scoring
    from workflow_scripts.evaluation.engine import EvaluationSettings, keep_compiled
    from workflow_scripts.evaluation.negative_controls import DERIVED
    from workflow_scripts.evaluation.strata import TrainedOn

    of_baselines = {} if baselines is None else _files_in(baselines)
    asked = [] if baselines is None else settings["prediction.baselines"]
    if missing := [name for name in asked if name not in of_baselines]:
        raise DataError(
            f"{baselines}: no predictions of the baselines {', '.join(missing)}; delete the "
            "folder, and the workflow predicts them again"
        )
    keep_compiled()
    scale = None if anchors is None else read_result(anchors, AnchorsFile)
    shared = None if scale is None or shared_dir is None else shared_dir / scale.identity
    trained_on = None
    if splits is not None:
        differences = _file_in(baselines, context_differences.NAME)
        trained_on = TrainedOn.read(splits, features, settings["splits.contexts_are"], differences)
    result = scoring.evaluate(
        observed,
        {"model": predictions, **of_baselines},
        EvaluationSettings.from_slice(settings),
        negative_controls={} if negative_controls is None else _files_in(negative_controls),
        derived=[
            name for name in settings["prediction.negative_controls"] if name in DERIVED["log1p"]
        ],
        anchors={} if scale is None else scale.contexts,
        denoised=_file_in(baselines, DENOISED),
        shared=shared if shared is not None and shared.is_dir() else None,
        trained_on=trained_on,
        rivals=(settings["evaluation.rival_known"], settings["evaluation.rival_unseen"]),
        resamples=settings["evaluation.resamples"],
        threads=threads or -1,
        tell=tell,
    )
    result.write(
        metrics=metrics,
        scores=scores,
        effects=effects,
        per_perturbation=per_perturbation,
        genes=genes,
        results=results,
    )


def _file_in(folder: Path | None, name: str) -> Path | None:
    return folder / name if folder is not None and (folder / name).exists() else None


def _files_in(folder: Path) -> dict[str, Path]:
    return {path.stem: path for path in sorted(folder.glob("*.h5ad"))}


if __name__ == "__main__":
    run_command(evaluate)
