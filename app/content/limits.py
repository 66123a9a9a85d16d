"""Limits for one client and for all clients together, so that a hosted page stays responsive."""

from __future__ import annotations

import math
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from sim2street.models.errors import Sim2StreetError


class LimitError(Sim2StreetError):
    """Too many requests from one client, or too much data at once from all; the message says when to try again."""


class RateLimit:
    """Limits the requests of a client within a sliding time window.

    Args:
        count: number of requests allowed.
        seconds: length of the window.
        clock: returns the time in seconds.
    """

    def __init__(self, count: int, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.count = count
        self.seconds = seconds
        self._clock = clock
        self._times: dict[str, deque[float]] = {}
        self._lock = threading.Lock()

    def check(self, client: str) -> None:
        """Count one request.

        Raises:
            LimitError: the client has sent too many requests.
        """
        now = self._clock()
        with self._lock:
            for name in [name for name, times in self._times.items() if times[-1] <= now - self.seconds]:
                del self._times[name]
            times = self._times.setdefault(client, deque())
            while times and times[0] <= now - self.seconds:
                times.popleft()
            if len(times) >= self.count:
                wait = math.ceil(times[0] + self.seconds - now)
                raise LimitError(
                    f"Too many requests in a short time. Try again in {wait} s, or run Sim2Street yourself."
                )
            times.append(now)


class ByteBudget:
    """Limits the total bytes held by all requests of a process at one time.

    Args:
        most: limit in bytes.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.held = 0
        self._lock = threading.Lock()

    @contextmanager
    def holding(self, count: int) -> Iterator[None]:
        """Reserve this many bytes within the block.

        Raises:
            LimitError: other requests leave no space for them.
        """
        with self._lock:
            if self.held + count > self.most:
                raise LimitError("Many photos are being uploaded right now. Try again in a minute.")
            self.held += count
        try:
            yield
        finally:
            with self._lock:
                self.held -= count


def client_address(headers: Mapping[str, str], host: str | None) -> str:
    """Client address for the rate limit: the one passed on by the Hub's proxy, otherwise the connection's.

    Args:
        headers: headers of the request, by lower-case name.
        host: address of the connection, if it has one.
    """
    forwarded = headers.get("x-forwarded-for", "") if os.environ.get("SPACE_ID") else ""
    return forwarded.partition(",")[0].strip() or host or "unknown"
