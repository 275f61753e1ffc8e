# Predicted and observed cells become the official scores, the same way for model and baselines.
#
# needs: {run}/predictions.h5ad, observed.h5ad, baselines/, negative_controls/
# makes: {run}/anchors.json         what the mean response and a replicate get; runs that are tested
#                                   on the same cells share the work, in the cache
#        {run}/metrics.tsv          one row a (model, context, perturbation, metric)
#        {run}/scores.json          means, the engine and its settings, what it refused
#        {run}/effects.parquet      observed and predicted effect of every gene
#        {run}/metrics_per_perturbation.parquet  the same scores beside what is known of each one
#        {run}/evaluation_results.json  what the engine itself writes of the model, by context
#        {run}/genes.parquet        mean, variance and zeros of every gene, observed and predicted

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
    message:
        "{wildcards.run}: scoring the mean response and a replicate of its test cells"
    shell:
        command("anchors", quote(SHARED_ANCHORS))


rule evaluate:
    input:
        inputs_of("evaluate"),
    output:
        metrics=report(
            "{run}/metrics.tsv",
            caption="captions/scores.rst",
            category="Runs",
            subcategory="{run}",
            labels={"what": "scores"},
        ),
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
    message:
        "{wildcards.run}: scoring the predictions beside the baselines"
    shell:
        command("evaluate")
