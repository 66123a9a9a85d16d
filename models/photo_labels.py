"""Read the label image of a photo by a chosen numbering, at the photo's size."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sim2street.models.alignment import aligned
from sim2street.models.labels import IGNORE
from sim2street.models.numbering import MisnumberedError, Numbering, NumberingMismatch, find_mismatch
from sim2street.models.photo import Photo, read_label_image


@dataclass(frozen=True, eq=False)
class PhotoLabels:
    """The ground truth of a photo.

    Attributes:
        labels: (H, W) uint8 of the photo's size, in the numbering's label space; 255 for pixels without a class.
        mismatch: signs that the file uses another numbering, or None.
    """

    labels: NDArray[np.uint8]
    mismatch: NumberingMismatch | None


def read_photo_labels(photo: Photo, data: bytes, numbering: Numbering, *, name: str) -> PhotoLabels:
    """Read the label image of a photo that may have been shrunk.

    Raises:
        PhotoError: it cannot be read as a picture.
        MisnumberedError: it contains values that the numbering does not have, or no pixel has a class in it.
        LabelError: it does not contain labels, or does not fit the photo.
    """
    stored = aligned(read_label_image(data, name=name), photo, name=name)
    labels = numbering.read(stored, name=name)
    counts = np.bincount(stored.ravel(), minlength=256)
    if (labels.shape[1], labels.shape[0]) != photo.size:
        labels = np.asarray(Image.fromarray(labels).resize(photo.size, Image.Resampling.NEAREST))
    if (labels == IGNORE).all():
        raise MisnumberedError(numbering, counts, [], name)
    return PhotoLabels(labels, find_mismatch(counts, numbering))
