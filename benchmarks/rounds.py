"""Measure calls in turns, in processor time: other work on the machine then slows down both sides of a comparison alike."""

from __future__ import annotations

import resource
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

SHORTEST: Final = 0.02
"""Seconds that one measurement lasts at least; shorter calls are repeated within it."""


@dataclass(frozen=True)
class Spread:
    """Median, lowest and highest of some rounds."""

    median: float
    lowest: float
    highest: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Of at least one value."""
        return cls(statistics.median(values), min(values), max(values))

    def shown(self, digits: int) -> str:
        """`1.47 (1.40–1.52)`."""
        return f"{self.median:.{digits}f} ({self.lowest:.{digits}f}–{self.highest:.{digits}f})"


def in_turns(calls: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Milliseconds of processor time, all threads together, of every call in every round, after a warm-up."""
    for call in calls.values():  # the first call compiles and allocates
        call()
    repeats = {name: max(1, round(SHORTEST / _seconds(call, 1))) for name, call in calls.items()}
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            taken[name].append(1000 * _seconds(call, repeats[name]))
    return taken


def _seconds(call: Callable[[], object], repeats: int) -> float:
    start = _clock()
    for _ in range(repeats):
        call()
    return max(_clock() - start, 1e-9) / repeats


def _clock() -> float:
    """Processor seconds of this process and of those that it started and waited for."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime
