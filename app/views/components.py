"""The viewer and the picture strip as Streamlit components: their scripts mounted, and nothing drawn here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import streamlit as st
from streamlit.components.v2 import component
from streamlit.delta_generator import DeltaGenerator

from sim2street.app.content import panes
from sim2street.app.viewer import VIEWER, source

DROPZONE: Final = VIEWER / "dropzone.css"
"""Makes the uploader of photos or clips a large place to drop them."""

# Streamlit calls the default export at mounting and again with new data; the viewer keeps its view in between.
MOUNT: Final = """
const mounted = new WeakMap();
export default function ({ data, parentElement }) {
  const box = post(data.key);
  if (!mounted.has(parentElement)) box.shown = null;
  box.tell = () => {
    const bundle = box.shown === box.bundle ? null : whole(box);
    if (!bundle) return;
    box.shown = box.bundle;
    const viewer = mounted.get(parentElement);
    if (viewer) viewer.update(bundle);
    else mounted.set(parentElement, mount(parentElement, bundle, data));
  };
  box.tell();
  return () => {
    box.tell = () => {};
    mounted.get(parentElement)?.destroy();
    mounted.delete(parentElement);
  };
}
"""


_compare = component("sim2street_viewer", js=source("compare/*.js", "post.js") + MOUNT, css=source("compare/*.css"))
_carrier = component("sim2street_carrier", js=source("post.js", "carrier.js"))
_drop = component("sim2street_drop", js=source("hand.js", "drop.js"))
_camera = component("sim2street_camera", js=source("hand.js", "camera.js"), css=source("camera.css"))
_strip = component("sim2street_strip", js=source("strip.js"), css=source("strip.css"))
_matrix = component("sim2street_matrix", js=source("matrix.js"), css=source("matrix.css"))
_drawing = component("sim2street_drawing", js=source("drawing.js"))
_cards = component("sim2street_cards", js=source("cards.js"), css=source("cards.css"))


class CompareViewer:
    """The viewer, which is told of one state of the page after another; nothing done in it comes back to the server.

    Streamlit sends an element as a whole whenever anything in it changes. So the images of each pane are an element of
    their own, sent once, and what changes with every pane that arrives is one without them; `post.js` joins them.
    Each is sent in a list, because Streamlit imports pandas, half a second, to see whether a dict in a dict is a table.

    Args:
        key: Streamlit's name of the element.
        cards: address of a method's card, to which the method's key is added.
        request: how often the visitor was sent here with a view in the address. The viewer reads the address when it is new
            and whenever this has changed.
    """

    def __init__(self, *, key: str, cards: str, request: int) -> None:
        self.key = key
        _compare(key=key, data={"key": key, "cards": cards, "request": request})
        self._carriers = st.container(key="carriers")
        self._state = self._carriers.empty()
        self._sent: set[str] = set()
        self._states = 0

    def show(self, bundle: Mapping[str, Any]) -> None:
        """Show a bundle of `panes.bundle`, sending what the page was not sent before in this run."""
        state, images = panes.images_apart(bundle)
        with self._carriers:
            for digest in [
                digest for digest in images if digest not in self._sent
            ]:  # in order, so that few of them move
                data = {"viewer": self.key, "digest": digest, "images": images[digest]}
                _carrier(key=f"{self.key}_{digest}", data=[data])
        self._sent |= images.keys()
        with self._state:  # a key must not occur twice in a run, not even in the place of the first
            _carrier(key=f"{self.key}_state_{self._states}", data=[{"viewer": self.key, "bundle": state}])
        self._states += 1


def picture_row() -> tuple[DeltaGenerator, DeltaGenerator]:
    """A place for small pictures and, at its right or below on a phone, one for the controls that choose them."""
    row = st.container(horizontal=True, vertical_alignment="center", key="pictures")
    pictures = row.container(width="stretch", key="pictures_strip")
    return pictures, row.container(horizontal=True, vertical_alignment="center", width="content", key="pictures_tools")


def take_drops(source: str) -> None:
    """Let photos be dropped or pasted anywhere on the page.

    Args:
        source: label of the control that shows the uploader.
    """
    _drop(key="drop", data={"source": source})


def camera(source: str) -> None:
    """Show a button that opens the camera, on devices that are touched.

    Args:
        source: label of the control that shows the uploader.
    """
    _camera(key="camera", data={"source": source, "label": "Take a photo"})


def use_the_screen() -> None:
    """Leave to the panes what Streamlit's margins take elsewhere."""
    st.html(VIEWER / "page.css")


def picture_strip(
    label: str,
    items: Sequence[Mapping[str, Any]],
    chosen: str,
    *,
    key: str,
    on_choice: Callable[[str], None],
    on_removal: Callable[[str], None] = lambda key: None,
) -> None:
    """Show a row of small pictures.

    Args:
        label: what is chosen, for screen readers.
        items: `key`, `label` and base64 JPEG `image` of each, and whether it is `removable`.
        chosen: key of the marked one.
        key: Streamlit's name of the element.
        on_choice: called with the key of the picture that was clicked, before the page is drawn again.
        on_removal: the same of the picture whose cross was clicked.
    """
    # A tuple, because Streamlit imports pandas to see whether a list is a table.
    data = {"label": label, "items": tuple(dict(item) for item in items), "chosen": chosen}
    _strip(
        key=key,
        data=data,
        on_choice_change=_reporter(key, on_choice),
        on_removal_change=_reporter(key, on_removal, "removal"),
    )


def confusion_matrix(data: Mapping[str, Any], *, key: str, on_choice: Callable[[str], None]) -> None:
    """Show `failures.matrix`; `on_choice` is called with the cell that was clicked, before the page is drawn again."""
    _matrix(key=key, data=dict(data), on_choice_change=_reporter(key, on_choice))


def cards(data: Mapping[str, Any], *, key: str, on_choice: Callable[[str], None]) -> None:
    """Show `failures.cards`; `on_choice` is called with the key of the one that was clicked."""
    _cards(key=key, data=dict(data), on_choice_change=_reporter(key, on_choice))


def drawing(html: str, *, key: str) -> None:
    """Show HTML that contains SVG; words of others must be escaped in it."""
    _drawing(key=key, data={"html": html})


def _reporter(key: str, on_choice: Callable[[str], None], event: str = "choice") -> Callable[[], None]:
    """What Streamlit calls when the element `key` triggers an event."""

    def report() -> None:
        choice = st.session_state[key].get(event)
        if choice is not None:
            on_choice(choice)

    return report
