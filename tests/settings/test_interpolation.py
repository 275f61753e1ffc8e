"""Interpolations and scalars in files, one by one, against OmegaConf."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from hydra_oracle import hydra_refuses, hydra_yaml

from workflow_scripts.errors import ConfigError
from workflow_scripts.settings.compose import compose, compose_traced
from workflow_scripts.settings.dump import to_yaml

TREE = """
a: {b: {c: 1, d: [1, 2]}, n: null, m: '???', s: text, u: '${.s}', v: '${..k}'}
k: top
kk: a
f: 1.5
t: true
e: ''
lst: [x, '${k}', '${lst[0]}', '${.0}']
"""
TEXTS = [
    "${k}",
    "${a.b.c}",
    "${a.b}",
    "${a[b][c]}",
    "${a.b[c]}",
    "${[a].b}",
    "${a.b.d.0}",
    "${a.b.d[1]}",
    "x${k}y",
    "${k}${f}",
    "${t}!",
    "${a.n}",
    "${a.n}x",
    "${${kk}.b.c}",
    "${a.b}x",
    "${lst}s",
    "${oc.env:PV}",
    "${oc.env:PN}",
    "${oc.env:NOPE_X,def}",
    "${oc.env:NOPE_X,null}",
    "${oc.env:NOPE_X,12}",
    "${oc.env:NOPE_X,1.5}",
    "${oc.env:NOPE_X,true}",
    "${oc.env:NOPE_X,}",
    "${oc.env:NOPE_X,''}",
    "${oc.env:NOPE_X,${k}}",
    "${oc.env:NOPE_X,a b c}",
    "${oc.env:NOPE_X,'a, b'}",
    "${oc.env:NOPE_X,[1,2]}",
    "${oc.env:NOPE_X,{a: 1}}",
    '${oc.env:NOPE_X,"q"}',
    "${oc.env:NOPE_X,a:b}",
    "${oc.env:NOPE_X,/tmp/x}",
    "${oc.env:NOPE_X,a\\,b}",
    "${oc.decode:${oc.env:PN}}",
    "${oc.decode:'[1,2]'}",
    '${oc.decode:"{a: 1}"}',
    "${oc.decode:null}",
    "${oc.decode:'${k}'}",
    "${oc.decode:abc}",
    "${oc.decode:'1e3'}",
    "${oc.select:a.b.c}",
    "${oc.select:nope,7}",
    "${oc.select:nope}",
    "${oc.select:a.m,5}",
    "${oc.select:a.n,5}",
    "${oc.select:a.b.zz.y,3}",
    "${oc.select:k.x,3}",
    "${oc.dict.keys:a.b}",
    "${oc.dict.values:a.b}",
    "${oc.create:{a: 1}}",
    "${oc.deprecated:k}",
    "x${oc.deprecated:a.b.c}",
    "${oc.deprecated:a.b,'$OLD_KEY is $NEW_KEY now'}",
    "${oc.deprecated:k,}",
    "${oc.create:${a.b}}",
    "\\${k}",
    "\\\\${k}",
    "\\\\\\${k}",
    "a\\b",
    "a\\${k}b${k}",
    "$k",
    "$${k}",
    "${ k }",
    "${k }",
    "${\tk}",
    "${a.u}",
    "${a.v}",
    "${k}}",
    "${oc.env: PV}",
    "${oc.env : PV}",
    "${oc.env:PV }",
    "${oc.env:'PV'}",
    "${e}",
    "x${e}y",
    "${lst.2}",
    "${lst.3}",
    "${a}",
    "${a.b.d}${f}",
    "${oc.select:a.b}",
    "${oc.env:${kk}x,${oc.env:PV}}",
    "${oc.env:NOPE_X,${oc.env:NOPE_Y,deep}}",
    "text \\ ${k}",
    "text \\\\ ${k}",
    "${oc.env:NOPE_X,  spaced  }",
    "${oc.env:NOPE_X,nan}",
    "${oc.env:NOPE_X,1_000}",
    "${oc.env:NOPE_X,'it\\'s'}",
    "${oc.env:NOPE_X,'${k} and \\${k}'}",
    "${oc.env:NOPE_X,'a\\b'}",
    "${oc.env:NOPE_X,'a\\\\'}",
    "${oc.select:'a.b.c'}",
    "${oc.env:NOPE_X,{a:1,b:[1,2]}}",
    "${oc.env:NOPE_X,a\\=b}",
]
REFUSED_TEXTS = [
    "${a.b.d.-1}",
    "${a.b.d.7}",
    "${a.m}",
    "${nope}",
    "${a.nope}",
    "${k.x}",
    "${a.${kk}}",
    "${oc.env:NOPE_X}",
    "${oc.decode:3}",
    "${oc.deprecated:nope}",
    "${oc.deprecated:3}",
    "${oc.deprecated:k,3}",
    "${oc.deprecated:k,a,b}",
    "${oc.dict.keys:k}",
    "${oc.dict.keys:nope}",
    "${foo:1}",
    "${hydra:job.name}",
    "${.k}",
    "${..k}",
    "${self}",
    "${}",
    "${",
    "${k",
    "${k.}",
    "${k..x}",
    "${.}",
    "${:}",
    "${k:}",
    "${oc.env:[1]}",
    "${oc.env:a,b,c}",
    "${1}",
    "${oc.decode:'1, 2'}",
    "${oc.dict.values:a}",
    "${a. b}",
    "${a .b}",
    "${oc.env:NOPE_X,'it''s'}",
    "${oc.env:NOPE_X,\\'}",
    "${oc.decode:'a,b'}",
    "${a-b}",
    "${é}",
    "${k\\}",
    "${k'}",
    "${oc.env:NOPE_X,é}",
    "${oc.env:NOPE_X,a;b}",
    "${oc.env:NOPE_X,a=b}",
    "${oc.env:NOPE_X,(a)}",
    "${oc.env:NOPE_X,a~b}",
    "${oc.env:NOPE_X,a#b}",
]
SCALARS = [
    "yes",
    "on",
    "no",
    "off",
    "Y",
    "y",
    "n",
    "true",
    "True",
    "TRUE",
    "tRue",
    "~",
    "null",
    "Null",
    "",
    "1e-4",
    "1e4",
    "1.e4",
    "1.0e4",
    "+1e3",
    ".5",
    ".5e-3",
    ".5e3",
    "1_000",
    "1_0.5",
    "0x1F",
    "0b11",
    "0o17",
    "017",
    "08",
    "1:30",
    "1:30.5",
    "190:20:30",
    ".inf",
    "-.inf",
    ".nan",
    "inf",
    "nan",
    "2020-01-01",
    "2020-01-01T10:00:00",
    "!!str 1",
    "!!int '3'",
    "!!float 3",
    "!!bool yes",
    "!!null ''",
    "&a [1]",
    "1.",
    "+.5",
    "-.5e5",
    "1e",
    "e1",
    "1__0",
    "1_",
    "0_1",
    "12e03",
    "1e+3",
    "|\n  a\n  b",
    "'q'",
    '"a\\tb"',
    "0.1e1_0",
    "1,000",
    "1.5.2",
    "0b",
    "0x",
    "-0x1F",
    "+12",
    "-0",
    "-0.0",
    "1e400",
    "{1: 2, 1.0: 3}",
    "{1: 1, 1: 2}",
    "{true: 1}",
    "{1.5: 2}",
    "{? a}",
    "[a: 1]",
    "{2020-01-01: 2}",
    "{=: 1}",
    "{yes: 1}",
    "{'1': 1, 1: 2}",
    "{a.b: 1}",
]
REFUSED_SCALARS = [
    "=",
    "<<",
    "!!timestamp 2020-01-01",
    "!!set {a, b}",
    "!foo x",
    "!!python/name:os.system x",
    "!!python/tuple [1]",
    "'${x'",
    "@a",
    "`a",
    "%a",
    "-",
    "- 1",
    "?",
    "!!int abc",
    "!!float abc",
    "{a: 1, a: 2}",
    "{null: 1}",
    "{[1]: 2}",
    "{{a: 1}: 2}",
]


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PV", "val")
    monkeypatch.setenv("PN", "12")


def written(values: dict[str, object]) -> str:
    return yaml.safe_dump(values, allow_unicode=True, sort_keys=False)


def test_texts_resolve_as_in_omegaconf(make_tree: Callable[..., Path]) -> None:
    texts = {f"x{number}": text for number, text in enumerate(TEXTS) if text[:3] != "${."}
    inside = {f"x{number}": text for number, text in enumerate(TEXTS)}
    folder = make_tree(TREE + written({**texts, "sub": {"k": 1, **inside}}))
    assert to_yaml(compose(folder, "config")).splitlines() == hydra_yaml(folder).splitlines()


@pytest.mark.parametrize("text", REFUSED_TEXTS)
def test_text_is_refused_as_omegaconf_refuses_it(text: str, make_tree: Callable[..., Path]) -> None:
    folder = make_tree(TREE + written({"x": text, "sub": {"y": 1, "z": text}}))
    with pytest.raises(ConfigError, match=r"config\.yaml:\d+: "):
        compose(folder, "config")
    assert hydra_refuses(folder)


def test_scalars_read_as_in_omegaconf(make_tree: Callable[..., Path]) -> None:
    lines = [f"x{number}: {scalar}" for number, scalar in enumerate(SCALARS)]
    folder = make_tree("\n".join(lines) + "\n")
    assert to_yaml(compose(folder, "config")).splitlines() == hydra_yaml(folder).splitlines()


@pytest.mark.parametrize("scalar", REFUSED_SCALARS)
def test_scalar_is_refused_as_omegaconf_refuses_it(
    scalar: str, make_tree: Callable[..., Path]
) -> None:
    folder = make_tree(f"x: {scalar}\n")
    with pytest.raises(ConfigError, match=r"config\.yaml:1: "):
        compose(folder, "config")
    assert hydra_refuses(folder)


def test_circle_is_named(make_tree: Callable[..., Path]) -> None:
    folder = make_tree("a: {x: '${b.y}'}\nb: {y: 'z-${a.x}'}\n")
    with pytest.raises(ConfigError, match=r"config.yaml:\d: .*circle: a.x → b.y → a.x"):
        compose(folder, "config")


def test_deprecated_key_warns_once_with_both_names(make_tree: Callable[..., Path]) -> None:
    folder = make_tree(
        "old: ${oc.deprecated:new}\nnew: 3\nx: ${old}\ny: ${oc.deprecated:new,'$NEW_KEY!'}\n"
    )
    composition = compose_traced(folder, "config")
    assert composition.values == {"old": 3, "new": 3, "x": 3, "y": 3}
    assert composition.warnings == (
        f"{folder}/config.yaml:1: 'old' is deprecated. Change your code and config to use 'new'",
        "new!",
    )
