"""The campaign at a small scale; `python -m tests.campaign` is the whole of it."""

from __future__ import annotations

import pytest

from tests.campaign.__main__ import PARTS, run_part


@pytest.mark.parametrize("name", PARTS)
@pytest.mark.slow
def test_a_few_attacks_of_each_part_find_nothing(name: str) -> None:
    outcome = run_part(name, seed=1, scale=0.02)
    assert outcome.tried
    assert not outcome.faults
