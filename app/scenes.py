"""Rendered streets by the words of a form or an API, painted once for all visitors. No UI library in here."""

from __future__ import annotations

import functools
from typing import Any, Final

from app import gallery
from app.gallery import Scene
from models.errors import ConfigError
from training.datasets.street_scenes import STYLES

FIRST_STYLE: Final = "fog"
FIRST_STREET: Final = 3
STREETS: Final = 10_000


def rendered_scene(style: str, street: float | None) -> Scene:
    """A rendered street.

    Raises:
        ConfigError: there is no such style or street.
    """
    if style not in STYLES:
        raise ConfigError(f"There is no style {style!r}; known are {', '.join(STYLES)}.")
    if street is None or not 0 <= street < STREETS or street != int(street):
        raise ConfigError(f"Street is {street}; expected a whole number from 0 to {STREETS - 1}.")
    return _painted(style, int(street))


def style_strip(street: float | None, style: str) -> dict[str, Any]:
    """A street in every style, for the picture strip."""
    number = int(street) if street is not None and 0 <= street < STREETS else FIRST_STREET
    items = [{"key": name, "label": name.capitalize(), "image": _thumbnail(name, number)} for name in STYLES]
    return {"label": "Style of the street", "items": items, "chosen": style}


@functools.lru_cache(maxsize=48)
def _painted(style: str, street: int) -> Scene:
    return gallery.rendered_scene(style, street)


@functools.lru_cache(maxsize=256)
def _thumbnail(style: str, street: int) -> str:
    return gallery.thumbnail_jpeg(_painted(style, street))
