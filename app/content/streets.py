"""Rendered streets by the parameters of a page or an API, rendered at most once for all visitors. Imports no UI library."""

from __future__ import annotations

import functools
import textwrap
import threading
from typing import Any, Final

from sim2street.app.content import gallery
from sim2street.app.content.byte_cache import ByteCache
from sim2street.app.content.first_street import FIRST_STREET, FIRST_STYLE, first_scene, first_thumbnails
from sim2street.app.content.gallery import Scene
from sim2street.models.errors import ConfigError
from sim2street.training.datasets.street_scenes import STYLES

STREETS: Final = 10_000
STREET_BYTES: Final = 24 * 2**20
"""Largest total size of the rendered streets kept, in bytes; one takes half a megabyte."""


def shown(value: object) -> str:
    """Format a value from an API call or URL for an error message."""
    return textwrap.shorten(repr(value), 60, placeholder="…")


_PAINTED: Final[ByteCache[Scene]] = ByteCache(STREET_BYTES)
_PAINTING: Final = threading.Lock()


def rendered_scene(style: str, street: float | None) -> Scene:
    """Render a street of the gallery, or take it from the cache.

    Args:
        style: one of `STYLES`.
        street: whole number from 0 to `STREETS` - 1; other values raise.

    Raises:
        ConfigError: there is no such style or street.
    """
    if style not in STYLES:
        raise ConfigError(f"There is no style {shown(style)}; known are {', '.join(STYLES)}.")
    # API calls may pass values of any type.
    number = street if isinstance(street, int | float) and not isinstance(street, bool) else -1
    if not 0 <= number < STREETS or number != int(number):
        raise ConfigError(f"The street is {shown(street)}; expected a whole number from 0 to {STREETS - 1}.")
    return _painted(style, int(number))


def style_strip(street: float | None, style: str) -> dict[str, Any]:
    """A street in every style, for the picture strip."""
    number = int(street) if street is not None and 0 <= street < STREETS else FIRST_STREET
    items = [{"key": name, "label": name.capitalize(), "image": _thumbnail(name, number)} for name in STYLES]
    return {"label": "Style of the street", "items": items, "chosen": style}


def _painted(style: str, street: int) -> Scene:
    key = (style, street)
    found = _PAINTED.get(key)
    if found is not None:
        return found
    with _PAINTING:
        found = _PAINTED.get(key)  # another request may have rendered it meanwhile
        if found is None:
            stored = (style, street) == (FIRST_STYLE, FIRST_STREET)
            found = first_scene() if stored else gallery.rendered_scene(style, street)
            truth = 0 if found.truth is None else found.truth.nbytes
            _PAINTED.put(key, found, found.photo.pixels.nbytes + truth)
    return found


@functools.lru_cache(maxsize=256)
def _thumbnail(style: str, street: int) -> str:
    return first_thumbnails()[style] if street == FIRST_STREET else gallery.thumbnail_jpeg(_painted(style, street))
