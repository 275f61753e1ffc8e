# The perturbation-feature file becomes checked, canonical vectors.
#
# needs: data.kwargs.perturbation_features_file (or null: one-hot), the groups of cells
# makes: {run}/embedded.safetensors    vectors of proteins that the file lacks (features.missing: embed)
#        {run}/features.safetensors    a vector for every perturbation of the data
#        {run}/target_features.*       the same for what prediction.targets or adata ask for


rule embed_proteins:
    input:
        inputs_of("embed_proteins"),
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
    shell:
        command("embed_proteins")


rule validate_features:
    input:
        inputs_of("validate_features"),
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
    shell:
        command("validate_features")


# Apart from the run's features, so that what is asked for changes nothing of what trains.
use rule validate_features as validate_target_features with:
    input:
        inputs_of("validate_target_features", "validate_features"),
    output:
        features="{run}/target_features.safetensors",
        audit="{run}/target_features_audit.json",
    log:
        "{run}/logs/validate_target_features.log",
    benchmark:
        "{run}/benchmarks/validate_target_features.tsv"
