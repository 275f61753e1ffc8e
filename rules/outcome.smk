# What is said before the first job and after the last.
#
# needs: the runs' folders
# makes: nothing; it looks and prints

import atexit
import signal

from workflow_scripts import outcome


def only_asks():
    """Return whether this start only says what would run, which closed folders don't hinder."""
    # A workflow that takes this one as a module may put a prefix before the names of rules.
    targets = workflow.dag_settings.targets or ["all"]
    return all(name.endswith("why") for name in targets)


onstart:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, outcome.end_with_jobs)
    if not only_asks():
        places = outcome.places_of(RUNS, CACHE)
        # Snakemake may end with an error of its own, without onerror and in another folder.
        atexit.register(outcome.print_full_disks, [Path.cwd(), *places[::-1]])
        if closed := outcome.closed_places(places):
            raise WorkflowError(closed)


onsuccess:
    atexit.unregister(outcome.print_full_disks)
    if not only_asks():
        print(*outcome.closing_lines(RUNS), sep="\n")


onerror:
    print(*outcome.closing_lines(RUNS), sep="\n")
    logs = [log] if isinstance(log, str) else log
    text = "\n".join(Path(path).read_text() for path in logs)
    print(outcome.box(outcome.failures(text)))
