# Packed cells, splits and features become a trained model.
#
# needs: the pass stamp, packed cells, splits, the genes that were chosen, features
# makes: {run}/checkpoints/final.ckpt, best.ckpt   after the last step, and of the best validation
#        {run}/training.csv, starts.json           a row a step; from where each start went on
# keeps: checkpoints/<identity>/                   what a killed training continues from


rule train:
    input:
        inputs_of("train"),
    output:
        final="{run}/checkpoints/final.ckpt",
        best="{run}/checkpoints/best.ckpt",
        metrics=in_report("{run}/training.csv", "training", "training"),
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
        gpu=of_run("ranks"),
    params:
        launcher=launcher,
        work_dir=lambda wildcards: f"{RUNS[wildcards.run].home}/checkpoints",
    shell:
        f"{{params.launcher}}{command('train', '{params.work_dir:q}')}"
