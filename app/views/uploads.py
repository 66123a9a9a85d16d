"""What visitors upload to the Streamlit app: kept in memory while a page shows it, bounded, and swept otherwise.

Streamlit keeps each file of a session until the session ends, whether an uploader on the page holds it or not. Here a
session has to claim what it shows; the rest goes within a minute.
"""

from __future__ import annotations

import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any, Final

import streamlit as st
from streamlit import runtime
from streamlit.runtime.memory_uploaded_file_manager import MemoryUploadedFileManager
from streamlit.runtime.scriptrunner import get_script_run_ctx

from sim2street.app.content.background import repeating
from sim2street.app.content.limits import LimitError
from sim2street.app.content.request_guard import MULTIPART, UploadRoute
from sim2street.models.photo import MAX_BYTES

SESSION_BYTES: Final = 192 * 2**20
"""Files of one session."""
PROCESS_BYTES: Final = 2**30
"""Files of all sessions, those on their way included."""
UNCLAIMED_SECONDS: Final = 60.0
"""Age at which a file goes that no uploader of its session's page holds."""
SWEEP_SECONDS: Final = 5.0
CLAIMS: Final = "claimed_uploads"
"""Key of the session's state: files that uploaders of this run hold."""


class SessionUploads:
    """Files that Streamlit keeps in memory: how many bytes, and which of them a page holds.

    Args:
        manager: returns Streamlit's store.
        clock: seconds.
    """

    def __init__(
        self, manager: Callable[[], MemoryUploadedFileManager | None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._manager = manager
        self._clock = clock
        self._arriving: dict[str, int] = {}
        self._since: dict[tuple[str, str], float] = {}
        self._claimed: dict[str, frozenset[str]] = {}
        self._lock = threading.Lock()

    def admit(self, path: str, size: int) -> None:
        """See `request_guard.UploadObserver`."""
        session = _session_and_file(path)[0]
        held = {name: sum(len(file.data) for file in files.values()) for name, files in self._files().items()}
        with self._lock:
            coming = {path: count for path, count in self._arriving.items() if _session_and_file(path)[0] == session}
            if held.get(session, 0) + sum(coming.values()) + size > SESSION_BYTES:
                raise LimitError(
                    f"This page holds more than {SESSION_BYTES // 2**20} MB of photos. Remove some of them first."
                )
            if sum(held.values()) + sum(self._arriving.values()) + size > PROCESS_BYTES:
                raise LimitError("This server holds as many photos as it can. Try again in some minutes.")
            self._arriving[path] = size

    def arrived(self, path: str, answer: bytes) -> None:
        """See `request_guard.UploadObserver`."""
        with self._lock:
            self._since[_session_and_file(path)] = self._clock()

    def ended(self, path: str) -> None:
        """See `request_guard.UploadObserver`."""
        with self._lock:
            self._arriving.pop(path, None)

    def claim(self, session: str, files: Iterable[str]) -> None:
        """The page of a session holds these files and no others."""
        with self._lock:
            self._claimed[session] = frozenset(files)

    def keep(self, session: str, files: Iterable[str]) -> None:
        """The page of a session holds these files too."""
        with self._lock:
            self._claimed[session] = self._claimed.get(session, frozenset()) | frozenset(files)

    def sweep(self) -> None:
        """Drop what no page holds and has been there for some time."""
        manager, now = self._manager(), self._clock()
        if manager is None:
            return
        there = {(session, file) for session, files in self._files().items() for file in files}
        with self._lock:
            self._since = {key: self._since.get(key, now) for key in there}
            self._claimed = {
                session: files for session, files in self._claimed.items() if session in {name for name, _ in there}
            }
            old = [
                (session, file)
                for (session, file), since in self._since.items()
                if now - since > UNCLAIMED_SECONDS and file not in self._claimed.get(session, ())
            ]
        for session, file in old:
            manager.remove_file(session, file)

    @asynccontextmanager
    async def swept(self, _app: Any) -> AsyncIterator[None]:
        """Sweep in a background thread while the server runs."""
        with repeating(self.sweep, "sweep uploads", SWEEP_SECONDS):
            yield

    def _files(self) -> dict[str, dict[str, Any]]:
        manager = self._manager()
        if manager is None:
            return {}
        with manager._lock:
            return {session: dict(files) for session, files in manager.file_storage.items()}


def _session_and_file(path: str) -> tuple[str, str]:
    *_, session, file = path.rstrip("/").split("/")
    return session, file


def _manager_of_server() -> MemoryUploadedFileManager | None:
    found = runtime.get_instance().uploaded_file_mgr if runtime.exists() else None
    return found if isinstance(found, MemoryUploadedFileManager) else None


UPLOADS: Final = SessionUploads(_manager_of_server)
"""Of this process."""


def upload_route() -> UploadRoute:
    """Streamlit's, for `RequestGuard`."""
    return UploadRoute(r"(/.*)?/_stcore/upload_file/[^/]+/[^/]+/?$", "PUT", MAX_BYTES + MULTIPART, UPLOADS)


def begin_run() -> None:
    """A run of the whole page begins, whose uploaders are still to be drawn."""
    st.session_state[CLAIMS] = []


def hold(files: Iterable[Any]) -> None:
    """An uploader of this run holds these files of Streamlit's, from now on: predictions may keep the run from its end."""
    held = [file.file_id for file in files]
    st.session_state[CLAIMS] = [*st.session_state.get(CLAIMS, []), *held]
    context = get_script_run_ctx()
    if context is not None:
        UPLOADS.keep(context.session_id, held)


def end_run() -> None:
    """All uploaders were drawn; what they do not hold may go. A run that was cut off says nothing."""
    context = get_script_run_ctx()
    if context is not None:
        UPLOADS.claim(context.session_id, st.session_state.get(CLAIMS, []))
