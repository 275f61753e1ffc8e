# Composed settings become files: the record a person reads, and one slice a stage.
#
# needs: nothing but the settings
# makes: {run}/config.yaml         the frozen config
#        {run}/config.trace.tsv    where every value came from, and what a change of it does
#        {run}/provenance.json     how it was asked for, and by which version of this code
#        {run}/stages/{stage}.json what one stage reads, and all that triggers it


# Before Snakemake looks at them: a record says how a run was made, and no edit of it has an effect.
if workflow.is_main_process:
    for run in RUNS.values():
        for warning in run.restore_records():
            logger.warning(f"warning: {warning}")


rule freeze_config:
    output:
        config=in_report("{run}/config.yaml", "config", "frozen config"),
        trace=in_report("{run}/config.trace.tsv", "config", "sources of its values"),
        provenance="{run}/provenance.json",
    log:
        "{run}/logs/freeze_config.log",
    benchmark:
        "{run}/benchmarks/freeze_config.tsv"
    localrule: True
    conda:
        "../envs/stateline.yaml"
    params:
        # Holds the digest of the result: a change of any value or source changes this parameter.
        arguments=lambda wildcards: RUNS[wildcards.run].freeze_arguments(),
    shell:
        "python -m workflow_scripts.config freeze --out {output.config:q}"
        " --trace {output.trace:q} --provenance {output.provenance:q} {params.arguments} > {log:q} 2>&1"


rule freeze_stage:
    output:
        "{run}/stages/{stage}.json",
    log:
        "{run}/logs/freeze_{stage}.log",
    localrule: True
    conda:
        "../envs/stateline.yaml"
    params:
        # Canonical JSON, so that only a changed value is a changed parameter.
        slice=lambda wildcards: RUNS[wildcards.run].stage_json(wildcards.stage),
    shell:
        "printf '%s\\n' {params.slice:q} > {output:q} 2> {log:q}"
