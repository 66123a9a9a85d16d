"""The body of Compare: controls, viewer and figures, below the headline that `compare` has drawn."""

from __future__ import annotations

from typing import Any, Final

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from sim2street.app.content import charts, escape, exports, figures
from sim2street.app.content.comparison import Comparison
from sim2street.app.content.engine import ENGINE, Settings, device_name
from sim2street.app.content.figures import Entrant
from sim2street.app.content.gallery import OWN, Scene
from sim2street.app.content.summary import MOST_CLASSES, most_different_classes
from sim2street.app.viewer.report import html_report
from sim2street.app.views import choices, components, session
from sim2street.app.views.adapting import adapted_to
from sim2street.app.views.own_photos import all_own

STOPPED: Final = "stopped_reading"
"""Key of the session's state: photo, methods and settings whose reading the person has stopped."""


def compare_photo(tools: DeltaGenerator) -> None:
    """Draw the page. Each method fills its pane when it has predicted the photo; clicks meanwhile lose no filled pane.

    Args:
        tools: the container for the controls beside the headline.
    """
    components.take_drops(OWN)
    with tools:
        source = choices.choose_source()
        checkpoints = choices.choose_methods(source)
        settings = choices.choose_settings()
    if not session.checkpoints():
        st.info(
            "No checkpoint was found. Train one with `sim2street train`, or set `SIM2STREET_CHECKPOINTS` to a folder"
            " that holds some.",
            icon=":material/inventory_2:",
        )
    scene = choices.choose_scene(source)
    if scene is None:
        return
    others = choices.choose_predictions(source, scene)
    everyone = [entry.checkpoint for entry in session.checkpoints() if entry.checkpoint is not None]
    with st.container(horizontal=True, vertical_alignment="center", key="about_photo"):
        if source == OWN:
            checkpoints = adapted_to(all_own(), checkpoints)
            everyone += [each for each in checkpoints if each not in everyone]
        for remark in scene.photo.remarks:
            st.caption(f":material/info: {escape.markdown(remark[0].upper() + remark[1:])}.", width="content")
    viewer = components.CompareViewer(
        key="viewer", cards="checkpoints?checkpoint=", request=st.session_state.get("view_request", 0)
    )
    if not checkpoints and session.checkpoints():
        st.info("Choose a method above to see its prediction of this photo.", icon=":material/touch_app:")
    state = session.current_results(scene, checkpoints, everyone, settings, others)
    asked = (state.scene.photo.digest, [checkpoint.name for checkpoint in checkpoints], settings)
    left = state.waiting if st.session_state.get(STOPPED) == asked else []
    if left:
        read = [checkpoint for checkpoint in checkpoints if checkpoint not in left]
        state = session.current_results(scene, read, everyone, settings, others)
    viewer.show(state.bundle)
    if left:
        offer_to_go_on(len(left))
    # What stands there of the photo before is taken away at once: it would be read as this one's.
    below = st.empty() if state.waiting else None
    if below is not None:
        below.button("Stop", icon=":material/stop:", key="stop_reading", on_click=_stop, args=(asked,))
    for checkpoint in state.waiting:
        session.read(state.scene, checkpoint, settings)
        state = session.current_results(scene, checkpoints, everyone, settings, others)
        viewer.show(state.bundle)
    if state.entrants:
        with st.container() if below is None else below.container():
            show_figures(state.entrants, state.scene)
            show_downloads(state, settings)
    elif below is not None:
        below.empty()


def offer_to_go_on(left: int) -> None:
    """Say how many methods were left out when the reading was stopped, and offer them."""
    with st.container(horizontal=True, vertical_alignment="center", key="stopped"):
        said = f"Stopped; {left} method{'s have' if left > 1 else ' has'} not predicted this photo."
        st.markdown(said, width="content")
        st.button("Go on", icon=":material/play_arrow:", key="go_on", on_click=_stop, args=(None,))


def _stop(asked: Any) -> None:
    st.session_state[STOPPED] = asked


def show_figures(entrants: list[Entrant], scene: Scene) -> None:
    """The classes that tell most as bars, and a row per method; all classes folded."""
    found = figures.numbers(entrants)
    order = most_different_classes(entrants, scene.truth)
    shown = order[:MOST_CLASSES]
    number = st.column_config.NumberColumn
    left, right = st.columns(2, gap="large")
    with left:
        st.markdown("## Where they differ most")
        chart = charts.class_bars(found.names, found.values, found.colours, unit=found.unit, order=shown)
        st.plotly_chart(chart, config=charts.CONFIG, key="classes_chart")
    with right:
        st.markdown("## Method by method")
        columns = {name: number(format="%.1f") for name in found.summary[0] if name not in ("Method", "Trained on")}
        columns |= {
            "Mean entropy": number(format="%.3f"),
            "Seconds": number(format="%.2f"),
            figures.AGAINST: number(format="%+.1f"),
            "Method": st.column_config.TextColumn(pinned=True, width=190),
            "Trained on": st.column_config.TextColumn(width=230),
        }
        st.dataframe(found.summary, column_config=columns, hide_index=True, placeholder="–", height="content")
        st.caption(escape.markdown(" ".join([*found.notes, f"Predicted on the {device_name()}."])))
    with st.expander(f"All {len(found.classes)} classes"):
        gains = bool(found.gains) and st.toggle("Differences to source-only", key="gains")
        table = found.gains if gains else found.classes
        columns: dict[str, Any] = {name: number(format="%+.1f" if gains else "%.1f") for name in table[0]}
        columns["Class"] = st.column_config.TextColumn(pinned=True)
        st.dataframe(table, column_config=columns, hide_index=True, placeholder="–", height="content")
        said = "Points of IoU of this image" if gains else f"{found.unit[0].upper()}{found.unit[1:]}"
        st.caption(f"{said}. {figures.ABSENT}")


def show_downloads(state: Comparison, settings: Settings) -> None:
    """Draw the download buttons; report, pictures and probabilities are made when they are clicked."""
    readers = [entrant.checkpoint for entrant in state.entrants if entrant.checkpoint is not None]
    with st.container(horizontal=True):
        st.download_button(
            "Report",
            lambda: html_report(state.bundle),
            "sim2street_report.html",
            "text/html",
            icon=":material/description:",
            on_click="ignore",
            help="This comparison as one HTML file that works offline.",
        )
        st.download_button(
            "Labels, overlays and scores",
            lambda: exports.archive(state.scene.photo, state.entrants),
            "sim2street_images.zip",
            "application/zip",
            icon=":material/folder_zip:",
            on_click="ignore",
            help="One ZIP: train ids and label ids as PNG without metadata, overlays, entropy and likeliest classes as"
            " npz, and a CSV of all classes.",
        )
        st.download_button(
            "All probabilities",
            lambda: exports.probabilities(ENGINE, state.scene, readers, settings),
            "sim2street_probabilities.zip",
            "application/zip",
            icon=":material/data_array:",
            on_click="ignore",
            help="One ZIP with an npz per method: the probability of every class at every pixel, float16. Each method"
            " predicts the photo again.",
        )
