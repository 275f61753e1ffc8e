"""The private parts of Hydra 1.3 and OmegaConf 2.3 that composition uses, all in this one module.

Hydra's public API composes a config from folders alone and keeps no places of values. These parts
order a defaults list and apply overrides without reading files themselves. pyproject.toml pins
Hydra below 1.4, and ``tests/settings/test_hydra_internals.py`` fails where one of them changes.
"""

from __future__ import annotations

from hydra import version
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import ConfigRepository
from hydra._internal.defaults_list import DefaultsList, create_defaults_list
from hydra.core.default_element import DefaultsTreeNode, GroupDefault
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, IntervalSweep, Override, Quote, QuotedString
from hydra.plugins.config_source import ConfigResult, ConfigSource
from omegaconf._utils import get_omega_conf_dumper, get_yaml_loader, is_float, yaml_is_bool

__all__ = [
    "ConfigRepository",
    "ConfigResult",
    "DefaultsList",
    "DefaultsTreeNode",
    "Glob",
    "GroupDefault",
    "IntervalSweep",
    "Override",
    "OverridesParser",
    "Quote",
    "QuotedString",
    "apply_overrides",
    "create_defaults_list",
    "get_omega_conf_dumper",
    "get_yaml_loader",
    "is_float",
    "package_header",
    "yaml_is_bool",
]

version.setbase("1.3")  # the rules of Hydra 1.2 and later, without warnings about earlier ones

apply_overrides = ConfigLoaderImpl._apply_overrides_to_config
package_header = ConfigSource._get_header_dict
