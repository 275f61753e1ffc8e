# Everything that the audits found, shown at once; nothing trains past an error.
#
# needs: the audits, the splits, and the models that keys name
# makes: {run}/preflight.json    the pass stamp that train takes, with what the run will need
# keeps: {run}/preflight/        findings.json, findings.html: also if something is wrong


rule preflight:
    input:
        inputs_of("preflight"),
    output:
        passed="{run}/preflight.json",
    log:
        "{run}/logs/preflight.log",
    benchmark:
        "{run}/benchmarks/preflight.tsv"
    priority: 10  # before packing, which takes longer
    conda:
        "../envs/stateline.yaml"
    resources:
        mem_mb=memory(2000),
        runtime=minutes(30),
    params:
        record="{run}/preflight",
        store=store("cells"),
    shell:
        command("preflight")


rule why:
    log:
        "cache/logs/why.log",
    localrule: True
    conda:
        "../envs/stateline.yaml"
    params:
        config=json.dumps(config),
    shell:
        "python -m workflow_scripts.why --config {params.config:q} > {log:q} 2>&1;"
        " status=$?; cat {log:q}; exit $status"
