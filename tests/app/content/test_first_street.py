"""The stored street is what the renderer draws; equal up to rounding, which differs between processors."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image

from sim2street.app.content import gallery, streets
from sim2street.app.content.first_street import FIRST_STREET, FIRST_STYLE, first_scene, first_thumbnails
from sim2street.training.datasets.street_scenes import STYLES

ADVICE = "the renderer has changed: python -m sim2street.app.content.first_street"


def test_the_stored_street_is_what_the_renderer_draws() -> None:
    stored, drawn = first_scene(), gallery.rendered_scene(FIRST_STYLE, FIRST_STREET)
    assert stored.photo.name == drawn.photo.name
    assert stored.space == drawn.space
    assert np.abs(stored.photo.pixels.astype(int) - drawn.photo.pixels).mean() < 0.5, ADVICE
    assert stored.truth is not None
    assert (stored.truth == drawn.truth).mean() > 0.999, ADVICE


def test_the_stored_thumbnails_are_of_every_style() -> None:
    assert list(first_thumbnails()) == list(STYLES), ADVICE
    for style, thumbnail in first_thumbnails().items():
        with Image.open(io.BytesIO(base64.b64decode(thumbnail))) as image:
            stored = np.asarray(image).astype(int)
        drawn = gallery.thumbnail(gallery.rendered_scene(style, FIRST_STREET).photo.pixels)
        assert np.abs(stored - drawn).mean() < 6, f"{style}: {ADVICE}"


def test_the_page_begins_without_the_renderer(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(style: str, number: int) -> gallery.Scene:
        raise AssertionError(f"street {number} was drawn in {style}")

    monkeypatch.setattr(gallery, "rendered_scene", refuse)
    monkeypatch.setattr(streets, "_PAINTED", streets.ByteCache(streets.STREET_BYTES))
    assert streets.rendered_scene(FIRST_STYLE, FIRST_STREET).truth is not None
    assert len(streets.style_strip(FIRST_STREET, FIRST_STYLE)["items"]) == len(STYLES)
    with pytest.raises(AssertionError, match="street 4"):
        streets.rendered_scene(FIRST_STYLE, FIRST_STREET + 1)
