"""Activity: what a process does beside its steps, such as storing a data set, for whoever watches from another process.

The runner of jobs names a file in the environment; a process without that variable writes nothing.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sim2street.models.errors import UnreadableError
from sim2street.models.storage.files import read_json, write_json

VARIABLE: Final = "SIM2STREET_ACTIVITY"
"""Environment variable: the file."""
EVERY: Final = 0.5
"""Seconds between two writes."""


@dataclass(frozen=True)
class Activity:
    """What is being done.

    Attributes:
        title: such as "storing game".
        done: parts that are done.
        total: parts in all, at least 1.
    """

    title: str
    done: int
    total: int

    @property
    def share(self) -> float:
        """Done, in [0,1]."""
        return min(1.0, max(0.0, self.done / self.total))


class ActivityWriter:
    """Writes one activity while it lasts.

    Args:
        title: of the activity.
    """

    def __init__(self, title: str) -> None:
        named = os.environ.get(VARIABLE)
        self.title = title
        self.path = Path(named) if named and os.environ.get("RANK", "0") == "0" else None
        self._until = 0.0

    def report(self, done: int, total: int) -> None:
        """Write how far it is, now and then."""
        if self.path is None or time.monotonic() < self._until:
            return
        self._until = time.monotonic() + EVERY
        try:
            write_json(self.path, {"title": self.title, "done": done, "total": total})
        except OSError:  # nobody can watch; the work goes on
            self.path = None

    def close(self) -> None:
        """It is over."""
        if self.path is not None:
            clear(self.path)


def read_activity(path: Path) -> Activity | None:
    """What a process is doing; None where it does nothing of the kind, or the file is being replaced."""
    try:
        found = read_json(path)
        return Activity(str(found["title"]), int(found["done"]), max(1, int(found["total"])))
    except (UnreadableError, KeyError, TypeError, ValueError):
        return None


def clear(path: Path) -> None:
    """Forget what an earlier process was doing."""
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return
