# What is said before the first job and after the last.
#
# needs: the runs' folders
# makes: nothing; it looks and prints

import atexit
import shutil
import signal
from contextlib import suppress

import psutil

from workflow_scripts.failures import ROOM, box, failures
from workflow_scripts.settings.findings import printable


def say_what_came_of_it():
    """Print for each run where its report lies, or that it has none yet."""
    for run in RUNS:
        made = [
            Path(run, name).resolve()
            for name in ("report.html", "preflight/findings.html")
        ]
        there = next((path for path in made if path.exists()), None)
        if there is None or (len(RUNS) > 1 and there != made[0]):
            print(
                f"{run}: not finished; what it says lies in {Path(run, 'logs').resolve()}"
            )
        else:
            print(f"{run}: {there}", *warnings_of(run), sep="\n")
    for page in comparison(RUNS)[:1]:
        if Path(page).exists():
            print(f"{len(compared(RUNS))} runs compared: {Path(page).resolve()}")


def warnings_of(run):
    """Return the warnings that preflight had, for the end of the output."""
    path = Path(run, "preflight/findings.json")
    try:
        found = json.loads(path.read_text())["findings"]
    except (OSError, ValueError, LookupError):
        return [f"warning: {path} can't be read"]
    return [
        printable(f"warning: {entry['message']}")
        for entries in found.values()
        for entry in entries
        if entry["severity"] == "warning"
    ]


def places():
    """Return the folders that jobs write into, or the nearest of their parents that is there."""
    wanted = [Path(CACHE), Path(CELLS)]
    for run in RUNS:
        wanted += [Path(run), *(Path(run, name) for name in ("logs", "benchmarks"))]
        wanted += [Path(run, name) for name in ("checkpoints", "finished", "preflight")]
    there = (
        next(path for path in (one, *one.parents) if path.exists()) for one in wanted
    )
    return list(dict.fromkeys(path.resolve() for path in there))


def refuse_closed_places():
    """Stop where a folder can't be written to: each job would fail by itself, and leave no log."""
    if closed := [path for path in places() if not os.access(path, os.W_OK | os.X_OK)]:
        lines = "\n".join(f"  {path}" for path in closed)
        raise WorkflowError(
            f"nothing was started, as these can't be written to:\n{lines}\n"
            "mend their permissions, or give runs another output_dir (or cache_dir)"
        )


def disks():
    """Return a folder on each disk that Snakemake and its jobs write to."""
    on_disk = {path.stat().st_dev: path for path in [Path.cwd(), *places()[::-1]]}
    return [*on_disk.values()]


def say_where_room_is_short(paths):
    """Name the disks that are full: jobs that met that could not even write their logs.

    Snakemake itself blames permissions where it can't write its records.
    """
    for path in paths:
        if (free := shutil.disk_usage(path).free) < ROOM:
            print(
                f"{path}: its disk has {free / 1e6:.1f} MB left; make room, and start again"
            )


def only_asks():
    """Return whether this start only says what would run, which closed folders don't hinder."""
    # A workflow that takes this one as a module may put a prefix before the names of rules.
    return all(
        name.endswith("why") for name in workflow.dag_settings.targets or ["all"]
    )


def end_with_jobs(number, frame):
    """End the jobs with Snakemake.

    A signal to Snakemake alone, as an editor's stop button sends it, doesn't reach them. Snakemake
    would go on until they end, which takes hours of a training.
    """
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            child.terminate()
    raise KeyboardInterrupt


onstart:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end_with_jobs)
    if not only_asks():
        # Snakemake may end with an error of its own, without onerror and in another folder.
        atexit.register(say_where_room_is_short, disks())
        refuse_closed_places()


onsuccess:
    atexit.unregister(say_where_room_is_short)
    if not only_asks():
        say_what_came_of_it()


onerror:
    say_what_came_of_it()
    logs = [log] if isinstance(log, str) else log
    print(box(failures("\n".join(Path(path).read_text() for path in logs))))
