# Stateline: from a run file to a report. The phases below are in the order in which data flows.

from snakemake.utils import min_version

min_version("9.10")


report: "rules/captions/workflow.rst"


include: "rules/common.smk"
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
        expand("{run}/{file}", run=RUNS, file=["config.yaml", "report.html"]),
        made_by("train", "checkpoints/final.ckpt", "checkpoints/best.ckpt"),
        made_by("predict", "predictions.h5ad", "observed.h5ad"),
        made_by("write_submission"),
        made_by("evaluate", *SCORED),
        comparison(RUNS),
        put_aside(RUNS),


rule check:
    input:
        expand("{run}/{file}", run=RUNS, file=["config.yaml", "preflight.json"]),
