# What jobs read, run by run: workflow_scripts/inputs.py has one property for each input.
#
# needs: RUNS, CACHE, FETCHED of rules/common.smk
# makes: the functions that rules name under input and params


def of_run(name):
    """Return the input function for a property of the run."""
    return lambda wildcards: getattr(RUNS[wildcards.run], name)


def cells_file(name):
    """Return the input function for a file of the run's packed cells."""
    return lambda wildcards: f"{RUNS[wildcards.run].cells}/{name}"


def asked_file(name):
    """Return the input function for a file of the packed cells that the run predicts from."""
    return lambda wildcards: f"{RUNS[wildcards.run].asked_cells}/{name}"


def if_asked(name):
    """Return the input function for a file of what is predicted in place of the test split."""
    return lambda wildcards: RUNS[wildcards.run].asked_file(name)


def other_cells(name):
    """Return the input function for a file of other cells that a run predicts from, if it does."""
    return lambda wildcards: RUNS[wildcards.run].other_cells_file(name)


def scored_file(name):
    """Return the input function for a file of the scores of a run, if it is scored."""
    return lambda wildcards: (
        f"{wildcards.run}/{name}" if RUNS[wildcards.run].scored else []
    )


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


def finished(wildcards):
    """Return the folder of a run's finished work."""
    return f"{wildcards.run}/finished"


def waited_for(name):
    """Return the input function for a file that a job waits for without being triggered by it.

    Of a job that stands behind one that has to run, even so, Snakemake looks at no other input:
    what an earlier start changed, and didn't come to use, would be passed over. Where there is
    such a thing, the file triggers like any other, and what is finished returns at once.
    """

    def file(wildcards):
        path = f"{wildcards.run}/{name}"
        return path if RUNS[wildcards.run].is_behind else ancient(path)

    return file


def with_rule(name):
    """Return the runs that have a rule, as those that train or predict."""
    return [folder for folder, run in RUNS.items() if name in run.stages]


def replicates():
    """Return the keys in which replicates may differ."""
    given = (config["compare"] or {}).get("replicates") or []
    return [given] if isinstance(given, str) else given
