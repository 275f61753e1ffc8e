"""Finished work, kept under its identity.

A stage that computes for long keeps what it finished in a folder that is named by everything the
result depends on and that no rule declares, so that Snakemake never deletes it. Asked again with
an unchanged identity, the stage links its own finished work to the declared outputs.
"""

from __future__ import annotations

import fcntl
import functools
import hashlib
import json
import os
import re
import shutil
import socket
import stat
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

from workflow_scripts.settings.choices import model_file
from workflow_scripts.settings.errors import DataError
from workflow_scripts.settings.slices import canonical_json, text_digest
from workflow_scripts.settings.stages import numerics_of

STDOUT = 1
"""File descriptor of standard output."""

LOCK = "lock"
NOTES = ".identities.json"
"""What the file is called, after its stage, that lists the identities it was asked for."""

DIGESTS = ".digests"
"""Folder beside published files, with a file of the same name for each: its SHA-256."""

ASIDE = ".damaged"
"""Ending of what was published, was damaged and lies aside."""


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file's content, in hexadecimal.

    A process reads a file once for as long as nobody writes to it.
    """
    now = path.stat()
    return _digest(path, now.st_ino, now.st_size, now.st_mtime_ns, now.st_ctime_ns)


@functools.lru_cache(maxsize=1000)
def _digest(path: Path, *state: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_zip(path: Path) -> None:
    """Hold the parts of a zip file, which torch writes, to their checksums; pass by others.

    Raises
    ------
    DataError
        Where a part isn't what was written.
    """
    with path.open("rb") as file:
        if not zipfile.is_zipfile(file):
            return
        try:
            with zipfile.ZipFile(file) as parts:
                torn = parts.testzip()
        except Exception as error:  # whatever the damaged header of a part makes of it
            torn = str(error)
    if torn is not None:
        raise DataError(f"{path}: damaged: a checksum in it differs from its content ({torn})")


def identity_of(stage: str, settings: Mapping[str, Any], inputs: Mapping[str, str]) -> str:
    """Return the identity of a stage's work, 32 hexadecimal characters.

    Parameters
    ----------
    stage
        Name of its slice.
    settings
        Identity part of the stage's slice.
    inputs
        Name to content digest of every input that the result depends on.
    """
    content = {
        "stage": stage,
        "numerics": numerics_of(stage),
        "settings": dict(settings),
        "inputs": dict(inputs),
    }
    return text_digest(canonical_json(content))[:32]


class IdentityFolder:
    """The folder of one identity: work in progress, then finished work."""

    def __init__(self, parent: Path, identity: str, part: str = "") -> None:
        """Name the folder, and make it.

        Parameters
        ----------
        parent, identity
            Where it lies, and its name.
        part
            Which of several pieces of work with one identity this is (a number of steps, say);
            each is marked as finished by itself.
        """
        self.identity = identity
        self.path = parent / identity
        self._mark = self.path / f"finished{part}.json"
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
            if not _try(file):
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
        """Tell whether the work was completed with these files, and all of its files are whole.

        One that has the size that it was finished with, and another content, is removed.
        """
        try:
            marked = self._marked()
            found = {name: self._content(name) for name in marked}
        except (OSError, ValueError):
            return False
        for name in (name for name in marked if found[name] != marked[name]):
            print(f"{self.path / name}: not as it was finished, and made again", flush=True)
            if found[name][0] == marked[name][0]:
                (self.path / name).unlink(missing_ok=True)
        return found == marked and all(name in marked for name in names)

    def finish(self, names: Sequence[str]) -> None:
        """Mark the work as complete; ``names`` are its files inside the folder."""
        write_atomically(self._mark, canonical_json({name: self._content(name) for name in names}))

    def finished_files(self) -> list[str]:
        """Return the names that `finish` was given."""
        return list(self._marked())

    def _marked(self) -> dict[str, list[Any]]:
        marked = json.loads(self._mark.read_text(encoding="utf-8"))
        if not isinstance(marked, dict) or not all(isinstance(of, list) for of in marked.values()):
            raise ValueError(f"{self._mark}: not a mark of this version")
        return marked

    def _content(self, name: str) -> list[Any]:
        """Return a file's size and digest."""
        path = self.path / name
        return [path.stat().st_size, file_digest(path)]

    def publish(self, outputs: Mapping[str, Path]) -> None:
        """Link finished files (name inside the folder) to the outputs that a rule declares.

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
            publish_file(self.path / name, output)


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
        if not (_try(file) and _is(file, folder / LOCK)):
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


def hold_log() -> None:
    """Lock the file that standard output goes to, for as long as this process lives.

    So whoever looks on knows that the work that writes this log goes on (`is_held`), and not only
    that it began. A terminal, a pipe, or a log that another process holds is left alone.
    """
    with suppress(OSError):
        if stat.S_ISREG(os.fstat(STDOUT).st_mode):
            fcntl.flock(STDOUT, fcntl.LOCK_EX | fcntl.LOCK_NB)


def is_held(path: Path) -> bool:
    """Tell whether a process holds a lock or a log."""
    try:
        with path.open(encoding="utf-8") as file:
            return not _try(file, fcntl.LOCK_SH)
    except (FileNotFoundError, NotADirectoryError):
        return False


def _try(file: TextIO, kind: int = fcntl.LOCK_EX) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is(file: TextIO, path: Path) -> bool:
    """Tell whether an open file is the one that lies at ``path``."""
    return path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat())


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a name beside ``path`` to write to; what was written takes its place at the end.

    So ``path`` is whole or as it was, whatever happens meanwhile.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_left_behind(path.parent)
    beside = path.with_name(f".{path.name}.{socket.gethostname()}.{os.getpid()}")
    try:
        yield beside
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def left_behind(folder: Path) -> Iterator[Path]:
    """Yield what `replacing` wrote to in a folder for processes of this machine that are dead."""
    for path in folder.glob(".*"):
        owner = re.fullmatch(rf"\..+\.{re.escape(socket.gethostname())}\.(\d{{1,7}})", path.name)
        if owner and path.is_file():
            try:
                os.kill(int(owner[1]), 0)
            except ProcessLookupError:
                yield path
            except PermissionError:  # another user's process
                continue


@functools.cache
def _remove_left_behind(folder: Path) -> None:
    """Remove such files, once in the life of this process."""
    for path in left_behind(folder):
        path.unlink(missing_ok=True)


@contextmanager
def publishing(path: Path) -> Iterator[Path]:
    """Do as `replacing`, and note the digest of what was written, for `refuse_damaged`."""
    with replacing(path) as beside:
        yield beside
        note_digest(path, file_digest(beside))


def publish_text(path: Path, text: str) -> None:
    """Write a text file as `publishing` does."""
    with publishing(path) as beside:
        beside.write_text(text, encoding="utf-8")


def publish_file(source: Path, path: Path) -> None:
    """Link a file to where it is published, and note its digest."""
    note_digest(path, file_digest(source))
    link(source, path)


def note_digest(path: Path, digest: str) -> None:
    """Note beside a published file what its digest is."""
    write_atomically(path.parent / DIGESTS / path.name, digest)


def is_damaged(path: Path) -> bool:
    """Tell whether a file, or one of a folder's, is missing or another than was published.

    What has no digest noted is taken as it is.
    """
    if path.is_dir():
        names = [noted.name for noted in path.glob(f"{DIGESTS}/[!.]*")]
        return any(not (path / name).exists() or is_damaged(path / name) for name in names)
    noted = path.parent / DIGESTS / path.name
    return noted.exists() and path.exists() and noted.read_bytes() != file_digest(path).encode()


def refuse_damaged(path: Path) -> None:
    """Refuse a published file or folder that is damaged.

    Raises
    ------
    DataError
        Where it is; it is out of the way then, so that the next start makes it again.
    """
    if is_damaged(path):
        aside = path.with_name(path.name + ASIDE)
        shutil.rmtree(aside, ignore_errors=True)
        with suppress(OSError):
            os.replace(path, aside)
        done = (
            f"Delete it: {path.parent} can't be written to"
            if path.exists()
            else f"It was moved to {aside}"
        )
        raise DataError(
            f"{path}: damaged or edited: its SHA-256 is not the one it was written with. {done}; "
            "the next start makes it again"
        )


def link(source: Path, target: Path) -> None:
    """Make ``target`` the same file as ``source``, atomically; a copy across file systems."""
    # rename(2) does nothing when both names are links to one file; `replacing` then removes one.
    with replacing(target) as beside:
        beside.unlink(missing_ok=True)
        try:
            os.link(source, beside)
        except OSError:
            shutil.copy2(source, beside)
        # The declared output must not be older than the inputs of its rule.
        os.utime(beside)


def write_atomically(path: Path, text: str) -> None:
    """Write a text file that is whole or absent, whatever happens meanwhile."""
    with replacing(path) as beside:
        beside.write_text(text, encoding="utf-8")


def model_digest(path: str, key: str) -> str:
    """Return the digest of what a model is: of its checkpoint, or of what describes its folder.

    Parameters
    ----------
    path
        Where it lies.
    key
        Key of the config that names it.

    Raises
    ------
    DataError
        If there is no such model.
    """
    file = model_file(path)
    if not file.is_file():
        raise DataError(f"{file}: no such file; {key} names {path}")
    return file_digest(file)
