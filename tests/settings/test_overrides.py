"""Overrides: the grammar against Hydra's, and how a person's text is split."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hydra_oracle import hydra_refuses, hydra_yaml

from workflow_scripts.errors import ConfigError
from workflow_scripts.settings.compose import compose
from workflow_scripts.settings.dump import to_yaml
from workflow_scripts.settings.overrides import split_overrides

VALUES = [
    "1",
    "1_000",
    "01",
    "-1",
    "+1",
    "1.",
    "1.5",
    ".5",
    "1e3",
    "1e-4",
    "1E+3",
    "1_0.5e1_0",
    "inf",
    "-inf",
    "+Inf",
    "nan",
    "NaN",
    "-nan",
    "true",
    "TRUE",
    "True",
    "tRuE",
    "null",
    "NULL",
    "Null",
    "None",
    "yes",
    "on",
    "abc",
    "a b",
    "a  b",
    " a ",
    "a/b",
    "a-b",
    "a+b",
    "${a}",
    "${a}b",
    "x${a}",
    "'a,b'",
    '"a"',
    "'a\\'b'",
    "'a\\\\'",
    '"a\'b"',
    "a\\,b",
    "a\\=b",
    "a\\ b",
    "a:b",
    "a\\:b",
    "a\\(b\\)",
    "[a,b]",
    "[a, b]",
    "[ a , b ]",
    "[]",
    "[ ]",
    "{}",
    "{ }",
    "{a:1}",
    "{a: 1, b: [1,2]}",
    "{a:{b:c}}",
    "{1:2}",
    "{a b: 1}",
    "{a.b: 1}",
    "{a\\:b: 1}",
    "a@b",
    "a*b",
    "a%b",
    "a?b",
    "a|b",
    "a$b",
    "$a",
    "$",
    "a\tb",
    "  ",
    "\\",
    "\\\\",
    "a\\\\b",
    "\\n",
    "a\\nb",
    "'a\\nb'",
    "int(3.7)",
    "str(3)",
    "float(3)",
    "bool(true)",
    "sort([3,1])",
    "int('3')",
    "int([1,2])",
    "str([1,a])",
    "1 2",
    "1 a",
    "true false",
    "null null",
    "1e",
    "e1",
    "1.2.3",
    "1-2",
    "2020-01-01",
    "12:30",
    "0x10",
    "0o7",
    "00",
    "0",
    "-0",
    "-0.0",
    "1__0",
    "_1",
    "a_b",
    "a.b.c",
    "./x",
    "../x",
    "/a/b.c",
    "s3://x/y",
    "C:\\\\x",
    "'${a}'",
    "'x ${a} y'",
    '"\\""',
    "''",
    "\\${a}",
    "'a\nb'",
    "[a b, c d]",
    "{a: b c}",
    "[${a},1]",
    "{k: ${a}}",
    "'\t'",
    "1e400",
    "100000000000000000000000",
    "'a\\b'",
    "{a: b:c}",
    "[a:b]",
    "[[1],[2,[3]]]",
    "[{a:1},{b:2}]",
    "{a:[{b:{c:[]}}]}",
    "nul",
    "trueish",
    "infinity",
    "1.e5",
    "1e5.",
    "- 1",
    "[- 1]",
    "a\\\\\\,b",
    "\\,",
    "\\,\\,",
    "\\ ",
    " \\ ",
    "a\\",
    "+",
    "-",
    "*",
    "?",
    "%",
    "@",
    "|",
    ":",
    "::",
    "a:",
]
REFUSED_VALUES = [
    "${a.b,c}",
    "a=b",
    "a{b",
    "a[b",
    "a(b",
    "a,b",
    "{'a':1}",
    "[1,'2',3.0,true,null,~]",
    "[a,]",
    "[,a]",
    "{a}",
    "{a:}",
    "{a:1,}",
    "é",
    "ü",
    "a;b",
    "a#b",
    "a&b",
    "a!b",
    "a>b",
    "a^b",
    "a`b",
    'a"b',
    "a'b",
    "${",
    "${}",
    "}",
    ")",
    "]",
    "bool(yes)",
    "foo(1)",
    "a(b)",
    "json_str('{}')",
    "1,",
    "a\\\\,b",
    "'' ",
    "'a' ",
    "'a' b",
    "'a''b'",
    "b 'a'",
    "a\nb",
    "extend_list(1)",
    "[1,2",
    "{a:1",
    "(a)",
    "a)",
    "''''",
    "\\'a",
    "=a",
    "==",
    "a==b",
    "[a=b]",
    "{a: b=c}",
    "${a:b}",
    "${a:{b}}",
    "${oc.decode:'{a:1}'}",
    "~",
    "!",
]
KEYS = [
    "a.b",
    "a.0",
    "a-b",
    "a_b",
    "$a",
    "a$",
    "1",
    "a/b",
    "a.b/c",
    "a@b",
    "a/b@c",
    "a@",
    "@b",
    "a:b",
    "a b",
    " a",
    "a ",
    "a[0]",
    "a.b[0].c",
    "a..b",
    ".a",
    "a.",
    "0.a",
    "a.-1",
    "é",
    "a.b-c",
    "a-b.c",
    "a/b.c",
    "/a",
    "a/",
    "a//b",
    "a@_global_",
    "a@b.c",
    "a@$x",
    "a@b/c",
    "a.1_0",
    "a.00",
    "_a",
    "-a",
    "a*",
    "1a",
    "a.1a",
    "a/1",
    "a/b-c",
    "a/0/b",
]


def test_values_are_what_hydra_reads(make_tree: Callable[..., Path]) -> None:
    folder = make_tree("a: 5\n")
    overrides = [f"+x{number}={value}" for number, value in enumerate(VALUES)]
    ours = to_yaml(compose(folder, "config", [], overrides))
    assert ours.splitlines() == hydra_yaml(folder, overrides).splitlines()


@pytest.mark.parametrize("value", REFUSED_VALUES)
def test_value_is_refused_as_hydra_refuses_it(value: str, make_tree: Callable[..., Path]) -> None:
    folder = make_tree("a: 5\n")
    with pytest.raises(ConfigError) as caught:
        compose(folder, "config", [], [f"+x={value}"])
    assert f"override {f'+x={value}'!r}" in str(caught.value)
    assert hydra_refuses(folder, [f"+x={value}"])


@pytest.mark.parametrize("action", ["", "+", "~"])
@pytest.mark.parametrize("key", KEYS)
def test_key_is_what_hydra_reads(key: str, action: str, make_tree: Callable[..., Path]) -> None:
    folder = make_tree("a: {b: 1, 0: 2}\n")
    override = f"{action}{key}" + ("" if action == "~" else "=1")
    try:
        ours = to_yaml(compose(folder, "config", [], [override]))
    except ConfigError:
        assert hydra_refuses(folder, [override])
    else:
        assert ours == hydra_yaml(folder, [override])


@pytest.mark.parametrize("given", [None, "", "  ", [], ()])
def test_nothing_is_no_override(given: object) -> None:
    assert split_overrides(given) == []


def test_text_is_split_at_blanks() -> None:
    text = "model=state_sm  training.max_steps=50\nname=short"
    assert split_overrides(text) == ["model=state_sm", "training.max_steps=50", "name=short"]


def test_quotes_brackets_and_escapes_hold_an_override_together() -> None:
    text = r"""a='x y' b=[1, 2] c={k: v w} d=int( 3 ) e=\  f f="it's [" g='\' h'"""
    expected = ["a='x y'", "b=[1, 2]", "c={k: v w}", "d=int( 3 )", "e=\\ ", "f", 'f="it\'s ["']
    assert split_overrides(text) == [*expected, r"g='\' h'"]


def test_list_is_taken_as_it_is() -> None:
    assert split_overrides(["a='x: y' # b", "~c"]) == ["a='x: y' # b", "~c"]


def test_json_list_is_read() -> None:
    assert split_overrides('["a=[1,2]", "~b"]') == ["a=[1,2]", "~b"]


@pytest.mark.parametrize("given", [{"a": "x: y"}, 3, ["a=1", 2], '["a=1", 2]', "[a=1]"])
def test_anything_else_says_to_write_a_json_list(given: object) -> None:
    with pytest.raises(ConfigError, match="JSON list"):
        split_overrides(given)


@pytest.mark.parametrize("given", ["a='x", "a=[1", "a={b: 1", "a=f("])
def test_text_that_ends_too_early_is_an_error(given: str) -> None:
    with pytest.raises(ConfigError, match="ends before the closing"):
        split_overrides(given)


@pytest.mark.parametrize("quote", ["'", '"'])
def test_quote_that_snakemake_took_off_is_said_with_what_to_write(quote: str) -> None:
    with pytest.raises(ConfigError, match="Snakemake took it off") as refused:
        split_overrides(f"a=1 b.c={quote}x y=z")
    written = str(refused.value).partition("write overrides='")[2].removesuffix("'")
    assert split_overrides(written) == ["a=1", 'b.c="x y=z"']


@pytest.mark.parametrize("given", ["a=[1,'x", """a="it's" b='x"""])
def test_quote_that_can_not_be_put_back_is_said_without_guessing(given: str) -> None:
    with pytest.raises(ConfigError, match="ends before the closing") as refused:
        split_overrides(given)
    assert "write overrides=" not in str(refused.value)


@pytest.mark.parametrize("sweep", ["a,b", "choice(a,b)", "range(1,4)", "range(0.1,0.5,0.1)"])
def test_several_values_need_a_sweep(sweep: str, make_tree: Callable[..., Path]) -> None:
    folder = make_tree("a: 5\n")
    with pytest.raises(ConfigError, match="gives several values"):
        compose(folder, "config", [], [f"a={sweep}"])
    assert hydra_refuses(folder, [f"a={sweep}"])
