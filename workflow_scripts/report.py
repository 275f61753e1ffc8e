r"""Write a run's report: one HTML file that needs no network and nothing beside it.

Example, in the folder of a run:

    python -m workflow_scripts.report --settings stages/report.json \
        --config config.yaml --trace config.trace.tsv --provenance provenance.json \
        --cells-audit ../../cache/cells/…/cells_audit.json --splits-audit splits_audit.json \
        --features-audit features_audit.json --preflight preflight.json \
        --training-metrics training.csv --starts starts.json --benchmarks benchmarks \
        --metrics metrics.tsv --scores scores.json --effects effects.parquet \
        --metrics-per-perturbation metrics_per_perturbation.parquet --out report.html
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from workflow_scripts.cache.writing import write_atomically
from workflow_scripts.command import command_parser, run_command

_INPUTS: Mapping[str, str] = {
    "config": "frozen config (YAML)",
    "trace": "where each of its values came from (TSV)",
    "cells_audit": "what the h5ad files hold (JSON)",
    "splits_audit": "who trains, validates and is held out (JSON)",
    "features_audit": "the perturbation features (JSON)",
    "preflight": "the pass stamp (JSON)",
    "provenance": "where the frozen config came from (JSON)",
    "settings": "stage file of report (JSON)",
}
_WHERE_TESTED: Mapping[str, str] = {
    "metrics": "metrics by model, context and perturbation (TSV)",
    "scores": "aggregated metrics (JSON)",
    "effects": "observed and predicted effects by gene (Parquet)",
    "metrics_per_perturbation": "metrics beside what is known of each perturbation (Parquet)",
}
_OPTIONAL = ("training_metrics", "starts", "genes", "benchmarks")


def main(arguments: Sequence[str]) -> None:
    """Read the files of the run, and write its page."""
    parser = command_parser("python -m workflow_scripts.report", __doc__)
    for name, meaning in _INPUTS.items():
        option = f"--{name.replace('_', '-')}"
        parser.add_argument(option, type=Path, required=True, help=meaning)
    tested = parser.add_argument_group("where something was tested (all four)")
    for name, meaning in _WHERE_TESTED.items():
        option = f"--{name.replace('_', '-')}"
        tested.add_argument(option, type=Path, help=meaning)
    parser.add_argument(
        "--training-metrics",
        type=Path,
        nargs="?",
        help="losses by step (CSV), if the run trained",
    )
    parser.add_argument(
        "--starts", type=Path, nargs="?", help="starts of that training (JSON), if the run trained"
    )
    parser.add_argument(
        "--genes", type=Path, nargs="?", help="genes that were chosen (JSON), if any"
    )
    parser.add_argument(
        "--benchmarks",
        type=Path,
        nargs="*",
        default=[],
        help="folders of what Snakemake measured of each rule (TSV), if anything",
    )
    parser.add_argument("--out", type=Path, required=True, help="page to write (HTML)")
    given = parser.parse_args(arguments)
    if len({getattr(given, name) is None for name in _WHERE_TESTED}) > 1:
        parser.error("give all of what there is where something was tested, or none of it")
    # Imported late: --help and a wrong option answer at once.
    from workflow_scripts.reporting.inputs import InputPaths, read_run
    from workflow_scripts.reporting.page import render_report

    run = read_run(
        InputPaths(
            **{name: getattr(given, name) for name in (*_INPUTS, *_WHERE_TESTED, *_OPTIONAL)}
        )
    )
    write_atomically(given.out, render_report(run))


if __name__ == "__main__":
    run_command(main)
