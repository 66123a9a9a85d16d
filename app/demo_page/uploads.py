"""A visitor's uploads on the hosted page: each file is read into memory and then deleted."""

from __future__ import annotations

import atexit
import json
import os
import re
import shutil
import tempfile
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import sim2street.models.photo
from sim2street.app.content import gallery
from sim2street.app.content.background import repeating
from sim2street.app.content.engine import Engine, OwnPhoto
from sim2street.app.content.limits import LimitError, client_address
from sim2street.app.content.request_guard import MULTIPART, UploadRoute
from sim2street.models.errors import PhotoError, Sim2StreetError
from sim2street.models.numbering import MisnumberedError
from sim2street.models.storage.files import size_of, still_runs

if TYPE_CHECKING:
    import gradio as gr

SUFFIXES: Final[list[str]] = list(sim2street.models.photo.SUFFIXES)
LABEL_SUFFIXES: Final[list[str]] = list(sim2street.models.photo.LABEL_SUFFIXES)
MAX_MEGABYTES: Final = 20
"""Largest upload; phone photos have up to 15 MB."""
MOST_PHOTOS: Final = 12
"""Photos of their own that the page keeps of a visitor."""
FOLDER_VARIABLE: Final = "GRADIO_TEMP_DIR"
"""Environment variable with the folder in which Gradio stores uploads."""
FOLDER: Final = re.compile(r"sim2street_uploads_(?P<process>\d+)")
"""Name of a process's own folder there."""
FOLDER_BYTES: Final = 2 * 2**30
"""Largest total size of the folder in bytes; further uploads are refused until files have been deleted."""
SWEEP_SECONDS: Final = 5.0
READ_SECONDS: Final = 30.0
"""Age in seconds at which a file is deleted after all its visitors have read it."""

PROMISE: Final = (
    "<p>Your photo is not kept. The uploaded file is deleted from the server's disk as soon as it has been read, or within a"
    " quarter of an hour if you leave before that. The picture and the predictions stay in memory until this page is closed"
    " or has been unused for an hour, and are never sent elsewhere. Your downloads contain no metadata: no location, no time,"
    " no camera.</p>"
)
"""Privacy note, enforced by `take`, `UploadFolder`, `Engine.forget` and the tests."""

SHORT: Final = "<p>Your photo is not kept; details are at the bottom of the page.</p>"


class UploadFolder:
    """The folder in which Gradio stores uploads, with the number of visitors who still need each file.

    Gradio names files by their content, so visitors who upload the same photo share one file. It is deleted when the last
    of them has read it. Files that are never read, interrupted uploads and empty folders are deleted by age.

    Args:
        age: seconds after which a file is deleted even if it is still needed.
    """

    def __init__(self, age: float) -> None:
        self.age = age
        self._awaited: Counter[str] = Counter()
        self._arriving = 0
        self._read: set[str] = set()
        self._lock = threading.Lock()

    @property
    def place(self) -> Path | None:
        """Path of the folder; None before `claim`."""
        named = os.environ.get(FOLDER_VARIABLE, "")
        return Path(named) if FOLDER.fullmatch(Path(named).name) else None

    def claim(self) -> None:
        """Make Gradio use a folder of this process only, and delete the folders of processes that have ended."""
        if self.place is not None and self.place.name.endswith(f"_{os.getpid()}"):
            self.place.mkdir(parents=True, exist_ok=True)
            return
        named = os.environ.get(FOLDER_VARIABLE)
        base = (self.place.parent if self.place else Path(named)) if named else Path(tempfile.gettempdir())
        base.mkdir(parents=True, exist_ok=True)
        for folder in base.iterdir():
            match = FOLDER.fullmatch(folder.name)
            if match is not None and not still_runs(int(match["process"])):
                shutil.rmtree(folder, ignore_errors=True)
        own = base / f"sim2street_uploads_{os.getpid()}"
        own.mkdir(mode=0o700, exist_ok=True)
        os.environ[FOLDER_VARIABLE] = str(own)
        atexit.register(shutil.rmtree, own, ignore_errors=True)

    def admit(self, path: str, size: int) -> None:
        """See `request_guard.UploadObserver`."""
        if self.place is not None and size_of(self.place) + size > FOLDER_BYTES:
            raise LimitError("Too many photos are waiting to be read. Try again in a few minutes.")
        with self._lock:
            self._arriving += 1

    def arrived(self, path: str, answer: bytes) -> None:
        """See `request_guard.UploadObserver`; Gradio answers with the list of files."""
        with suppress(ValueError, RecursionError):
            files = json.loads(answer)
            with self._lock:
                self._awaited.update(str(Path(file).resolve()) for file in files if isinstance(file, str))

    def ended(self, path: str) -> None:
        """See `request_guard.UploadObserver`."""
        with self._lock:
            self._arriving -= 1
            if not self._arriving:
                for file in list(self._read):
                    self._delete_unawaited(file)

    def release(self, path: str) -> None:
        """Record that a visitor has read a file; the last reader deletes it."""
        file = str(Path(path).resolve())
        with self._lock:
            self._awaited[file] -= 1
            if self._awaited[file] <= 0:
                del self._awaited[file]
            if self._arriving:  # it may be the same photo, which would share this file
                self._read.add(file)
            else:
                self._delete_unawaited(file)

    def sweep(self) -> None:
        """Delete files that are too old, and the empty files that Gradio leaves behind after each upload."""
        place, now = self.place, time.time()
        if place is None:
            return
        for folder, folders, files in os.walk(place, topdown=False):
            for name in files:
                file = os.path.join(folder, name)
                with suppress(OSError), self._lock:
                    status = os.lstat(file)
                    age = now - status.st_mtime
                    is_awaited = file in self._awaited
                    was_read = file in self._read and not is_awaited
                    # While an upload is in progress, an empty file may be its beginning.
                    is_left = not status.st_size and not self._arriving and not is_awaited
                    if is_left or age > self.age or (was_read and age > READ_SECONDS):
                        os.unlink(file)
                        self._read.discard(file)
                        self._awaited.pop(file, None)
            for name in folders:
                with suppress(OSError):  # not empty
                    child = os.path.join(folder, name)
                    if now - os.lstat(child).st_mtime > READ_SECONDS:
                        os.rmdir(child)

    @asynccontextmanager
    async def swept(self, _app: Any) -> AsyncIterator[None]:
        """Call `sweep` in a background thread while the server runs, and delete everything when it ends."""
        try:
            with repeating(self.sweep, "sweep uploads", SWEEP_SECONDS):
                yield
        finally:
            for item in self.place.iterdir() if self.place is not None and self.place.is_dir() else ():
                shutil.rmtree(item) if item.is_dir() else item.unlink(missing_ok=True)

    def _delete_unawaited(self, file: str) -> None:
        if file not in self._awaited:
            Path(file).unlink(missing_ok=True)
            self._read.discard(file)
            with suppress(OSError):  # its folder, named by the content, is now empty
                if self.place is not None and self.place in Path(file).parents:
                    Path(file).parent.rmdir()


LEFTOVERS: Final = 840.0
"""Age in seconds at which an unread upload is deleted, for example because its page was closed.

It exceeds the time that API calls wait in the queue: the last of fifty calls with nine methods each waited 2.5 minutes.
"""
FOLDER_OF_UPLOADS: Final = UploadFolder(LEFTOVERS)
"""The folder of this process."""


def upload_route() -> UploadRoute:
    """Gradio's upload route for `RequestGuard`; the limit includes the multipart overhead."""
    return UploadRoute(r"/gradio_api/upload/?$", "POST", MAX_MEGABYTES * 2**20 + MULTIPART, FOLDER_OF_UPLOADS)


def take(before: OwnPhoto | None, photo: str | None, truth: str | None, encoding: str) -> OwnPhoto | None:
    """Read the uploads and release their files, whether or not reading succeeds.

    Args:
        before: the current photo, used if no new one is uploaded.
        photo: path of a new photo, or None.
        truth: path of a label image, or None.
        encoding: numbering of the label image, a key of `gallery.ENCODINGS`.

    Returns:
        The photo with its ground truth, if any, or with the reason why its classes cannot be read this way; None if there
        is neither a new nor a current photo.

    Raises:
        PhotoError, LabelError: one of the files cannot be used; the message says why.
    """
    paths = {kind: path for kind, path in (("photo", photo), ("truth", truth)) if path is not None}
    try:
        files = {kind: _read(path) for kind, path in paths.items()}
    finally:
        for path in paths.values():
            FOLDER_OF_UPLOADS.release(path)
    if "photo" in files:
        data, name = files["photo"]
    elif before is not None:
        data, name = before.data, before.name
    else:
        if "truth" in files:
            raise PhotoError("Ground truth needs a photo; upload the photo first.")
        return None
    # The label image is kept with its photo, so that the user can change its numbering.
    label_image = files.get("truth", before.truth if before is not None and "photo" not in files else None)
    if label_image is None:
        return OwnPhoto(gallery.uploaded_scene(data, name), data, name)
    try:
        return OwnPhoto(gallery.with_label_image(data, name, *label_image, encoding), data, name, label_image)
    except MisnumberedError as error:
        return OwnPhoto(gallery.uploaded_scene(data, name), data, name, label_image, error)


def take_all(
    engine: Engine, visitor: str, photos: Sequence[str], truth: str | None, encoding: str
) -> tuple[int, list[str]]:
    """Read several photos, or the ground truth of the one that is shown, into the visitor's filmstrip.

    Args:
        engine: keeps the photos in memory.
        visitor: name of the session.
        photos: paths of new photos; their files are released, whether or not they can be read.
        truth: path of a label image, or None.
        encoding: numbering of the label image, a key of `gallery.ENCODINGS`.

    Returns:
        How many were read, and why each of the others cannot be used.
    """
    arrived, problems = 0, []
    for path in photos or [None]:
        if path is not None and sum(own.scene.private for own in engine.filmstrip(visitor)) >= MOST_PHOTOS:
            FOLDER_OF_UPLOADS.release(path)
            problems.append(f"{Path(path).name} was left out: this page keeps {MOST_PHOTOS} photos; remove one first.")
            continue
        try:
            own = take(engine.kept(visitor), path, None if photos else truth, encoding)
        except Sim2StreetError as error:
            problems.append(str(error))
            continue
        if own is not None:
            engine.keep(visitor, own)
            arrived += 1
    if photos and truth is not None:
        FOLDER_OF_UPLOADS.release(truth)
    return arrived, problems


def client_of(request: gr.Request) -> str:
    """Client address for the rate limit."""
    return client_address(request.headers, request.client.host if request.client else None)


def _read(path: str) -> tuple[bytes, str]:
    """Contents and name of an uploaded file."""
    file = Path(path)
    try:
        if file.stat().st_size > MAX_MEGABYTES * 2**20:
            raise PhotoError(
                f"{file.name} is larger than the limit of {MAX_MEGABYTES} MB; save it smaller, for example as JPEG."
            )
        return file.read_bytes(), file.name
    except FileNotFoundError as error:
        raise PhotoError(f"{file.name} waited too long in the queue and was deleted; upload it again.") from error
    except OSError as error:
        raise PhotoError(f"The upload of {file.name} is incomplete; upload it again.") from error
