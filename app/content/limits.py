"""How much one client may ask for, so that a hosted page stays quick for everybody."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable

from sim2street.models.errors import Sim2StreetError


class LimitError(Sim2StreetError):
    """Too many requests from one client; says when to try again."""


class RateLimit:
    """So many requests of a client within a sliding span of time.

    Args:
        count: requests allowed.
        seconds: length of the span.
        clock: seconds.
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
            LimitError: the client has had its share.
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
                raise LimitError(f"That was a lot in a short time. Try again in {wait} s, or run Sim2Street yourself.")
            times.append(now)
