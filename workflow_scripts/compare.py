r"""Put several runs beside one another: a table, and a page.

Example:

    python -m workflow_scripts.compare --runs results/short results/long \
        --page results/compare.html --table results/compare.tsv
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from workflow_scripts import __version__
from workflow_scripts.cache.writing import write_atomically
from workflow_scripts.command import command_parser, run_command
from workflow_scripts.errors import DataError
from workflow_scripts.reporting.replicates import differing, replicate_groups


def main(arguments: Sequence[str]) -> None:
    """Read the runs' folders, combine replicates, and write both files."""
    parser = command_parser("python -m workflow_scripts.compare", __doc__)
    parser.add_argument(
        "--runs", type=Path, nargs="+", required=True, help="folders of scored runs"
    )
    parser.add_argument(
        "--replicates",
        nargs="*",
        metavar="KEY",
        default=["training.train_seed", "splits.leave_out"],
        help="keys of the config in which replicates of one another may differ",
    )
    parser.add_argument(
        "--resamples", type=int, default=1000, help="bootstrap samples of perturbations"
    )
    parser.add_argument("--page", type=Path, required=True, help="page to write (HTML)")
    parser.add_argument("--table", type=Path, required=True, help="table to write (TSV)")
    given = parser.parse_args(arguments)
    # Imported late: --help and a wrong option answer at once.
    from workflow_scripts.evaluation.replicates import standings
    from workflow_scripts.reporting.compared import (
        ComparedRun,
        comparable,
        comparison_table,
        render_comparison,
    )
    from workflow_scripts.reporting.words import MODEL

    runs = [ComparedRun.read(folder) for folder in given.runs]
    configs = {run.name: run.config for run in runs}
    if len(configs) < len(runs):
        names = ", ".join(run.name for run in runs)
        raise DataError(f"two of the runs have one name ({names}); give each another one")
    groups = replicate_groups(configs, given.replicates)
    found = standings(
        {run.name: run.metrics for run in runs},
        {run.name: run.scores["overall"][MODEL] for run in runs},
        {run.name: run.scores["scaled"].get(MODEL, {}) for run in runs},
        groups,
        runs[0].scores["better"],
        given.resamples,
        paired=comparable(runs, groups),
    )
    plain = {label: {m: asdict(one) for m, one in of.items()} for label, of in found.items()}
    first_of_each = [configs[names[0]] for names in groups.values()]
    page = render_comparison(
        runs,
        groups,
        plain,
        differing(first_of_each, given.replicates),
        replicates=given.replicates,
        version=__version__,
        place=given.page,
    )
    table = comparison_table(runs, groups, plain)
    write_atomically(given.table, table.to_csv(sep="\t", index=False))
    write_atomically(given.page, page)
    print(f"{len(runs)} runs in {len(groups)} groups: {given.page}")


if __name__ == "__main__":
    run_command(main)
