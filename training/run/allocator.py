"""Memory that is freed stays with the process, where glibc would give it back and fetch it again in every layer and step."""

from __future__ import annotations

import ctypes
import os
import sys
from typing import Final

TRIM_THRESHOLD: Final = -1
MMAP_THRESHOLD: Final = -3
"""Parameters of `mallopt`, from glibc's malloc.h."""
KEPT: Final = 2**29
"""Bytes at the end of the heap above which they go back to the system."""
LARGEST: Final = 2**25
"""Bytes from which a block is fetched by itself and given back when it is freed; glibc accepts no more than this."""
VARIABLES: Final = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")


def keep_freed_memory() -> bool:
    """Let this process keep up to `KEPT` of what it has freed. Whether it does: with glibc, unless the environment says otherwise.

    The system has to clear every page that it hands out. With fewer new pages, a training step on a processor takes 6 to 11 % less
    time (docs/benchmarks.md).
    """
    if not sys.platform.startswith("linux") or any(name in os.environ for name in VARIABLES):
        return False
    library = ctypes.CDLL(None)
    if not hasattr(library, "gnu_get_libc_version"):  # musl, for example
        return False
    return all(library.mallopt(*setting) for setting in ((TRIM_THRESHOLD, KEPT), (MMAP_THRESHOLD, LARGEST)))
