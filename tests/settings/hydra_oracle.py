"""Hydra itself, as the oracle: what it composes and when it refuses."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import hydra
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.utils import create_config_search_path
from hydra.types import RunMode
from omegaconf import OmegaConf


def hydra_yaml(config_dir: Path, overrides: Sequence[str] = (), name: str = "config") -> str:
    """Return the YAML that Hydra composes; raise whatever Hydra raises."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with hydra.initialize_config_dir(config_dir=str(config_dir.resolve()), version_base=None):
            return OmegaConf.to_yaml(hydra.compose(name, list(overrides)), resolve=True)


def hydra_refuses(config_dir: Path, overrides: Sequence[str] = (), name: str = "config") -> bool:
    """Tell whether Hydra raises an error; its errors share no class."""
    try:
        hydra_yaml(config_dir, overrides, name)
    except Exception:
        return True
    return False


def hydra_lists_a_file_twice(
    config_dir: Path, overrides: Sequence[str] = (), name: str = "config"
) -> bool:
    """Tell whether a file stands twice in Hydra's final defaults list.

    The second copy then holds what was merged over the first, since both come from one cache.
    """
    loader = ConfigLoaderImpl(create_config_search_path(str(config_dir.resolve())))
    listed = loader.compute_defaults_list(name, list(overrides), RunMode.RUN).defaults
    files = [entry.config_path for entry in listed if not entry.is_self]
    return len(files) != len(set(files))
