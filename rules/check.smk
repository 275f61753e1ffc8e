# Everything that the audits found, shown at once; nothing trains past an error.
#
# needs: the three audits, the splits, genes.file where it lists the genes, and
#        model.kwargs.init_from where it names a model
# makes: {run}/preflight.json    the pass stamp that train takes, with what the run will need
# keeps: {run}/preflight/         findings.json, findings.html: also where something is wrong


rule preflight:
    input:
        lambda wildcards: gene_list(wildcards.run),
        lambda wildcards: initial_model(wildcards.run),
        config=ancient("{run}/config.yaml"),
        settings="{run}/stages/preflight.json",
        batches=cells_file("batches.parquet"),
        cells=cells_file("cells_audit.json"),
        genes=cells_file("genes.txt"),
        splits="{run}/splits_audit.json",
        table="{run}/splits.parquet",
        features="{run}/features_audit.json",
    output:
        "{run}/preflight.json",
    log:
        "{run}/logs/preflight.log",
    priority: 10  # before packing, which takes longer
    conda:
        "../envs/cpu.yaml"
    params:
        record="{run}/preflight",
        store=lambda wildcards: f"{CACHE}/cells/{cells_digest(wildcards.run)}",
    message:
        "{wildcards.run}: is everything ready to train?"
    shell:
        "python -m workflow_scripts.preflight --run {wildcards.run:q} --settings {input.settings:q}"
        " --config {input.config:q} --cells {input.cells:q} --batches {input.batches:q}"
        " --splits {input.splits:q} --split-table {input.table:q} --features {input.features:q}"
        " --all-genes {input.genes:q} --store {params.store:q}"
        " --record {params.record:q} --passed {output:q}"
        " > {log:q} 2>&1"
