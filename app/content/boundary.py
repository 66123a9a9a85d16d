"""Boundary IoU: how well a prediction follows the outline of each class; plain IoU mostly measures areas.

Cheng et al., CVPR 2021, arXiv:2103.16562. Only the pixels of a class near its outline are compared, in truth and prediction:
those within `BAND` times the picture's diagonal. Imports no UI library.
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

BAND: Final = 0.02
"""Width of the band as a share of the diagonal; the authors' choice."""


def band_width(shape: tuple[int, ...]) -> int:
    """Width of the band in pixels for a picture of shape (H, W), at least 1."""
    return max(1, round(BAND * float(np.hypot(shape[0], shape[1]))))


def boundary_counts(truth: NDArray[np.uint8], predicted: NDArray[np.uint8], count: int) -> NDArray[np.int64]:
    """Count the pixels in the intersection and in the union of the bands of truth and prediction, for each class.

    Args:
        truth: (H, W) classes; pixels with values >= `count` are not scored.
        predicted: (H, W) classes.
        count: number of classes.

    Returns:
        (2, C) intersection and union; the ratio of their sums over all pictures is the boundary IoU.
    """
    scored = truth < count
    counts = np.zeros((2, count), np.int64)
    for value in np.union1d(truth[scored], predicted[scored]):
        true_band, predicted_band = (_band((labels == value) & scored) for labels in (truth, predicted))
        counts[:, value] = (true_band & predicted_band).sum(), (true_band | predicted_band).sum()
    return counts


def boundary_iou(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """(2, C) `boundary_counts` -> (C,) in [0,1]; NaN for a class in neither truth nor prediction."""
    return np.divide(counts[0], counts[1], out=np.full(counts.shape[1], np.nan), where=counts[1] > 0)


def _band(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The pixels of a mask near its outline, which includes the picture's edge, as in the authors' code."""
    width = band_width(mask.shape)
    padded = np.pad(mask.astype(np.uint8), 1)
    inner = cv2.erode(padded, np.ones((2 * width + 1, 2 * width + 1), np.uint8), borderValue=0)
    return mask & ~inner[1:-1, 1:-1].astype(bool)
