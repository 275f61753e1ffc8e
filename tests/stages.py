"""The stages of a run in one process, without Snakemake: its commands in their order."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from pathlib import Path

from workflow_scripts import (
    anchors,
    audit_cells,
    audit_splits,
    config,
    evaluate,
    list_targets,
    pack_cells,
    predict,
    predict_baselines,
    predict_negative_controls,
    preflight,
    report,
    select_genes,
    train,
    validate_features,
    write_submission,
)
from workflow_scripts.cells.run_cells import cells_json
from workflow_scripts.settings.run import Run
from workflow_scripts.settings.runs import resolve_run
from workflow_scripts.settings.stages import SLICES

ROOT = Path(__file__).parents[1]
STORE = "cache/cells/tiny"
CELLS_AUDIT = f"{STORE}/cells_audit.json"


class Stages:
    """A run's stages, each called as its rule does, in the working directory.

    Attributes
    ----------
    folder
        Where everything lands.
    run
        The run.
    stage
        The one that is at work.
    """

    def __init__(self, run_file: Path, overrides: Sequence[str] = ()) -> None:
        self.folder = Path.cwd()
        self.run: Run = resolve_run(ROOT / "config", str(run_file), overrides)
        self.stage = ""
        files = ["--out", "config.yaml", "--trace", "config.trace.tsv"]
        files += ["--provenance", "provenance.json"]
        config.main(["freeze", *files, *shlex.split(self.run.freeze_arguments())])
        Path("stages").mkdir(exist_ok=True)
        for stage in SLICES:
            Path(f"stages/{stage}.json").write_text(self.run.stage_json(stage))

    def start(self, stage: str, main: Callable[..., None], **options: str) -> None:
        """Call a stage's command with these options."""
        self.stage = stage
        main([part for name, value in options.items() for part in (f"--{name}", value)])

    def check(self) -> None:
        """Look at the inputs, as the target `check` does."""
        Path("cell_files.json").write_text(cells_json(self.run))
        found = {name: f"{name}.parquet" for name in ("groups", "batches", "twins")}
        found["genes"] = "genes.txt"
        found |= {"cell-files": "cell_files.json", "audit": CELLS_AUDIT}
        self.start("cells", audit_cells.audit_cells, **found)
        self.start(
            *("splits", audit_splits.audit_splits),
            **{
                "settings": "stages/splits.json",
                "groups": "groups.parquet",
                "twins": "twins.parquet",
            },
            **{"cells-audit": CELLS_AUDIT, "split-file": "splits.toml"},
            **{"splits": "splits.parquet", "audit": "splits_audit.json", "store": STORE},
            **{"run": ".", "work-dir": "finished"},
        )
        self.start(
            *("features", validate_features.validate_features),
            **{"settings": "stages/features.json", "groups": "groups.parquet"},
            **{"cells-audit": CELLS_AUDIT, "features": "features.safetensors"},
            **{"audit": "features_audit.json", "work-dir": "finished"},
        )
        self.start(
            *("targets", list_targets.list_targets),
            **{"settings": "stages/targets.json", "groups": "groups.parquet"},
            **{"cells-audit": CELLS_AUDIT, "splits": "splits.parquet"},
            **{"targets": "targets.parquet", "audit": "targets_audit.json"},
            **{"store": STORE, "run": ".", "work-dir": "finished"},
        )
        self.start(
            *("preflight", preflight.preflight),
            **{"run": "tiny", "settings": "stages/preflight.json", "config": "config.yaml"},
            **{"cells-audit": CELLS_AUDIT, "batches": "batches.parquet"},
            **{"store": STORE, "all-genes": "genes.txt"},
            **{"splits-audit": "splits_audit.json", "splits": "splits.parquet"},
            **{"features-audit": "features_audit.json"},
            **{"record": "preflight", "passed": "passed.json"},
        )

    def pack(self) -> None:
        """Pack the cells, and choose genes where not all are read."""
        packed = {"audit": CELLS_AUDIT, "manifest": f"{STORE}/manifest.json", "store": STORE}
        packed["cell-files"] = "cell_files.json"
        self.start("cells", pack_cells.pack_cells, **packed)
        if self.chosen:
            self.start(
                *("genes", select_genes.select_genes),
                **{"settings": "stages/genes.json", "cells": f"{STORE}/manifest.json"},
                **{"splits": "splits.parquet", "table": "genes.tsv", **self.chosen},
                **{"work-dir": "finished"},
            )

    @property
    def chosen(self) -> dict[str, str]:
        """Return the option that names the genes that were chosen, where not all are read."""
        everything = self.run.config["genes"]["select"] == "all"
        return {} if everything else {"genes": "chosen_genes.json"}

    def train(self) -> None:
        """Train."""
        self.start(
            *("train", train.train),
            **{"settings": "stages/train.json", "config": "config.yaml", "threads": "1"},
            **{"cells": f"{STORE}/manifest.json", "splits": "splits.parquet"},
            **{"features": "features.safetensors", "work-dir": "checkpoints"},
            final="checkpoints/final.ckpt",
            best="checkpoints/best.ckpt",
            metrics="training.csv",
            starts="starts.json",
            **self.chosen,
        )

    def rest(self) -> None:
        """Predict, score and report."""
        cells = {"cells": f"{STORE}/manifest.json", "splits": "splits.parquet", **self.chosen}
        self.start(
            *("predict", predict.predict),
            **{"settings": "stages/predict.json", "config": "config.yaml", **cells},
            **{"checkpoint": "checkpoints/final.ckpt", "features": "features.safetensors"},
            **{"predictions": "predictions.h5ad", "observed": "observed.h5ad"},
            **{"work-dir": "finished"},
        )
        self.start(
            *("predict_baselines", predict_baselines.predict_baselines),
            **{"settings": "stages/predict_baselines.json", "config": "config.yaml", **cells},
            **{"features": "features.safetensors"},
            **{"out-dir": "baselines", "work-dir": "shared_baselines"},
        )
        self.start(
            *("predict_negative_controls", predict_negative_controls.predict_negative_controls),
            **{
                "settings": "stages/predict_negative_controls.json",
                "config": "config.yaml",
                **cells,
            },
            **{"checkpoint": "checkpoints/final.ckpt", "features": "features.safetensors"},
            **{"out-dir": "negative_controls", "work-dir": "finished"},
        )
        if self.run.config["prediction"]["submission"] is not None:
            self.start(
                *("submit", write_submission.write_submission),
                **{"settings": "stages/submit.json", "predictions": "predictions.h5ad"},
                **{"out": "submission.vcc", "work-dir": "finished"},
            )
        self.start(
            *("anchors", anchors.anchors),
            **{"settings": "stages/anchors.json", "observed": "observed.h5ad"},
            **{"out": "anchors.json", "work-dir": "shared_anchors"},
        )
        scores = {name: f"{name}.out" for name in ("metrics", "scores", "effects")}
        self.start(
            *("evaluate", evaluate.evaluate),
            **{"settings": "stages/evaluate.json", "observed": "observed.h5ad", **scores},
            **{"predictions": "predictions.h5ad", "baselines": "baselines"},
            **{"negative-controls": "negative_controls"},
            **{"anchors": "anchors.json", "shared-dir": "shared_anchors"},
            **{"per-perturbation": "per_perturbation.parquet", "genes": "genes.parquet"},
            **{"results": "evaluation_results.json"},
            **{"splits": "splits.parquet", "features": "features.safetensors"},
            **{"work-dir": "finished"},
        )
        audits = {f"{name}-audit": f"{name}_audit.json" for name in ("splits", "features")}
        audits["cells-audit"] = CELLS_AUDIT
        self.start(
            *("report", report.report),
            **{"settings": "stages/report.json", "config": "config.yaml", **audits, **scores},
            **{"trace": "config.trace.tsv", "starts": "starts.json"},
            **{"metrics-per-perturbation": "per_perturbation.parquet"},
            **{"training-metrics": "training.csv", "out": "report.html"},
            **self.chosen,
            preflight="passed.json",
            provenance="provenance.json",
        )
