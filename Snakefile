# Stateline: from a run file to a report. The phases below are in the order in which data flows.

from snakemake.utils import min_version

min_version("9.10")


report: "rules/captions/workflow.rst"


include: "rules/common.smk"
include: "rules/inputs.smk"
include: "rules/freeze.smk"
include: "rules/cells.smk"
include: "rules/features.smk"
include: "rules/check.smk"
include: "rules/train.smk"
include: "rules/predict.smk"
include: "rules/evaluate.smk"
include: "rules/report.smk"
include: "rules/outcome.smk"


rule all:
    default_target: True
    input:
        expand("{run}/config.yaml", run=RUNS),
        expand(
            "{run}/checkpoints/{state}.ckpt",
            run=with_rule("train"),
            state=["final", "best"],
        ),
        expand(
            "{run}/{cells}.h5ad",
            run=with_rule("predict"),
            cells=["predictions", "observed"],
        ),
        [file for run in RUNS.values() for file in run.made("write_submission")],
        [file for run in RUNS for file in RUNS[run].scored],
        expand("{run}/report.html", run=RUNS),
        comparison(RUNS),
        put_aside(RUNS, ASIDE),


rule check:
    input:
        expand("{run}/config.yaml", run=RUNS),
        expand("{run}/preflight.json", run=RUNS),
