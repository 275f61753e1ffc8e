"""The engine's compiled tests, kept on disk: compiling them takes longer than most scorings."""

from __future__ import annotations

import importlib
from contextlib import suppress

from numba.core.dispatcher import Dispatcher

_MODULES = ("numba_mwu._core", "numba_mwu._batch", "numba_mwu._sparse", "pdex._math")
"""What cell-eval2's backend pdex compiles, 5 to 7 seconds in every process otherwise."""


def keep_compiled() -> None:
    """Let numba keep what it compiles of the engine, beside its source or in the user's cache.

    Another version of a package is installed as other files, which numba tells by their dates.
    """
    for name in _MODULES:
        # Another version may be built otherwise: it is slower then, and no less right.
        with suppress(ImportError):
            for function in vars(importlib.import_module(name)).values():
                if isinstance(function, Dispatcher):
                    with suppress(RuntimeError):  # numba found no folder to write to
                        function.enable_caching()
