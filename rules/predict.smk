# A trained model, and baselines fitted on the same training cells, become predicted cells.
#
# needs: a checkpoint, or the model that prediction.checkpoint names (the model alone), packed cells,
#        splits, chosen genes, features (of the baselines, those that read them), and what
#        prediction.targets, prediction.adata and prediction.genes name
# makes: {run}/targets.parquet, targets_audit.json  what is predicted, where not the test split
#        {run}/predictions.h5ad, observed.h5ad   the test cells and the controls of their contexts
#        {run}/baselines/{baseline}.h5ad         the same, predicted by each baseline
#        {run}/negative_controls/{way}.h5ad      the same, by the model with features that say nothing
#        {run}/submission.vcc, submission.h5ad   what prediction.submission asks for
# keeps: {run}/finished/<identity>/              what was predicted, for when it is asked again
#        {cache_dir}/baselines/<identity>/       what baselines predicted, shared by all runs


rule list_targets:
    input:
        of_run("target_list"),
        settings="{run}/stages/targets.json",
        groups=asked_file("groups.parquet"),
        cells_audit=asked_file("cells_audit.json"),
        genes=asked_file("genes.txt"),
        run_genes=of_run("genes_to_find"),
        splits="{run}/splits.parquet",
    output:
        targets="{run}/targets.parquet",
        audit="{run}/targets_audit.json",
    log:
        "{run}/logs/list_targets.log",
    benchmark:
        "{run}/benchmarks/list_targets.tsv"
    priority: 10
    conda:
        "../envs/stateline.yaml"
    resources:
        mem_mb=memory(2000),
        runtime=minutes(30),
    params:
        store=store("asked_cells"),
        run=of_run("folder"),
        work_dir=finished,
    message:
        "{wildcards.run}: looking at what is to be predicted"
    shell:
        command("list_targets")


rule predict:
    input:
        passed=waited_for("preflight.json"),
        config=waited_for("config.yaml"),
        settings="{run}/stages/predict.json",
        weights=of_run("weights"),
        cells=cells_file("manifest.json"),
        splits="{run}/splits.parquet",
        genes=of_run("chosen_genes"),
        written=of_run("written_genes"),
        others=of_run("ensemble"),
        features=of_run("vectors"),
        targets=if_asked("targets.parquet"),
        asked_cells=asked_file("manifest.json"),
    output:
        predictions="{run}/predictions.h5ad",
        observed="{run}/observed.h5ad",
    log:
        "{run}/logs/predict.log",
    benchmark:
        "{run}/benchmarks/predict.tsv"
    conda:
        "../envs/stateline.yaml"
    threads: 4
    resources:
        mem_mb=memory(12000),
        runtime=minutes(240),
        gpu=1,
    params:
        checkpoint=of_run("checkpoint"),
        work_dir=finished,
    message:
        "{wildcards.run}: predicting the test cells"
    shell:
        command("predict")


rule predict_baselines:
    input:
        passed=waited_for("preflight.json"),
        config=waited_for("config.yaml"),
        settings="{run}/stages/predict_baselines.json",
        cells=cells_file("manifest.json"),
        splits="{run}/splits.parquet",
        genes=of_run("chosen_genes"),
        written=of_run("written_genes"),
        features=of_run("baseline_features"),
        targets=if_asked("targets.parquet"),
        asked_cells=asked_file("manifest.json"),
    output:
        out_dir=directory("{run}/baselines"),
    log:
        "{run}/logs/predict_baselines.log",
    benchmark:
        "{run}/benchmarks/predict_baselines.tsv"
    conda:
        "../envs/stateline.yaml"
    resources:
        mem_mb=memory(8000),
        runtime=minutes(240),
    params:
        work_dir=f"{CACHE}/baselines",
    message:
        "{wildcards.run}: predicting the test cells with the baselines"
    shell:
        command("predict_baselines")


rule predict_negative_controls:
    input:
        passed=waited_for("preflight.json"),
        config=waited_for("config.yaml"),
        settings="{run}/stages/predict_negative_controls.json",
        weights=of_run("weights"),
        cells=cells_file("manifest.json"),
        splits="{run}/splits.parquet",
        genes=of_run("chosen_genes"),
        written=of_run("written_genes"),
        others=of_run("ensemble"),
        features=of_run("vectors"),
        targets=if_asked("targets.parquet"),
        asked_cells=asked_file("manifest.json"),
    output:
        out_dir=directory("{run}/negative_controls"),
    log:
        "{run}/logs/predict_negative_controls.log",
    benchmark:
        "{run}/benchmarks/predict_negative_controls.tsv"
    conda:
        "../envs/stateline.yaml"
    threads: 4
    resources:
        mem_mb=memory(12000),
        runtime=minutes(240),
        gpu=1,
    params:
        checkpoint=of_run("checkpoint"),
        work_dir=finished,
    message:
        "{wildcards.run}: predicting the test cells from features that say nothing"
    shell:
        command("predict_negative_controls")


rule write_submission:
    input:
        settings="{run}/stages/submit.json",
        predictions="{run}/predictions.h5ad",
    output:
        out="{run}/submission.{ending}",
    log:
        "{run}/logs/write_submission_{ending}.log",
    benchmark:
        "{run}/benchmarks/write_submission_{ending}.tsv"
    conda:
        "../envs/stateline.yaml"
    resources:
        mem_mb=memory(4000),
        runtime=minutes(120),
    params:
        work_dir=finished,
    message:
        "{wildcards.run}: writing {output} for a competition"
    shell:
        command("write_submission")
