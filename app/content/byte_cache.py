"""A cache limited in bytes that drops the least recently used items and, optionally, idle ones."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

Value = TypeVar("Value")


@dataclass
class _Item(Generic[Value]):
    value: Value
    size: int
    used: float


class ByteCache(Generic[Value]):
    """Thread-safe cache.

    Args:
        limit: total size in bytes; a single larger item is kept alone, because its owner is about to use it.
        idle_seconds: time since the last use after which an item is dropped; None keeps it.
        on_drop: called after `put` has dropped items, for example to release GPU memory.
        clock: returns the time in seconds.
    """

    def __init__(
        self,
        limit: int,
        *,
        idle_seconds: float | None = None,
        on_drop: Callable[[], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.limit = limit
        self.idle_seconds = idle_seconds
        self._on_drop = on_drop
        self._clock = clock
        self._items: OrderedDict[Hashable, _Item[Value]] = OrderedDict()
        self._lock = threading.RLock()
        if idle_seconds is not None:
            threading.Thread(target=self._sweep, args=(idle_seconds / 60,), name="sweep", daemon=True).start()

    @property
    def size(self) -> int:
        """Bytes currently kept."""
        with self._lock:
            return sum(item.size for item in self._items.values())

    def __len__(self) -> int:
        return len(self._items)

    def get(self, key: Hashable) -> Value | None:
        """Return the item kept under `key`, or None."""
        with self._lock:
            item = self._items.get(key)
            if item is None:
                return None
            item.used = self._clock()
            self._items.move_to_end(key)
            return item.value

    def put(self, key: Hashable, value: Value, size: int) -> None:
        """Keep `value`, which takes `size` bytes, and drop the least recently used items beyond the limit."""
        with self._lock:
            self._items.pop(key, None)
            self._items[key] = _Item(value, size, self._clock())
            total, before = self.size, len(self._items)
            while total > self.limit and len(self._items) > 1:
                total -= self._items.popitem(last=False)[1].size
            dropped = len(self._items) < before
        if dropped and self._on_drop is not None:
            self._on_drop()

    def forget(self, which: Callable[[Hashable], bool]) -> None:
        """Drop the items whose key satisfies a condition."""
        with self._lock:
            for key in [key for key in self._items if which(key)]:
                del self._items[key]

    def expire(self) -> None:
        """Drop items that have been idle for too long."""
        if self.idle_seconds is None:
            return
        oldest = self._clock() - self.idle_seconds
        with self._lock:
            for key in [key for key, item in self._items.items() if item.used <= oldest]:
                del self._items[key]

    def _sweep(self, seconds: float) -> None:
        while True:
            time.sleep(seconds)
            self.expire()
