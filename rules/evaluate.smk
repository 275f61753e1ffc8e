# Predicted and observed cells become the official scores, the same way for model and baselines.
#
# needs: {run}/predictions.h5ad, observed.h5ad, baselines/, negative_controls/
# makes: {run}/anchors.json         what the mean response and a replicate get
#        {run}/metrics.tsv, scores.json, effects.parquet, genes.parquet
# keeps: {cache_dir}/anchors/<identity>/    shared by all runs that are tested on the same cells: the
#        anchors, and scores of predictions by their content, as those of baselines

SHARED_ANCHORS = f"{CACHE}/anchors"


rule anchors:
    input:
        inputs_of("anchors"),
    output:
        out="{run}/anchors.json",
    log:
        "{run}/logs/anchors.log",
    benchmark:
        "{run}/benchmarks/anchors.tsv"
    conda:
        "../envs/stateline.yaml"
    threads: 2
    resources:
        mem_mb=memory(4000, per_mb=16),
        runtime=minutes(120, per_gb=60),
    shell:
        command("anchors", quote(SHARED_ANCHORS))


rule evaluate:
    input:
        inputs_of("evaluate"),
    output:
        metrics=in_report("{run}/metrics.tsv", "scores", "scores"),
        scores="{run}/scores.json",
        effects="{run}/effects.parquet",
        per_perturbation="{run}/metrics_per_perturbation.parquet",
        genes="{run}/genes.parquet",
        results="{run}/evaluation_results.json",
    log:
        "{run}/logs/evaluate.log",
    benchmark:
        "{run}/benchmarks/evaluate.tsv"
    conda:
        "../envs/stateline.yaml"
    threads: 2
    resources:
        mem_mb=memory(4000, per_mb=16),
        runtime=minutes(120, per_gb=60),
    params:
        shared_dir=SHARED_ANCHORS,
    shell:
        command("evaluate")
