"""Long computations in background threads: one at a time, with progress, shared by all visitors who ask for the same.

A page shows the results so far and polls for more. A task goes on when the visitor leaves the page, and the page finds it
again by its key. Imports no UI library.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import Final

from sim2street.models.errors import Sim2StreetError

LOGGER: Final = logging.getLogger(__name__)

MOST_WAITING: Final = 8
"""Largest number of waiting tasks; more are refused."""
MOST_ENDED: Final = 64
"""Ended tasks that can still be asked for, so that a page can say how one ended; older ones are forgotten."""


class TaskState(StrEnum):
    """State of a task."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    STOPPED = "stopped"
    FAILED = "failed"


class StoppedError(Exception):
    """Raised inside a task after `Task.stop`."""


class BusyError(Sim2StreetError):
    """Too many tasks are already waiting."""


class Task:
    """One computation and its progress.

    Attributes:
        state: waiting, running, or how it ended.
        done: parts that are done.
        total: number of parts, at least 1.
        error: why it failed, as a sentence; empty otherwise.
    """

    def __init__(self, total: int) -> None:
        self.state = TaskState.WAITING
        self.done = 0
        self.total = max(1, total)
        self.error = ""
        self._stop = threading.Event()

    @property
    def under_way(self) -> bool:
        """Whether the task is waiting or running."""
        return self.state in (TaskState.WAITING, TaskState.RUNNING)

    @property
    def share(self) -> float:
        """Share of the parts that are done, in [0,1]."""
        return min(1.0, self.done / self.total)

    def in_words(self, parts: str) -> str:
        """What it is doing, such as "3 of 16 images" for `parts` "images"."""
        if self.stopping:
            return "Stopping"
        if self.state is TaskState.WAITING:
            return "Waiting for another computation"
        return f"{self.done} of {self.total} {parts}"

    @property
    def stopping(self) -> bool:
        """Whether `stop` was called."""
        return self._stop.is_set()

    def stop(self) -> None:
        """Ask the task to end after its current part."""
        self._stop.set()

    def report(self, done: int) -> None:
        """Record progress; the computation calls this after each part.

        Raises:
            StoppedError: `stop` was called.
        """
        self.done = done
        if self._stop.is_set():
            raise StoppedError


class Background:
    """Runs tasks one at a time; a key has at most one task under way."""

    def __init__(self) -> None:
        self._tasks: dict[Hashable, Task] = {}
        self._lock = threading.Lock()
        self._turn = threading.Lock()

    def task(self, key: Hashable) -> Task | None:
        """Return the latest task with this key, or None if there was none or it was forgotten."""
        with self._lock:
            return self._tasks.get(key)

    def start(self, key: Hashable, total: int, work: Callable[[Task], None]) -> Task:
        """Start `work`, or return the task with this key that is already under way.

        Args:
            key: identifies the computation.
            total: number of parts that `work` reports.
            work: runs in a thread and calls `Task.report` after each part.

        Raises:
            BusyError: too many tasks are already waiting.
        """
        with self._lock:
            before = self._tasks.get(key)
            if before is not None and before.under_way:
                return before
            if sum(task.state is TaskState.WAITING for task in self._tasks.values()) >= MOST_WAITING:
                raise BusyError(
                    f"{MOST_WAITING} computations are already waiting. Try again when some of them are done."
                )
            self._tasks.pop(key, None)  # the latest comes last
            for old in [other for other, each in self._tasks.items() if not each.under_way][:-MOST_ENDED]:
                del self._tasks[old]
            task = self._tasks[key] = Task(total)
        threading.Thread(target=self._run, args=(task, work), name=f"background {key}", daemon=True).start()
        return task

    def _run(self, task: Task, work: Callable[[Task], None]) -> None:
        with self._turn:
            task.state = TaskState.RUNNING
            try:
                task.report(0)
                work(task)
                task.state = TaskState.DONE
            except StoppedError:
                task.state = TaskState.STOPPED
            except Sim2StreetError as error:
                task.error, task.state = str(error), TaskState.FAILED
            except Exception:  # keep the page working; the log has the details
                LOGGER.exception("a computation failed")
                task.error, task.state = "This computation failed; see the server's log.", TaskState.FAILED


BACKGROUND: Final = Background()
"""Shared by all pages of the process."""


@contextmanager
def repeating(work: Callable[[], object], name: str, seconds: float) -> Iterator[None]:
    """Call `work` every `seconds` in a thread called `name` while the block runs."""
    stop = threading.Event()

    def repeat() -> None:
        while not stop.wait(seconds):
            work()

    threading.Thread(target=repeat, name=name, daemon=True).start()
    try:
        yield
    finally:
        stop.set()
