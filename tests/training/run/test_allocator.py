"""Freed memory stays with the process, and an environment that says otherwise is left alone."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

from sim2street import ROOT
from sim2street.training.run.allocator import VARIABLES

CODE = """
import resource, torch
from sim2street.training.run.allocator import keep_freed_memory
kept = keep_freed_memory()
def fill():
    # Maps of a network, of which several live at once.
    maps = [torch.empty(2**21).fill_(1.0) for _ in range(6)]
torch.set_num_threads(1)
for _ in range(3):
    fill()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    fill()
print(kept, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="this system has another C library")


def faults(**changed: str) -> tuple[str, int]:
    """Whether memory is kept, and how many pages the system had to fetch."""
    environment = {name: value for name, value in os.environ.items() if name not in VARIABLES} | changed
    said = subprocess.run(
        [sys.executable, "-c", CODE], cwd=ROOT, env=environment, check=True, capture_output=True, text=True
    )
    kept, count = said.stdout.split()
    return kept, int(count)


def test_no_page_is_fetched_twice() -> None:
    kept, count = faults()
    assert kept == "True"
    assert count < 1000


def test_the_environment_decides() -> None:
    """With every block fetched by itself, pages are fetched again and again."""
    kept, count = faults(MALLOC_MMAP_THRESHOLD_="65536")
    assert kept == "False"
    assert count > 10_000
