"""Files and overrides that are broken on purpose, or by a common slip: each is a ConfigError."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from workflow_scripts.errors import ConfigError
from workflow_scripts.settings.compose import compose

NESTED = "\n".join(f"{' ' * depth}a:" for depth in range(330))
MERGED = "a0: &a0 {x: 1}\n" + "".join(
    f"a{n}: &a{n}\n" + "".join(f"  k{k}: *a{n - 1}\n" for k in range(10)) for n in range(1, 8)
)
DOUBLED = "a0: xxxxxxxx\n" + "".join(f"a{n}: ${{a{n - 1}}}${{a{n - 1}}}\n" for n in range(1, 60))
FILES = {
    "brackets": "a: " + "[" * 30_000,
    "braces": "a: 1\nb: " + "{" * 30_000,
    "dashes": "- " * 30_000,
    "mappings": NESTED,
    "a control character beside ?": "? a\x01\n: 1\n",
    "an empty float": "a: !!float ''\n",
    "a sexagesimal float": "a: 9" + ":59" * 400 + ".0\n",
    "half of a surrogate pair": 'a: "\\ud800"\n',
    "an integer of 4,301 digits": "a: 1" + "0" * 4_300 + "\n",
    "aliases that expand": MERGED,
    "references that expand": DOUBLED,
    "a header with a tab": "# @package\ta\na: 1\n",
    "a header of one word": "#@\na: 1\n",
    "a header of three words": "# @package a b\na: 1\n",
}


@pytest.mark.parametrize("name", FILES)
def test_broken_file_is_refused_with_its_line(name: str, make_tree: Callable[..., Path]) -> None:
    folder = make_tree(FILES[name])
    with pytest.raises(ConfigError, match=r"config\.yaml:\d+: ") as caught:
        compose(folder, "config")
    assert len(str(caught.value)) < 1_000
    assert "\x01" not in str(caught.value)


def test_merges_of_merges_give_each_key_once(make_tree: Callable[..., Path]) -> None:
    lists = [
        f"b{n}: &b{n} {{<<: [{', '.join([f'*b{n - 1}'] * 10)}], y{n}: 1}}" for n in range(1, 12)
    ]
    folder = make_tree("\n".join(["b0: &b0 {x: 1, y1: 0}", *lists, "<<: *b11", "last: *b1"]))
    config = compose(folder, "config")
    assert config["last"] == {"x": 1, "y1": 1}
    assert list(config["b11"]) == ["x", *(f"y{n}" for n in range(1, 12))]
    assert config["x"] == 1


OVERRIDES = {
    "a list of 2,002 items": "lr=[" + "1," * 2_001 + "1]",
    "65,537 characters": "lr=" + "1" * 65_537,
    "nested functions": "lr=" + "int(" * 500 + "1" + ")" * 500,
    "an integer of 4,301 digits": "lr=1" + "0" * 4_300,
    "a key of 20,000 parts": "+" + ".".join("a" * 20_000) + "=1",
}


@pytest.mark.parametrize("name", OVERRIDES)
def test_broken_override_is_refused(name: str, make_tree: Callable[..., Path]) -> None:
    folder = make_tree("lr: 1\n")
    with pytest.raises(ConfigError, match="override '") as caught:
        compose(folder, "config", [], [OVERRIDES[name]])
    assert len(str(caught.value)) < 1_000


SLIPS = {
    "lr:1e-3": "did you mean lr=1e-3?",
    "lr = 1e-3": "lr=1e-3",
    "lr：1e-3": "'：' is no plain character",
    "lr=\u00a01e-3": r"'\xa0' is no plain character",
    "lr=“a”": "'“' is no plain character",
    "name=a=b": "put quotes around the value: name='a=b'",
    "lr": "expected '='",
}


@pytest.mark.parametrize("override", SLIPS)
def test_common_slip_is_named(override: str, make_tree: Callable[..., Path]) -> None:
    folder = make_tree("lr: 1\nname: x\n")
    with pytest.raises(ConfigError) as caught:
        compose(folder, "config", [], [override])
    assert SLIPS[override] in str(caught.value)
