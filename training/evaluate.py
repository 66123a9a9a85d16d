"""Evaluate: a predictor over a labelled data set -> Report.

One confusion matrix over all images, at the size of the ground truth. A 19-class network is scored on merged classes
(CamVid) through summed probabilities, on a subset (SYNTHIA) within the 19.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from models.errors import DatasetError
from models.metrics import Calibration, confusion_matrix, iou_per_class, mean_iou
from models.predictor import Predictor
from training.datasets.base import SegmentationDataset


@dataclass(frozen=True)
class Report:
    """Figures of one checkpoint on one split.

    Attributes:
        miou: mean IoU in [0,1] over the classes that occur in truth or prediction; None if nothing was labelled.
        iou_per_class: by class name, None for a class in neither.
        label_space: in which the figures hold.
        images: how many were scored.
        ece: expected calibration error in [0,1], 15 bins, top label, labelled pixels.
        seconds_per_image: wall clock, from decoded photo to probabilities, without loading the network.
        weights_sha256: of the file that was evaluated, empty for a network in training.
    """

    miou: float | None
    iou_per_class: dict[str, float | None]
    label_space: str
    images: int
    ece: float | None
    seconds_per_image: float
    weights_sha256: str = ""

    def to_json(self) -> dict[str, Any]:
        """Plain values, ready for `json.dumps`."""
        return asdict(self)


def evaluate(
    predictor: Predictor,
    dataset: SegmentationDataset,
    *,
    weights_sha256: str = "",
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Score every image of `dataset`.

    Args:
        predictor: of a network that predicts Cityscapes' 19 classes, or the data set's own.
        dataset: labelled.
        weights_sha256: recorded in the report.
        progress: called with images done and images in all.

    Raises:
        DatasetError: the data set is empty.
        PhotoError, LabelError: an image of it cannot be read.
    """
    if not len(dataset):
        raise DatasetError(f"{dataset.describe()} holds no images to score.")
    space = dataset.labels
    inner = space if space.is_merged else predictor.segmenter.labels
    confusion = np.zeros((inner.count, inner.count), np.int64)
    calibration = Calibration()
    seconds = 0.0
    for index in range(len(dataset)):
        sample = dataset.read(index)
        prediction = predictor(sample.photo)
        seconds += prediction.seconds
        scored = prediction.in_space(space)
        labels = sample.labels
        if inner.name != space.name:  # a subset: its labels as Cityscapes' 19
            table = np.full(256, space.ignore_index, np.uint8)
            table[: space.count] = [group[0] for group in space.members]
            labels = table[labels]
        confusion += confusion_matrix(labels, scored.labels, inner.count)
        calibration.update(labels, scored.labels, scored.confidence, inner.count)
        if progress is not None:
            progress(index + 1, len(dataset))
    iou = iou_per_class(confusion)
    if inner.name != space.name:
        iou = iou[[group[0] for group in space.members]]
    return Report(
        miou=_number(mean_iou(iou)),
        iou_per_class={name: _number(value) for name, value in zip(space.names, iou.tolist(), strict=True)},
        label_space=space.name,
        images=len(dataset),
        ece=_number(calibration.error),
        seconds_per_image=seconds / len(dataset),
        weights_sha256=weights_sha256,
    )


def _number(value: float) -> float | None:
    """NaN, which JSON does not know, becomes None: absent rather than zero."""
    return None if math.isnan(value) else float(value)
