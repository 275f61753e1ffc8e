# What is said before the first job and after the last.
#
# needs: the runs' folders
# makes: nothing; it looks and prints

import atexit
import signal
from contextlib import suppress

import psutil

from workflow_scripts.outcome import (
    box,
    closed_places,
    closing_lines,
    failures,
    places_of,
    print_full_disks,
)


def only_asks():
    """Return whether this start only says what would run, which closed folders don't hinder."""
    # A workflow that takes this one as a module may put a prefix before the names of rules.
    targets = workflow.dag_settings.targets or ["all"]
    return all(name.endswith("why") for name in targets)


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
        places = places_of(RUNS, CACHE)
        # Snakemake may end with an error of its own, without onerror and in another folder.
        atexit.register(print_full_disks, [Path.cwd(), *places[::-1]])
        if closed := closed_places(places):
            raise WorkflowError(closed)


onsuccess:
    atexit.unregister(print_full_disks)
    if not only_asks():
        print(*closing_lines(RUNS), sep="\n")


onerror:
    print(*closing_lines(RUNS), sep="\n")
    logs = [log] if isinstance(log, str) else log
    print(box(failures("\n".join(Path(path).read_text() for path in logs))))
