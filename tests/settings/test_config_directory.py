"""Only files of the config tree are read, and whatever stands in it, the error is in words."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hydra_oracle import hydra_refuses

from workflow_scripts.errors import ConfigError
from workflow_scripts.settings.compose import compose


@pytest.fixture
def folder(make_tree: Callable[..., Path], tmp_path: Path) -> Path:
    """Return a tree with everything in it that a person may have left there."""
    folder = make_tree("defaults: [{db: one}]\n", {"db/one": "x: 1\n", "sub/inner/one": "z: 1\n"})
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret.yaml").write_text("y: 1\n")
    (folder / "db" / "out.yaml").symlink_to(tmp_path / "outside" / "secret.yaml")
    (folder / "db" / "deep").symlink_to(tmp_path / "outside")
    (folder / "db" / "nowhere.yaml").symlink_to("missing.yaml")
    (folder / "db" / "loop.yaml").symlink_to("loop.yaml")
    (folder / "db" / "folder.yaml").mkdir()
    (folder / "db" / "other.yml").write_text("y: 1\n")
    (folder / "db" / "same.yaml").symlink_to("one.yaml")
    (folder / "linked").symlink_to("db")
    (folder / "outdir").symlink_to(tmp_path / "outside")
    (folder / "again").symlink_to(".")
    (folder / "sub" / "up").symlink_to("..")
    (folder / "to").symlink_to("fro")
    (folder / "fro").symlink_to("to")
    return folder


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("db=../outside/secret", "leads out of the config directory"),
        ("db='../../outside/secret'", "leads out of the config directory"),
        ("db=sub/../one", "leads out of the config directory"),
        ("db=/etc/passwd", "there is no group `db//etc`"),
        ("db=out", "leads out of the config directory"),
        ("db=deep/secret", "leads out of the config directory"),
        ("+outdir=secret", "leads out of the config directory"),
        ("db=loop", "has no option `loop`"),
        ("db=nowhere", "has no option `nowhere`"),
        ("db=folder", "has no option `folder`: there are one, out, same"),
        ("db=other", "other.yml is there: rename it, options end with .yaml"),
        ("db=" + "x" * 5000, "has no option"),
        ("+../db=one", "can't be read"),
        ("db=''", "has no option ``"),
        ("db='a\udcff'", "isn't UTF-8 text"),
        ("a\0b=1", "can't be read"),
    ],
)
def test_what_is_no_file_of_the_tree_is_refused(override: str, message: str, folder: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        compose(folder, "config", [], [override])
    assert message in str(caught.value)
    assert str(caught.value).startswith("override ")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("- db: ../sub/inner/one", "leads out of the config directory"),
        ("- ../outside/secret", "leads out of the config directory"),
        ("- ../outside: secret", "leads out of the config directory"),
        ("- /../outside: secret", "leads out of the config directory"),
        ("- //outside: secret", "there is no group `/outside`"),
        ("- //outside/secret", "there is no group `/outside`"),
        ("- outdir: secret", "leads out of the config directory"),
    ],
)
def test_defaults_lists_are_held_to_it_too(line: str, message: str, folder: Path) -> None:
    (folder / "config.yaml").write_text(f"defaults:\n  {line}\n")
    with pytest.raises(ConfigError) as caught:
        compose(folder, "config")
    assert message in str(caught.value)
    assert str(caught.value).startswith(f"{folder}/config.yaml:2: ")


def test_links_inside_the_tree_are_followed(folder: Path) -> None:
    assert compose(folder, "config", [], ["db=same"]) == {"db": {"x": 1}}
    (folder / "db" / "around").symlink_to("../db")
    assert compose(folder, "config", [], ["db=around/one"]) == {"db": {"x": 1}}
    assert compose(folder, "config", [], ["+linked=one"]) == {"db": {"x": 1}, "linked": {"x": 1}}


def test_option_may_be_named_with_its_ending(folder: Path) -> None:
    assert compose(folder, "config", [], ["db=one.yaml"]) == {"db": {"x": 1}}


def test_links_in_a_circle_are_no_groups(folder: Path) -> None:
    with pytest.raises(ConfigError, match="no key `to`"):
        compose(folder, "config", [], ["to=1"])


def test_tree_itself_may_be_a_link(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(folder)
    assert compose(tmp_path / "link", "config") == {"db": {"x": 1}}


def test_empty_or_missing_folder_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no config `config`"):
        compose(tmp_path, "config")
    with pytest.raises(ConfigError, match="there is no such config directory"):
        compose(tmp_path / "nowhere", "config")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_file_that_may_not_be_read_is_said(folder: Path) -> None:
    (folder / "db" / "one.yaml").chmod(0)
    with pytest.raises(ConfigError, match="can't be read: Permission denied"):
        compose(folder, "config")


def test_search_path_of_hydra_is_refused(make_tree: Callable[..., Path], tmp_path: Path) -> None:
    other = tmp_path / "other"
    (other / "db").mkdir(parents=True)
    (other / "db" / "far.yaml").write_text("x: 1\n")
    folder = make_tree(f"x: 1\nhydra: {{searchpath: ['file://{other}']}}\n")
    assert not hydra_refuses(folder)
    with pytest.raises(ConfigError, match="searchpath"):
        compose(folder, "config")


@pytest.mark.parametrize("group", ["db", "/db"])
def test_groups_of_a_run_file_outside_count_from_the_top(
    group: str, make_tree: Callable[..., Path], tmp_path: Path
) -> None:
    folder = make_tree("defaults: [db: a]\n", {"db/a": "x: 1\n", "db/b": "x: 2\n"})
    run = tmp_path / "elsewhere.yaml"
    run.write_text(f"defaults:\n - override {group}: b\nname: n\n", encoding="utf-8")
    assert compose(folder, "config", [run], []) == {"db": {"x": 2}, "name": "n"}
