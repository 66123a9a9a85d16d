"""Figures of a prediction against ground truth: confusion matrix, IoU, calibration. Pure, numpy only.

One confusion matrix is summed over all images of a split and the IoU is taken once from it; a mean of per-image
IoUs is a different, kinder number and is never called mIoU here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

CALIBRATION_BINS: Final = 15
"""Equal-width confidence bins of the expected calibration error (Guo et al., ICML 2017)."""


def confusion_matrix(labels: NDArray[np.uint8], predictions: NDArray[np.uint8], count: int) -> NDArray[np.int64]:
    """Count pixels per (true class, predicted class).

    Args:
        labels: ground truth of any shape; values outside 0..count-1 are not counted.
        predictions: same shape. Values outside 0..count-1 raise.
        count: number of classes.

    Returns:
        (count, count) int64, rows truth, columns prediction.

    Raises:
        ValueError: shapes differ or a scored pixel carries a prediction outside the classes.
    """
    if labels.shape != predictions.shape:
        raise ValueError(f"labels have shape {labels.shape}, predictions {predictions.shape}; they must match")
    scored = labels < count
    truth = labels[scored].astype(np.int64)
    predicted = predictions[scored].astype(np.int64)
    if predicted.size and predicted.max() >= count:
        raise ValueError(f"a prediction of {predicted.max()} was found; classes are 0 to {count - 1}")
    return np.bincount(truth * count + predicted, minlength=count * count).reshape(count, count)


def iou_per_class(confusion: NDArray[np.int64]) -> NDArray[np.float64]:
    """(C, C) confusion -> (C,) intersection over union in [0,1]; NaN for a class in neither truth nor prediction."""
    hits = np.diag(confusion).astype(np.float64)
    union = confusion.sum(axis=0) + confusion.sum(axis=1) - np.diag(confusion)
    return np.divide(hits, union, out=np.full(hits.shape, np.nan), where=union > 0)


def class_accuracy(confusion: NDArray[np.int64]) -> NDArray[np.float64]:
    """(C, C) confusion -> (C,) recall in [0,1]; NaN for a class that is not in the truth."""
    truth = confusion.sum(axis=1)
    return np.divide(np.diag(confusion), truth, out=np.full(truth.shape, np.nan), where=truth > 0)


def pixel_accuracy(confusion: NDArray[np.int64]) -> float:
    """Share of scored pixels that are right; NaN where none is scored."""
    total = confusion.sum()
    return float(np.trace(confusion) / total) if total else float("nan")


def mean_iou(iou: NDArray[np.float64]) -> float:
    """Plain mean over the classes that are not NaN; NaN if all are."""
    present = iou[~np.isnan(iou)]
    return float(present.mean()) if present.size else float("nan")


@dataclass
class Calibration:
    """Running reliability diagram of the predicted class's probability.

    Attributes:
        counts: (bins,) scored pixels per confidence bin.
        confidence: (bins,) sum of their confidence.
        correct: (bins,) how many of them are right.
    """

    counts: NDArray[np.float64] = field(default_factory=lambda: np.zeros(CALIBRATION_BINS))
    confidence: NDArray[np.float64] = field(default_factory=lambda: np.zeros(CALIBRATION_BINS))
    correct: NDArray[np.float64] = field(default_factory=lambda: np.zeros(CALIBRATION_BINS))

    def update(
        self, labels: NDArray[np.uint8], predictions: NDArray[np.uint8], confidence: NDArray[np.float32], count: int
    ) -> None:
        """Add one image; all three of one shape, confidence in [0,1], pixels with labels >= count unscored."""
        scored = labels < count
        confident = confidence[scored].astype(np.float64)
        # Bins are (0, 1/n], (1/n, 2/n], ... as in the original; a confidence of 0 joins the first.
        place = np.clip(np.ceil(confident * len(self.counts)).astype(np.int64) - 1, 0, len(self.counts) - 1)
        bins = len(self.counts)
        self.counts += np.bincount(place, minlength=bins)
        self.confidence += np.bincount(place, weights=confident, minlength=bins)
        right = (labels[scored] == predictions[scored]).astype(np.float64)
        self.correct += np.bincount(place, weights=right, minlength=bins)

    @property
    def error(self) -> float:
        """Expected calibration error in [0,1]: mean gap of confidence and accuracy, weighted by pixels."""
        total = self.counts.sum()
        return float(np.abs(self.confidence - self.correct).sum() / total) if total else float("nan")
