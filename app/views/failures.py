"""Image by image: where a checkpoint errs on a labelled set, and the way from there to Compare."""

from __future__ import annotations

import time
from typing import Any, Final

import streamlit as st

from sim2street.app.content import charts, class_figures, escape, failures, figures
from sim2street.app.content.background import Task, TaskState
from sim2street.app.content.engine import ENGINE
from sim2street.app.content.error_analysis import (
    ORDERS,
    Analysis,
    Cell,
    address_in_compare,
    analysis_of,
    begin,
    ranked,
    task_of,
)
from sim2street.app.content.labelled_sets import labelled_set_titles
from sim2street.app.views import session
from sim2street.app.views.choices import open_in_compare, say_what_is_gone
from sim2street.app.views.components import cards, confusion_matrix
from sim2street.models.errors import Sim2StreetError
from sim2street.models.storage.checkpoint import Checkpoint

AT_ONCE: Final = 12
"""Cards that are drawn before somebody asks for more."""


def show_failures() -> None:
    """Draw the choice of set, checkpoint and comparison, then matrix, pictures and scores."""
    st.markdown(failures.INTRODUCTION)
    usable = [entry.checkpoint for entry in session.checkpoints() if entry.checkpoint is not None]
    if not usable:
        st.info("No checkpoint was found. Train one with `sim2street train`.", icon=":material/inventory_2:")
        return
    titles = figures.unique_titles(usable)
    chosen = _choose(usable, titles)
    if chosen is None:
        return
    first, other = chosen
    _reading(first, titles)
    if other is not None and first.photos and not other.complete:
        _reading(other, titles)
    if first.photos:
        _show(first, other, titles)


def _choose(usable: list[Checkpoint], titles: dict[str, str]) -> tuple[Analysis, Analysis | None] | None:
    sets, names = labelled_set_titles(), {checkpoint.name: checkpoint for checkpoint in usable}
    for key, known in (("set", sets.values()), ("reader", titles.values()), ("against", titles.values())):
        say_what_is_gone(key, known)
    with st.container(horizontal=True, key="failures_choice"):
        key = st.selectbox(
            "Images",
            list(sets),
            index=list(sets).index("street_scenes/fog"),
            format_func=lambda key: escape.markdown(sets[key]),
            key="set",
            bind="query-params",
            width=230,
        )
        name = st.selectbox(
            "Checkpoint",
            list(names),
            format_func=lambda name: escape.markdown(titles[name]),
            key="reader",
            bind="query-params",
            width=330,
        )
        against = st.selectbox(
            "Compared with",
            ["", *(other for other in names if other != name)],
            format_func=lambda name: escape.markdown(titles.get(name, "none")),
            key="against",
            bind="query-params",
            width=330,
            help="Sorts the images by gain, loss or disagreement against it.",
        )
    try:
        labelled = session.labelled(str(key))
        first = analysis_of(labelled, names[name])
        return first, analysis_of(labelled, names[against]) if against else None
    except Sim2StreetError as error:
        st.error(escape.markdown(str(error)), icon=":material/folder_off:")
        return None


def _reading(analysis: Analysis, titles: dict[str, str]) -> None:
    """How far the reading is, and what starts or stops it."""
    task = task_of(analysis)
    if task is not None and task.under_way:
        st.fragment(_progress, run_every=1.0)(analysis, task, titles[analysis.checkpoint.name])
        return
    if task is not None and task.state is TaskState.FAILED:
        st.error(escape.markdown(task.error), icon=":material/error:")
    for problem in failures.problems_in_words(analysis):
        st.warning(escape.markdown(problem), icon=":material/image_not_supported:")
    if analysis.complete and not analysis.problems:
        return
    count, left = len(analysis.labelled), len(analysis.labelled) - len(analysis.photos)
    asked = f"Predict {left} images" if left == count else f"Predict the other {left}"
    if st.button(
        f"{asked} with {escape.markdown(titles[analysis.checkpoint.name])}",
        icon=":material/play_arrow:",
        type="primary" if left == count else "secondary",
        key=f"begin_{analysis.checkpoint.name}",
        help="Once for all visitors; kept in the cache of this machine.",
    ):
        try:
            begin(ENGINE, analysis)
        except Sim2StreetError as error:
            st.warning(escape.markdown(str(error)), icon=":material/hourglass_top:")
        else:
            st.rerun()


def _progress(analysis: Analysis, task: Task, title: str) -> None:
    """Drawn every second; all is drawn anew now and then, so that pictures appear while others are read."""
    state = st.session_state
    shown, since = state.get("failures_shown", (None, 0.0))
    if not task.under_way or (analysis.photos and (shown != analysis.key or time.monotonic() - since > 10)):
        state.failures_shown = (analysis.key, time.monotonic())
        st.rerun()
    with st.container(horizontal=True, vertical_alignment="center"):
        st.progress(task.share, f"{escape.markdown(title)}: {task.in_words('images')}")
        if st.button(
            "Stop", icon=":material/stop:", key=f"stop_{analysis.checkpoint.name}", help="Results so far are kept."
        ):
            task.stop()


def _show(analysis: Analysis, other: Analysis | None, titles: dict[str, str]) -> None:
    summary, space = analysis.summary(), analysis.labelled.space
    choice = st.session_state.setdefault("failures_cell", "")
    cell = failures.cell_of(choice, space)
    left, right = st.columns([5, 4], gap="large")
    with left:
        st.markdown("## Confusion matrix")
        st.caption(
            "Percent of a class's pixels. Choose a cell for the images behind it, or a class for its worst images."
        )
        confusion_matrix(failures.matrix(summary, space, choice), key="matrix", on_choice=_take_cell)
    with right:
        st.markdown("## Confidence and accuracy")
        st.plotly_chart(charts.reliability(summary.reliability), config=charts.CONFIG, key="reliability")
        st.caption(" ".join(failures.figures_in_words(analysis, summary)))
    _classes(analysis, other, titles)
    _pictures(analysis, other, cell)


def _classes(analysis: Analysis, other: Analysis | None, titles: dict[str, str]) -> None:
    """A row per class, and the same as files."""
    rows = class_figures.class_rows(analysis, other, titles)
    name = f"{analysis.labelled.pictures.slug}_{analysis.checkpoint.name}"
    with st.expander("Class by class, in percent"):
        number = st.column_config.NumberColumn
        formats: dict[str, Any] = {column: number(format="%.1f") for column in rows[0] if column != "Class"}
        formats |= {"Difference": number(format="%+.1f"), "Class": st.column_config.TextColumn(pinned=True)}
        st.dataframe(rows, column_config=formats, hide_index=True, placeholder="–", height="content")
        with st.container(horizontal=True):
            for kind, data, ending in (
                ("CSV", class_figures.as_csv(rows), "csv"),
                ("LaTeX", class_figures.as_latex(rows), "tex"),
            ):
                st.download_button(
                    kind,
                    data,
                    f"{name}.{ending}",
                    icon=":material/download:",
                    on_click="ignore",
                    key=f"classes_{ending}",
                )


def _take_cell(choice: str) -> None:
    st.session_state.failures_cell = choice


def _pictures(analysis: Analysis, other: Analysis | None, cell: Cell | None) -> None:
    space = analysis.labelled.space
    confused = cell is not None and cell.predicted is not None
    words = failures.in_words(cell, space)
    st.markdown(f"## Images: {escape.markdown(words)}")
    order = ORDERS[0]
    if other is not None and other.photos and not confused:
        order = st.segmented_control("Order", ORDERS, default=ORDERS[0], required=True, key="order")
    pictures = ranked(analysis.photos, order, cell, [] if other is None else other.photos)
    if not pictures:
        st.caption("No predicted image has any such pixels.")
        return
    shown = st.session_state.setdefault("failures_most", AT_ONCE)
    data = failures.cards(analysis, pictures[:shown], cell)
    cards(data, key="failure_cards", on_choice=lambda key: _wish(int(key)))
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption(f"{min(shown, len(pictures))} of {len(pictures)}. The outlined pixels are predicted wrong.")
        if shown < len(pictures):
            st.button("More", icon=":material/expand_more:", key="more", on_click=_more)
    _open(analysis, other, cell)


def _more() -> None:
    st.session_state.failures_most += AT_ONCE


def _wish(index: int) -> None:
    st.session_state.failures_opened = index


def _open(analysis: Analysis, other: Analysis | None, cell: Cell | None) -> None:
    """Go to Compare where a picture was clicked."""
    index = st.session_state.pop("failures_opened", None)
    photo = next((photo for photo in analysis.photos if photo.index == index), None)
    if photo is None:
        return
    address = address_in_compare(analysis, photo, cell)
    readers = [analysis.checkpoint, *([] if other is None else [other.checkpoint])]
    open_in_compare(address, readers, rendered=analysis.labelled.rendered)
