"""The controls above the viewer: which photo, which methods, how they read."""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping, Sequence
from typing import Final, NoReturn

import streamlit as st

from sim2street.app.content import escape, gallery
from sim2street.app.content.clip import CLIP
from sim2street.app.content.comparison import listed_checkpoints, preselected
from sim2street.app.content.engine import THREE_SCALES, Settings
from sim2street.app.content.figures import downloaded, learnt_from, unique_titles
from sim2street.app.content.first_street import FIRST_STREET, FIRST_STYLE
from sim2street.app.content.gallery import OWN, RENDERED, Scene
from sim2street.app.content.method_display import display_of
from sim2street.app.content.streets import STREETS, rendered_scene, style_strip
from sim2street.app.views import session
from sim2street.app.views.clip import choose_clip
from sim2street.app.views.components import picture_row, picture_strip
from sim2street.app.views.own_photos import choose_own
from sim2street.models.errors import Sim2StreetError
from sim2street.models.storage.checkpoint import Checkpoint
from sim2street.training.datasets import SegmentationDataset
from sim2street.training.datasets.street_scenes import STYLES
from sim2street.training.external_predictions import PredictionFolder

STRIP_LENGTH: Final = 8


def choose_source() -> str:
    """Let the person pick where the photo comes from."""
    sets = [kind.title for kind in gallery.available_photo_sets()]
    say_what_is_gone("photo", [RENDERED, OWN, CLIP, *sets])
    return st.segmented_control(
        "Photo",
        [RENDERED, OWN, CLIP, *sets],
        default=RENDERED,
        required=True,
        key="photo",
        bind="query-params",
        label_visibility="collapsed",
    )


def choose_scene(source: str) -> Scene | None:
    """Let the person pick a photo of a source; None where there is none (yet), after saying why."""
    try:
        if source == OWN:
            return choose_own()
        if source == CLIP:
            return choose_clip()
        kinds = {kind.title: kind for kind in gallery.available_photo_sets()}
        return _photo_set(kinds[source]) if source in kinds else _rendered()
    except Sim2StreetError as error:
        st.error(escape.markdown(str(error)), icon=":material/image_not_supported:")
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
        chosen = _methods_sheet(usable, rendered=source == RENDERED)
    if any(entry.download is not None for entry in entries):
        _show_downloads()
    if broken:
        with st.popover(f"{len(broken)} cannot be used", icon=":material/warning:", type="tertiary"):
            for entry in broken:
                st.markdown(f"**{escape.markdown(entry.name)}**")
                st.markdown(escape.markdown(entry.error or ""))
    return [checkpoint for checkpoint in usable if checkpoint.name in chosen]


def _methods_sheet(usable: list[Checkpoint], *, rendered: bool) -> list[str]:
    """Names of the checkpoints that are chosen in a sheet that says of each what it is."""
    titles = unique_titles(usable)
    labels = {name: escape.markdown(title) for name, title in titles.items()}
    key = "methods" if rendered else "photo_methods"
    first = [checkpoint.name for checkpoint in preselected(usable, rendered=rendered)]
    say_what_is_gone(key, labels.values())
    # The pills take their choice from the address only when they are drawn, which is after the label of their sheet.
    named = [label for label in st.query_params.get_all(key) if label in labels.values()]
    count = len(st.session_state.get(key, named or first))
    label = f"{count} method{'' if count == 1 else 's'}"
    with st.popover(label, icon=":material/stacks:", key="methods_sheet", wrap=False):
        chosen = st.pills(
            "Methods to compare",
            list(labels),
            selection_mode="multi",
            default=first,
            format_func=lambda name: labels[name],
            key=key,
            bind="query-params",
            wrap=True,
        )
        st.html("".join(_explained(checkpoint, titles[checkpoint.name]) for checkpoint in usable))
    return chosen


def _explained(checkpoint: Checkpoint, title: str) -> str:
    """Colour, name, idea and training of a checkpoint as a line of HTML."""
    who = display_of(checkpoint.config.method)
    said = escape.html(f"{who.idea} Learnt from {learnt_from(checkpoint.config)}.".strip())
    return (
        f'<p style="margin:0 0 6px;font-size:14px;line-height:1.4"><span style="color:{who.colour}">●</span>'
        f' <strong>{escape.html(title)}</strong> <span style="opacity:.72">{said}</span></p>'
    )


def keep_whole_number(key: str, least: int, most: int) -> bool:
    """Take a parameter out of the address, and say so, unless it is a whole number in a range.

    Returns:
        Whether a widget may read it in this run: Streamlit's number input makes a float of it, and `1e999` stops the page.
    """
    for asked in st.query_params.get_all(key):
        if not (asked.isascii() and asked.isdecimal() and len(asked) <= len(str(most)) and least <= int(asked) <= most):
            said = escape.markdown(asked[:20])
            st.toast(
                f"The address asks for {key} “{said}”; expected a whole number from {least} to {most}.",
                icon=":material/link_off:",
                duration=12,
            )
            del st.query_params[key]
            return False
    return True


def say_what_is_gone(key: str, known: Collection[str]) -> None:
    """Tell once what the address asks for and is not here."""
    told = st.session_state.setdefault("told", set())
    for asked in st.query_params.get_all(key):
        if asked not in known and (key, asked) not in told:
            told.add((key, asked))
            st.toast(
                f"The address asks for “{escape.markdown(asked[:80])}”, which is not here.",
                icon=":material/link_off:",
                duration=12,
            )


def open_in_compare(address: Mapping[str, str], readers: Sequence[Checkpoint], *, rendered: bool) -> NoReturn:
    """Go to Compare with a picture and some checkpoints beside those that its page begins with.

    Args:
        address: what the address says of the picture and the view.
        readers: shown whatever else is; the first one at the right of a swipe, and the second, if any, at the left.
        rendered: whether the picture is a rendered one.
    """
    usable = [entry.checkpoint for entry in session.checkpoints() if entry.checkpoint is not None]
    if "style" in address:  # the style of the last visit would come first
        st.session_state.style = address["style"]
    st.session_state.view_request = st.session_state.get("view_request", 0) + 1
    titles, key = unique_titles(usable), "methods" if rendered else "photo_methods"
    shown = {each.name for each in (*preselected(usable, rendered=rendered), *readers)}
    # A list, because of pairs with the same name Streamlit keeps the last.
    methods = [escape.markdown(titles[each.name]) for each in usable if each.name in shown]
    sides = {side: each.name for side, each in zip(("right", "left"), readers, strict=False)}
    st.switch_page("views/compare.py", query_params={**address, **sides, key: methods})


@st.fragment(run_every=2.0)
def _show_downloads() -> None:
    """Say how far the Hub's checkpoints have come; draw the page anew when one of them has arrived or failed."""
    shown = [entry.name for entry in session.checkpoints() if entry.download is not None]
    entries = [entry for entry in listed_checkpoints() if entry.name in shown]
    if any(entry.download is None for entry in entries):
        session.checkpoints.clear()
        st.rerun()
    for entry in entries:
        st.caption(
            f":material/cloud_download: {escape.markdown(entry.name)} is on its way from the Hub. {downloaded(entry)}"
        )


def choose_predictions(source: str, scene: Scene) -> dict[str, PredictionFolder]:
    """Let the person add predictions that were made elsewhere, where there are some of this photo; by name."""
    kind = next((kind for kind in gallery.available_photo_sets() if kind.title == source), None)
    if kind is None:
        return {}
    folders, problems = session.prediction_folders(kind.name, st.session_state[f"{kind.name}_split"])
    for problem in problems:
        st.caption(f":material/warning: {problem}")
    there = [name for name, folder in folders.items() if folder.of(scene.key) is not None]
    if not there:
        return {}
    chosen = st.pills(
        "Predictions of others", there, selection_mode="multi", default=there, key="predictions", wrap=True
    )
    return {name: folders[name] for name in chosen}


def choose_settings() -> Settings:
    """Let the person trade time for steadiness."""
    with st.popover("Settings", icon=":material/tune:", type="tertiary", key="settings"):
        flip = st.toggle("Average with the mirrored photo", key="flip", help="Twice the time.")
        scales = st.toggle(
            "Average over three sizes", key="scales", help="0.75, 1 and 1.25 times; some four times the time."
        )
    return Settings(flip, THREE_SCALES if scales else (1.0,))


def _rendered() -> Scene:
    state = st.session_state
    say_what_is_gone("style", STYLES)
    if state.get("style") not in STYLES:
        asked = st.query_params.get("style")
        state.style = asked if asked in STYLES else FIRST_STYLE
    pictures, tools = picture_row()
    usable = keep_whole_number("street", 0, STREETS - 1)
    with tools:
        number = st.number_input(
            "Street",
            0,
            STREETS - 1,
            FIRST_STREET,
            key="street",
            bind="query-params" if usable else None,
            width=125,
            label_visibility="collapsed",
        )
        st.button("Another street", icon=":material/shuffle:", key="another", on_click=_other_street)
    with pictures:
        picture_strip(**style_strip(number, state.style), key="styles", on_choice=_take_style)
    st.query_params["style"] = state.style
    return rendered_scene(state.style, number)


def _take_style(style: str) -> None:
    st.session_state.style = style


def _other_street() -> None:
    st.session_state.street = random.randrange(STREETS)


def _photo_set(kind: type[SegmentationDataset]) -> Scene:
    name = kind.name
    pictures, tools = picture_row()
    with tools:
        split = st.selectbox("Split", kind.gallery, key=f"{name}_split", bind="query-params", width=100)
        dataset = session.photo_set(name, split)
        box = f"{name}_{split}_photo"
        say_what_is_gone(box, dataset.keys)
        index = st.selectbox(
            "Photo",
            range(len(dataset)),
            key=box,
            format_func=lambda i: dataset.keys[i],
            bind="query-params",
            width=230,
        )
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
