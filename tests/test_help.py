"""What a stranger reads first: every script says with `--help` what it is for, and its call."""

from __future__ import annotations

import argparse
import importlib
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

from workflow_scripts.command import WIDTH
from workflow_scripts.stage import Stage

ROOT = Path(__file__).parents[1]
SCRIPTS = [
    path
    for path in sorted((ROOT / "workflow_scripts").glob("*.py"))
    if 'if __name__ == "__main__":' in path.read_text()
]
HEAVY = ("torch", "lightning", "transformers", "anndata", "scanpy", "numba", "snakemake")


def call_of(path: Path) -> str:
    return f"python -m workflow_scripts.{path.stem}"


def command_of(path: Path) -> Callable[[list[str]], None]:
    """Return what a script calls with its command line."""
    module = importlib.import_module(f"workflow_scripts.{path.stem}")
    return getattr(module, path.stem, None) or module.main


@cache
def parser_of(path: Path) -> argparse.ArgumentParser:
    """Run the script with --help in this process, and return the parser that answered."""
    asked: list[argparse.ArgumentParser] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(argparse.ArgumentParser, "print_help", lambda self: asked.append(self))
        with pytest.raises(SystemExit) as ended:
            command_of(path)(["--help"])
    assert ended.value.code == 0
    return asked[0]


def parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """Yield the parser and those of its commands."""
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from parsers(command)


def examples(text: str) -> list[list[str]]:
    """Return the words of each command under "Example", as a shell splits them."""
    block = re.search(r"^Example.*:\n\n((?: {4}.*\n)+)", f"{text}\n", re.MULTILINE)
    if block is None:
        return []
    return [shlex.split(command) for command in block[1].replace("\\\n", " ").splitlines()]


every_script = pytest.mark.parametrize("path", SCRIPTS, ids=call_of)


@every_script
def test_help_opens_with_the_purpose_and_fits_a_terminal(path: Path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    for parser in parsers(parser_of(path)):
        purpose, usage, *_ = parser.format_help().split("\n\n")
        assert re.fullmatch(r"[A-Z][^\n]{20,}\.", purpose)
        assert usage.startswith(f"usage: {call_of(path)}")
        assert [line for line in parser.format_help().split("\n") if len(line) > WIDTH] == []


@every_script
def test_every_option_says_what_it_means_and_what_it_is_if_not_given(path: Path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "400")
    for parser in parsers(parser_of(path)):
        text = " ".join(parser.format_help().split())
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction | argparse._HelpAction):
                continue
            assert len(action.help or "") > 8, f"{path.name}: {action.dest} has no help"
            if action.default and action.default != argparse.SUPPRESS:
                defaults = action.default if isinstance(action.default, list) else [action.default]
                assert f"(default: {' '.join(map(str, defaults))})" in text


@every_script
def test_example_is_one_that_the_parser_takes(path: Path, capsys):
    # Stages are called by rules, whose files have the names of the options.
    assert isinstance(command_of(path), Stage) or examples(parser_of(path).description or "")
    for parser in parsers(parser_of(path)):
        options = {option for one in parsers(parser) for option in one._option_string_actions}
        for words in examples(parser.description or ""):
            call = shlex.split(parser.prog)
            assert words[: len(call)] == call
            given = [word.replace("{…}", "{}") for word in words[len(call) :]]
            parser.parse_args(
                given
            )  # ends with 2 where one is unknown, or a required one is absent
            before = given[: given.index("--")] if "--" in given else given
            assert {word for word in before if word.startswith("-")} <= options


def test_help_of_the_package_imports_nothing_heavy():
    names = [path.stem for path in SCRIPTS]
    code = f"""
import contextlib, importlib, io, sys
for name in {names}:
    with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):
        module = importlib.import_module(f"workflow_scripts.{{name}}")
        (getattr(module, name, None) or module.main)(["--help"])
    print(name, *(heavy for heavy in {HEAVY} if heavy in sys.modules))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.splitlines() == names
