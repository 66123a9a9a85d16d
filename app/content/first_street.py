"""The street that Compare begins with, as it was drawn once: the first visitor of a server need not wait for the renderer.

    python -m sim2street.app.content.first_street

draws it again and stores it, which a change of the renderer makes necessary; a test says when.
"""

from __future__ import annotations

import base64
import functools
import io
import json
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sim2street.app.content import gallery
from sim2street.app.content.gallery import Scene
from sim2street.training.datasets.street_scenes import STYLES

FIRST_STYLE: Final = "fog"
FIRST_STREET: Final = 3
STORED: Final = Path(__file__).with_suffix(".json")
"""`photo` and `labels` in `FIRST_STYLE` as PNG, and a thumbnail in every style as JPEG, all in base64."""


def first_scene() -> Scene:
    """The street in `FIRST_STYLE`, equal to what `gallery.rendered_scene` draws."""
    photo, labels = (_pixels(_stored()[part]) for part in ("photo", "labels"))
    return gallery.scene_of_street(FIRST_STYLE, FIRST_STREET, photo, labels)


def first_thumbnails() -> dict[str, str]:
    """The street in each style, as `gallery.thumbnail_jpeg`."""
    return _stored()["thumbnails"]


@functools.cache
def _stored() -> dict[str, Any]:
    return json.loads(STORED.read_text(encoding="utf-8"))


def _pixels(png: str) -> NDArray[np.uint8]:
    with Image.open(io.BytesIO(base64.b64decode(png))) as image:
        return np.asarray(image)


def _png(pixels: NDArray[np.uint8]) -> str:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def main() -> None:
    """Draw the street in every style and store what the page begins with."""
    scenes = {style: gallery.rendered_scene(style, FIRST_STREET) for style in STYLES}
    first = scenes[FIRST_STYLE]
    assert first.truth is not None
    stored = {
        "photo": _png(first.photo.pixels),
        "labels": _png(first.truth),
        "thumbnails": {style: gallery.thumbnail_jpeg(scene) for style, scene in scenes.items()},
    }
    STORED.write_text(json.dumps(stored, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
