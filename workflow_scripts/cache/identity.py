"""Finished work, kept under its identity.

A stage that computes for long keeps what it finished in a folder that is named by everything the
result depends on and that no rule declares, so that Snakemake never deletes it. Asked again with
an unchanged identity, the stage links its own finished work to the declared outputs.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

from workflow_scripts.cache.digests import canonical_json, file_digest
from workflow_scripts.cache.locks import is_held, try_lock
from workflow_scripts.cache.writing import publish_file, write_atomically
from workflow_scripts.errors import DataError

LOCK = "lock"
NOTES = ".identities.json"
"""What the file is called, after its stage, that lists the identities it was asked for."""


class IdentityFolder:
    """The folder of one identity: work in progress, then finished work."""

    def __init__(
        self,
        parent: Path,
        identity: str,
        inputs: Mapping[str, str] | None = None,
        *,
        until: Mapping[str, Any] | None = None,
    ) -> None:
        """Name the folder, and make it.

        Parameters
        ----------
        parent, identity
            Where it lies, and its name.
        inputs
            Digests that the identity depends on, by name.
        until
            How far the work goes: work that is finished for less goes on in the same folder.
        """
        self.identity = identity
        self.inputs = inputs or {}
        self.path = parent / identity
        self._until = until or {}
        self._mark = self.path / "finished.json"
        self._notes: Path | None = None
        self.path.mkdir(parents=True, exist_ok=True)

    def note_current(self, stage: str) -> None:
        """Note beside the folder that this is what a stage was asked for last.

        What it was asked for before is superseded: finished, and returned to if settings are.
        """
        path = self._notes = self.path.parent / f"{stage}{NOTES}"
        earlier = [name for name in noted(path) if (self.path.parent / name).is_dir()]
        names = [self.identity, *(name for name in earlier if name != self.identity)]
        write_atomically(path, canonical_json(names))

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the folder for this process alone; a dead owner's lock is gone with it.

        Where another process works on it, wait for its end, and say so with host, process and job:
        it may be one that a killed workflow left behind, whose work is then found finished.
        """
        with self._open_lock() as file:
            if not try_lock(file):
                file.seek(0)
                owner = file.read().strip() or "unknown"
                print(f"waiting for {owner} to finish {self.path}", flush=True)
                fcntl.flock(file, fcntl.LOCK_EX)
            if not _is(file, self.path / LOCK):
                # What held it removed the folder: it is made again.
                with self.lock():
                    yield
                return
            file.truncate(0)
            job = os.environ.get("SLURM_JOB_ID")
            of_job = f", Slurm job {job}" if job else ""
            file.write(f"process {os.getpid()} on {socket.gethostname()}{of_job}")
            file.flush()
            yield

    def _open_lock(self) -> TextIO:
        self.path.mkdir(parents=True, exist_ok=True)
        return (self.path / LOCK).open("a+", encoding="utf-8")

    def has_finished(self, *names: str) -> bool:
        """Tell whether these files and folders were finished, and are whole.

        A file that has the size that it was finished with, and another content, is removed.
        """
        try:
            mark = self._marked()
            if mark["until"] != self._until or not {*names} <= {*mark["names"]}:
                return False
            marked = mark["files"]
            found = {name: self._content(name) for name in marked}
        except (OSError, ValueError, LookupError, TypeError, AttributeError):
            return False
        for name in (name for name in marked if found[name] != marked[name]):
            print(f"{self.path / name}: not as it was finished, and made again", flush=True)
            if found[name][0] == marked[name][0]:
                (self.path / name).unlink(missing_ok=True)
        return bool(found == marked)

    def finish(self, *names: str) -> None:
        """Mark the work as complete: these files, and folders of files, inside the folder."""
        files = []
        for path in map(self.path.joinpath, names):
            files += sorted(path.iterdir()) if path.is_dir() else [path]
        inside = [str(file.relative_to(self.path)) for file in files]
        mark = {
            "until": self._until,
            "names": names,
            "files": {n: self._content(n) for n in inside},
        }
        write_atomically(self._mark, canonical_json(mark))

    def _marked(self) -> dict[str, Any]:
        mark: dict[str, Any] = json.loads(self._mark.read_text(encoding="utf-8"))
        return mark

    def _content(self, name: str) -> list[Any]:
        """Return a file's size and digest."""
        path = self.path / name
        return [path.stat().st_size, file_digest(path)]

    def publish(self, outputs: Mapping[str, Path]) -> None:
        """Link finished files and folders (by name) to the outputs that a rule declares.

        Raises
        ------
        DataError
            Where the stage was asked for something else since `note_current`: by a new start, while
            this process went on without the workflow that started it.
        """
        if self._notes is not None and (now := noted(self._notes)[:1]) != [self.identity]:
            raise DataError(
                f"{self.path} is finished and kept, and not put in place: {self._notes} says that "
                f"{now[0] if now else 'nothing'} was asked for meanwhile"
            )
        for name, output in outputs.items():
            if (self.path / name).is_dir():
                output.mkdir(parents=True, exist_ok=True)
        for file in map(Path, self._marked()["files"]):
            publish_file(self.path / file, outputs[file.parts[0]].joinpath(*file.parts[1:]))


def noted(path: Path) -> list[str]:
    """Return the identities that a stage was asked for, the current one first."""
    try:
        names = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return [name for name in names if isinstance(name, str)] if isinstance(names, list) else []


def remove_identity(folder: Path) -> bool:
    """Remove an identity's folder, unless a process works on it; tell whether it is gone.

    A file that was left over is removed as well.
    """
    if folder.is_file():
        folder.unlink()
        return True
    try:
        file = (folder / LOCK).open("a+", encoding="utf-8")
    except FileNotFoundError:
        return True
    with file:
        if not (try_lock(file) and _is(file, folder / LOCK)):
            return False
        for path in folder.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            elif path.name != LOCK:
                path.unlink()
        # Last: until then no other process can take the folder for its own.
        (folder / LOCK).unlink()
        with suppress(OSError):  # one that waited may have made it again
            folder.rmdir()
    return True


def is_locked(folder: Path) -> bool:
    """Tell whether a process works on an identity's folder."""
    return is_held(folder / LOCK)


def _is(file: TextIO, path: Path) -> bool:
    """Tell whether an open file is the one that lies at ``path``."""
    return path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat())
