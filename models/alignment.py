"""Match a label image to its photo: apply the photo's EXIF orientation if needed, and refuse another aspect ratio."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sim2street.models.errors import LabelError
from sim2street.models.photo import UPRIGHT_TRANSPOSITION, Photo

SLACK: Final = 0.01
"""Tolerated relative difference of the aspect ratios: a few GTA5 label images have some rows more than their photo."""
Size = tuple[int, int]
"""(width, height) in pixels."""


def aligned(labels: NDArray[np.uint8], photo: Photo, *, name: str) -> NDArray[np.uint8]:
    """Return (H, W) labels upright: turned by the photo's EXIF orientation if they were drawn on its stored pixels.

    They keep their resolution: half the photo's size is fine, another aspect ratio is not.

    Args:
        labels: (H, W) as stored.
        photo: upright, with the EXIF orientation that was applied to it.
        name: of the label image, for errors.

    Raises:
        LabelError: the labels fit neither the stored nor the upright photo, or the photo was turned and they fit both.
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
            f"{photo.name} is turned by its EXIF orientation {photo.orientation}, and {name} fits the photo both as"
            " stored and upright, so it is unclear on which of the two the labels were drawn. Save the photo upright"
            " (with Pillow's `ImageOps.exif_transpose`), and the labels to match."
        )
    if not (fits_stored or fits_upright):
        raise LabelError(
            f"{_measures(name, size, photo)}, {stored[0]}×{stored[1]} before its EXIF orientation {photo.orientation}"
            f" turned it. {_advice(size, photo.full_size)}"
        )
    if fits_upright:
        return labels
    return np.ascontiguousarray(np.asarray(Image.fromarray(labels).transpose(UPRIGHT_TRANSPOSITION[photo.orientation])))


def _agree(size: Size, wanted: Size) -> bool:
    """Whether both sizes have the same aspect ratio, up to rounding and `SLACK`."""
    width, height = size
    due = width * wanted[1] / wanted[0]
    return abs(height - due) <= max(1.0, SLACK * due)


def _measures(name: str, size: Size, photo: Photo) -> str:
    width, height = photo.full_size
    return f"{name} measures {size[0]}×{size[1]} pixels and its photo {width}×{height}"


def _advice(size: Size, wanted: Size) -> str:
    if _agree((size[1], size[0]), wanted):
        return "Width and height are swapped: rotate the label image by 90 degrees, the way its photo was rotated."
    return "Labels must have the photo's aspect ratio: crop or pad them as the photo was."
