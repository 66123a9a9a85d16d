"""Stop on request: a training after the current step, with its state saved, any other command at once, without half-written files."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Final

TWICE: Final = 1.0
"""Seconds within which a signal counts as the one before: `timeout` sends it to the process and to its group."""


@contextlib.contextmanager
def stop_signals() -> Iterator[threading.Event]:
    """Within the block, SIGINT, SIGTERM and a closed terminal request a stop after the current step; a second one kills.

    A process started with nohup still outlives its terminal.
    """
    event = threading.Event()
    asked = 0.0
    if threading.current_thread() is not threading.main_thread():
        yield event
        return

    def ask(number: int, _frame: object) -> None:
        nonlocal asked
        if event.is_set() and time.monotonic() - asked > TWICE:
            _die_of(number)
        if not event.is_set():
            asked = time.monotonic()
        event.set()

    with _handled((signal.SIGINT, *_terminations()), ask):
        yield event


@contextlib.contextmanager
def termination_interrupts() -> Iterator[None]:
    """Within the block, SIGTERM and a closed terminal interrupt as Ctrl-C does, so that half-written files are removed.

    Processes split off from this one, such as workers that load data, still die of them.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    process, asked = os.getpid(), False

    def interrupt(number: int, _frame: object) -> None:
        nonlocal asked
        if os.getpid() != process:
            _die_of(number)
        if not asked:  # later ones would interrupt the removal
            asked = True
            raise KeyboardInterrupt

    with _handled(_terminations(), interrupt):
        yield


def _terminations() -> tuple[signal.Signals, ...]:
    """Signals that ask a process to end, other than Ctrl-C; without SIGHUP under nohup, and on Windows, which has none."""
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        return signal.SIGTERM, signal.SIGHUP
    return (signal.SIGTERM,)


def _die_of(number: int) -> None:
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


@contextlib.contextmanager
def _handled(numbers: Iterable[signal.Signals], handler: Callable[[int, object], None]) -> Iterator[None]:
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)
