# Predicted and observed cells become the official scores, the same way for model and baselines.
#
# needs: {run}/predictions.h5ad, observed.h5ad, baselines/
# makes: {run}/metrics.tsv       one row a (model, context, perturbation, metric)
#        {run}/scores.json       means, the engine and its settings, what it refused
#        {run}/effects.parquet   observed and predicted effect of every gene


rule evaluate:
    input:
        settings="{run}/stages/evaluate.json",
        predictions="{run}/predictions.h5ad",
        observed="{run}/observed.h5ad",
        baselines="{run}/baselines",
    output:
        metrics="{run}/metrics.tsv",
        scores="{run}/scores.json",
        effects="{run}/effects.parquet",
    log:
        "{run}/logs/evaluate.log",
    conda:
        "../envs/cpu.yaml"
    threads: 2
    params:
        finished=lambda wildcards: f"{wildcards.run}/finished",
    message:
        "{wildcards.run}: scoring the predictions beside the baselines"
    shell:
        "python -m workflow_scripts.evaluate --settings {input.settings:q}"
        " --observed {input.observed:q} --predictions model={input.predictions:q}"
        " --baselines {input.baselines:q} --metrics {output.metrics:q}"
        " --scores {output.scores:q} --effects {output.effects:q}"
        " --work-dir {params.finished:q} --threads {threads} > {log:q} 2>&1"
