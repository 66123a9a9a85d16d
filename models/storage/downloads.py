"""Downloads of checkpoints from the Hub, in the background so that no page waits for them."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from sim2street.models.errors import CheckpointError
from sim2street.models.storage.checkpoint import Checkpoint
from sim2street.models.storage.hub import Progress, cached_checkpoint, download_checkpoint

LOGGER: Final = logging.getLogger(__name__)

RETRY_SECONDS: Final = 60.0
"""Time after which a failed download is tried again."""


@dataclass(frozen=True)
class Download:
    """State of a download.

    Attributes:
        checkpoint: once it has been fetched.
        failure: why the last attempt failed, if it did.
        done: bytes so far.
        total: bytes in all, 0 while unknown.
    """

    checkpoint: Checkpoint | None = None
    failure: str | None = None
    done: int = 0
    total: int = 0


def fetch_hosted(source: str, progress: Progress | None = None) -> Checkpoint:
    """Fetch a checkpoint that a Spacefile lists, or import the weights of its authors' repository.

    Args:
        source: `owner/name@commit` for a checkpoint of this project, `family:owner/name@commit` for others.
        progress: called as bytes arrive; not for imports.

    Raises:
        CheckpointError: it cannot be fetched, or is not what it should be.
    """
    family, _, repository = source.rpartition(":")
    if not family:
        return download_checkpoint(source, progress)
    from sim2street.models.importers.hosted import import_hosted  # all networks, which most pages do not need

    return import_hosted(family, repository)


def cached_hosted(source: str) -> Checkpoint | None:
    """What `fetch_hosted` would return if that needs no network, otherwise None."""
    family, _, repository = source.rpartition(":")
    if not family:
        return cached_checkpoint(source)
    from sim2street.models.importers.hosted import imported_before

    return imported_before(family, repository)


class Downloads:
    """Fetches one checkpoint after another in a background thread.

    Args:
        fetch: downloads a source and reports bytes; replaced in tests.
        clock: seconds.
    """

    def __init__(
        self,
        fetch: Callable[[str, Progress], Checkpoint] = fetch_hosted,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fetch = fetch
        self._clock = clock
        self._states: dict[str, Download] = {}
        self._failed_at: dict[str, float] = {}
        self._queue: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def ask(self, source: str) -> Download:
        """Return the state of a source, as in `fetch_hosted`, without waiting; the first call starts its download."""
        with self._lock:
            state = self._states.get(source)
            due = self._failed_at.get(source, self._clock()) + RETRY_SECONDS <= self._clock()
            if state is not None and not (state.failure and due):
                return state
        found = cached_hosted(source)
        with self._lock:
            self._states[source] = Download(found)
            self._failed_at.pop(source, None)
            if found is None:
                self._queue.put(source)
                if self._thread is None:
                    self._thread = threading.Thread(target=self._work, name="downloads", daemon=True)
                    self._thread.start()
            return self._states[source]

    def _work(self) -> None:
        while True:
            source = self._queue.get()
            try:
                state = Download(self._fetch(source, self._reporter(source)))
            except CheckpointError as error:
                state = Download(failure=str(error))
            except Exception:  # the thread must survive for later requests
                LOGGER.exception("%s could not be fetched", source)
                state = Download(failure=f"{source} could not be fetched; see the server's log for the reason.")
            with self._lock:
                self._states[source] = state
                if state.failure:
                    self._failed_at[source] = self._clock()

    def _reporter(self, source: str) -> Progress:
        def report(done: int, total: int) -> None:
            with self._lock:
                self._states[source] = Download(done=done, total=total)

        return report


DOWNLOADS: Final = Downloads()
"""Shared by all pages of a process."""
