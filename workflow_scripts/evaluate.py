r"""Score predictions, and the baselines beside them, with cell-eval2.

Writes a long table of metrics, a summary, and the effects gene by gene.

Example:

    python -m workflow_scripts.evaluate --settings results/demo/stages/evaluate.json \
        --observed results/demo/observed.h5ad --predictions model=results/demo/predictions.h5ad \
        --baselines results/demo/baselines \
        --metrics metrics.tsv --scores scores.json --effects effects.parquet \
        --per-perturbation metrics_per_perturbation.parquet --genes genes.parquet \
        --results evaluation_results.json
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

from workflow_scripts.cache.digests import file_digest
from workflow_scripts.cache.identity import IdentityFolder
from workflow_scripts.cache.writing import refuse_damaged
from workflow_scripts.command import command_parser, run_command
from workflow_scripts.errors import DataError
from workflow_scripts.settings.slices import Slice, read_settings
from workflow_scripts.settings.stages import identity_of

OUTPUTS = {
    "metrics.tsv": "metrics",
    "scores.json": "scores",
    "effects.parquet": "effects",
    "metrics_per_perturbation.parquet": "per_perturbation",
    "genes.parquet": "genes",
    "evaluation_results.json": "results",
}
"""What is written, and by which option."""


def main(arguments: Sequence[str]) -> None:
    """Score, or link what was scored before from the same files."""
    given = parse_arguments(arguments)
    settings = read_settings(given.settings)
    if given.baselines is not None:
        asked = settings["prediction.baselines"]
        if missing := [name for name in asked if name not in given.predictions]:
            raise DataError(
                f"{given.baselines}: no predictions of the baselines {', '.join(missing)}; delete "
                "the folder, and the workflow predicts them again"
            )
    outputs = {name: getattr(given, option) for name, option in OUTPUTS.items()}
    if given.work_dir is None:
        _evaluate(given, settings, outputs)
        return
    # A missing file is said by the library, whose message is the better one.
    files = {"observed": given.observed} | given.predictions
    if given.splits is not None:
        files["splits"] = given.splits
    files |= {f"features {at}": path for at, path in enumerate(given.features)}
    files |= {f"unmasking {name}": path for name, path in given.ways.items()}
    if given.reference_ends is not None:
        files["reference ends"] = given.reference_ends
    inputs = {name: file_digest(path) for name, path in files.items() if path.is_file()}
    engine = {package: version(package) for package in ("cell-eval2", "pdex")}
    work = IdentityFolder(
        given.work_dir, identity_of("evaluate", settings.identity, inputs | engine)
    )
    work.note_current("evaluate")
    with work.lock():
        if work.has_finished(*outputs):
            print(f"scored before: {work.path}")
        else:
            _evaluate(given, settings, {name: work.path / name for name in outputs})
            work.finish(list(outputs))
        work.publish(outputs)


def parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line; ``predictions`` holds every file by its name, baselines included."""
    parser = command_parser("python -m workflow_scripts.evaluate", __doc__)
    parser.add_argument("--settings", type=Path, required=True, help="stage file of evaluate")
    parser.add_argument("--observed", type=Path, required=True, help="observed cells (h5ad)")
    parser.add_argument(
        "--predictions",
        type=_named_path,
        action="append",
        default=[],
        metavar="NAME=H5AD",
        help="predictions by the name of what made them, 'model' for the model; may be repeated",
    )
    parser.add_argument(
        "--baselines", type=Path, help="folder of more predictions (h5ad), each named like its file"
    )
    parser.add_argument(
        "--unmasking",
        type=Path,
        nargs="?",
        help="folder of predictions (h5ad) by the model with features that say nothing",
    )
    parser.add_argument(
        "--reference-ends", type=Path, help="ends of the scale (JSON); nothing is scaled without"
    )
    parser.add_argument(
        "--reference-dir",
        type=Path,
        help="folder of --shared-dir of reference_ends, whose work is taken over",
    )
    parser.add_argument(
        "--splits", type=Path, help="split of each group (Parquet), for claims and what is new"
    )
    parser.add_argument(
        "--features",
        type=Path,
        nargs="*",
        default=[],
        help="vectors of the perturbations (safetensors), to say how near a trained one is",
    )
    for name, option in OUTPUTS.items():
        shown = f"--{option.replace('_', '-')}"
        parser.add_argument(shown, type=Path, required=True, help=f"{name} to write")
    parser.add_argument("--work-dir", type=Path, help="folder of finished work; none is kept else")
    parser.add_argument("--threads", type=int, default=-1, help="CPU threads; -1: all")
    given = parser.parse_args(arguments)
    named = list(given.predictions)
    for path in filter(None, [given.baselines, given.unmasking, *dict(named).values()]):
        refuse_damaged(path)
    if given.baselines is not None:
        named += [(path.stem, path) for path in sorted(given.baselines.glob("*.h5ad"))]
    names = [name for name, _ in named]
    if not names:
        parser.error("nothing to score: give --predictions or a folder of --baselines")
    if len(set(names)) < len(names) or "observed" in names:
        parser.error(f"predictions need names of their own, and not 'observed': {', '.join(names)}")
    given.predictions = dict(named)
    made = [] if given.unmasking is None else sorted(given.unmasking.glob("*.h5ad"))
    given.ways = {path.stem: path for path in made}
    return given


def _named_path(text: str) -> tuple[str, Path]:
    name, separator, path = text.partition("=")
    if not (name and separator and path):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=H5AD")
    return name, Path(path)


def _evaluate(given: argparse.Namespace, settings: Slice, outputs: Mapping[str, Path]) -> None:
    # Read by tqdm when it is imported: the engine's progress bars would fill a log with noise.
    os.environ.setdefault("TQDM_DISABLE", "1")
    # Only now: work that is already done returns without these seconds.
    from workflow_scripts.evaluation.compiled import keep_compiled
    from workflow_scripts.evaluation.engine import EvaluationSettings
    from workflow_scripts.evaluation.reference_ends import Reference
    from workflow_scripts.evaluation.scoring import evaluate
    from workflow_scripts.evaluation.strata import TrainedOn
    from workflow_scripts.evaluation.unmasking import DERIVED
    from workflow_scripts.evaluation.writing_scores import write_evaluation

    keep_compiled()
    reference = None
    if given.reference_ends is not None:
        reference = Reference.read(given.reference_ends, given.reference_dir)
    trained_on = None
    if given.splits is not None:
        trained_on = TrainedOn.read(given.splits, given.features)
    result = evaluate(
        given.observed,
        given.predictions,
        EvaluationSettings.from_slice(settings),
        unmasking=given.ways,
        derived=[name for name in settings["prediction.unmasking"] if name in DERIVED["log1p"]],
        reference=reference,
        trained_on=trained_on,
        resamples=settings["evaluation.resamples"],
        threads=given.threads,
        tell=lambda line: print(line, flush=True),
    )
    write_evaluation(result, **{option: outputs[name] for name, option in OUTPUTS.items()})


if __name__ == "__main__":
    run_command(main)
