"""The private parts of Hydra and OmegaConf that composition uses are as they were."""

from __future__ import annotations

import inspect

import hydra
import omegaconf

from workflow_scripts.settings import hydra_internals as internals


def test_private_parts_take_what_we_give_them() -> None:
    assert hydra.__version__.startswith("1.3.")
    assert omegaconf.__version__.startswith("2.3.")
    takes = {name: [*inspect.signature(getattr(internals, name)).parameters] for name in PARTS}
    assert takes == PARTS


PARTS = {
    "apply_overrides": ["overrides", "cfg"],
    "create_defaults_list": [
        "repo",
        "config_name",
        "overrides_list",
        "prepend_hydra",
        "skip_missing",
    ],
    "package_header": ["config_text"],
    "get_omega_conf_dumper": [],
    "get_yaml_loader": [],
    "is_float": ["st"],
    "yaml_is_bool": ["b"],
}
