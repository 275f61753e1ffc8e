"""Change the code in small ways and count how many of the changes the tests notice.

    python benchmarks/mutations.py --table after.tsv
    python benchmarks/mutations.py --table before.tsv --at aa2e2fc workflow_scripts/cells

Coverage first finds which test files reach which lines. Then each change runs the test files that
reach its line, up to the first failure. The changes depend on the modules, the seed and the count
alone, so two versions of the tests can be compared on the same ones. A second start continues
where one stopped.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import csv
import json
import os
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

from coverage import CoverageData
from coverage.exceptions import DataError

ROOT = Path(__file__).parents[1]
OPPOSITE = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Eq: ast.NotEq}
OPPOSITE |= {ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.NotEq: ast.Eq}
COVERAGE = """[run]
source = workflow_scripts
data_file = {work}/coverage/data
context = ${{REACHED_BY}}
parallel = true
sigterm = true
patch = subprocess, _exit
"""


class Change(NamedTuple):
    """What takes the place of the bytes from ``start`` to ``end`` of a module."""

    kind: str
    module: str
    line: int
    start: int
    end: int
    becomes: str


def changes_of(node: ast.AST) -> Iterator[tuple[str, ast.AST, str]]:
    """Yield the kind, the changed node and the new text of each change that a node allows."""
    match node:
        case ast.BinOp(left, op, right) if type(op) in OPPOSITE:
            yield "sign", node, ast.unparse(ast.BinOp(left, OPPOSITE[type(op)](), right))
        case ast.Compare(left, [op], [right]) if type(op) in OPPOSITE:
            yield "sign", node, ast.unparse(ast.Compare(left, [OPPOSITE[type(op)]()], [right]))
        case ast.Constant(int(value)) if not isinstance(value, bool):
            yield "off by one", node, str(value + 1)
        case ast.BoolOp(values=[first, *_]):
            yield "dropped condition", node, ast.unparse(first)
        case ast.UnaryOp(ast.Not(), operand):
            yield "dropped condition", node, ast.unparse(operand)
        case ast.If(body=[ast.Raise() as check]):
            yield "skipped check", check, "..."
        case ast.Call(called, [first, second, *rest], keywords):
            swapped = ast.Call(called, [second, first, *rest], keywords)
            yield "swapped arguments", node, ast.unparse(swapped)


def changes_in(tree: Path, module: Path) -> Iterator[Change]:
    """Yield every change that a module allows."""
    text = module.read_bytes()
    lines = [0, *(place + 1 for place, byte in enumerate(text) if byte == ord("\n"))]
    nodes: list[ast.AST] = [ast.parse(text)]
    while nodes:
        node = nodes.pop()
        for kind, part, becomes in changes_of(node):
            start = lines[part.lineno - 1] + part.col_offset
            end = lines[part.end_lineno - 1] + part.end_col_offset
            yield Change(kind, str(module.relative_to(tree)), part.lineno, start, end, becomes)
        # Python 3.11 has no positions inside f-strings.
        nodes += [] if isinstance(node, ast.JoinedStr) else ast.iter_child_nodes(node)


def drawn(tree: Path, modules: list[str], seed: int, count: int) -> list[Change]:
    """Draw changes, as many of each kind as there are; a draw outlives edits elsewhere."""
    kinds: dict[str, list[tuple[str, Change]]] = defaultdict(list)
    for path in (tree / module for module in modules):
        for module in [path] if path.is_file() else sorted(path.rglob("*.py")):
            text, seen = module.read_bytes(), Counter[str]()
            for change in changes_in(tree, module):
                was = text[change.start : change.end].decode()
                about = f"{seed} {change.kind} {change.module} {was} {change.becomes}"
                seen[about] += 1
                rank = sha256(f"{about} {seen[about]}".encode()).hexdigest()
                kinds[change.kind].append((rank, change))
    ranked = [[change for _, change in sorted(kinds[kind])] for kind in sorted(kinds)]
    return [change for turn in zip_longest(*ranked) for change in turn if change][:count]


def pytest(tree: Path, arguments: list[str], seconds: float, **environment: str) -> str:
    """Return "passed", or the first test that failed."""
    try:
        done = subprocess.run(
            [sys.executable, *arguments, "-qx", "--tb=no", "-p", "no:cacheprovider"],
            capture_output=True,
            text=True,
            cwd=tree,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **environment},
            timeout=seconds,
        )
    except subprocess.TimeoutExpired:
        return "out of time"
    if done.returncode in (0, 5):  # 5: no test is left in the file
        return "passed"
    failed = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    return failed[0].split(" - ")[0] if failed else f"exit status {done.returncode}"


def reach(tree: Path, work: Path) -> dict[str, dict]:
    """Return the seconds of every test file that passes and the lines that it reaches."""
    (work / "coverage").mkdir(exist_ok=True)
    (work / "coveragerc").write_text(COVERAGE.format(work=work))
    command = ["-m", "coverage", "run", f"--rcfile={work}/coveragerc", "-m", "pytest"]

    def run(file: str) -> tuple[str, float]:
        began = time.monotonic()
        outcome = pytest(tree, [*command, file], 3600, REACHED_BY=file)
        print(f"{file}: {outcome}, {time.monotonic() - began:.0f} s", flush=True)
        return outcome, time.monotonic() - began

    files = [str(path.relative_to(tree)) for path in sorted((tree / "tests").rglob("test_*.py"))]
    files = [file for file in files if "slurm" not in file]
    with ThreadPoolExecutor(2) as pool:
        ended = dict(zip(files, pool.map(run, files), strict=True))
    reached = {
        f: {"seconds": s, "lines": {}} for f, (outcome, s) in ended.items() if outcome == "passed"
    }
    for path in (work / "coverage").glob("data*"):
        data = CoverageData(str(path))
        with contextlib.suppress(DataError):  # left by a process that was killed
            data.read()
        for module in data.measured_files():
            name = module[module.rindex("workflow_scripts") :]
            for line, contexts in data.contexts_by_lineno(module).items():
                for file in contexts & reached.keys():
                    lines = reached[file]["lines"].setdefault(name, [])
                    lines += [line] if line not in lines else []
    return reached


def judged(change: Change, tree: Path, reached: dict[str, dict]) -> str:
    """Make a change in the tree, run the tests that reach it, and undo it."""
    files = [f for f, row in reached.items() if change.line in row["lines"].get(change.module, [])]
    if not files:
        return "not reached"
    files.sort(key=lambda file: reached[file]["seconds"])
    seconds = 300 + 3 * sum(reached[file]["seconds"] for file in files)
    module = tree / change.module
    text = module.read_bytes()
    module.write_bytes(text[: change.start] + f"({change.becomes})".encode() + text[change.end :])
    command = ["-m", "pytest", "-n", "2", "--dist", "loadfile", "--no-loadscope-reorder"]
    try:
        while True:
            outcome = pytest(tree, [*command, *files], seconds)
            kind, _, failed = outcome.partition(" ")
            # A test that passes when it is run again failed of something else, as of a busy
            # machine.
            if kind != "FAILED" or pytest(tree, ["-m", "pytest", failed], seconds) != "passed":
                return outcome
            command += ["--deselect", failed]
    finally:
        module.write_bytes(text)


def main() -> None:
    """Judge the changes that the table does not hold yet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("modules", nargs="*", default=["workflow_scripts"], help="files or folders")
    parser.add_argument("--table", type=Path, required=True, help="continued where it exists")
    parser.add_argument("--at", default="HEAD", help="the commit whose code and tests are run")
    parser.add_argument(
        "--work", type=Path, required=True, help="a folder for the copy of the code"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=60)
    options = parser.parse_args()
    work = options.work.resolve()
    tree = work / "tree"
    if not tree.exists():
        work.mkdir(parents=True, exist_ok=True)
        subprocess.run(["git", "clone", "-q", ROOT, tree], check=True)
        subprocess.run(["git", "checkout", "-q", options.at], cwd=tree, check=True)
        if (ROOT.parent / "shared").exists():
            (work / "shared").symlink_to(ROOT.parent / "shared")
    kept = work / "reached.json"
    if not kept.exists():
        kept.write_text(json.dumps(reach(tree, work)))
    reached = json.loads(kept.read_text())
    done = options.table.read_text().count("\n") - 1 if options.table.exists() else 0
    with options.table.open("a", newline="") as file:
        table = csv.writer(file, delimiter="\t", lineterminator="\n")
        if done <= 0:
            table.writerow([*Change._fields, "outcome", "seconds"])
        for change in drawn(tree, options.modules, options.seed, options.count)[max(done, 0) :]:
            began = time.monotonic()
            outcome = judged(change, tree, reached)
            table.writerow([*change, outcome, round(time.monotonic() - began)])
            file.flush()
            print(change.kind, change.module, change.line, outcome, flush=True)


if __name__ == "__main__":
    main()
