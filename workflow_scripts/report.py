"""Write a run's report: one HTML file that needs no network and nothing beside it."""

from __future__ import annotations

from workflow_scripts.command import run_command
from workflow_scripts.reporting.files import InputPaths
from workflow_scripts.stage import Output, stage


@stage("report", kept=False)
def report(paths: InputPaths, out: Output) -> None:
    """Write a run's report: one HTML file that needs no network and nothing beside it.

    Parameters
    ----------
    out
        Page to write (HTML).
    """
    from workflow_scripts.reporting.inputs import read_run
    from workflow_scripts.reporting.page import render_report

    out.write_text(render_report(read_run(paths)), encoding="utf-8")


if __name__ == "__main__":
    run_command(report)
