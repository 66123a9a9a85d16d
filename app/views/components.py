"""The viewer and the picture strip as Streamlit components: their scripts mounted, and nothing drawn here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import streamlit as st
from streamlit.components.v2 import component
from streamlit.delta_generator import DeltaGenerator

VIEWER: Final = Path(__file__).parent.parent / "viewer"

# Streamlit calls the default export at mounting and again with new data; the viewer keeps its view in between.
MOUNT: Final = """
const mounted = new WeakMap();
export default function ({ data, parentElement }) {
  const viewer = mounted.get(parentElement);
  if (viewer) viewer.update(data.bundle);
  else mounted.set(parentElement, mount(parentElement, data.bundle, { key: data.key, cards: data.cards }));
  return () => {
    mounted.get(parentElement)?.destroy();
    mounted.delete(parentElement);
  };
}
"""


def _read(name: str) -> str:
    return (VIEWER / name).read_text(encoding="utf-8")


_compare = component("sim2street_viewer", js=_read("viewer.js") + MOUNT, css=_read("viewer.css"))
_drop = component("sim2street_drop", js=_read("drop.js"))
_strip = component("sim2street_strip", js=_read("strip.js"), css=_read("strip.css"))
_matrix = component("sim2street_matrix", js=_read("matrix.js"), css=_read("matrix.css"))
_cards = component("sim2street_cards", js=_read("cards.js"), css=_read("cards.css"))


def compare_viewer(bundle: Mapping[str, Any], *, key: str, cards: str) -> None:
    """Show a bundle of `panels.bundle`; nothing done in the viewer comes back to the server.

    Args:
        bundle: what is shown.
        key: Streamlit's name of the element.
        cards: address of a method's card, to which the method's key is added.
    """
    _compare(key=key, data={"bundle": dict(bundle), "key": key, "cards": cards})


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


def use_the_screen() -> None:
    """Leave to the panes what Streamlit's margins take elsewhere."""
    st.html(VIEWER / "page.css")


def picture_strip(
    label: str, items: Sequence[Mapping[str, str]], chosen: str, *, key: str, on_choice: Callable[[str], None]
) -> None:
    """Show a row of small pictures.

    Args:
        label: what is chosen, for screen readers.
        items: `key`, `label` and base64 JPEG `image` of each.
        chosen: key of the marked one.
        key: Streamlit's name of the element.
        on_choice: called with the key of the picture that was clicked, before the page is drawn again.
    """
    data = {"label": label, "items": [dict(item) for item in items], "chosen": chosen}
    _strip(key=key, data=data, on_choice_change=_reporter(key, on_choice))


def confusion_matrix(data: Mapping[str, Any], *, key: str, on_choice: Callable[[str], None]) -> None:
    """Show `failures.matrix`; `on_choice` is called with the cell that was clicked, before the page is drawn again."""
    _matrix(key=key, data=dict(data), on_choice_change=_reporter(key, on_choice))


def cards(data: Mapping[str, Any], *, key: str, on_choice: Callable[[str], None]) -> None:
    """Show `failures.cards`; `on_choice` is called with the key of the one that was clicked."""
    _cards(key=key, data=dict(data), on_choice_change=_reporter(key, on_choice))


def _reporter(key: str, on_choice: Callable[[str], None]) -> Callable[[], None]:
    """What Streamlit calls when the element `key` triggers a choice."""

    def report() -> None:
        choice = st.session_state[key].get("choice")
        if choice is not None:
            on_choice(choice)

    return report
