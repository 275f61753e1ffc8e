"""What the default profile's logger shows in place of Snakemake's output keeps what is needed."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.snakemake_runs import ROOT, snakemake
from tests.tiny_run import write_tiny_run
from tests.workflow.test_failing import EDGE

pytestmark = pytest.mark.long


def test_tests_run_with_the_default_profile_but_for_its_logger() -> None:
    default, plain = (
        yaml.safe_load((ROOT / folder / "config.yaml").read_text())
        for folder in ("profiles/default", "tests/plain_profile")
    )
    assert default == {**plain, "logger": ["rich"]}


def test_rich_output_ends_in_the_report_or_in_the_box(tmp_path: Path) -> None:
    write_tiny_run(tmp_path)
    command = ("check", "--config", "runs=run.yaml")
    good = snakemake(tmp_path, *command, plain=False)
    assert "Workflow start" in good.text
    assert f"out/tiny: {tmp_path}/out/tiny/preflight/findings.html" in good.text
    toml = (tmp_path / "starter.toml").read_text()
    (tmp_path / "starter.toml").write_text(toml.replace('"g1"', '"g7"'))
    bad = snakemake(tmp_path, *command, expect=1, plain=False)
    assert "Traceback" not in good.text + bad.text
    _, inside, _ = bad.text.split(EDGE)
    assert "out/tiny: preflight failed" in inside
    assert "the data has no perturbation 'g7'" in inside
