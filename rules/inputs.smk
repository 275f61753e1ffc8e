# What jobs read, run by run.
#
# needs: RUNS, CACHE, CELLS, FETCHED of rules/common.smk
# makes: the functions that rules name under input and params


def address_of(wildcards):
    """Return the address of a file that is fetched."""
    return FETCHED[f"{FETCHED_TO}/{wildcards.file}"]


def there(path):
    """Return a person's file as an input, if it is there or a rule makes it.

    A file that is missing is not declared: the audits say so in words, together with whatever
    else is wrong, and its appearance later changes the inputs, so that they run again.
    """
    made = path in DEMO_FILES or path in FETCHED
    return [path] if path and (made or Path(path).exists()) else []


@functools.cache
def cells_digest(run):
    """Return the digest that names the packed cells of a run."""
    return text_digest(RUNS[run].cells_json())[:16]


@functools.cache
def asked_digest(run):
    """Return the digest that names the packed cells that a run predicts from: its own, or others."""
    if RUNS[run].config["prediction"]["adata"] is None:
        return cells_digest(run)
    return text_digest(RUNS[run].asked_cells_json())[:16]


@functools.cache
def cells_json(cells):
    """Return the cells slice of a digest: what is packed, and how."""
    own = (run for run in RUNS if cells_digest(run) == cells)
    if run := next(own, None):
        return RUNS[run].cells_json()
    return next(
        RUNS[run].asked_cells_json() for run in RUNS if asked_digest(run) == cells
    )


def asked_file(name):
    """Return the input function for a file of the packed cells that the run predicts from."""
    return lambda wildcards: f"{CELLS}/{asked_digest(wildcards.run)}/{name}"


def if_asked(name):
    """Return the input function for a file of what is asked for in place of the test split."""
    return lambda wildcards: (
        f"{wildcards.run}/{name}" if RUNS[wildcards.run].asks else []
    )


def other_cells(name):
    """Return the input function for a file of other cells that a run predicts from, if it does."""
    return lambda wildcards: (
        asked_file(name)(wildcards)
        if RUNS[wildcards.run].config["prediction"]["adata"] is not None
        else []
    )


def target_list(wildcards):
    """Return the table of what to predict, as an input, where there is one."""
    return there(RUNS[wildcards.run].config["prediction"]["targets"])


def written_genes(wildcards):
    """Return the list of the genes that predictions are written of, as an input, if there is one."""
    return there(RUNS[wildcards.run].config["prediction"]["genes"])


def genes_to_find(wildcards):
    """Return the genes that other cells have to have, as an input, where they are known before."""
    config = RUNS[wildcards.run].config
    if config["prediction"]["adata"] is None or config["genes"]["select"] != "all":
        return []
    return cells_file("genes.txt")(wildcards)


def vectors(wildcards):
    """Return the features of what a model is asked for, as inputs.

    Of the perturbations that are predicted, and where an amplitude is fitted or controls are
    predicted, of those of the run.
    """
    run, config = wildcards.run, RUNS[wildcards.run].config
    if not RUNS[run].asks:
        return [f"{run}/features.safetensors"]
    scored = config.get("evaluation") or {}
    both = (
        config["prediction"]["amplitude"] == VALIDATION
        or scored.get("controls") == "predicted"
    )
    names = ["target_features", *(["features"] if both else [])]
    return [f"{run}/{name}.safetensors" for name in names]


def cells_file(name):
    """Return the input function for a file of the run's packed cells."""
    return lambda wildcards: f"{CELLS}/{cells_digest(wildcards.run)}/{name}"


def source_files(wildcards):
    """Return the h5ad files of a digest."""
    datasets = json.loads(cells_json(wildcards.cells))["datasets"]
    paths = [path for files in datasets.values() for path in files.values()]
    return [found for path in paths for found in there(path)]


def signatures(files):
    """Return the parameter that tells a job's files from others, whatever their times.

    A function of the wildcards, as the input function that it is given. One text, since Snakemake
    compares parameters as a set. Of a file that is made first, it is asked for after that.
    """
    return lambda wildcards: canonical_json(
        {path: signature(path) for path in files(wildcards)}
    )


def data_key(run, key):
    """Return a value of data.kwargs."""
    return RUNS[run].config["data"]["kwargs"][key]


def initial_model(run):
    """Return the path of the model that a run starts from; null where it starts from none."""
    return RUNS[run].config["model"]["kwargs"].get("init_from")


def initial_model_file(wildcards):
    """Return the file that stands for that model, as an input."""
    return there(str(model_file(initial_model(wildcards.run))))


def given_weights(run):
    """Return the path of the model that predicts, where the run trains none; null where it does."""
    return given_model(RUNS[run].config["prediction"]["checkpoint"])


@functools.cache
def ended_before_it_was_done(run):
    """Return whether an earlier start left something of a run older than what it is made from."""
    cells = Path(f"{CELLS}/{cells_digest(run)}")
    files = (cells / "cells_audit.json", cells / "manifest.json")
    return is_out_of_date(Path(run), stages_of(RUNS[run].config), *files)


def waited_for(name):
    """Return the input function for a file that a job waits for without being triggered by it.

    Of a job that stands behind one that has to run, even so, Snakemake looks at no other input:
    what an earlier start changed, and didn't come to use, would be passed over. Where there is
    such a thing, the file triggers like any other, and what is finished returns at once.
    """

    def file(wildcards):
        path = f"{wildcards.run}/{name}"
        return path if ended_before_it_was_done(wildcards.run) else ancient(path)

    return file


def training_runs():
    """Return the runs that train a model."""
    return [run for run in RUNS if "train" in RUNS[run].stages]


def weights(wildcards):
    """Return the file that stands for the model that predicts, as an input."""
    run = wildcards.run
    if path := given_weights(run):
        return there(str(model_file(path)))
    state = RUNS[run].config["prediction"]["checkpoint"]
    return f"{run}/checkpoints/{own_checkpoint(state)}"


def ensemble(wildcards):
    """Return the files that stand for the other models that predict, as inputs."""
    paths = RUNS[wildcards.run].config["prediction"]["ensemble"]
    return [file for path in paths for file in there(str(model_file(path)))]


def initial_model_note(wildcards):
    """Return the note of that model's content, as an input: nothing, where there is none."""
    return (
        [f"{wildcards.run}/initial_model.json"] if initial_model(wildcards.run) else []
    )


def gene_list(run):
    """Return the file that names the genes of a run, as an input, where one does."""
    return there(RUNS[run].config["genes"]["file"])


def chosen_genes(wildcards):
    """Return the selection of a run's genes, as an input: nothing, where all are read."""
    everything = RUNS[wildcards.run].config["genes"]["select"] == "all"
    return [] if everything else [f"{wildcards.run}/genes.json"]


def baseline_features(wildcards):
    """Return features as an input for the baselines: nothing, where none asked for reads them."""
    asked = RUNS[wildcards.run].config["prediction"]["baselines"]
    return known_features(wildcards) if set(asked) & set(FEATURE_BASELINES) else []


def known_features(wildcards):
    """Return the features of what is trained on and of what is predicted, as inputs."""
    names = ["features", *(["target_features"] if RUNS[wildcards.run].asks else [])]
    return [f"{wildcards.run}/{name}.safetensors" for name in names]


def unmasking(wildcards):
    """Return the predictions from spoiled features, as an input, where some are asked for."""
    run = wildcards.run
    return f"{run}/unmasking" if "predict_unmasking" in RUNS[run].stages else []


def scored_files(run):
    """Return what is scored of a run: nothing where it isn't asked for, or nobody measured it."""
    if "evaluate" not in RUNS[run].stages:
        return []
    return [f"{run}/{name}" for name in SCORED]


def compared_runs():
    """Return the runs that are compared: those that are scored, where there are several."""
    runs = [run for run in RUNS if scored_files(run)]
    return runs if len(runs) > 1 else []


def comparison():
    """Return where the page of the runs that are compared lies, and its table: beside the runs."""
    folders = {str(Path(run).parent) for run in compared_runs()}
    if not folders:
        return []
    place = folders.pop() if len(folders) == 1 else os.path.commonpath([*folders])
    return [os.path.normpath(f"{place}/compare.{ending}") for ending in ("html", "tsv")]


def replicates():
    """Return the keys in which replicates may differ."""
    given = (config["compare"] or {}).get("replicates") or []
    return [given] if isinstance(given, str) else given


def submissions():
    """Return the files for competitions that runs ask for."""
    asked = {
        run: RUNS[run].config["prediction"]["submission"] for run in predicting_runs()
    }
    return [f"{run}/{CHALLENGES[kind].file}" for run, kind in asked.items() if kind]


def put_aside():
    """Return what was found damaged and isn't made again yet: without it, Snakemake sees no need."""
    folders = [
        f"{CELLS}/{digest(run)}"
        for run in RUNS
        for digest in (cells_digest, asked_digest)
    ]
    folders += [folder for run in RUNS for folder in (run, f"{run}/checkpoints")]
    found = {
        f"{folder}/{path.name.removesuffix(ASIDE)}"
        for folder in folders
        for path in Path(folder).glob(f"*{ASIDE}")
    }
    return sorted(path for path in found if not Path(path).exists())


def predicting_runs():
    """Return the runs that predict something: what they hold out for test, or are asked for."""
    return [run for run in RUNS if "predict" in RUNS[run].stages]


def feature_setting(run, *names):
    """Return a value of features."""
    return functools.reduce(dict.__getitem__, names, RUNS[run].config["features"])


def feature_files(run):
    """Return the feature files of a run that are there, as inputs."""
    files = data_key(run, "perturbation_features_file")
    return [
        path
        for name in (files if isinstance(files, list) else [files])
        for path in there(name)
    ]
