# The perturbation-feature file becomes checked, canonical vectors.
#
# Where features.missing is embed, what it lacks is computed from the proteins' sequences.
#
# needs: data.kwargs.perturbation_features_file (or null: one-hot), the groups of cells
# makes: {run}/embedded.safetensors    vectors of proteins, and of no other
#        {run}/features.safetensors    a vector for every perturbation of the data
#        {run}/features_audit.json     what is in the file, and what is wrong
#        {run}/target_features.*       the same for what prediction.targets or adata ask for


rule embed_proteins:
    input:
        of_run("feature_files"),
        of_run("fasta"),
        settings="{run}/stages/features.json",
        groups=cells_file("groups.parquet"),
        cells_audit=cells_file("cells_audit.json"),
    output:
        out="{run}/embedded.safetensors",
    log:
        "{run}/logs/embed_proteins.log",
    benchmark:
        "{run}/benchmarks/embed_proteins.tsv"
    conda:
        "../envs/stateline.yaml"
    threads: 4
    resources:
        mem_mb=memory(16000),
        runtime=minutes(120),
        gpu=1,
    params:
        cache=f"{CACHE}/proteins",
    message:
        "{wildcards.run}: embedding proteins (follow it in {log})"
    shell:
        command("embed_proteins")


rule validate_features:
    input:
        of_run("feature_files"),
        settings="{run}/stages/features.json",
        groups=cells_file("groups.parquet"),
        cells_audit=cells_file("cells_audit.json"),
        embedded=of_run("embedded"),
        one_hot_of=[],
    output:
        features="{run}/features.safetensors",
        audit="{run}/features_audit.json",
    log:
        "{run}/logs/validate_features.log",
    benchmark:
        "{run}/benchmarks/validate_features.tsv"
    priority: 10
    conda:
        "../envs/stateline.yaml"
    resources:
        mem_mb=memory(4000, per_mb=4),
        runtime=minutes(30),
    params:
        work_dir=finished,
    message:
        "{wildcards.run}: checking the perturbation features"
    shell:
        command("validate_features")


# Apart from the run's features, so that what is asked for changes nothing of what trains.
use rule validate_features as validate_target_features with:
    input:
        of_run("feature_files"),
        settings="{run}/stages/features.json",
        groups="{run}/targets.parquet",
        cells_audit=cells_file("cells_audit.json"),
        one_hot_of="{run}/features.safetensors",
        embedded=of_run("embedded"),
    output:
        features="{run}/target_features.safetensors",
        audit="{run}/target_features_audit.json",
    log:
        "{run}/logs/validate_target_features.log",
    benchmark:
        "{run}/benchmarks/validate_target_features.tsv"
    message:
        "{wildcards.run}: checking the features of what is to be predicted"
