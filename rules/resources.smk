# What jobs ask for of a machine.
#
# needs: RUNS of rules/common.smk
# makes: the functions that rules name under resources, and what starts a training's processes


def memory(megabytes, per_mb=0):
    """Return what a job asks for of memory: so much, more for large inputs and at a retry."""
    return lambda wildcards, input, attempt: int(
        (megabytes + (per_mb * size_mb(input) if per_mb else 0)) * growth(attempt)
    )


def size_mb(paths):
    """Return the size of the files that are there; folders count with what is in them.

    A job's resources are asked for when it is planned and again when its inputs are there.
    Snakemake's own `input.size_mb` takes milliseconds each time, and warns of itself.
    """
    found = 0
    for path in map(Path, paths):
        files = path.iterdir() if path.is_dir() else [path]
        found += sum(file.stat().st_size for file in files if file.is_file())
    return found / 1e6


def growth(attempt):
    """Return by how much the memory of a retry grows: half as much each, twice at most.

    Most retries are of jobs that ran out of time or lost their node, and no node has any memory.
    """
    return min(1 + (attempt - 1) / 2, 2)


def minutes(least, per_gb=0):
    """Return the time that a job asks for: so much, more for large inputs, as much more at a retry."""
    return lambda wildcards, input, attempt: int(
        (least + (per_gb * size_mb(input) / 1000 if per_gb else 0)) * attempt
    )


def training_memory(wildcards, input, attempt):
    """Return what a training asks for of memory: what preflight worked out, and half as much more."""
    try:
        needed = json.loads(Path(input.passed).read_text())["estimate"]["host_bytes"]
    except (ValueError, LookupError, TypeError):  # damaged, which the report refuses
        needed = 8e9
    return int((2000 + 1.5 * needed / 1e6) * growth(attempt))


def ranks(run):
    """Return how many devices train together."""
    config = RUNS[run].config
    return config["training"]["devices"] * config["engine"]["nodes"]


def launcher(wildcards, resources):
    """Return what starts the processes of a training: nothing, or srun where a profile says so."""
    if not resources.get("mpi"):
        return ""
    nodes, tasks = resources.get("nodes", 1), resources.get("tasks_per_node", 1)
    return f"{resources.mpi} --nodes={nodes} --ntasks-per-node={tasks} "
