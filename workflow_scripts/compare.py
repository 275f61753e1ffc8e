"""Put several runs beside one another: a table, and a page."""

from __future__ import annotations

from dataclasses import asdict

from workflow_scripts import __version__
from workflow_scripts.command import run_command
from workflow_scripts.errors import ConfigError, DataError
from workflow_scripts.reporting.replicates import differing, replicate_groups
from workflow_scripts.stage import Folder, Output, stage

SEEDS = ("training.train_seed", "splits.leave_out")


@stage("compare", kept=False)
def compare(
    runs: list[Folder],
    replicates: list[str] | None,
    page: Output,
    table: Output,
    resamples: int = 1000,
) -> None:
    r"""Put several runs beside one another: a table, and a page.

    Example:

        python -m workflow_scripts.compare --runs results/short results/long \
            --page results/compare.html --table results/compare.tsv

    Parameters
    ----------
    runs
        Folders of scored runs.
    replicates
        Keys of the config in which replicates of one another may differ; seeds of training and
        contexts that are left out if not given.
    page
        Page to write (HTML).
    table
        Table to write (TSV).
    resamples
        Bootstrap samples of perturbations.
    """
    # Imported late: --help and a wrong option answer at once.
    from workflow_scripts.cells.results import MODEL
    from workflow_scripts.evaluation.replicates import standings
    from workflow_scripts.reporting.compared import (
        ComparedRun,
        comparable,
        comparison_table,
        render_comparison,
    )

    if not runs:
        raise ConfigError("there is nothing to compare; name the folders of runs with --runs")
    may_differ = SEEDS if replicates is None else replicates
    found = [ComparedRun.read(folder) for folder in runs]
    configs = {run.name: run.config for run in found}
    if len(configs) < len(found):
        names = ", ".join(run.name for run in found)
        raise DataError(f"two of the runs have one name ({names}); give each another one")
    groups = replicate_groups(configs, may_differ)
    standing = standings(
        {run.name: run.metrics for run in found},
        {run.name: run.scores.overall[MODEL] for run in found},
        {run.name: run.scores.scaled.get(MODEL, {}) for run in found},
        groups,
        found[0].scores.better,
        resamples,
        paired=comparable(found, groups),
    )
    plain = {label: {m: asdict(one) for m, one in of.items()} for label, of in standing.items()}
    text = render_comparison(
        found,
        groups,
        plain,
        differing([configs[names[0]] for names in groups.values()], may_differ),
        replicates=may_differ,
        version=__version__,
        place=page,
    )
    comparison_table(found, groups, plain).to_csv(table, sep="\t", index=False)
    page.write_text(text, encoding="utf-8")
    print(f"{len(found)} runs in {len(groups)} groups: {page}")


if __name__ == "__main__":
    run_command(compare)
