"""Another workflow takes this one as a module, and goes on with what it makes."""

from __future__ import annotations

from pathlib import Path

from tests.snakemake_runs import ROOT, snakemake
from tests.tiny_run import write_tiny_run

OTHER = f"""
config["stateline"] = {{
    "runs": "run.yaml",
    "overrides": "evaluation.profile=pds prediction.baselines=[control] "
    "prediction.negative_controls=[]",
}}

module stateline:
    snakefile: "{ROOT}/Snakefile"
    config: config["stateline"]

use rule * from stateline as stateline_*

rule count_scores:
    input:
        "out/tiny/metrics.tsv",
    output:
        "scores.txt",
    shell:
        "wc -l < {{input}} > {{output}}"

rule say_it_is_ready:
    default_target: True
    input:
        "out/tiny/preflight.json",
    output:
        "ready.txt",
    shell:
        "cp {{input}} {{output}}"
"""


def test_another_workflow_goes_on_with_what_this_one_makes(tmp_path: Path) -> None:
    write_tiny_run(tmp_path)
    other = tmp_path / "Snakefile"
    other.write_text(OTHER)
    done = snakemake(tmp_path, snakefile=other)
    assert {"stateline_audit_cells", "stateline_preflight", "say_it_is_ready"} <= {*done.jobs}
    assert (tmp_path / "ready.txt").exists()
    assert snakemake(tmp_path, snakefile=other).jobs == []
    planned = snakemake(tmp_path, "scores.txt", "--dry-run", snakefile=other).planned
    assert {"stateline_train", "stateline_predict", "stateline_evaluate"} <= planned
    assert "stateline_audit_cells" not in planned
    said = snakemake(tmp_path, "stateline_why", snakefile=other).text
    assert "train: out/tiny/checkpoints/final.ckpt is missing" in said
    assert "preflight: " not in said
