# Everything that the audits found, shown at once; nothing trains past an error.
#
# needs: the three audits
# makes: {run}/preflight.json    the pass stamp that train takes


rule preflight:
    input:
        cells_file("cells_audit.json"),
        "{run}/splits_audit.json",
        "{run}/features_audit.json",
    output:
        "{run}/preflight.json",
    log:
        "{run}/logs/preflight.log",
    priority: 10  # before packing, which takes longer
    conda:
        "../envs/cpu.yaml"
    params:
        audits=lambda wildcards, input: [f"--audit={path}" for path in input],
    message:
        "{wildcards.run}: is everything ready to train?"
    shell:
        "python -m workflow_scripts.preflight --run {wildcards.run:q} {params.audits:q}"
        " --passed {output:q} > {log:q} 2>&1"
