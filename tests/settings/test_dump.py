"""The YAML we write: byte for byte OmegaConf's, for any config there can be."""

from __future__ import annotations

from typing import Any

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from workflow_scripts.settings.dump import to_yaml

TEXT = st.text(st.characters(blacklist_categories=("Cs",)), max_size=12).filter(
    lambda text: "${" not in text
)
NUMBERS_AND_BOOLEANS = ["yes", "No", "on", "y", "N", "1", "1e3", "1_0", "0x1", "null", "~", "nan"]
MARKS = [" ", "", "-", "?", "a: b", "a #b", "#", "*x", "&x", "!x", "%x", "@x", "[", "{}", "'", '"']
TRICKY = st.sampled_from([*NUMBERS_AND_BOOLEANS, *MARKS, "\n", "a\nb", "\t"])
SCALAR = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), TEXT, TRICKY, st.just(1e-6), st.just(1e16)
)
KEY = st.one_of(TEXT, TRICKY, st.integers(-5, 5))
CONFIG = st.dictionaries(
    KEY,
    st.recursive(
        SCALAR,
        lambda inner: st.one_of(
            st.lists(inner, max_size=3), st.dictionaries(KEY, inner, max_size=3)
        ),
        max_leaves=8,
    ),
    max_size=5,
)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(CONFIG)
def test_random_configs_are_written_as_omegaconf_writes_them(config: dict[Any, Any]) -> None:
    assert to_yaml(config) == OmegaConf.to_yaml(OmegaConf.create(config), resolve=True)


def test_one_value_in_two_places_is_written_twice() -> None:
    shared = [1, {"a": 2}]
    assert yaml.safe_load(to_yaml({"x": shared, "y": shared})) == {"x": shared, "y": shared}
    assert "&" not in to_yaml({"x": shared, "y": shared})


def test_small_floats_keep_their_point() -> None:
    assert to_yaml({"eps": 1e-6, "lr": 0.0001, "big": 1e16}) == (
        "eps: 1.0e-06\nlr: 0.0001\nbig: 1.0e+16\n"
    )
