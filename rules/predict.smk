# A trained model, and baselines fitted on the same training cells, become predicted cells.
#
# needs: a checkpoint, or the model that prediction.checkpoint names (the model alone), packed cells,
#        splits, chosen genes, features (of the baselines, those that read them)
# makes: {run}/predictions.h5ad, observed.h5ad   the test cells and the controls of their contexts
#        {run}/baselines/{baseline}.h5ad         the same, predicted by each baseline
# keeps: {run}/finished/<identity>/              what was predicted, for when it is asked again


rule predict:
    input:
        passed=ancient("{run}/preflight.json"),
        config=ancient("{run}/config.yaml"),
        settings="{run}/stages/predict.json",
        weights=weights,
        cells=cells_file("manifest.json"),
        splits="{run}/splits.parquet",
        genes=chosen_genes,
        features="{run}/features.safetensors",
    output:
        predictions="{run}/predictions.h5ad",
        observed="{run}/observed.h5ad",
    log:
        "{run}/logs/predict.log",
    conda:
        "../envs/gpu.yaml"
    threads: 4
    resources:
        gpu=1,
    params:
        finished=lambda wildcards: f"{wildcards.run}/finished",
        model=lambda wildcards, input: given_weights(wildcards.run) or input.weights,
    message:
        "{wildcards.run}: predicting the test cells"
    shell:
        "python -m workflow_scripts.predict --settings {input.settings:q}"
        " --config {input.config:q} --checkpoint {params.model:q}"
        " --cells {input.cells:q} --splits {input.splits:q} --genes {input.genes:q}"
        " --features {input.features:q}"
        " --predictions {output.predictions:q} --observed {output.observed:q}"
        " --work-dir {params.finished:q} --threads {threads} > {log:q} 2>&1"


rule predict_baselines:
    input:
        passed=ancient("{run}/preflight.json"),
        config=ancient("{run}/config.yaml"),
        settings="{run}/stages/predict_baselines.json",
        cells=cells_file("manifest.json"),
        splits="{run}/splits.parquet",
        genes=chosen_genes,
        features=baseline_features,
    output:
        directory("{run}/baselines"),
    log:
        "{run}/logs/predict_baselines.log",
    conda:
        "../envs/cpu.yaml"
    params:
        finished=lambda wildcards: f"{wildcards.run}/finished",
    message:
        "{wildcards.run}: predicting the test cells with the baselines"
    shell:
        "python -m workflow_scripts.predict_baselines --settings {input.settings:q}"
        " --config {input.config:q} --cells {input.cells:q}"
        " --splits {input.splits:q} --genes {input.genes:q}"
        " --features {input.features:q} --out-dir {output:q}"
        " --work-dir {params.finished:q} > {log:q} 2>&1"
