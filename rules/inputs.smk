# What jobs read, run by run; workflow_scripts/inputs.py says which files those are.
#
# needs: RUNS, CACHE, FETCHED of rules/common.smk
# makes: the functions that rules name under input and params


def of_run(name):
    """Return the input function for a property of the run."""
    return lambda wildcards: getattr(RUNS[wildcards.run], name)


def inputs_of(rule, script=None):
    """Return a file for each input of the function of a rule's script.

    It waits for the check and the frozen config without being triggered by them. Of a job that
    stands behind one that has to run, even so, Snakemake looks at no other input: what an earlier
    start changed, and didn't come to use, would be passed over. Where there is such a thing, they
    trigger like any other, and what is finished returns at once. So they do for a rule that the
    run doesn't have by itself, as the baselines of a list.
    """
    options = stage_of(script or rule).in_rule
    names = [option.name for option in options if option.place == "input"]

    def files(wildcards):
        run = RUNS[wildcards.run]
        found = run.inputs_of(rule, names)
        if rule in run.stages and not run.is_behind:
            for name in {"passed", *FROZEN} & {*found}:
                found[name] = ancient(found[name])
        return found

    return unpack(files)


def store(folder):
    """Return the parameter that names the packed cells of a run, in the cache."""
    return (
        lambda wildcards: f"{CACHE}/cells/{Path(getattr(RUNS[wildcards.run], folder)).name}"
    )


@functools.cache
def packing():
    """Return what is packed, and how, by the digest that names the packed cells."""
    return {name: text for run in RUNS.values() for name, text in run.packing.items()}


def source_files(wildcards):
    """Return the h5ad files of a digest."""
    datasets = json.loads(packing()[wildcards.cells])["datasets"]
    paths = [path for files in datasets.values() for path in files.values()]
    made = {*DEMO_FILES, *FETCHED}
    return [path for path in paths if path in made or Path(path).exists()]


def with_rule(name):
    """Return the runs that have a rule, as those that train or predict."""
    return [folder for folder, run in RUNS.items() if name in run.stages]


def replicates():
    """Return the keys in which replicates may differ."""
    given = (config["compare"] or {}).get("replicates") or []
    return [given] if isinstance(given, str) else given
