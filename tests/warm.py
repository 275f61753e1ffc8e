"""A process that has imported everything once and forks what the tests start.

`python()` is the interpreter that tests start commands with; `snakemake` lies beside it. Its
``-m workflow_scripts.…`` and ``-m snakemake`` are forked from a process that has done their
imports, as the workers of pytest-xdist are; everything else, and everything under
``STATELINE_TEST_FORK=0``, is a plain Python. Tests of kills, locks, signals, locale and start-up
use ``sys.executable``.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import importlib
import json
import os
import pkgutil
import runpy
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import traceback
from pathlib import Path

ROOT = Path(__file__).parents[1]
CLIENT = "STATELINE_TEST_PYTHON"
COMMANDS = ("snakemake", "workflow_scripts.")
WORKER = "import sys;exec(eval(sys.stdin.readline()))"
"""What pytest-xdist has an interpreter run."""

# It runs without site-packages and starts in 15 ms. A request is the command as JSON, after its
# length and the three standard streams; answers are a byte once it is forked, and its status.
PROGRAM = """#!{base} -SE
import json, os, signal, socket, struct, sys

def forked(arguments):
    command = {{"arguments": arguments, "cwd": os.getcwd(), "env": dict(os.environ)}}
    text = json.dumps(command).encode()
    server = socket.socket(socket.AF_UNIX)
    try:
        server.connect({address!r})
        socket.send_fds(server, [struct.pack("i", len(text))], [0, 1, 2])
        server.sendall(text)
        if not server.recv(1):
            return None
    except OSError:
        return None
    answer = server.recv(4)
    return struct.unpack("i", answer)[0] if answer else 1

arguments = sys.argv[2:] if sys.argv[1:2] == ["-u"] else sys.argv[1:]
option, what = (*arguments, "", "")[:2]
if (option == "-m" and what.startswith({commands})) or (option, what) == ("-c", {worker!r}):
    status = forked(arguments)
    if status is None:
        print(f"the warm process is gone; a plain one runs {{option}} {{what}}", file=sys.stderr)
    elif status < 0:
        signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    else:
        sys.exit(status)
os.execv({real!r}, [{real!r}, *sys.argv[1:]])
"""


@functools.cache
def python() -> str:
    """Return the interpreter that starts commands; the first call starts the warm process."""
    if os.environ.get("STATELINE_TEST_FORK") == "0" or not hasattr(os, "fork"):
        return sys.executable
    if CLIENT in os.environ:  # a worker, which the warm process forked
        return os.environ[CLIENT]
    folder = Path(tempfile.mkdtemp(prefix="warm-"))
    client = folder / "python"
    client.write_text(
        PROGRAM.format(
            base=Path(sys.executable).resolve(),
            real=sys.executable,
            commands=COMMANDS,
            worker=WORKER,
            address=str(folder / "socket"),
        )
    )
    beside = folder / "snakemake"
    beside.write_text(f'#!/bin/sh\nexec {client} -m snakemake "$@"\n')
    for script in (client, beside):
        script.chmod(0o755)
    # It ends when its standard input does: it can't outlive a test process that was killed.
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.warm", str(folder / "socket"), str(client)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdout is not None
    if server.stdout.readline() != "ready\n":
        print("the warm process didn't start; plain processes run the commands", file=sys.stderr)
        return sys.executable
    atexit.register(server.communicate)  # waits for it, so that its CPU time counts as the tests'
    os.environ[CLIENT] = str(client)
    return str(client)


def serve(address: str, client: str) -> None:
    """Import everything, then fork the commands that are asked for until standard input ends."""
    import_everything()
    # A parallel region of torch or numba, or a query of polars, starts threads that a fork would
    # wait for forever. Imports start some of OpenBLAS, which the first fork ends, and a few that
    # do no harm.
    if (pid := os.fork()) == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    threads = count_threads()
    gc.freeze()  # a fork needn't look through what was imported
    server = socket.socket(socket.AF_UNIX)
    server.bind(address)
    server.listen(64)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends the tests, and their end ends this
    print("ready", flush=True)
    running: dict[int, socket.socket] = {}
    while True:
        ready, *_ = select.select([server, sys.stdin], [], [], 0.01 if running else None)
        if sys.stdin in ready:
            shutil.rmtree(Path(address).parent)
            return
        if server in ready:
            connection, _ = server.accept()
            assert count_threads() == threads, "the warm process has started threads"
            pid = os.fork()
            if pid == 0:
                server.close()
                signal.signal(signal.SIGINT, signal.default_int_handler)
                os._exit(run(connection, client))
            running[pid] = connection
        while running and (ended := os.waitpid(-1, os.WNOHANG))[0]:
            with running.pop(ended[0]) as connection, contextlib.suppress(BrokenPipeError):
                connection.sendall(struct.pack("i", os.waitstatus_to_exitcode(ended[1])))


def count_threads() -> int:
    """Return how many threads there are, but for those of an allocator, which come and go."""
    tasks = Path("/proc/self/task").glob("*/comm")
    return sum(not task.read_text().startswith("jemalloc") for task in tasks)


def import_everything() -> None:
    """Import what the workflow's commands and the tests import, but for the commands themselves."""
    for name in (
        *("hydra", "hypothesis", "jsonschema", "wandb"),
        *("anndata", "cell_eval2", "jinja2", "lightning.pytorch", "matplotlib.figure", "pdex"),
        *("scanpy", "sklearn.linear_model", "snakemake.cli", "torch"),
        "transformers.models.gpt2.modeling_gpt2",
        "transformers.models.llama.modeling_llama",
    ):
        importlib.import_module(name)
    package = importlib.import_module("workflow_scripts")
    for part in pkgutil.walk_packages(package.__path__, "workflow_scripts."):
        if part.name.count(".") > 1 and not part.name.endswith("spread_kernel"):
            importlib.import_module(part.name)


def run(connection: socket.socket, client: str) -> int:
    """Become the command that is asked for on a connection; return its exit status."""
    start, streams, *_ = socket.recv_fds(connection, 4, 3)
    text = bytearray()
    while len(text) < struct.unpack("i", start)[0]:
        text += connection.recv(1 << 20)
    connection.send(b"+")
    connection.close()
    asked = json.loads(text)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(asked["cwd"])
    os.environ.clear()
    os.environ.update(asked["env"])
    option, what, *arguments = asked["arguments"]
    if what == "snakemake":
        sys.executable = client  # which it starts jobs with
    sys.path[0:1] = [
        asked["cwd"],
        *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep)),
    ]
    found = (folder for folder in sys.path if Path(folder, "workflow_scripts/__init__.py").exists())
    # Another copy of the workflow, or a worker, which checks shapes in what it imports.
    if option == "-c" or Path(next(found, ROOT)).resolve() != ROOT:
        for name in [name for name in sys.modules if name.startswith("workflow_scripts")]:
            del sys.modules[name]
    sys.argv = [option, *arguments]
    try:
        if option == "-c":
            exec(what, {"__name__": "__main__"})
        else:
            runpy.run_module(what, run_name="__main__", alter_sys=True)
        status = 0
    except SystemExit as error:
        if error.code is not None and not isinstance(error.code, int):
            print(error.code, file=sys.stderr)
        status = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:
        traceback.print_exc()
        status = 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    with contextlib.suppress(BrokenPipeError):
        sys.stdout.flush()
        sys.stderr.flush()
    return status & 0xFF


if __name__ == "__main__":
    serve(*sys.argv[1:])
