"""The viewer, picture strip, confusion matrix and cards as Gradio components; they use the same scripts as Streamlit.

Each is in a shadow root, which keeps Gradio's styles out; the theme's colours are passed in as CSS variables.
"""

from __future__ import annotations

import base64
import itertools
import json
from collections.abc import Sequence
from typing import Any, Final

import gradio as gr

from sim2street.app.content import escape
from sim2street.app.viewer import source

ELSEWHERE: Final = (
    "This server gets a GPU for one photo at a time, so only `sim2street app` on your own machine computes this."
)

# Made in memory and handed to the browser: a file on the server would have to be deleted again.
SAVE: Final = """
(file) => {
  if (!file) return;
  const { name, type, data } = JSON.parse(file);
  const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([bytes], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}
"""

# The scripts' --st-* variables come from Gradio's theme, both light and dark.
COLOURS: Final = """
.part {
  --st-background-color: var(--body-background-fill); --st-secondary-background-color: var(--background-fill-secondary);
  --st-text-color: var(--body-text-color); --st-primary-color: var(--color-accent); --st-font: var(--font);
}
"""

# The key of the picture that was clicked. Like all that sets a control, it runs in the browser where it can: what the server
# answers comes late, and would overwrite what the visitor has chosen meanwhile.
CHOSEN: Final = "(shown) => shown.chosen"

# The module is imported from the page itself, so nothing is fetched.
LOAD: Final = """
const host = element.querySelector(".part");
const root = host.attachShadow({ mode: "open" });
const style = document.createElement("style");
style.textContent = %(style)s;
root.append(style);
import(URL.createObjectURL(new Blob([%(script)s], { type: "text/javascript" }))).then((part) => {
  %(mount)s
});
"""

# A view with which another tab opens Compare comes with its comparison, for one that is still under way has another photo.
MOUNT_VIEWER: Final = """
let viewer = null, opened;
const open = ({ ticket, ...view }) => {
  if (ticket === opened) return;
  opened = ticket;
  const address = new URL(location.href);
  address.searchParams.delete("pixel"); // that of another photo
  for (const [name, value] of Object.entries(view)) address.searchParams.set(name, value);
  history.replaceState(history.state, "", address);
  viewer?.read();
};
const show = () => {
  if (!props.value) return;
  open(props.value.view ?? {});
  if (viewer) viewer.update(props.value);
  else viewer = part.mount(root, props.value, { key: "viewer" });
};
watch("value", show);
show();
"""

MOUNT_ONCE: Final = """
part.default({ data: props.value, parentElement: root });
"""

CHOOSE_CHECKPOINT: Final = """
element.addEventListener("click", (event) => {
  const button = event.target.closest("button[value]");
  if (button) trigger("choose", { key: button.value });
});
"""

MOUNT_CHOICE: Final = """
const choose = (name, key) => {
  if (name === "choice") props.value = { ...props.value, chosen: key };
  trigger(name === "choice" ? "choose" : name, { key });
};
const show = () => props.value && part.default({ data: props.value, parentElement: root, setTriggerValue: choose });
watch("value", show);
show();
"""


def compare_viewer() -> gr.HTML:
    """The viewer; its value is the result of `panes.bundle`, and it has no events."""
    return _part(["compare/*.js"], ["compare/*.css"], MOUNT_VIEWER, elem_id="viewer", min_height=420)


def take_photos(source: str, suffixes: Sequence[str]) -> None:
    """Accept photos that are dropped or pasted anywhere on the page and, on touch devices, from the camera.

    Args:
        source: label of the control that shows the uploader.
        suffixes: of the files that the uploader's dialog offers.
    """
    value = {"source": source, "label": "Take a photo", "accept": ",".join(suffixes)}
    _part(["hand.js", "drop.js"], [], MOUNT_ONCE, value, elem_id="drop")
    _part(["hand.js", "camera.js"], ["camera.css"], MOUNT_ONCE, value, elem_id="camera")


def picture_strip(name: str, value: dict[str, Any] | None = None, *, visible: bool = True) -> gr.HTML:
    """A row of small pictures; its value is `{label, items: [{key, label, image, removable}], chosen}`.

    `chosen` is set when a picture is clicked, before the event `choose`; `removal`, of removable pictures, has the key.
    """
    return _part(["strip.js"], ["strip.css"], MOUNT_CHOICE, value, elem_id=name, min_height=52, visible=visible)


def confusion_matrix() -> gr.HTML:
    """A confusion matrix; its value is the result of `failures.matrix`, whose `chosen` is set before the event `choose`."""
    return _part(["matrix.js"], ["matrix.css"], MOUNT_CHOICE, elem_id="matrix", min_height=120)


def cards() -> gr.HTML:
    """Cards with pictures; its value is the result of `failures.cards`, its event is `choose` with the picture's key."""
    return _part(["cards.js"], ["cards.css"], MOUNT_CHOICE, elem_id="cards", min_height=120)


def checkpoint_cards() -> gr.HTML:
    """Cards of checkpoints; the value is the result of `html_tables.checkpoint_cards`.

    Its event `choose`, of a card's button, has the checkpoint's name as the key.
    """
    return gr.HTML(js_on_load=CHOOSE_CHECKPOINT, elem_id="checkpoint_cards")


def busy(text: str) -> str:
    """A status with a spinner; the Stop button is shown beside it."""
    return f'<span class="busy">{escape.html(text)}</span>'


def unfinished(text: str) -> str:
    """A status of what was stopped; the button Go on is shown beside it."""
    return f'<span class="unfinished">{escape.html(text)}</span>'


def problem(sentence: str) -> str:
    """A sentence on what went wrong."""
    return f'<div class="problem" role="alert">{escape.html(sentence)}</div>'


def file(name: str, kind: str, data: bytes) -> str:
    """Encode a file as the value of a hidden textbox, from which `SAVE` downloads it in the browser."""
    return json.dumps({"name": name, "type": kind, "data": base64.b64encode(data).decode("ascii")})


def close_sheet(name: str) -> str:
    """The script that closes a sheet, if it is open."""
    return f'() => document.querySelector("#{name} > button.open")?.click()'


def ticket() -> int:
    """A number that no component has had: setting it is a change, whatever other events set at the same time."""
    return next(_TICKETS)


_TICKETS: Final = itertools.count(1)


def _part(scripts: list[str], styles: list[str], mount: str, value: Any = None, **options: Any) -> gr.HTML:
    script, style = (json.dumps(source(*names)) for names in (scripts, styles))
    load = LOAD % {"style": style, "script": script, "mount": mount}
    return gr.HTML(value, html_template='<div class="part"></div>', css_template=COLOURS, js_on_load=load, **options)
