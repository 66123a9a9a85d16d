"""Work that takes longer than a click: in a thread, with progress, one at a time, shared by all who ask for the same.

A page draws what is there and asks again; whoever leaves does not stop it, whoever comes back finds it. No UI library
in here.
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
"""Tasks that may wait for their turn; more are refused."""


class TaskState(StrEnum):
    """How far a task is."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    STOPPED = "stopped"
    FAILED = "failed"


class StoppedError(Exception):
    """Raised within a task that somebody has stopped."""


class BusyError(Sim2StreetError):
    """Too many tasks wait already."""


class Task:
    """One piece of work.

    Attributes:
        state: how far it is.
        done: parts that are done.
        total: parts in all, at least 1.
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
        """Whether it waits or runs."""
        return self.state in (TaskState.WAITING, TaskState.RUNNING)

    def stop(self) -> None:
        """Ask it to end after the part that it is at."""
        self._stop.set()

    def report(self, done: int) -> None:
        """Called by the work after each part.

        Raises:
            StoppedError: somebody has asked it to end.
        """
        self.done = done
        if self._stop.is_set():
            raise StoppedError


class Background:
    """Runs tasks by key, one at a time; of one key there is one task at a time."""

    def __init__(self) -> None:
        self._tasks: dict[Hashable, Task] = {}
        self._lock = threading.Lock()
        self._turn = threading.Lock()

    def task(self, key: Hashable) -> Task | None:
        """The latest task of that key."""
        with self._lock:
            return self._tasks.get(key)

    def start(self, key: Hashable, total: int, work: Callable[[Task], None]) -> Task:
        """Start `work`, which reports its parts; a task of the same key that is under way is returned instead.

        Raises:
            BusyError: too many wait already.
        """
        with self._lock:
            before = self._tasks.get(key)
            if before is not None and before.under_way:
                return before
            if sum(task.state is TaskState.WAITING for task in self._tasks.values()) >= MOST_WAITING:
                raise BusyError(f"{MOST_WAITING} computations wait already. Try again when some of them are done.")
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
            except Exception:  # the page goes on; the log tells the rest
                LOGGER.exception("a computation failed")
                task.error, task.state = "This computation failed; the server's log says where.", TaskState.FAILED


BACKGROUND: Final = Background()
"""One for the process, whichever page asks."""


@contextmanager
def repeating(work: Callable[[], object], name: str, seconds: float) -> Iterator[None]:
    """Call `work` every so many seconds, in a thread called `name`, for as long as the block runs."""
    stop = threading.Event()

    def repeat() -> None:
        while not stop.wait(seconds):
            work()

    threading.Thread(target=repeat, name=name, daemon=True).start()
    try:
        yield
    finally:
        stop.set()
