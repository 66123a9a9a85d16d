"""The photo as a checkpoint's own generator translates it to the target's look, a layer of Compare. Imports no UI library.

CyCADA alone trains generators. They are kept with a run; an included checkpoint carries its own, one that was copied or
downloaded by itself has none.
"""

from __future__ import annotations

import base64
import threading
import weakref
from pathlib import Path
from typing import Final

import cv2

from sim2street.app.content.engine import Engine
from sim2street.app.content.panes import Pane
from sim2street.models.errors import Sim2StreetError
from sim2street.models.photo import Photo
from sim2street.models.predictor import best_device
from sim2street.models.storage.checkpoint import Checkpoint

JPEG: Final = (cv2.IMWRITE_JPEG_QUALITY, 92)
KEPT: Final[weakref.WeakKeyDictionary[Pane, str]] = weakref.WeakKeyDictionary()
"""Translations by the pane beside which they stand: they go when the engine drops it, as it does for a visitor who leaves."""
_LOCK: Final = threading.Lock()


def run_with_generator(checkpoint: Checkpoint) -> Path | None:
    """Folder with the generators of a checkpoint; None where there are none."""
    if checkpoint.config.method != "cycada":
        return None
    from sim2street.training.translate import generator_of_checkpoint

    return generator_of_checkpoint(checkpoint.path)


def translated(engine: Engine, photo: Photo, checkpoint: Checkpoint, pane: Pane) -> str | None:
    """The photo in the target's look as base64 JPEG of its size; None without a generator that can be used.

    Args:
        engine: gives the device by turns.
        photo: as it is shown.
        checkpoint: whose run may have generators.
        pane: the checkpoint's answer for the photo.
    """
    with _LOCK:
        if pane in KEPT:
            return KEPT[pane]
    run = run_with_generator(checkpoint)
    if run is None:
        return None
    from sim2street.training.translate import open_generator, translate_photo

    try:
        with engine.turns.turn():
            painted = translate_photo(open_generator(run).to(best_device()), photo.pixels)
    except Sim2StreetError:  # a damaged generator costs the layer; `sim2street translate` says what is wrong
        return None
    done, jpeg = cv2.imencode(".jpg", painted[..., ::-1], JPEG)
    assert done  # of a byte image in memory
    with _LOCK:
        KEPT[pane] = base64.b64encode(jpeg.tobytes()).decode("ascii")
        return KEPT[pane]
