# h5ad files become audited groups, splits and packed cells.
#
# needs: the h5ad files of [datasets] or cells.datasets, and the split file
# makes: cache/fetched/*            files that are named by an address
#        cache/cells/{cells}/*      what runs on the same files share: groups, the audit, the manifest
#        {run}/splits.*             what trains, validates and tests
#        {run}/genes.json           which genes are read, if not all of them are
#        simulated/demo/*           the demo's screen
# keeps: {cache_dir}/cells/{cells}/<identity>/    the packed cells


rule simulate_demo:
    output:
        DEMO_FILES,
    log:
        "simulated/logs/simulate_demo.log",
    conda:
        "../envs/stateline.yaml"
    resources:
        mem_mb=memory(2000),
        runtime=minutes(30),
    params:
        out_dir=lambda wildcards, output: Path(output[0]).parent,
    shell:
        command("simulate_demo")


rule fetch_cells:
    input:
        lambda wildcards: storage(FETCHED[wildcards.file].partition("#")[0]),
    output:
        "{file}",
    log:
        "{file}.log",
    wildcard_constraints:
        file="|".join(map(re.escape, FETCHED)) or "nothing",
    localrule: True
    conda:
        "../envs/stateline.yaml"
    params:
        sha256=lambda wildcards: FETCHED[wildcards.file].partition("#sha256=")[2],
    shell:
        "(ln -f {input:q} {output:q} || cp {input:q} {output:q}; touch {output:q}"
        " && if [ -n '{params.sha256}' ]; then"
        " echo '{params.sha256} *'{output:q} | sha256sum --check --strict; fi) > {log:q} 2>&1"


rule freeze_cells:
    input:
        source_files,
    output:
        f"{CELLS}/{{cells}}/cell_files.json",
    log:
        f"{CELLS}/{{cells}}/logs/freeze_cells.log",
    localrule: True
    conda:
        "../envs/stateline.yaml"
    params:
        # One text, since Snakemake compares parameters as a set.
        content=lambda wildcards: canonical_json(
            PACKED[wildcards.cells] | signatures(wildcards)
        ),
    shell:
        "printf '%s\\n' {params.content:q} > {output:q} 2> {log:q}"


rule audit_cells:
    input:
        source_files,
        cell_files=f"{CELLS}/{{cells}}/cell_files.json",
    output:
        groups=f"{CELLS}/{{cells}}/groups.parquet",
        batches=f"{CELLS}/{{cells}}/batches.parquet",
        twins=f"{CELLS}/{{cells}}/twins.parquet",
        genes=f"{CELLS}/{{cells}}/genes.txt",
        audit=f"{CELLS}/{{cells}}/cells_audit.json",
    log:
        f"{CELLS}/{{cells}}/logs/audit_cells.log",
    benchmark:
        f"{CELLS}/{{cells}}/benchmarks/audit_cells.tsv"
    conda:
        "../envs/stateline.yaml"
    resources:
        # 300 bytes a cell were measured, of which a file of counts has some 3,000.
        mem_mb=memory(4000, per_mb=0.1),
        runtime=minutes(30, per_gb=4),
    shell:
        command("audit_cells")


rule audit_splits:
    input:
        inputs_of("audit_splits"),
    output:
        splits="{run}/splits.parquet",
        split_file="{run}/splits.toml",
        audit="{run}/splits_audit.json",
    log:
        "{run}/logs/audit_splits.log",
    benchmark:
        "{run}/benchmarks/audit_splits.tsv"
    priority: 10
    conda:
        "../envs/stateline.yaml"
    resources:
        mem_mb=memory(2000),
        runtime=minutes(30),
    params:
        store=store("cells"),
    shell:
        command("audit_splits")


rule pack_cells:
    input:
        source_files,
        cell_files=f"{CELLS}/{{cells}}/cell_files.json",
        audit=f"{CELLS}/{{cells}}/cells_audit.json",
    output:
        manifest=f"{CELLS}/{{cells}}/manifest.json",
    log:
        f"{CELLS}/{{cells}}/logs/pack_cells.log",
    benchmark:
        f"{CELLS}/{{cells}}/benchmarks/pack_cells.tsv"
    conda:
        "../envs/stateline.yaml"
    resources:
        mem_mb=memory(4000),
        runtime=minutes(60, per_gb=4),
    params:
        store=lambda wildcards: f"{CACHE}/cells/{wildcards.cells}",
    shell:
        command("pack_cells")


rule select_genes:
    input:
        inputs_of("select_genes"),
    output:
        genes="{run}/genes.json",
        table="{run}/genes.tsv",
    log:
        "{run}/logs/select_genes.log",
    benchmark:
        "{run}/benchmarks/select_genes.tsv"
    conda:
        "../envs/stateline.yaml"
    resources:
        mem_mb=memory(8000),
        runtime=minutes(60),
    shell:
        command("select_genes")
