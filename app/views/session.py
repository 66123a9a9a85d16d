"""What the Streamlit pages remember between two clicks: the catalog, the data sets on this machine, and who visits.

Networks and readings are the engine's and rendered streets those of `scenes`, which all pages share. What is made of an
uploaded photo is kept for its visitor alone and goes with the session; nothing is written to disk.
"""

from __future__ import annotations

import threading
import uuid
import weakref
from collections.abc import Mapping, Sequence
from queue import SimpleQueue
from typing import Final

import streamlit as st

from sim2street.app.content import comparison, gallery
from sim2street.app.content.common_classes import scene_for
from sim2street.app.content.comparison import Comparison
from sim2street.app.content.domain_gap import DomainReading, Gap, gap_between
from sim2street.app.content.engine import ENGINE, Failure, Settings
from sim2street.app.content.gallery import Scene
from sim2street.app.content.labelled_sets import LabelledSet, labelled_set
from sim2street.app.content.panes import Pane
from sim2street.models.storage.catalog import CatalogEntry
from sim2street.models.storage.checkpoint import Checkpoint
from sim2street.training.datasets import SegmentationDataset, open_dataset
from sim2street.training.external_predictions import PredictionFolder


@st.cache_resource(ttl=20, show_spinner=False)
def checkpoints() -> list[CatalogEntry]:
    """The catalog, looked at again after some seconds so that a new checkpoint appears by itself."""
    return comparison.listed_checkpoints()


def current_results(
    scene: Scene,
    checkpoints: Sequence[Checkpoint],
    everyone: Sequence[Checkpoint],
    settings: Settings,
    others: Mapping[str, PredictionFolder],
) -> Comparison:
    """Collect what was already read, and `others`' predictions by name."""
    return comparison.current_results(ENGINE, scene, checkpoints, everyone, settings, visitor(), others)


def read(scene: Scene, checkpoint: Checkpoint, settings: Settings) -> Pane | Failure:
    """Read a photo with a checkpoint, one at a time over all visitors, and remember the answer."""
    return ENGINE.read(scene_for(scene, checkpoint.config.space), checkpoint, settings, visitor())


@st.cache_data(max_entries=128, show_spinner=False)
def photo_set_thumbnail(name: str, split: str, index: int) -> str:
    """A photo of a data set as a small base64 JPEG."""
    return gallery.thumbnail_jpeg(photo_set_scene(name, split, index))


@st.cache_resource(max_entries=16, show_spinner=False)
def photo_set_scene(name: str, split: str, index: int) -> Scene:
    """A photo of a data set, read once."""
    return gallery.photo_set_scene(photo_set(name, split), index)


@st.cache_resource(max_entries=8, show_spinner=False)
def photo_set(name: str, split: str) -> SegmentationDataset:
    """A data set, listed once."""
    return open_dataset(name, split=split)


@st.cache_resource(max_entries=8, show_spinner=False)
def prediction_folders(name: str, split: str) -> tuple[dict[str, PredictionFolder], list[str]]:
    """Others' predictions for a data set, listed once."""
    return gallery.prediction_folders(photo_set(name, split))


@st.cache_resource(max_entries=8, show_spinner=False)
def labelled(key: str) -> LabelledSet:
    """A set with ground truth, listed once."""
    return labelled_set(key)


@st.cache_resource(max_entries=16, show_spinner=False)
def gap(key: tuple[str, ...], _source: DomainReading, _target: DomainReading) -> Gap:
    """How far apart two readings are, computed once; `key` names domains and network."""
    return gap_between(_source, _target)


_GONE: Final[SimpleQueue[str]] = SimpleQueue()
"""Visitors whose session is over. A finalizer may run within any line of any thread, even one that holds the engine's
lock, so it only says who has gone; this queue is made for that."""


def _forget_who_has_gone() -> None:
    while True:
        ENGINE.forget(_GONE.get())


threading.Thread(target=_forget_who_has_gone, name="forget", daemon=True).start()


class _Visit:
    """Lives as long as the session; what was kept of the visitor goes with it."""

    def __init__(self) -> None:
        self.name = uuid.uuid4().hex
        weakref.finalize(self, _GONE.put, self.name)


def visitor() -> str:
    """Name of this session, under which the engine keeps what is the visitor's own."""
    if "visit" not in st.session_state:
        st.session_state.visit = _Visit()
    return st.session_state.visit.name
