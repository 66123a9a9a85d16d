"""A visitor's own photo on the hosted page: taken out of the file it came as, which is deleted at once."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

import sim2street.models.photo
from sim2street.app.content import gallery
from sim2street.app.content.engine import OwnPhoto
from sim2street.models.errors import PhotoError
from sim2street.models.numbering import MisnumberedError

if TYPE_CHECKING:
    import gradio as gr

SUFFIXES: Final[list[str]] = list(sim2street.models.photo.SUFFIXES)
LABEL_SUFFIXES: Final[list[str]] = list(sim2street.models.photo.LABEL_SUFFIXES)
MAX_MEGABYTES: Final = 20
"""Largest upload; phones' photos have up to 15."""

PROMISE: Final = (
    "<p>Your photo: nothing is kept. The upload is deleted from the server's disk as soon as it has been read, within a"
    " quarter of an hour if you leave before that; the picture and what the methods say of it stay in memory until this page is closed or has not been used for an hour, and"
    " are never sent on. Whatever you download holds no metadata: no place, no time, no camera.</p>"
)
"""What is kept of a photo, where and how long; `take`, `Engine.forget` and the tests make it true."""

SHORT: Final = "<p>Nothing of it is kept; the foot of the page says more.</p>"


def take(before: OwnPhoto | None, photo: str | None, truth: str | None, encoding: str) -> OwnPhoto | None:
    """Read what was uploaded and delete the files, whatever comes of it.

    Args:
        before: the photo that was there, to which a ground truth alone belongs.
        photo: file of a new photo, or None.
        truth: file of a label image, or None.
        encoding: how it numbers its classes.

    Returns:
        The photo with its ground truth, if any, or with the reason why its classes cannot be read so; None where there is
        neither a new nor an older photo.

    Raises:
        PhotoError, LabelError: one of the files will not do; says why.
    """
    paths = {kind: path for kind, path in (("photo", photo), ("truth", truth)) if path is not None}
    try:
        files = {kind: _read(path) for kind, path in paths.items()}
    finally:
        for path in paths.values():
            Path(path).unlink(missing_ok=True)
    if "photo" in files:
        data, name = files["photo"]
    elif before is not None:
        data, name = before.data, before.name
    else:
        if "truth" in files:
            raise PhotoError("A ground truth needs its photo; drop the photo first.")
        return None
    # A label image stays with its photo, so that its classes can be numbered otherwise.
    label_image = files.get("truth", before.truth if before is not None and "photo" not in files else None)
    if label_image is None:
        return OwnPhoto(gallery.uploaded_scene(data, name), data, name)
    try:
        return OwnPhoto(gallery.with_label_image(data, name, *label_image, encoding), data, name, label_image)
    except MisnumberedError as error:
        return OwnPhoto(gallery.uploaded_scene(data, name), data, name, label_image, error)


def client_of(request: gr.Request) -> str:
    """Who asks, for the rate limit: behind the Hub's proxy the address that it passes on, else the connection's."""
    forwarded = request.headers.get("x-forwarded-for", "") if os.environ.get("SPACE_ID") else ""
    return forwarded.partition(",")[0].strip() or (request.client.host if request.client else "unknown")


def _read(path: str) -> tuple[bytes, str]:
    """Contents and name of an uploaded file."""
    file = Path(path)
    try:
        if file.stat().st_size > MAX_MEGABYTES * 2**20:
            raise PhotoError(f"{file.name} has more than {MAX_MEGABYTES} MB; save it smaller, for example as JPEG.")
        return file.read_bytes(), file.name
    except FileNotFoundError as error:
        raise PhotoError(f"{file.name} has waited too long for its turn and was deleted; send it again.") from error
    except OSError as error:
        raise PhotoError(f"{file.name} did not arrive whole; upload it again.") from error
