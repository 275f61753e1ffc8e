"""Cells that lie elsewhere are fetched once, held to their checksum, and used as any others."""

from __future__ import annotations

import functools
import hashlib
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.snakemake_runs import Outcome, snakemake
from tests.tiny_run import write_tiny_run

pytestmark = pytest.mark.long


class Server:
    """A server of the files in a folder, on loopback, that remembers what was got."""

    def __init__(self, folder: Path) -> None:
        got = self.got = []

        class Handler(SimpleHTTPRequestHandler):
            def do_GET(self) -> None:
                got.append(self.path)
                super().do_GET()

            def log_message(self, *arguments: object) -> None:
                pass

        handler = functools.partial(Handler, directory=str(folder))
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    write_tiny_run(tmp_path)
    (tmp_path / "screen.h5ad").rename(folder / "screen.h5ad")
    running = Server(folder)
    yield running
    running.stop()


def check(folder: Path, address: str, expect: int = 0) -> Outcome:
    datasets = f"overrides=cells.datasets={{screen: '{address}'}}"
    return snakemake(folder, "check", "--config", "runs=run.yaml", datasets, expect=expect)


def test_cells_are_fetched_once(tmp_path: Path, server: Server) -> None:
    address = f"{server.address}/screen.h5ad"
    done = check(tmp_path, address)
    assert "fetch_cells" in done.jobs
    (fetched,) = tmp_path.glob("cache/fetched/*/screen.h5ad")
    assert fetched.read_bytes() == (tmp_path / "elsewhere" / "screen.h5ad").read_bytes()
    assert check(tmp_path, address).jobs == []
    assert server.got == ["/screen.h5ad"]
    # What was fetched stays, where the server doesn't.
    server.stop()
    assert check(tmp_path, address).jobs == []


def test_new_cells_there_are_fetched_again(tmp_path: Path, server: Server) -> None:
    address = f"{server.address}/screen.h5ad"
    check(tmp_path, address)
    there = tmp_path / "elsewhere" / "screen.h5ad"
    with there.open("ab") as file:
        file.write(b"more")
    again = check(tmp_path, address)
    assert {"fetch_cells", "audit_cells"} <= {*again.jobs}
    assert len(server.got) == 2


def test_checksum_is_held_to(tmp_path: Path, server: Server) -> None:
    content = (tmp_path / "elsewhere" / "screen.h5ad").read_bytes()
    right = hashlib.sha256(content).hexdigest()
    address = f"{server.address}/screen.h5ad"
    wrong = check(tmp_path, f"{address}#sha256={'0' * 64}", expect=1)
    assert "screen.h5ad: FAILED" in wrong.text
    assert "did NOT match" in wrong.text
    assert not [*tmp_path.glob("cache/fetched/*/screen.h5ad")]
    assert "fetch_cells" in check(tmp_path, f"{address}#sha256={right}").jobs


def test_file_that_is_not_there_is_said(tmp_path: Path, server: Server) -> None:
    done = check(tmp_path, f"{server.address}/other.h5ad", expect=1)
    assert f"{server.address}/other.h5ad" in done.text
    assert "Traceback" not in done.text
