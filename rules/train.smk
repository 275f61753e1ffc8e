# Packed cells, splits and features become a trained model.
#
# needs: the pass stamp, packed cells, splits, the genes that were chosen, features,
#        the model that the run starts from, where model.kwargs.init_from names one
# makes: {run}/checkpoints/final.ckpt   the state at exactly training.max_steps
#        {run}/checkpoints/best.ckpt    the state of the best validation (engine.select_by)
#        {run}/training.csv             one row a step
#        {run}/starts.json              from which step it went on, where, and how that ended
# keeps: checkpoints/<identity>/        step=….ckpt, last.ckpt: what a killed training continues from;
#                                       in output_dir/name, whatever is predicted


rule train:
    input:
        inputs_of("train"),
    output:
        final="{run}/checkpoints/final.ckpt",
        best="{run}/checkpoints/best.ckpt",
        metrics=report(
            "{run}/training.csv",
            caption="captions/training.rst",
            category="Runs",
            subcategory="{run}",
            labels={"what": "training"},
        ),
        starts="{run}/starts.json",
    log:
        "{run}/logs/train.log",
    benchmark:
        "{run}/benchmarks/train.tsv"
    conda:
        "../envs/stateline.yaml"
    threads: 4
    resources:
        mem_mb=training_memory,
        runtime=minutes(1440),
        gpu=lambda wildcards: ranks(wildcards.run),
    params:
        launcher=launcher,
        work_dir=lambda wildcards: f"{RUNS[wildcards.run].home}/checkpoints",
    message:
        "{wildcards.run}: training (follow it in {log})"
    shell:
        "{params.launcher}" + command("train", "{params.work_dir:q}")
