"""What Snakemake's logger plugins show in place of its own output keeps what a person needs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.snakemake_runs import snakemake
from tests.tiny_run import write_tiny_run
from tests.workflow.test_failing import EDGE

pytestmark = pytest.mark.long


def test_rich_output_ends_in_the_report_or_in_the_box(tmp_path: Path) -> None:
    pytest.importorskip(
        "snakemake_logger_plugin_rich", reason="snakemake-logger-plugin-rich isn't installed here"
    )
    write_tiny_run(tmp_path)
    command = ("check", "--logger", "rich", "--config", "runs=run.yaml")
    good = snakemake(tmp_path, *command)
    assert "Workflow start" in good.text
    assert f"out/tiny: {tmp_path}/out/tiny/preflight/findings.html" in good.text
    toml = (tmp_path / "starter.toml").read_text()
    (tmp_path / "starter.toml").write_text(toml.replace('"g1"', '"g7"'))
    bad = snakemake(tmp_path, *command, expect=1)
    assert "Traceback" not in good.text + bad.text
    _, inside, _ = bad.text.split(EDGE)
    assert "out/tiny: preflight failed" in inside
    assert "the data has no perturbation 'g7'" in inside
