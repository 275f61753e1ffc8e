# The perturbation-feature file becomes checked, canonical vectors.
#
# needs: data.kwargs.perturbation_features_file (or null: one-hot), the groups of cells
# makes: {run}/features.safetensors    a vector for every perturbation of the data
#        {run}/features_audit.json     what is in the file, and what is wrong


rule validate_features:
    input:
        lambda wildcards: feature_files(wildcards.run),
        settings="{run}/stages/features.json",
        groups=cells_file("groups.parquet"),
        cells_audit=cells_file("cells_audit.json"),
    output:
        features="{run}/features.safetensors",
        audit="{run}/features_audit.json",
    log:
        "{run}/logs/validate_features.log",
    priority: 10
    conda:
        "../envs/cpu.yaml"
    message:
        "{wildcards.run}: checking the perturbation features"
    shell:
        "python -m workflow_scripts.validate_features --settings {input.settings:q}"
        " --groups {input.groups:q} --cells-audit {input.cells_audit:q}"
        " --features {output.features:q} --audit {output.audit:q} > {log:q} 2>&1"
