"""The controls above the viewer: which photo, which methods, how they read."""

from __future__ import annotations

import random
from typing import Final

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from sim2street.app.content import gallery
from sim2street.app.content.comparison import listed_checkpoints, suited
from sim2street.app.content.engine import THREE_SCALES, Settings
from sim2street.app.content.figures import downloaded, trained_on, unique_titles
from sim2street.app.content.gallery import OWN, RENDERED, Scene
from sim2street.app.content.streets import FIRST_STREET, FIRST_STYLE, STREETS, rendered_scene, style_strip
from sim2street.app.views import session
from sim2street.app.views.components import picture_strip
from sim2street.models.errors import Sim2StreetError
from sim2street.models.numbering import MisnumberedError
from sim2street.models.photo import LABEL_SUFFIXES, SUFFIXES
from sim2street.models.storage.checkpoint import Checkpoint
from sim2street.training.datasets import SegmentationDataset
from sim2street.training.datasets.street_scenes import STYLES

STRIP_LENGTH: Final = 8


def choose_source() -> str:
    """Let the person pick where the photo comes from."""
    sets = [kind.title for kind in gallery.available_photo_sets()]
    return st.segmented_control(
        "Photo", [RENDERED, OWN, *sets], default=RENDERED, required=True, key="photo", bind="query-params"
    )


def choose_scene(source: str) -> Scene | None:
    """Let the person pick a photo of a source; None where there is none (yet), after saying why."""
    try:
        if source == OWN:
            return _uploaded()
        kinds = {kind.title: kind for kind in gallery.available_photo_sets()}
        return _photo_set(kinds[source]) if source in kinds else _rendered()
    except Sim2StreetError as error:
        st.error(str(error), icon=":material/image_not_supported:")
        return None


def choose_methods(source: str) -> list[Checkpoint]:
    """Let the person pick checkpoints, for rendered streets and for photos apart.

    Those that cannot be opened are listed with their reason.
    """
    entries = session.checkpoints()
    usable = [entry.checkpoint for entry in entries if entry.checkpoint is not None]
    broken = [entry for entry in entries if entry.checkpoint is None and entry.download is None]
    chosen: list[str] = []
    if usable:
        titles = unique_titles(usable)
        chosen = st.pills(
            "Methods",
            list(titles),
            selection_mode="multi",
            default=[checkpoint.name for checkpoint in suited(usable, rendered=source == RENDERED)],
            format_func=lambda name: titles[name],
            key="methods" if source == RENDERED else "photo_methods",
            bind="query-params",
            wrap=True,
            help="\n".join(f"- **{titles[c.name]}**: {trained_on(c.config)}" for c in usable),
        )
    if any(entry.download is not None for entry in entries):
        _show_downloads()
    if broken:
        with st.popover(f"{len(broken)} cannot be used", icon=":material/warning:", type="tertiary"):
            for entry in broken:
                st.markdown(f"**{entry.name}**")
                st.write(entry.error)
    return [checkpoint for checkpoint in usable if checkpoint.name in chosen]


@st.fragment(run_every=2.0)
def _show_downloads() -> None:
    """Say how far the Hub's checkpoints have come; draw the page anew when one of them has arrived or failed."""
    shown = [entry.name for entry in session.checkpoints() if entry.download is not None]
    entries = [entry for entry in listed_checkpoints() if entry.name in shown]
    if any(entry.download is None for entry in entries):
        session.checkpoints.clear()
        st.rerun()
    for entry in entries:
        st.caption(f":material/cloud_download: {entry.name} is on its way from the Hub. {downloaded(entry)}")


def choose_settings() -> Settings:
    """Let the person trade time for steadiness."""
    with st.popover("Settings", icon=":material/tune:", type="tertiary"):
        flip = st.toggle("Average with the mirrored photo", key="flip", help="Twice the time.")
        scales = st.toggle(
            "Average over three sizes", key="scales", help="0.75, 1 and 1.25 times; some four times the time."
        )
    return Settings(flip, THREE_SCALES if scales else (1.0,))


def _rendered() -> Scene:
    state = st.session_state
    if state.get("style") not in STYLES:
        asked = st.query_params.get("style")
        state.style = asked if asked in STYLES else FIRST_STYLE
    pictures, tools = _picture_row()
    with tools:
        number = st.number_input("Street", 0, STREETS - 1, FIRST_STREET, key="street", bind="query-params", width=125)
        st.button("Another street", icon=":material/shuffle:", on_click=_other_street)
    with pictures:
        picture_strip(**style_strip(number, state.style), key="styles", on_choice=_take_style)
    st.query_params["style"] = state.style
    return rendered_scene(state.style, number)


def _picture_row() -> tuple[DeltaGenerator, DeltaGenerator]:
    """A place for small pictures and, at its right or below on a phone, one for the controls that choose them."""
    row = st.container(horizontal=True, vertical_alignment="bottom")
    return row.container(width="stretch"), row.container(horizontal=True, vertical_alignment="bottom", width="content")


def _take_style(style: str) -> None:
    st.session_state.style = style


def _other_street() -> None:
    st.session_state.street = random.randrange(STREETS)


def _photo_set(kind: type[SegmentationDataset]) -> Scene:
    name = kind.name
    pictures, tools = _picture_row()
    with tools:
        split = st.selectbox("Split", kind.gallery, key=f"{name}_split", width=100)
        dataset = session.photo_set(name, split)
        box = f"{name}_{split}_photo"
        index = st.selectbox("Photo", range(len(dataset)), key=box, format_func=lambda i: dataset.keys[i], width=230)
    first = min(max(0, index - STRIP_LENGTH // 2), max(0, len(dataset) - STRIP_LENGTH))
    items = [
        {"key": str(i), "label": dataset.keys[i], "image": session.photo_set_thumbnail(name, split, i)}
        for i in range(first, min(first + STRIP_LENGTH, len(dataset)))
    ]

    def take(choice: str) -> None:
        st.session_state[box] = int(choice)

    with pictures:
        picture_strip(f"{kind.title} photos", items, str(index), key=f"{box}_strip", on_choice=take)
    return session.photo_set_scene(name, split, index)


def _uploaded() -> Scene | None:
    photo_side, label_side = st.columns(2)
    with photo_side:
        photo = st.file_uploader(
            "Your street photo",
            type=[suffix.removeprefix(".") for suffix in SUFFIXES],
            key="upload",
            help="JPEG, PNG, WebP, GIF, BMP or TIFF, up to 64 MB.",
        )
        st.caption(
            ":material/lock: Kept in this session's memory only: never written to disk, never sent on, gone when the session ends. Downloads hold no place, time or camera."
        )
    with label_side:
        label = st.file_uploader(
            "Ground truth, if you have it",
            type=[suffix.removeprefix(".") for suffix in LABEL_SUFFIXES],
            key="upload_labels",
            help="A label image in the shape of the photo: one class number a pixel.",
        )
        encoding = st.selectbox(
            "Its classes are numbered as", list(gallery.ENCODINGS), key="encoding", disabled=label is None
        )
    if photo is None:
        st.info(
            "Drop a photo taken from a car, a bicycle or the pavement; the methods read it side by side.",
            icon=":material/add_a_photo:",
        )
        return None
    data = photo.getvalue()
    if label is None:
        return gallery.uploaded_scene(data, photo.name)
    try:
        scene = gallery.with_label_image(data, photo.name, label.getvalue(), label.name, encoding)
        numberings = scene.numberings
    except Sim2StreetError as error:
        scene = gallery.uploaded_scene(data, photo.name)  # a photo that fails says so itself
        numberings = [other.title for other in error.fitting] if isinstance(error, MisnumberedError) else []
        st.error(f"{error} The photo is shown without ground truth.", icon=":material/layers_clear:")
    if numberings:
        with st.container(horizontal=True):
            for other in numberings:
                st.button(f"Read it as {other}", icon=":material/label:", on_click=_take_encoding, args=(other,))
    return scene


def _take_encoding(title: str) -> None:
    st.session_state.encoding = title
