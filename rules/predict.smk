# A trained model, and baselines fitted on the same training cells, become predicted cells.
#
# needs: a checkpoint, packed cells, splits, chosen genes, features
# makes: {run}/predictions.h5ad, observed.h5ad   the test cells and the controls of their contexts
#        {run}/baselines/*.h5ad                  the same, predicted by each baseline
#        {run}/negative_controls/*.h5ad          the same, by the model with features that say nothing
#        {run}/targets.parquet                   what is predicted, if not the test split
#        {run}/submission.vcc, submission.h5ad   what prediction.submission asks for
# keeps: {run}/finished/<identity>/, {cache_dir}/baselines/<identity>/ (shared by all runs)


rule list_targets:
    input:
        inputs_of("list_targets"),
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
    shell:
        command("list_targets")


rule predict:
    input:
        inputs_of("predict"),
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
    shell:
        command("predict")


rule predict_baselines:
    input:
        inputs_of("predict_baselines"),
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
    shell:
        command("predict_baselines", quote(f"{CACHE}/baselines"))


rule predict_negative_controls:
    input:
        inputs_of("predict_negative_controls"),
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
    shell:
        command("predict_negative_controls")


rule write_submission:
    input:
        inputs_of("write_submission"),
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
    shell:
        command("write_submission")
