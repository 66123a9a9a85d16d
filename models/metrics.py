"""Metrics of a prediction against ground truth: confusion matrix, IoU, calibration. Pure functions that need only numpy.

The confusion matrix is summed over all images of a split, and the IoU is computed once from the sum. The mean of per-image
IoUs is a different, usually higher number and is never called mIoU here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

CALIBRATION_BINS: Final = 15
"""Equal-width confidence bins of the expected calibration error (Guo et al., ICML 2017)."""

RUN_LENGTH: Final = 8
"""Mean length, in pixels, of runs of equal pairs above which counting runs is faster than counting pixels."""

STRIP: Final = 1 << 16
"""Pixels whose calibration is counted at a time: what is made of them on the way fits into a processor's cache."""


def confusion_matrix(labels: NDArray[np.uint8], predictions: NDArray[np.uint8], count: int) -> NDArray[np.int64]:
    """Count pixels per (true class, predicted class).

    Args:
        labels: uint8 ground truth of any shape; pixels with values outside 0..count-1 are not counted.
        predictions: uint8 of the same shape, in 0..count-1 wherever the label is counted.
        count: number of classes.

    Returns:
        (count, count) int64; rows are true classes, columns predicted ones.

    Raises:
        ValueError: the shapes differ, a dtype is not uint8, or a counted pixel has a prediction outside the classes.
    """
    if labels.shape != predictions.shape:
        raise ValueError(f"labels have shape {labels.shape}, predictions {predictions.shape}; they must match")
    if labels.dtype != np.uint8 or predictions.dtype != np.uint8:
        raise ValueError(f"labels have type {labels.dtype}, predictions {predictions.dtype}; both must be uint8")
    pairs = labels.astype(np.uint16).ravel()
    pairs <<= 8
    pairs |= predictions.ravel()
    scored = _occurrences(pairs).reshape(256, 256)[:count]
    foreign = np.flatnonzero(scored[:, count:].any(axis=0))
    if foreign.size:
        raise ValueError(f"a prediction of {count + foreign[-1]} was found; classes are 0 to {count - 1}")
    return scored[:, :count].copy()


def _occurrences(values: NDArray[np.uint16]) -> NDArray[np.int64]:
    """Count how often each value occurs: (N,) -> (65536,).

    Neighbouring pixels mostly agree, so counting runs takes a fraction of the time of counting pixels.
    """
    changes = values[1:] != values[:-1]
    runs = int(np.count_nonzero(changes)) + 1
    if runs > values.size // RUN_LENGTH:
        return np.bincount(values, minlength=1 << 16)
    ends = np.append(np.flatnonzero(changes), values.size - 1)
    lengths = np.diff(ends, prepend=-1)
    # Weighted counts are float64, which is exact for whole numbers up to 2^53.
    return np.bincount(values[ends], weights=lengths, minlength=1 << 16).astype(np.int64)


def iou_per_class(confusion: NDArray[np.int64]) -> NDArray[np.float64]:
    """(C, C) confusion -> (C,) intersection over union in [0,1]; NaN for a class in neither truth nor prediction.

    An optional last column, (C, C + 1), counts pixels without a prediction.
    """
    hits = np.diag(confusion).astype(np.float64)
    union = confusion[:, : len(confusion)].sum(axis=0) + confusion.sum(axis=1) - np.diag(confusion)
    return np.divide(hits, union, out=np.full(hits.shape, np.nan), where=union > 0)


def pixel_accuracy(confusion: NDArray[np.int64]) -> float:
    """(C, C) confusion -> share of scored pixels predicted correctly, in [0,1]; NaN if no pixel is scored."""
    total = confusion.sum()
    return float(np.trace(confusion) / total) if total else float("nan")


def mean_iou(iou: NDArray[np.float64]) -> float:
    """(C,) IoU per class -> unweighted mean over the classes that are not NaN; NaN if all are."""
    present = iou[~np.isnan(iou)]
    return float(present.mean()) if present.size else float("nan")


@dataclass
class Calibration:
    """Reliability diagram, accumulated image by image; the confidence is the predicted class's probability.

    Attributes:
        counts: (bins,) scored pixels per confidence bin.
        confidence: (bins,) sum of their confidence.
        correct: (bins,) how many of them are predicted correctly.
    """

    counts: NDArray[np.float64] = field(default_factory=lambda: np.zeros(CALIBRATION_BINS))
    confidence: NDArray[np.float64] = field(default_factory=lambda: np.zeros(CALIBRATION_BINS))
    correct: NDArray[np.float64] = field(default_factory=lambda: np.zeros(CALIBRATION_BINS))

    def update(
        self, labels: NDArray[np.uint8], predictions: NDArray[np.uint8], confidence: NDArray[np.float32], count: int
    ) -> None:
        """Add one image: three arrays of one shape, confidence in [0,1]; pixels with labels >= count are not scored."""
        bins = len(self.counts)
        wrong = bins + 1  # the right ones come first, then the wrong ones, each with a bin for what is not scored
        flat = labels.ravel(), predictions.ravel(), confidence.ravel()
        for start in range(0, labels.size, STRIP):
            truth, said, confident = (values[start : start + STRIP] for values in flat)
            confident = confident.astype(np.float64)
            # Bins are (0, 1/n], (1/n, 2/n], ... as in Guo et al.; a confidence of 0 joins the first.
            # NaN joins it too, and makes the error NaN.
            place = np.fmin(np.fmax(np.ceil(confident * bins) - 1, 0), bins - 1).astype(np.intp)
            place[truth >= count] = bins
            place += wrong * (truth != said)
            pixels = np.bincount(place, minlength=2 * wrong).reshape(2, -1)[:, :bins]
            sums = np.bincount(place, weights=confident, minlength=2 * wrong).reshape(2, -1)[:, :bins]
            self.add(pixels, sums.sum(axis=0))

    def add(self, pixels: NDArray[np.int64], confidence: NDArray[np.float64]) -> None:
        """Add (2, bins) pixels, those that are predicted correctly first, and (bins,) sums of their confidence."""
        self.counts += pixels.sum(axis=0)
        self.confidence += confidence
        self.correct += pixels[0]

    @property
    def error(self) -> float:
        """Expected calibration error in [0,1]: mean gap between confidence and accuracy, weighted by pixels."""
        total = self.counts.sum()
        return float(np.abs(self.confidence - self.correct).sum() / total) if total else float("nan")
