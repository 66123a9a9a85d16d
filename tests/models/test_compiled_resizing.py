"""Compiled code resizes as Pillow does, byte for byte."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from sim2street.models import photo as photo_module
from sim2street.models.compiled_code import COMPILED, compiled_code, compiled_resizing
from sim2street.models.photo import Photo


@pytest.fixture(autouse=True)
def loaded() -> None:
    if compiled_code() is None:
        pytest.skip("needs .[fast]")


def noise(height: int, width: int, *channels: int) -> NDArray[np.uint8]:
    return np.random.default_rng(height + width).integers(0, 256, (height, width, *channels), np.uint8)


@pytest.mark.parametrize("resampling", [Image.Resampling.BILINEAR, Image.Resampling.BICUBIC])
@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((96, 160), (48, 80)),
        ((97, 131), (64, 50)),
        ((30, 70), (97, 131)),
        ((64, 65), (64, 130)),
        ((65, 64), (20, 64)),
        ((300, 17), (3, 17)),
        ((1, 200), (1, 7)),
        ((5, 1), (2, 9)),
    ],
)
def test_resizing_is_pillows(before: tuple[int, int], after: tuple[int, int], resampling: Image.Resampling) -> None:
    (height, width), (rows, columns) = before, after
    for pixels in (noise(height, width, 3), np.where(noise(height, width, 3) > 127, np.uint8(255), np.uint8(0))):
        found = Photo(pixels, "", "").resized((columns, rows), resampling)
        expected = np.asarray(Image.fromarray(pixels).resize((columns, rows), resampling))
        np.testing.assert_array_equal(found, expected)
        assert not found.flags.writeable


def test_pillow_resizes_before_compiled_code_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = noise(40, 60, 3)
    compiled = photo_module._resized(pixels, (30, 20), Image.Resampling.BICUBIC)
    monkeypatch.delitem(sys.modules, COMPILED)
    assert compiled_resizing() is None
    np.testing.assert_array_equal(compiled, photo_module._resized(pixels, (30, 20), Image.Resampling.BICUBIC))
