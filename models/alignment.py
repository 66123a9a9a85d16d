"""A label image belongs to its photo pixel by pixel: turned as the photo was, and never stretched out of shape."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sim2street.models.errors import LabelError
from sim2street.models.photo import TURNS, Photo

SLACK: Final = 0.01
"""Share by which sides may differ from the photo's aspect: a few labels of GTA5 have some rows more than their photo."""
Size = tuple[int, int]
"""(width, height) in pixels."""


def aligned(labels: NDArray[np.uint8], photo: Photo, *, name: str) -> NDArray[np.uint8]:
    """Turn (H, W) labels as EXIF turned their photo, where they were drawn on its stored pixels.

    They keep their resolution: half the photo's size is fine, another aspect ratio is not.

    Args:
        labels: as stored.
        photo: upright, with the orientation that made it so.
        name: of the label image, for errors.

    Raises:
        LabelError: they fit the photo neither as it is stored nor upright, or both alike although it was turned.
    """
    size = labels.shape[1], labels.shape[0]
    width, height = photo.full_size
    stored = (height, width) if photo.orientation >= 5 else (width, height)
    if photo.orientation == 1:
        if not _agree(size, photo.full_size):
            raise LabelError(f"{_measures(name, size, photo)}. {_advice(size, photo.full_size)}")
        return labels
    if size in (stored, photo.full_size) and stored != photo.full_size:
        fits_stored, fits_upright = size == stored, size == photo.full_size
    else:
        fits_stored, fits_upright = _agree(size, stored), _agree(size, photo.full_size)
    if fits_stored and fits_upright:
        raise LabelError(
            f"{photo.name} is turned by its EXIF orientation {photo.orientation}, and {name} would fit it both as it is"
            " stored and upright, so it cannot be told on which of the two the labels were drawn. Save the photo upright"
            " (`ImageOps.exif_transpose` of Pillow does), and the labels as they fit it."
        )
    if not (fits_stored or fits_upright):
        raise LabelError(
            f"{_measures(name, size, photo)}, {stored[0]}×{stored[1]} before its EXIF orientation {photo.orientation}"
            f" turned it. {_advice(size, photo.full_size)}"
        )
    if fits_upright:
        return labels
    return np.ascontiguousarray(np.asarray(Image.fromarray(labels).transpose(TURNS[photo.orientation])))


def _agree(size: Size, wanted: Size) -> bool:
    """Whether one is the other at another resolution, but for rounding and `SLACK`."""
    width, height = size
    due = width * wanted[1] / wanted[0]
    return abs(height - due) <= max(1.0, SLACK * due)


def _measures(name: str, size: Size, photo: Photo) -> str:
    width, height = photo.full_size
    return f"{name} measures {size[0]}×{size[1]} pixels and its photo {width}×{height}"


def _advice(size: Size, wanted: Size) -> str:
    if _agree((size[1], size[0]), wanted):
        return "The two sides are swapped: turn the label image by 90 degrees, the way its photo was turned."
    return "Labels of another aspect ratio are not stretched: crop or pad them as the photo was."
