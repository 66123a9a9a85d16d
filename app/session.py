"""What the server remembers between two clicks; the only place that knows Streamlit's caches.

Networks and the readings of gallery photos are shared by all visitors and bounded in number. What is made of an
uploaded photo stays in its visitor's session and goes with it; nothing is written to disk.
"""

from __future__ import annotations

import base64
import io
import logging
import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, Final

import streamlit as st
import torch
from PIL import Image

from app import gallery
from app.gallery import Scene
from app.panels import Pane, pane
from models.catalog import CatalogEntry, catalog
from models.checkpoint import Checkpoint
from models.errors import Sim2StreetError
from models.predictor import Predictor, best_device
from training.datasets import SegmentationDataset

LOGGER: Final = logging.getLogger(__name__)

PREDICTORS: Final = 8
"""Networks kept in memory."""
SHARED_READINGS: Final = 64
OWN_READINGS: Final = 16
"""Readings kept per session; at 1024 × 768 pixels one takes some 7 MB."""

# One network at a time: two visitors who compute together would both wait longer than in turn.
_INFERENCE: Final = threading.Lock()


@dataclass(frozen=True)
class Settings:
    """How photos are read.

    Attributes:
        flip: average with the mirrored photo.
        scales: factors on the size, averaged.
    """

    flip: bool = False
    scales: tuple[float, ...] = (1.0,)


@dataclass(frozen=True)
class Failure:
    """Why a checkpoint could not read a photo, as a sentence."""

    reason: str


class Readings:
    """The latest panes and failures by what they depend on, dropping the least recently used."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._items: OrderedDict[tuple[Any, ...], Pane | Failure] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: tuple[Any, ...]) -> Pane | Failure | None:
        """Return what is known, or None."""
        with self._lock:
            if key in self._items:
                self._items.move_to_end(key)
            return self._items.get(key)

    def put(self, key: tuple[Any, ...], item: Pane | Failure) -> None:
        """Remember, forgetting the oldest beyond the limit."""
        with self._lock:
            self._items[key] = item
            self._items.move_to_end(key)
            while len(self._items) > self.limit:
                self._items.popitem(last=False)


@st.cache_resource(ttl=20, show_spinner=False)
def checkpoints() -> list[CatalogEntry]:
    """The catalog, source-only first, looked at again after some seconds so that a new checkpoint appears by itself."""
    return sorted(
        catalog(), key=lambda entry: entry.checkpoint is None or entry.checkpoint.config.method != "source_only"
    )


def known_reading(scene: Scene, checkpoint: Checkpoint, settings: Settings) -> Pane | Failure | None:
    """What was already read; None where `read` has to be called."""
    return _readings(scene).get(_key(scene, checkpoint, settings))


def read(scene: Scene, checkpoint: Checkpoint, settings: Settings) -> Pane | Failure:
    """Read a photo with a checkpoint, one at a time over all visitors, and remember the answer."""
    readings, key = _readings(scene), _key(scene, checkpoint, settings)
    with _INFERENCE:
        answer = readings.get(key)  # another visitor may have asked for the same meanwhile
        if answer is None:
            try:
                predictor = _predictor(str(checkpoint.path), checkpoint.config.weights_sha256, settings, checkpoint)
                answer = pane(predictor(scene.photo), scene.space)
            except Sim2StreetError as error:
                answer = Failure(str(error))
            except (MemoryError, torch.OutOfMemoryError):
                answer = Failure("There was not enough memory for this photo; try a smaller one.")
            except RuntimeError:
                # A network that stumbles takes down its own pane, not the page; the log tells the rest.
                LOGGER.exception("%s could not read %s", checkpoint.name, scene.photo.name)
                answer = Failure("This checkpoint stumbled over the photo; the server's log says where.")
            readings.put(key, answer)
    return answer


def device_name() -> str:
    """Where photos are read, for people."""
    return {"cuda": "graphics card", "mps": "Apple graphics"}.get(best_device().type, "processor")


@st.cache_data(max_entries=64, show_spinner=False)
def rendered_thumbnail(style: str, number: int) -> str:
    """A rendered street as a small base64 JPEG."""
    return _small_jpeg(rendered_scene(style, number))


@st.cache_data(max_entries=128, show_spinner=False)
def photo_set_thumbnail(name: str, split: str, index: int) -> str:
    """A photo of a data set as a small base64 JPEG."""
    return _small_jpeg(photo_set_scene(name, split, index))


@st.cache_resource(max_entries=32, show_spinner=False)
def rendered_scene(style: str, number: int) -> Scene:
    """A rendered street, painted once."""
    return gallery.rendered_scene(style, number)


@st.cache_resource(max_entries=16, show_spinner=False)
def photo_set_scene(name: str, split: str, index: int) -> Scene:
    """A photo of a data set, read once."""
    return gallery.photo_set_scene(photo_set(name, split), index)


@st.cache_resource(max_entries=8, show_spinner=False)
def photo_set(name: str, split: str) -> SegmentationDataset:
    """A data set, listed once."""
    return gallery.open_photo_set(name, split)


@st.cache_resource(max_entries=PREDICTORS, show_spinner=False)
def _predictor(path: str, sha256: str, settings: Settings, _checkpoint: Checkpoint) -> Predictor:
    return Predictor.from_checkpoint(_checkpoint, flip=settings.flip, scales=settings.scales)


@st.cache_resource(show_spinner=False)
def _shared_readings() -> Readings:
    return Readings(SHARED_READINGS)


def _readings(scene: Scene) -> Readings:
    if not scene.private:
        return _shared_readings()
    if "own_readings" not in st.session_state:
        st.session_state.own_readings = Readings(OWN_READINGS)
    return st.session_state.own_readings


def _key(scene: Scene, checkpoint: Checkpoint, settings: Settings) -> tuple[Any, ...]:
    return scene.photo.digest, str(checkpoint.path), checkpoint.config.weights_sha256, settings, scene.space.name


def _small_jpeg(scene: Scene) -> str:
    buffer = io.BytesIO()
    Image.fromarray(gallery.thumbnail(scene.photo.pixels)).save(buffer, "JPEG", quality=85)
    return base64.b64encode(buffer.getvalue()).decode("ascii")
