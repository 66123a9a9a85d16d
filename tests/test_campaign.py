"""The campaign at a small scale; `python -m tests.campaign` is the whole of it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.campaign.__main__ import PARTS, run_part

FORKS = "kills"
"""The part that splits its own process in two, which a lock held by a thread of an earlier test would block."""


@pytest.mark.parametrize("name", [part for part in PARTS if part != FORKS])
@pytest.mark.slow
def test_a_few_attacks_of_each_part_find_nothing(name: str) -> None:
    outcome = run_part(name, seed=1, scale=0.02)
    assert outcome.tried
    assert not outcome.faults


@pytest.mark.slow
def test_a_few_kills_find_nothing() -> None:
    command = [sys.executable, "-m", "tests.campaign", "--only", FORKS, "--seed", "1", "--scale", "0.02"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"| {FORKS} | 2 |" in done.stdout
