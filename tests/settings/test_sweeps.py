"""Sweeps: the combinations are those of Hydra's sweeper, and each composes as it does there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import hydra
import pytest
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra._internal.utils import create_config_search_path
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra_oracle import hydra_yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from workflow_scripts.errors import ConfigError
from workflow_scripts.settings.compose import compose
from workflow_scripts.settings.dump import to_yaml
from workflow_scripts.settings.grid import sweep_parts
from workflow_scripts.settings.overrides import parse_override, written

CONFIG = "defaults: [{db: mysql}, _self_]\nlr: 1\nseed: 2\nname: x\nl: [1]\nm: {}\nn: null\n"
GROUPS = {"db/mysql": "port: 1\n", "db/mysql_small": "port: 2\n", "db/sqlite": "file: f\n"}
SWEEPS = [
    ["lr=1,2"],
    ["lr=0.1,1e-3,1e5"],
    ["name=a,b c,'d, e',\"f\""],
    ["name='it\\'s',\"a\\\\\",x\\,y"],
    ["name=null,true,3,nan,inf,'null','3'"],
    ["l=[1,2],[3],[]"],
    ["+m={a:1},{a:{b:c}},{}"],
    ["+m={a b:1},{a\\:b:2}"],
    ["lr=choice(1,2,3)"],
    ["lr=choice(a)"],
    ["l=choice([1,2],[3])"],
    ["lr=range(3)"],
    ["lr=range(1,4)"],
    ["lr=range(1,10,3)"],
    ["lr=range(0,1,0.25)"],
    ["lr=range(5,1,-2)"],
    ["lr=range(start=1,stop=4)"],
    ["lr=range(1,stop=6,step=2)"],
    ["lr=range(0.5,3)"],
    ["lr=int(range(0.5,3))"],
    ["lr=float(range(1,3))"],
    ["lr=sort(3,1,2)"],
    ["lr=sort(3,1,2,reverse=true)"],
    ["lr=sort(choice(b,a,c))"],
    ["lr=sort(range(10,1,-3))"],
    ["lr=sort(range(1,10,3),reverse=true)"],
    ["l=sort(list=[3,1,2])"],
    ["lr=sort(sweep=choice(2,1))"],
    ["lr=int(1.2,3.4)"],
    ["lr=int(choice(1.2,3.4))"],
    ["lr=float('3','4')"],
    ["name=bool(true,0)"],
    ["lr=tag(fast,choice(1,2))"],
    ["lr=tag(a,b,sweep=range(2))"],
    ["db=mysql,sqlite"],
    ["db=choice(sqlite)"],
    ["db=glob(*)"],
    ["db=glob(my*)"],
    ["db=glob([my*,sq*],exclude=*small)"],
    ["db=glob(include=*,exclude=[mysql,sqlite])"],
    ["lr=1,2", "seed=3,4", "name=y"],
    ["seed=3,4", "name=y", "lr=range(3)"],
    ["+new=1,2", "++lr=5,6"],
    ["lr=1,2", "lr=3,4,5"],
    ["lr=7", "seed=1,2", "lr=8"],
    ["name=${lr},${seed}", "lr=1,2"],
    ["name=a${lr}b,c"],
    ["db=mysql,sqlite", "~seed", "+db@other=mysql,sqlite"],
]


@pytest.fixture
def folder(make_tree: Callable[..., Path]) -> Path:
    return make_tree(CONFIG, GROUPS)


def hydras_combinations(folder: Path, overrides: Sequence[str]) -> list[list[str]]:
    loader = ConfigLoaderImpl(create_config_search_path(str(folder.resolve())))
    parsed = OverridesParser.create(config_loader=loader).parse_overrides(list(overrides))
    return BasicSweeper.split_arguments(parsed, max_batch_size=None)[0]


def combinations(folder: Path, overrides: Sequence[str]) -> list[tuple[str, ...]]:
    return list(product(*(part.texts for part in sweep_parts(folder, overrides))))


@pytest.mark.parametrize("overrides", SWEEPS, ids=" ".join)
def test_every_combination_composes_as_in_hydras_sweeper(
    overrides: list[str], folder: Path
) -> None:
    ours = [to_yaml(compose(folder, "config", [], c)) for c in combinations(folder, overrides)]
    # Hydra's sweeper writes a deletion as `~key=`, which then deletes nothing.
    theirs = [
        [text.removesuffix("=") if text.startswith("~") else text for text in combination]
        for combination in hydras_combinations(folder, overrides)
    ]
    assert ours == [hydra_yaml(folder, combination) for combination in theirs]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("lr=shuffle(1,2,3)", "another order each time"),
        ("lr=interval(0,1)", "has no end of values"),
        ("lr=range(1e9)", "more than 10000 values"),
        ("lr=range(1,5,0)", "must not be zero"),
        ("lr=range(a)", "mismatch type argument start"),
        ("lr=range(1,2,3,4)", "argument"),
        ("lr=range(begin=1)", "argument"),
        ("lr=range(start=1,2)", "can't be read"),
        ("lr=choice()", "empty"),
        ("lr=choice(choice(1,2))", "nesting choices"),
        ("lr=choice(1,choice(1,2))", "ChoiceSweep"),
        ("lr=tag(a,b)", "must be a choice()"),
        ("lr=sort()", "empty"),
        ("lr=sort(1,a)", "not supported between"),
        ("name=str(range(3))", "can only be cast"),
        ("lr=glob(*)", "`lr` is no group"),
        ("db=glob(x*)", "gives no value at all: there are mysql, mysql_small, sqlite"),
        ("lr=range(3,1)", "gives no value at all"),
        ("lr=int(1.2,value=3)", "arguments"),
        ("lr=gloob(*)", "Unknown function 'gloob'"),
    ],
)
def test_what_can_not_be_swept_is_said(override: str, message: str, folder: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        sweep_parts(folder, [override])
    assert message in str(caught.value)
    assert repr(override) in str(caught.value)


TEXT = st.text(st.characters(blacklist_categories=("Cs", "Cc")), max_size=8).filter(
    lambda text: "${" not in text
)
VALUE = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), TEXT),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.text("ab1_ :=,\\", min_size=1, max_size=4).filter(str.strip), inner),
    ),
    max_leaves=5,
)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(value=VALUE)
def test_written_value_reads_back_or_is_refused(value: Any) -> None:
    try:
        written(value)
    except ConfigError:  # of a key that the grammar takes for a number; the next test
        return
    read = parse_override(f"a={written(value)}").value()
    assert _plain(read) == _plain(value)


def test_a_key_that_reads_as_a_number_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"the key '1_1' of a mapping is read as 11"):
        written({"1_1": None})
    assert parse_override(f"a={written({'b1': {'1 a': 2}})}").value() == {"b1": {"1 a": 2}}


def _plain(value: Any) -> Any:
    """Give keys as texts without blanks at their ends, which no key of the grammar keeps."""
    if isinstance(value, dict):
        return {str(key).strip(): _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list) else value


def test_hydra_is_what_it_is_compared_with() -> None:
    assert hydra.__version__.startswith("1.3.")
