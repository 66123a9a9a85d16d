"""A person's own photos as a filmstrip, their ground truth, and real photos to try before there are any."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from sim2street.app.content import escape, example_photos, gallery
from sim2street.app.content.gallery import Scene
from sim2street.app.viewer import VIEWER
from sim2street.app.views import uploads
from sim2street.app.views.components import DROPZONE, camera, picture_row, picture_strip
from sim2street.models.errors import Sim2StreetError
from sim2street.models.numbering import MisnumberedError
from sim2street.models.photo import LABEL_SUFFIXES, SUFFIXES, Photo

SHRUNK: Final = VIEWER / "uploader.css"


@dataclass(frozen=True, eq=False)
class Own:
    """One picture of the filmstrip.

    Attributes:
        key: unique among them.
        scene: as it is read.
        thumbnail: base64 JPEG.
        file: as it was uploaded; None for one that the page offered.
    """

    key: str
    scene: Scene
    thumbnail: str
    file: Any = None


def choose_own() -> Scene | None:
    """Let the person bring photos and pick one; None while there are none. One that cannot be read says why."""
    pictures, tools = picture_row()
    with tools:
        files = st.file_uploader(
            "Drop or paste street photos here: from a car, a bicycle or the pavement, several at once",
            type=[suffix.removeprefix(".") for suffix in SUFFIXES],
            accept_multiple_files=True,
            key=f"own_upload_{st.session_state.setdefault('uploaders', 0)}",
            help="JPEG, PNG, WebP, GIF, BMP or TIFF, up to 64 MB each.",
        )
        camera(gallery.OWN)
    removed: set[str] = st.session_state.setdefault("own_removed", set())
    files = [file for file in files if file.file_id not in removed]
    uploads.hold(files)
    offered, own, broken = _offered(), *_readable(files)
    photos = own + offered
    st.session_state.own_photos = [each.scene.photo for each in photos]
    with st.container(horizontal=True, vertical_alignment="center", key="own_words"):
        st.caption(
            ":material/lock: Kept in this session's memory only: never written to disk under a name, never sent on, gone"
            " within minutes of closing the page. Downloads hold no place, time or camera.",
            width="stretch",
        )
        if photos and len(offered) < len(example_photos.offer().photos):
            _offer(len(offered))
    # Of the offer, said until the next try: while methods read, the page is drawn again and again.
    reasons = [*broken.values(), *st.session_state.get("offer_failed", [])]
    if reasons:
        with st.container(horizontal=True, vertical_alignment="center", key="own_broken"):
            st.error("\n\n".join(map(escape.markdown, reasons)), icon=":material/image_not_supported:")
            st.button("Dismiss", icon=":material/close:", key="dismiss_broken", on_click=_dismiss, args=(broken,))
    if not photos:
        st.html(DROPZONE)
        with st.container(horizontal=True, vertical_alignment="center", border=True, key="own_offer"):
            st.markdown(example_photos.offer().introduction, width="stretch")
            _offer(0)
        return None
    st.html(SHRUNK)
    chosen = _chosen(photos)
    items = [
        {"key": each.key, "label": each.scene.photo.name, "image": each.thumbnail, "removable": each.file is not None}
        for each in photos
    ]
    with pictures:
        picture_strip("Your photos", items, chosen.key, key="own_strip", on_choice=_take, on_removal=_remove)
    return chosen.scene if chosen.file is None else _with_truth(chosen, tools)


def all_own() -> list[Photo]:
    """The photos of the filmstrip, as it was drawn last."""
    return st.session_state.get("own_photos", [])


def _readable(files: list[Any]) -> tuple[list[Own], dict[str, str]]:
    """What was uploaded, read once however often the page is drawn; by key, why others cannot be read."""
    before: dict[str, Own | str] = st.session_state.get("own_read", {})
    read: dict[str, Own | str] = {}
    for file in files:
        read[file.file_id] = before[file.file_id] if file.file_id in before else _read(file)
    st.session_state.own_read = read
    new = [key for key, each in read.items() if key not in before and isinstance(each, Own)]
    if new:
        st.session_state.own_chosen = new[0]
    kept = [each for each in read.values() if isinstance(each, Own)]
    return kept, {key: each for key, each in read.items() if isinstance(each, str)}


def _read(file: Any) -> Own | str:
    try:
        scene = gallery.uploaded_scene(file.getvalue(), file.name)
    except Sim2StreetError as error:
        return str(error)
    return Own(file.file_id, scene, gallery.thumbnail_jpeg(scene), file)


def _dismiss(broken: Iterable[str]) -> None:
    _remove(*broken)
    st.session_state.offer_failed = []


def _remove(*keys: str) -> None:
    """Take files away; when none is left, a new uploader replaces the one that would still list them."""
    state = st.session_state
    state.own_removed.update(keys)
    if state.own_read.keys() <= state.own_removed:
        state.uploaders += 1


def _chosen(photos: list[Own]) -> Own:
    asked = st.session_state.get("own_chosen")
    return next((each for each in photos if each.key == asked), photos[0])


def _take(key: str) -> None:
    st.session_state.own_chosen = key


def _with_truth(own: Own, tools: DeltaGenerator) -> Scene:
    """The photo with its ground truth, where the person has brought one for it."""
    with tools, st.popover("Ground truth", icon=":material/layers:", key="truth_sheet", wrap=False):
        label = st.file_uploader(
            "Ground truth (optional)",
            type=[suffix.removeprefix(".") for suffix in LABEL_SUFFIXES],
            key="upload_labels",
            on_change=_label_came,
            args=(own.key,),
            help="A label image with the photo's aspect ratio and one class number per pixel.",
        )
        # A new control for each numbering that a button took: the browser, which does not draw a closed popover's controls, sends
        # the value that it showed last, and would take the choice back.
        taken: list[str] = st.session_state.setdefault("encodings_taken", [next(iter(gallery.ENCODINGS))])
        encoding = st.selectbox(
            "Numbering of its classes",
            list(gallery.ENCODINGS),
            list(gallery.ENCODINGS).index(taken[-1]),
            key=f"encoding_{len(taken)}",
            disabled=label is None,
        )
    uploads.hold([] if label is None else [label])
    if label is None or st.session_state.get("label_of") != own.key:
        return own.scene
    try:
        scene = gallery.with_label_image(own.file.getvalue(), own.file.name, label.getvalue(), label.name, encoding)
        numberings = scene.numberings
    except Sim2StreetError as error:
        scene = own.scene
        numberings = [other.title for other in error.fitting] if isinstance(error, MisnumberedError) else []
        st.error(escape.markdown(f"{error} The photo is shown without ground truth."), icon=":material/layers_clear:")
    if numberings:
        with st.container(horizontal=True):
            for other in numberings:
                st.button(f"Read it as {other}", icon=":material/label:", on_click=_take_encoding, args=(other,))
    return scene


def _take_encoding(title: str) -> None:
    st.session_state.encodings_taken.append(title)


def _label_came(key: str) -> None:
    st.session_state.label_of = key


def _offer(taken: int) -> None:
    """Real photos that are fetched when asked for, beside those `taken`; what fails is named and the rest goes on."""
    offer = example_photos.offer()
    asked = st.button(
        offer.button(taken),
        icon=":material/cloud_download:",
        key="offer",
        help=f"Fetched once from [{offer.repository}](https://github.com/{offer.repository}), licence {offer.licence},"
        " and kept in the cache of the computer on which this page runs. Each file is checked by its sha256.",
    )
    if asked:
        st.session_state.fetching_offer = True
    if not st.session_state.get("fetching_offer"):
        return
    failed: list[str] = []
    bar = st.progress(0.0, offer.progress(0))
    for done, problem in enumerate(example_photos.fetch_offer(), 1):
        bar.progress(done / len(offer.photos), offer.progress(done))
        failed += [problem] if problem else []
    st.session_state.offer_failed = failed
    st.session_state.fetching_offer = False  # only now: a click meanwhile begins a new run, which goes on with it
    st.rerun()


def _offered() -> list[Own]:
    """What was fetched of the offer; one that was damaged since then says so."""
    found, problems = example_photos.offered()
    if problems:
        st.error("\n\n".join(map(escape.markdown, problems)), icon=":material/image_not_supported:")
    return [Own(photo.scene.photo.digest, photo.scene, photo.thumbnail) for photo in found]
