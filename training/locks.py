"""Locks between processes, by the kernel: whoever dies, even by a kill or a power cut, lets go."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

POLL: Final = 0.02
"""Seconds between two tries for a lock that somebody holds."""


_HELD: Final[set[int]] = set()


def _let_go() -> None:
    """In a child: a descriptor that it has from its parent would hold the parent's lock beyond the parent's death."""
    for descriptor in _HELD:
        os.close(descriptor)
    _HELD.clear()


os.register_at_fork(after_in_child=_let_go)


class Busy(Exception):
    """Somebody else holds the lock."""


@contextmanager
def hold(path: Path, *, seconds: float) -> Iterator[None]:
    """Hold the lock file at `path`, made if missing, within the block. Children do not inherit it.

    Args:
        path: the file; its folder exists.
        seconds: how long to wait for it.

    Raises:
        Busy: it was not to be had within that time.
    """
    deadline = time.monotonic() + seconds
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # A holder may have removed the file between our opening and locking it: then this lock guards nothing.
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
        if descriptor in _HELD:  # it is not in a child
            _HELD.discard(descriptor)
            os.close(descriptor)


def is_held(path: Path) -> bool:
    """Whether some process holds the lock file at this moment."""
    if not path.exists():
        return False
    try:
        with hold(path, seconds=0):
            return False
    except Busy:
        return True
