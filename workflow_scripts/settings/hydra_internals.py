"""The private parts of Hydra 1.3 and OmegaConf 2.3 that composition uses, all in this one module.

Hydra's public API composes a config from folders alone and keeps no places of values. These parts
order a defaults list and apply overrides without reading files themselves. pyproject.toml pins
Hydra below 1.4, and ``tests/settings/test_hydra_internals.py`` fails where one of them changes.
"""

from __future__ import annotations

from hydra import version
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import ConfigRepository as ConfigRepository
from hydra._internal.defaults_list import DefaultsList as DefaultsList
from hydra._internal.defaults_list import create_defaults_list as create_defaults_list
from hydra.core.default_element import DefaultsTreeNode as DefaultsTreeNode
from hydra.core.default_element import GroupDefault as GroupDefault
from hydra.core.override_parser.overrides_parser import OverridesParser as OverridesParser
from hydra.core.override_parser.types import Glob as Glob
from hydra.core.override_parser.types import IntervalSweep as IntervalSweep
from hydra.core.override_parser.types import Override as Override
from hydra.core.override_parser.types import Quote as Quote
from hydra.core.override_parser.types import QuotedString as QuotedString
from hydra.plugins.config_source import ConfigResult as ConfigResult
from hydra.plugins.config_source import ConfigSource
from omegaconf._utils import get_omega_conf_dumper as get_omega_conf_dumper
from omegaconf._utils import get_yaml_loader as get_yaml_loader
from omegaconf._utils import is_float as is_float
from omegaconf._utils import yaml_is_bool as yaml_is_bool

version.setbase("1.3")  # the rules of Hydra 1.2 and later, without warnings about earlier ones

apply_overrides = ConfigLoaderImpl._apply_overrides_to_config
package_header = ConfigSource._get_header_dict
