"""What the parts of the campaign share: how a fault is told from a refusal, and what each part comes to."""

from __future__ import annotations

import signal
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from sim2street.models.errors import Sim2StreetError

HANG = 20.0
"""Seconds from which on a call counts as hung."""


class Hang(BaseException):
    """A call did not come back; no `except Exception` swallows it."""


@dataclass
class Outcome:
    """What a part came to.

    Attributes:
        tried: attacks.
        refused: how many were answered with a sentence.
        faults: what went wrong, in a line each.
        slowest: seconds of the longest call.
        note: figures that the part measured.
    """

    tried: int = 0
    refused: int = 0
    faults: list[str] = field(default_factory=list)
    slowest: float = 0.0
    note: str = ""

    def attack(self, what: str, call: Callable[[], Any], *, seconds: float = HANG) -> Any:
        """Call and return the result; one of our own errors is a refusal, anything else is a fault.

        `seconds` is the time after which the call counts as hung.
        """
        self.tried += 1
        started = time.monotonic()
        try:
            with _deadline(seconds), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return call()
        except Sim2StreetError as error:
            self.refused += 1
            if not str(error).strip():
                self.faults.append(f"{what}: refused without a reason")
        except Hang:
            self.faults.append(f"{what}: hung for more than {seconds:.0f} s")
        except Exception as error:
            self.faults.append(f"{what}: {type(error).__name__}: {str(error)[:160]}")
        finally:
            self.slowest = max(self.slowest, time.monotonic() - started)
        return None

    def expect(self, holds: bool, what: str) -> None:
        """Note a fault unless something holds."""
        if not holds:
            self.faults.append(what)


@contextmanager
def _deadline(seconds: float) -> Iterator[None]:
    def give_up(_number: int, _frame: object) -> None:
        raise Hang

    before = signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
