"""GPU jobs that run at once on one machine take different GPUs."""

from __future__ import annotations

import fcntl
import itertools
import os
import tempfile
from collections.abc import Iterator, MutableMapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

VISIBLE = "CUDA_VISIBLE_DEVICES"


@contextmanager
def own_gpus(
    wanted: int, device: str, environment: MutableMapping[str, str] = os.environ
) -> Iterator[tuple[str, ...]]:
    """Leave this process and its children the GPUs that no other job of this user has.

    To be entered before CUDA is: it reads what is visible once. A GPU is held by locks on files,
    which end with their process. Where jobs outnumber GPUs, they share them evenly. What a cluster
    allotted is not looked at: there are no more than were asked for.

    Parameters
    ----------
    wanted
        How many.
    device
        ``model.device``; cpu takes none.
    environment
        Where `VISIBLE` is read and set.

    Yields
    ------
    The GPUs' names as `VISIBLE` has them; empty where there was nothing to choose.
    """
    there = () if device == "cpu" else _visible(environment)
    if len(there) <= wanted:
        yield ()
        return
    folder = Path(tempfile.gettempdir(), f"stateline-gpus-{os.getuid()}")
    folder.mkdir(mode=0o700, exist_ok=True)
    with ExitStack() as held:
        taken: list[str] = []
        for level, name in ((n, name) for n in itertools.count() for name in there):
            if name not in taken and _take(folder / f"{name}.{level}", held):
                taken.append(name)
            if len(taken) == wanted:
                break
        before = environment.get(VISIBLE)
        environment[VISIBLE] = ",".join(taken)
        print(f"takes GPU {', '.join(taken)} of {', '.join(there)}", flush=True)
        try:
            yield tuple(taken)
        finally:
            if before is None:
                del environment[VISIBLE]
            else:
                environment[VISIBLE] = before


def _visible(environment: MutableMapping[str, str]) -> tuple[str, ...]:
    if (given := environment.get(VISIBLE)) is not None:
        return tuple(name.strip() for name in given.split(",") if name.strip())
    import torch

    return tuple(str(number) for number in range(torch.cuda.device_count()))


def _take(path: Path, held: ExitStack) -> bool:
    file = path.open("a")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return False
    held.enter_context(file)
    return True
