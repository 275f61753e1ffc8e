# Everything a person should see of a run, on one page.
#
# needs: the frozen config, the audits, the training log, the scores if something was tested
# makes: {run}/report.html            self-contained: it opens from disk
#        compare.html, compare.tsv    in the folder of the runs, if several are scored


rule report:
    input:
        inputs_of("report"),
    output:
        out=in_report("{run}/report.html", "report", "report"),
    log:
        "{run}/logs/report.log",
    benchmark:
        "{run}/benchmarks/report.tsv"
    conda:
        "../envs/stateline.yaml"
    resources:
        mem_mb=memory(4000),
        runtime=minutes(30),
    params:
        # Read if they are there: to lose one is no reason to run anything.
        benchmarks=lambda wildcards: [
            f"{wildcards.run}/benchmarks",
            f"{RUNS[wildcards.run].cells}/benchmarks",
        ],
    shell:
        command("report")


if comparison(RUNS):

    rule compare:
        input:
            expand(
                "{run}/{file}",
                run=compared(RUNS),
                file=["config.yaml", "anchors.json", "metrics.tsv", "scores.json"],
            ),
            [RUNS[run].made("train", "training.csv") for run in compared(RUNS)],
        output:
            page=in_report(comparison(RUNS)[0], "compare", "page", "Comparison"),
            table=in_report(comparison(RUNS)[1], "compare", "table", "Comparison"),
        log:
            f"{comparison(RUNS)[0]}.log",
        conda:
            "../envs/stateline.yaml"
        resources:
            mem_mb=memory(4000),
            runtime=minutes(30),
        params:
            # Names and what differs stand on the page.
            runs=compared(RUNS),
            replicates=(config["compare"] or {}).get("replicates") or [],
        shell:
            command("compare")
