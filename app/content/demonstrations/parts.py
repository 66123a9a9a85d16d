"""What a demonstration consists of: controls, pictures and charts, as plain values. Imports no UI library."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from sim2street.app.content import escape
from sim2street.app.content.engine import Engine
from sim2street.models.label_space import LabelSpace
from sim2street.models.storage.checkpoint import Checkpoint

STREETS: Final = 20
"""Streets of the gallery from which a demonstration takes its pictures."""
OPACITY: Final = 0.7
"""Of class colours over a photo."""
COLUMNS: Final = 2
"""Pictures side by side, one more if that leaves more than as many rows."""
CHANGE_SHOWN: Final = 0.4
"""Difference that is drawn in full colour."""
LESS: Final = np.array([11, 143, 136])
MORE: Final = np.array([209, 73, 91])
NEUTRAL: Final = np.array([232, 232, 232])
"""RGB of a negative difference, a positive one, and none."""
STYLE: Final = """
<style>
.pictures { display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)); gap: .9rem 1rem; max-width: 70rem; margin: 0; }
.pictures figure { margin: 0; }
.pictures.many { grid-template-columns: repeat(3, minmax(0, 1fr)); }
.pictures img { display: block; width: 100%; border-radius: 8px; }
.pictures figcaption { margin-top: .3rem; font-size: .88rem; line-height: 1.35; }
.pictures small { font-size: inherit; opacity: .68; }
@media (max-width: 700px) { .pictures, .pictures.many { grid-template-columns: minmax(0, 1fr); } }
</style>
"""

Value = float | str


@dataclass(frozen=True)
class Slider:
    """A number that the visitor chooses.

    Attributes:
        name: key of its value.
        label: shown beside it.
        lowest: smallest value.
        highest: largest value.
        default: value at the start.
        step: distance between values; whole numbers make the value an integer.
    """

    name: str
    label: str
    lowest: float
    highest: float
    default: float
    step: float


@dataclass(frozen=True)
class Choice:
    """One of several values that the visitor chooses.

    Attributes:
        name: key of its value.
        label: shown beside it.
        options: the values, as they are shown.
        default: value at the start.
    """

    name: str
    label: str
    options: tuple[str, ...]
    default: str


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture with its caption.

    Attributes:
        title: name in a few words.
        pixels: (H, W, 3) uint8 RGB.
        said: a remark after the title; may be empty.
    """

    title: str
    pixels: NDArray[np.uint8]
    said: str = ""


@dataclass(frozen=True, eq=False)
class Shown:
    """The result of a demonstration.

    Attributes:
        words: what was computed, as Markdown with figures.
        pictures: in the order in which they are read.
        charts: below the pictures.
    """

    words: str
    pictures: tuple[Picture, ...] = ()
    charts: tuple[go.Figure, ...] = ()

    @property
    def size(self) -> int:
        """Bytes of the pictures."""
        return sum(picture.pixels.nbytes for picture in self.pictures)


@dataclass(frozen=True)
class Request:
    """What a demonstration is computed from.

    Attributes:
        values: of its controls, by name.
        checkpoints: all that are available.
        engine: gives the device by turns.
    """

    values: Mapping[str, Value]
    checkpoints: Sequence[Checkpoint]
    engine: Engine

    def number(self, name: str) -> float:
        """Value of a slider."""
        return float(self.values[name])

    def count(self, name: str) -> int:
        """Value of a slider with whole numbers."""
        return int(self.values[name])


@dataclass(frozen=True)
class Demonstration:
    """A computation that shows on a small example what a method does.

    Attributes:
        title: what is shown, as a heading.
        controls: what the visitor can change.
        show: computes it.

    `show` raises `Sim2StreetError` where something that it needs is missing.
    """

    title: str
    controls: tuple[Slider | Choice, ...]
    show: Callable[[Request], Shown]


STREET: Final = Slider("street", "Street", 0, STREETS - 1, 3, 1)
"""The control of every demonstration on a rendered street."""


def painted(photo: NDArray[np.uint8], labels: NDArray[np.uint8], space: LabelSpace) -> NDArray[np.uint8]:
    """Class colours over an (H, W, 3) photo; pixels without a class show the photo."""
    palette = np.vstack([space.palette, np.zeros((256 - space.count, 3), np.uint8)])
    mixed = OPACITY * palette[labels] + (1 - OPACITY) * photo
    return np.where((labels < space.count)[..., None], mixed, photo).astype(np.uint8)


def heat(values: NDArray[np.floating] | NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """A map with values in [0,1], or bytes, as colours from dark (low) to light (high), at (width, height)."""
    scaled = values if values.dtype == np.uint8 else (255 * np.clip(values, 0, 1)).astype(np.uint8)
    resized = cv2.resize(scaled, size, interpolation=cv2.INTER_LINEAR)
    return cv2.applyColorMap(resized, cv2.COLORMAP_INFERNO)[..., ::-1].astype(np.uint8)


def change(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Differences (H, W) in [-1,1] as colours: teal where they are negative, red where positive, light grey at 0."""
    share = np.clip(np.abs(values) / CHANGE_SHOWN, 0, 1)[..., None]
    ends = np.where(values[..., None] < 0, LESS, MORE)
    return (share * ends + (1 - share) * NEUTRAL).astype(np.uint8)


def dimmed(photo: NDArray[np.uint8], kept: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """A photo whose pixels outside an (H, W) mask are grey and dark."""
    grey = cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY)[..., None]
    return np.where(kept[..., None], photo, grey // 3).astype(np.uint8)


def pictures_html(pictures: Sequence[Picture]) -> str:
    """Pictures in two columns, three if there are more than four, one on a phone, as HTML with its style; empty without any."""
    if not pictures:
        return ""
    many = " many" if len(pictures) > COLUMNS**2 else ""
    return f'{STYLE}<div class="pictures{many}">{"".join(map(_figure, pictures))}</div>'


def _figure(picture: Picture) -> str:
    done, png = cv2.imencode(".png", picture.pixels[..., ::-1])
    assert done  # encoding a uint8 image in memory does not fail
    title, said = escape.html(picture.title), escape.html(picture.said)
    return (
        f'<figure><img alt="{title}" src="data:image/png;base64,{base64.b64encode(png.tobytes()).decode("ascii")}">'
        f"<figcaption><b>{title}</b> <small>{said}</small></figcaption></figure>"
    )
