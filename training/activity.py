"""Progress of a job's work outside its training steps, such as storing a data set, for display by other processes.

The job runner sets the file in an environment variable; without it, nothing is written.
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
"""Environment variable with the path of the file."""
EVERY: Final = 0.5
"""Seconds between two writes."""


@dataclass(frozen=True)
class Activity:
    """The current activity of a process.

    Attributes:
        title: short description, such as "storing game".
        done: number of parts that are done.
        total: number of parts, at least 1.
    """

    title: str
    done: int
    total: int

    @property
    def share(self) -> float:
        """Share that is done, in [0,1]."""
        return min(1.0, max(0.0, self.done / self.total))


class ActivityWriter:
    """Writes the progress of one activity to the file.

    Args:
        title: title of the activity.
    """

    def __init__(self, title: str) -> None:
        named = os.environ.get(VARIABLE)
        self.title = title
        self.path = Path(named) if named and os.environ.get("RANK", "0") == "0" else None
        self._until = 0.0

    def report(self, done: int, total: int) -> None:
        """Write the progress, at most every `EVERY` seconds."""
        if self.path is None or time.monotonic() < self._until:
            return
        self._until = time.monotonic() + EVERY
        try:
            write_json(self.path, {"title": self.title, "done": done, "total": total})
        except OSError:  # the work continues without showing its progress
            self.path = None

    def close(self) -> None:
        """Remove the file, because the activity has ended."""
        if self.path is not None:
            clear(self.path)


def read_activity(path: Path) -> Activity | None:
    """Read the activity of a process; None if there is none or the file cannot be read."""
    try:
        found = read_json(path)
        return Activity(str(found["title"]), int(found["done"]), max(1, int(found["total"])))
    except (UnreadableError, KeyError, TypeError, ValueError):
        return None


def clear(path: Path) -> None:
    """Remove the activity that an earlier process left behind."""
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return
