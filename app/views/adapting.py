"""Adapt to these photos: a method adapted to what the visitor uploaded, beside its original, with a way back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import streamlit as st

from sim2street.app.content import adapting, escape
from sim2street.app.content.adapting import Adapting
from sim2street.app.content.background import BusyError, Task, TaskState
from sim2street.app.content.engine import ENGINE
from sim2street.app.content.figures import unique_titles
from sim2street.app.views import session
from sim2street.models.photo import Photo
from sim2street.models.storage.checkpoint import Checkpoint
from sim2street.training.adapt import AT_TEST_TIME
from sim2street.training.methods import METHODS

KEPT: Final = "adaptations"
"""Key of the session's state: adaptations by the name of the original and the method."""


def adapted_to(photos: Sequence[Photo], checkpoints: Sequence[Checkpoint]) -> list[Checkpoint]:
    """Offer to adapt one of the methods shown, and say how far that is.

    Returns:
        The checkpoints, each followed by what was adapted from it.
    """
    kept: dict[tuple[str, str], Adapting] = st.session_state.setdefault(KEPT, {})
    width = "stretch" if kept else "content"  # words about what was adapted need the row
    with st.container(horizontal=True, vertical_alignment="center", width=width, key="adapting"):
        if checkpoints and not any(each.task.under_way for each in kept.values()):
            _sheet(photos, checkpoints, kept)
        for key, each in list(kept.items()):
            _state(key, each, kept)
    shown: list[Checkpoint] = []
    for checkpoint in checkpoints:
        shown.append(checkpoint)
        mine = [each.adapted for each in kept.values() if each.original.name == checkpoint.name]
        shown += [adapted for adapted in mine if adapted is not None]
    return shown


def _sheet(photos: Sequence[Photo], checkpoints: Sequence[Checkpoint], kept: dict[tuple[str, str], Adapting]) -> None:
    usable = {each.name: each for each in checkpoints}
    count = min(len(photos), adapting.MOST_PHOTOS)
    with st.popover("Adapt to these photos", icon=":material/model_training:", key="adapt_sheet", wrap=False):
        titles = unique_titles(list(checkpoints))
        name = st.selectbox(
            "Start from", list(usable), format_func=lambda name: escape.markdown(titles[name]), key="adapt_from"
        )
        method = st.segmented_control(
            "Method",
            AT_TEST_TIME,
            default="tent",
            required=True,
            format_func=lambda name: METHODS[name].title,
            key="adapt_method",
        )
        st.caption(f"{escape.markdown(METHODS[method].idea)} {adapting.WARNING}")
        many = "this photo" if count == 1 else f"these {count} photos"
        if len(photos) > count:
            many = f"the first {count} photos"
        if st.button(f"Adapt to {many}", icon=":material/play_arrow:", type="primary", key="adapt"):
            _begin(usable[name], photos, method, kept)


def _begin(original: Checkpoint, photos: Sequence[Photo], method: str, kept: dict[tuple[str, str], Adapting]) -> None:
    try:
        kept[original.name, method] = adapting.begin(ENGINE, session.visitor(), original, photos, method)
    except BusyError as error:
        st.error(escape.markdown(str(error)), icon=":material/hourglass_top:")
    else:
        st.rerun()


def _state(key: tuple[str, str], each: Adapting, kept: dict[tuple[str, str], Adapting]) -> None:
    """How far one adaptation is, or what it did and the way back."""
    title = f"{METHODS[each.method].title} from {escape.markdown(each.original.config.title)}"
    if each.task.under_way:
        st.fragment(_progress, run_every=1.0)(each.task, title)
        return
    if each.task.state is TaskState.FAILED:  # said until it is read: the page may be drawn again at once
        st.error(escape.markdown(each.task.error), icon=":material/error:")
        if st.button("Dismiss", icon=":material/close:", key=f"dismiss_{key[0]}_{key[1]}"):
            del kept[key]
            st.rerun()
        return
    if each.adapted is None:
        del kept[key]
        return
    with st.container(horizontal=True, vertical_alignment="center", key=f"adapted_{key[0]}_{key[1]}"):
        st.caption(
            f":material/check: {title}. {escape.markdown(each.said)}",
            width="stretch",
        )
        if st.button("Undo", icon=":material/undo:", key=f"undo_{key[0]}_{key[1]}"):
            del kept[key]
            st.rerun()


def _progress(task: Task, title: str) -> None:
    if not task.under_way:
        st.rerun()
    waiting = task.state is TaskState.WAITING
    words = "Waiting for another computation" if waiting else f"{title}: step {task.done} of {task.total}"
    words = "Stopping" if task.stopping else words
    with st.container(horizontal=True, vertical_alignment="center"):
        st.progress(min(1.0, task.done / task.total), words)
        if st.button("Stop", icon=":material/stop:", key="stop_adapting"):
            task.stop()
