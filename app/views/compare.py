"""Compare: one photo read by several methods, side by side."""

from __future__ import annotations

from typing import Any

import streamlit as st

from app import charts, choices, components, figures, panels, session
from app.engine import device_name
from app.figures import Entrant
from app.gallery import Scene
from app.viewer.report import html_report


def main() -> None:
    """Draw the page. Each run reads at most one photo with one method, then draws again with the pane filled."""
    st.markdown("# Trained on rendered streets. How well does it read yours?")
    with st.container(horizontal=True, vertical_alignment="center", gap="medium"):
        st.caption(
            "Networks trained on labelled renderings, side by side on one photo. Point to read a pixel in all of them;"
            " zoom, drag and swipe move all of them.",
            width="stretch",
        )
        settings = choices.choose_settings()
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        source = choices.choose_source()
        checkpoints = choices.choose_methods(source)
    if not session.checkpoints():
        st.info(
            "No checkpoint was found. Train one with `sim2street train`, or set `SIM2STREET_CHECKPOINTS` to a folder"
            " that holds some.",
            icon=":material/inventory_2:",
        )
    scene = choices.choose_scene(source)
    if scene is None:
        return
    for remark in scene.photo.remarks:
        st.caption(f":material/info: {remark[0].upper()}{remark[1:]}.")

    everyone = [entry.checkpoint for entry in session.checkpoints() if entry.checkpoint is not None]
    state = session.known_so_far(scene, checkpoints, everyone, settings)
    entrants, bundle = state.entrants, state.bundle
    components.compare_viewer(bundle, key="viewer")
    if not checkpoints and session.checkpoints():
        st.info("Choose a method above, and it reads this photo.", icon=":material/touch_app:")
    if entrants:
        show_figures(entrants, scene)
        show_downloads(entrants, scene, bundle)
    if state.waiting:
        session.read(scene, state.waiting[0], settings)
        st.rerun()


def show_figures(entrants: list[Entrant], scene: Scene) -> None:
    """Summary per method, then per class as chart and table."""
    scored = scene.truth is not None
    st.markdown("## In numbers")
    rows = figures.summary(entrants)
    number = st.column_config.NumberColumn
    columns = {name: number(format="%.1f") for name in rows[0] if name not in ("Method", "Trained on")}
    columns |= {
        "Mean entropy": number(format="%.3f"),
        "Seconds": number(format="%.2f"),
        figures.AGAINST: number(format="%+.1f"),
        "Method": st.column_config.TextColumn(pinned=True, width=150),
        "Trained on": st.column_config.TextColumn(width=230),
    }
    st.dataframe(rows, column_config=columns, hide_index=True, placeholder="–")
    bases = {base.reading.title for entrant in entrants if (base := figures.baseline_of(entrant, entrants))}
    notes = [
        "IoU of this image in percent, over the classes in it; not a data set's mIoU."
        if scored
        else "No ground truth: what can be said is how sure each method is and what it sees.",
        f"Differences are points against source-only on the same encoder: {' or '.join(sorted(bases))}."
        if scored and bases
        else "",
        "mIoU columns: the looks of rendered streets and the data sets that each checkpoint was scored on."
        if any(name.startswith(figures.MIOU) for name in rows[0])
        else "",
        f"Read on the {device_name()}.",
    ]
    st.caption(" ".join(note for note in notes if note))

    per_class = figures.per_class(entrants)
    values = {e.reading.title: [row[e.reading.title] for row in per_class] for e in entrants}
    colours = {e.reading.title: e.reading.colour for e in entrants}
    unit = "IoU of this image, %" if scored else "share of the pixels, %"
    names = [row["Class"] for row in per_class]
    left, right = st.columns(2, gap="large")
    with left:
        chart = charts.class_bars(names, values, colours, unit=unit, order=charts.classes_in_use(values))
        st.plotly_chart(chart, config=charts.CONFIG, key="classes_chart")
    with right:
        gains = bool(bases) and scored and st.toggle("Differences to source-only", key="gains")
        table = figures.per_class(entrants, gains=True) if gains else per_class
        columns: dict[str, Any] = {name: number(format="%+.1f" if gains else "%.1f") for name in table[0]}
        columns["Class"] = st.column_config.TextColumn(pinned=True)
        st.dataframe(table, column_config=columns, hide_index=True, placeholder="–", height="content")
        said = "Points of IoU of this image" if gains else f"{unit[0].upper()}{unit[1:]}"
        st.caption(f"{said}. – is a class that is neither in the photo nor predicted.")


def show_downloads(entrants: list[Entrant], scene: Scene, bundle: dict[str, object]) -> None:
    """Report and pictures, made when asked for."""
    with st.container(horizontal=True):
        st.download_button(
            "Report",
            lambda: html_report(bundle),
            "sim2street_report.html",
            "text/html",
            icon=":material/description:",
            on_click="ignore",
            help="This comparison as one HTML file that works offline.",
        )
        st.download_button(
            "Label and overlay images",
            lambda: panels.image_archive(scene.photo, [entrant.reading for entrant in entrants]),
            "sim2street_images.zip",
            "application/zip",
            icon=":material/folder_zip:",
            on_click="ignore",
            help="PNG without metadata: class numbers with palette, and overlays.",
        )


main()
