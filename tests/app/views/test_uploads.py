"""What Streamlit keeps of uploads: bounded for a session and for all, and gone within a minute unless a page shows it."""

from __future__ import annotations

import pytest
from streamlit.runtime.memory_uploaded_file_manager import MemoryUploadedFileManager
from streamlit.runtime.uploaded_file_manager import UploadedFileRec

from sim2street.app.content.limits import LimitError
from sim2street.app.views import uploads
from sim2street.app.views.uploads import SessionUploads


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def manager() -> MemoryUploadedFileManager:
    return MemoryUploadedFileManager("/_stcore/upload_file")


@pytest.fixture
def kept(manager: MemoryUploadedFileManager, clock: Clock) -> SessionUploads:
    return SessionUploads(lambda: manager, clock)


def upload(kept: SessionUploads, manager: MemoryUploadedFileManager, session: str, file: str, size: int) -> None:
    path = f"/_stcore/upload_file/{session}/{file}"
    kept.admit(path, size)
    try:
        manager.add_file(session, UploadedFileRec(file, "a.png", "image/png", bytes(size)))
        kept.arrived(path, b"")
    finally:
        kept.ended(path)


def test_what_no_uploader_holds_is_swept(
    kept: SessionUploads, manager: MemoryUploadedFileManager, clock: Clock
) -> None:
    for file in ("held", "stray"):
        upload(kept, manager, "s", file, 100)
    kept.claim("s", ["held"])
    kept.sweep()
    assert set(manager.file_storage["s"]) == {"held", "stray"}, "a file that has just come may still be claimed"
    clock.now += uploads.UNCLAIMED_SECONDS + 1
    kept.sweep()
    assert set(manager.file_storage["s"]) == {"held"}
    kept.claim("s", [])  # the uploader is gone from the page
    kept.sweep()
    assert not manager.file_storage["s"]


def test_what_an_uploader_holds_is_kept_although_the_run_does_not_end(
    kept: SessionUploads, manager: MemoryUploadedFileManager, clock: Clock
) -> None:
    upload(kept, manager, "s", "before", 100)
    kept.claim("s", ["before"])
    upload(kept, manager, "s", "new", 100)
    kept.keep("s", ["new"])  # then its predictions take minutes
    clock.now += uploads.UNCLAIMED_SECONDS + 1
    kept.sweep()
    assert set(manager.file_storage["s"]) == {"before", "new"}
    kept.claim("s", ["new"])
    kept.sweep()
    assert set(manager.file_storage["s"]) == {"new"}


def test_a_session_without_a_page_is_swept_as_well(
    kept: SessionUploads, manager: MemoryUploadedFileManager, clock: Clock
) -> None:
    manager.add_file("s", UploadedFileRec("unannounced", "a.png", "image/png", b"x"))
    kept.sweep()
    clock.now += uploads.UNCLAIMED_SECONDS + 1
    kept.sweep()
    assert not manager.file_storage["s"]


def test_bytes_are_bounded_for_a_session_and_for_all(
    kept: SessionUploads, manager: MemoryUploadedFileManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "SESSION_BYTES", 1000)
    monkeypatch.setattr(uploads, "PROCESS_BYTES", 1500)
    upload(kept, manager, "one", "a", 900)
    with pytest.raises(LimitError, match="Remove some"):
        upload(kept, manager, "one", "b", 200)
    upload(kept, manager, "two", "a", 500)
    with pytest.raises(LimitError, match="as many photos as it can"):
        upload(kept, manager, "three", "a", 200)
    kept.admit("/_stcore/upload_file/four/a", 100)  # on its way
    with pytest.raises(LimitError):
        kept.admit("/_stcore/upload_file/five/a", 50)
    kept.ended("/_stcore/upload_file/four/a")
    kept.admit("/_stcore/upload_file/five/a", 50)
