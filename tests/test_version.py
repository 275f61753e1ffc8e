"""The version is that of the newest tag, wherever it is built; reading it costs nothing."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from tests.snakemake_runs import ROOT

IDENTITY = ("-c", "user.name=a", "-c", "user.email=a@b.c")
FALLBACK = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools_scm"][
    "fallback_version"
]


def git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *IDENTITY, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def is_checkout() -> bool:
    """Tell whether git knows the project's folder: it may be an archive, or another person's."""
    asked = ["git", "-C", str(ROOT), "rev-parse", "--is-inside-work-tree"]
    return subprocess.run(asked, capture_output=True).returncode == 0


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Return the project's files as they are now, in a folder of their own."""
    if not is_checkout():
        pytest.skip("this is no git checkout, so what belongs to the project isn't known")
    folder = tmp_path / "checkout"
    for name in git(ROOT, "ls-files", "--cached", "--others", "--exclude-standard").splitlines():
        if (ROOT / name).is_file() and not name.startswith((".venv", "tests/", "benchmarks/")):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    return folder


def tag(folder: Path, version: str) -> None:
    git(folder, "init", "--quiet")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message", "All of it")
    git(folder, "tag", version)


def build(folder: Path, hook: str) -> str:
    """Call a hook of the build backend as pip does, without fetching it; return what it made."""
    pytest.importorskip("setuptools_scm", reason="setuptools-scm isn't installed here")
    program = f"from setuptools import build_meta; print(build_meta.{hook}('out'))"
    (folder / "out").mkdir(exist_ok=True)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program], cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


def said_by(folder: Path) -> str:
    """Return the version that the package in a folder says, with what it imported to know it."""
    program = (
        "import sys; import workflow_scripts; heavy = {'subprocess', 'importlib.metadata'}; "
        "print(workflow_scripts.__version__, sorted(heavy & sys.modules.keys()))"
    )
    command = [sys.executable, "-I", "-S", "-c", f"import sys; sys.path[:0] = ['.']; {program}"]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout


def test_installed_package_has_the_version_of_the_newest_tag(checkout: Path) -> None:
    tag(checkout, "v7.8.9")
    assert build(checkout, "prepare_metadata_for_build_editable") == "stateline-7.8.9.dist-info"
    assert said_by(checkout) == "7.8.9 []\n"
    git(checkout, "commit", "--quiet", "--allow-empty", "--message", "More")
    wheel = build(checkout, "build_wheel")
    assert re.match(r"stateline-7\.8\.10\.dev1\+g", wheel)
    with zipfile.ZipFile(checkout / "out" / wheel) as archive:
        written = archive.read("workflow_scripts/version.txt").decode()
    assert wheel.startswith(f"stateline-{written}-")
    source = build(checkout, "build_sdist")
    shutil.unpack_archive(checkout / "out" / source, checkout.parent)
    unpacked = checkout.parent / source.removesuffix(".tar.gz")
    assert build(unpacked, "build_wheel") == wheel


def test_archive_of_a_tag_knows_its_version_without_git(checkout: Path, tmp_path: Path) -> None:
    tag(checkout, "v7.8.9")
    archive = tmp_path / "archive.zip"
    git(checkout, "archive", "--format", "zip", "--output", str(archive), "HEAD")
    shutil.unpack_archive(archive, tmp_path / "unpacked")
    made = build(tmp_path / "unpacked", "prepare_metadata_for_build_wheel")
    assert made == "stateline-7.8.9.dist-info"


def test_checkout_without_git_is_built_and_runs_all_the_same(checkout: Path) -> None:
    assert said_by(checkout) == f"{FALLBACK} []\n"
    made = build(checkout, "prepare_metadata_for_build_wheel")
    assert made == f"stateline-{FALLBACK}.dist-info"
    assert said_by(checkout) == f"{FALLBACK} []\n"


def test_releases_of_the_changelog_are_the_tags() -> None:
    headings = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] == "Unreleased"
    released = [tuple(map(int, version.split("."))) for version in headings[1:]]
    assert released == sorted(released, reverse=True)
    # What has no tag to go by is on the way to the next release.
    coming = tuple(map(int, FALLBACK.removesuffix(".dev0").split(".")))
    assert not released or coming > released[0]
    citation = (ROOT / "CITATION.cff").read_text()
    assert not re.search(r"^version:", citation, re.MULTILINE)  # one more place to forget
    if not is_checkout():
        return
    tags = git(ROOT, "tag", "--list", "v[0-9]*").split()
    if not tags and released:
        pytest.skip("this clone has no tags")
    assert sorted(tags) == sorted(f"v{version}" for version in headings[1:])
