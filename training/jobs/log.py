"""The log of a job: appended by the trainer itself, so that it continues if all other processes die, and capped."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

LIMIT: Final = 4 * 2**20
"""Size in bytes above which the beginning of a log is dropped."""
KEPT: Final = 2**20
"""Bytes that are kept then."""
TRIES: Final = 50
"""Attempts to catch up with a writer before the log is cut anyway."""
DROPPED: Final = b"[the beginning was dropped]\n"
ATTEMPT: Final = "=== attempt "
"""Prefix of the line that starts an attempt."""


def open_log(path: Path, headline: str) -> int:
    """Open for appending, write the attempt's headline and return the descriptor for the trainer."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.write(descriptor, f"\n{ATTEMPT}{headline} ===\n".encode())
    return descriptor


def cap(path: Path) -> bool:
    """Drop the beginning of a log that exceeds its limit; returns whether it did.

    The writer keeps appending to the same file. Anything it writes between our last read and the cut is
    lost.
    """
    if not path.exists() or path.stat().st_size <= LIMIT:
        return False
    try:
        descriptor = os.open(path, os.O_RDWR)
        try:
            length = 0
            for _ in range(TRIES):
                end = os.fstat(descriptor).st_size
                length = os.pwrite(descriptor, DROPPED + os.pread(descriptor, KEPT, end - KEPT), 0)
                # Written meanwhile; it may be the last output.
                while (more := os.pread(descriptor, KEPT, end)) and length < LIMIT // 2:
                    end += len(more)
                    length += os.pwrite(descriptor, more, length)
                if not more:
                    break
                # The writer is faster than we are: try again from its current position.
            else:
                os.pwrite(descriptor, b"\n", length - 1)  # so that its next output starts a new line
            # The writer appends, so it continues right after what is kept.
            os.ftruncate(descriptor, length)
        finally:
            os.close(descriptor)
    except OSError:  # a full disk: emptying the log frees space
        os.truncate(path, 0)
    return True


def tail(path: Path, lines: int = 60) -> list[str]:
    """The last lines, each as a terminal would show it: progress bars overwrite themselves."""
    if not path.exists():
        return []
    text = _last_bytes(path, 256 * 1024).decode("utf-8", errors="replace")
    shown = [line.rstrip("\r").rpartition("\r")[2].rstrip() for line in text.split("\n")]
    return [line for line in shown if line][-lines:]


def last_attempt(path: Path) -> list[str]:
    """The last lines of the latest attempt only."""
    lines = tail(path, 400)
    starts = [number for number, line in enumerate(lines) if line.startswith(ATTEMPT)]
    return lines[starts[-1] + 1 :] if starts else lines


def _last_bytes(path: Path, count: int) -> bytes:
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - count))
        return file.read(count)


def new_lines(before: list[str], now: list[str]) -> list[str]:
    """The lines of `now` that are not in `before`, both tails of one growing log; a progress bar that moved counts as new."""
    for start in range(len(before)):
        kept = before[start:]
        if now[: len(kept)] == kept:
            return now[len(kept) :]
    return now
