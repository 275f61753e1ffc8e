"""Large pages for torch's tensors in host memory. Imports no torch: it must be asked before."""

from __future__ import annotations

import os

VARIABLE = "THP_MEM_ALLOC_ENABLE"
"""torch's switch: it asks the kernel to back tensors of 2 MB and more with transparent huge pages
(Linux; where /sys/kernel/mm/transparent_hugepage/enabled is ``madvise`` or ``always``)."""


def use_large_pages() -> None:
    """Let torch ask for large pages, unless the environment decides otherwise.

    A step on the CPU makes and frees some hundred tensors of tens of MB. Memory that is new to the
    process is entered page by page, and with pages of 4 kB that takes three times as long as the
    sums that fill it. No result depends on it. torch looks when it makes its first tensor.
    """
    os.environ.setdefault(VARIABLE, "1")
