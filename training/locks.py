"""Locks between processes, held by the kernel: a process that dies, even by a kill or a power cut, releases its lock."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

POLL: Final = 0.02
"""Seconds between two attempts to take a lock."""


_HELD: Final[set[int]] = set()


def _let_go() -> None:
    """Close inherited locks in a child process: their descriptors would keep the parent's lock after its death."""
    for descriptor in _HELD:
        os.close(descriptor)
    _HELD.clear()


os.register_at_fork(after_in_child=_let_go)


class Busy(Exception):
    """Another process holds the lock."""


@contextmanager
def hold(path: Path, *, seconds: float) -> Iterator[None]:
    """Hold the lock file at `path`, created if missing, within the block. Child processes do not inherit it.

    Args:
        path: the lock file; its folder must exist.
        seconds: longest time to wait.

    Raises:
        Busy: the lock was not free within that time.
    """
    deadline = time.monotonic() + seconds
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # A holder may have removed the file after we opened it: then this lock is on a deleted file and is worthless.
            if path.exists() and os.fstat(descriptor).st_ino == path.stat().st_ino:
                break
        except FileNotFoundError:
            pass
        except BlockingIOError:
            pass
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
        if time.monotonic() >= deadline:
            raise Busy(str(path))
        time.sleep(POLL)
    _HELD.add(descriptor)
    try:
        yield
    finally:
        if descriptor in _HELD:  # it is absent in a child
            _HELD.discard(descriptor)
            os.close(descriptor)


def is_held(path: Path) -> bool:
    """Whether a process currently holds the lock file."""
    if not path.exists():
        return False
    try:
        with hold(path, seconds=0):
            return False
    except Busy:
        return True
