"""Secrets stay references in what is frozen, and are looked up where they are used."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hydra_oracle import hydra_yaml

from workflow_scripts.freeze_config import main as freeze
from workflow_scripts.settings.compose import compose
from workflow_scripts.settings.dump import to_yaml
from workflow_scripts.settings.errors import ConfigError
from workflow_scripts.settings.secrets import holds_secret, is_secret_name, reveal

SECRETS = ["WANDB_API_KEY", "HF_TOKEN", "DB_PASSWORD", "AWS_SECRET_ACCESS_KEY", "MYAPIKEY"]
SECRETS += ["hf_token", "GH_PAT", "SSH_PASSPHRASE", "GITHUBTOKEN", "APP_CREDENTIALS"]
PLAIN = [
    "PWD",
    "HOME",
    "MONKEY",
    "KEYBOARD",
    "TOKENIZERS_PARALLELISM",
    "PATH",
    "PATTERN",
    "COMPASS",
]


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEAM_TOKEN", "hush-hush")
    monkeypatch.setenv("TEAM", "moon")
    monkeypatch.delenv("NO_TOKEN", raising=False)


@pytest.mark.parametrize("name", SECRETS)
def test_name_of_a_secret(name: str) -> None:
    assert is_secret_name(name)


@pytest.mark.parametrize("name", PLAIN)
def test_name_of_something_else(name: str) -> None:
    assert not is_secret_name(name)


CASES = {
    "${oc.env:TEAM_TOKEN}": ("${oc.env:TEAM_TOKEN}", "hush-hush"),
    "https://me:${oc.env:TEAM_TOKEN}@x/${oc.env:TEAM}": (
        "https://me:${oc.env:TEAM_TOKEN}@x/moon",
        "https://me:hush-hush@x/moon",
    ),
    "${oc.env:NO_TOKEN,none}": ("${oc.env:NO_TOKEN,none}", "none"),
    "${oc.env:NO_TOKEN,null}": ("${oc.env:NO_TOKEN,null}", None),
    "${oc.env:NO_TOKEN,'null'}": ("${oc.env:NO_TOKEN,'null'}", "null"),
    "${oc.env:NO_TOKEN,'a, b'}": ("${oc.env:NO_TOKEN,'a, b'}", "a, b"),
    "${oc.env:NO_TOKEN,}": ("${oc.env:NO_TOKEN,''}", ""),
    "${oc.env:NO_TOKEN,12}": ("${oc.env:NO_TOKEN,'12'}", "12"),
    "${oc.env:NO_TOKEN,${oc.env:TEAM}}": ("${oc.env:NO_TOKEN,moon}", "moon"),
    "${oc.env:NO_TOKEN,${oc.env:TEAM_TOKEN}}": (
        "${oc.env:NO_TOKEN,'${oc.env:TEAM_TOKEN}'}",
        "hush-hush",
    ),
    "${oc.select:other}": ("${oc.env:TEAM_TOKEN}", "hush-hush"),
    "${oc.decode:${other}}": ("${oc.env:TEAM_TOKEN}", "hush-hush"),
    "${other}": ("${oc.env:TEAM_TOKEN}", "hush-hush"),
    r"\${k} ${oc.env:TEAM_TOKEN}": ("${k} ${oc.env:TEAM_TOKEN}", "${k} hush-hush"),
}


@pytest.mark.parametrize("written", CASES)
def test_secret_is_kept_and_looked_up_later(written: str, make_tree: Callable[..., Path]) -> None:
    folder = make_tree(
        f"a: '{written.replace(chr(39), chr(39) * 2)}'\nother: ${{oc.env:TEAM_TOKEN}}\n"
    )
    value = compose(folder, "config")["a"]
    kept, used = CASES[written]
    assert value == kept
    assert holds_secret(value)
    assert reveal(value) == used


@pytest.mark.parametrize("default", ["it's", "a\\", "a\\'b", "tail\\\\", "x y", "'", "\\'"])
def test_any_default_reads_back(default: str, make_tree: Callable[..., Path]) -> None:
    folder = make_tree("a: ${oc.env:NO_TOKEN,${b}}\nb: placeholder\n")
    (folder / "config.yaml").write_text(to_yaml({"a": "${oc.env:NO_TOKEN,${b}}", "b": default}))
    kept = compose(folder, "config")["a"]
    assert reveal(kept) == default
    (folder / "config.yaml").write_text(to_yaml({"a": kept}))
    assert compose(folder, "config")["a"] == kept


def test_lists_and_mappings_are_looked_through() -> None:
    value = {"a": ["x", "${oc.env:TEAM_TOKEN}"], "b": 1}
    assert holds_secret(value)
    assert reveal(value) == {"a": ["x", "hush-hush"], "b": 1}
    assert not holds_secret({"a": ["${oc.env:TEAM}", "${x", 3, None]})
    assert reveal("${x and ${k}") == "${x and ${k}"


def test_secret_that_is_not_set_is_named_when_it_is_used(make_tree: Callable[..., Path]) -> None:
    value = compose(make_tree("a: 'x${oc.env:NO_TOKEN}'\n"), "config")["a"]
    with pytest.raises(ConfigError, match="variable NO_TOKEN isn't set"):
        reveal(value)


def test_hydra_resolves_what_we_keep(make_tree: Callable[..., Path]) -> None:
    folder = make_tree("a: ${oc.env:TEAM_TOKEN}\n")
    assert hydra_yaml(folder) == "a: hush-hush\n"
    assert to_yaml(compose(folder, "config")) == "a: ${oc.env:TEAM_TOKEN}\n"


def test_nothing_that_is_written_or_said_holds_it(
    make_tree: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_tree("a: ${oc.env:TEAM_TOKEN}\nb: {c: 'x${a}'}\nl: ['${a}']\n")
    files = [tmp_path / name for name in ("config.yaml", "trace.tsv", "provenance.json")]
    options = ["--config-dir", str(folder), "--config-name", "config"]
    outputs = ["--out", str(files[0]), "--trace", str(files[1]), "--provenance", str(files[2])]
    freeze([*options, *outputs, "a=${oc.env:TEAM_TOKEN}z"])
    for override in ("~a=1", "a.x=1", "+a=2", "c.${a}=1"):
        with pytest.raises(ConfigError) as caught:
            freeze([*options, override])
        assert "hush" not in str(caught.value)
    said = capsys.readouterr()
    assert "hush" not in said.out + said.err + "".join(file.read_text() for file in files)
