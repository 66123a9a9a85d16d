"""Evaluate: a predictor over a labelled data set -> Report.

One confusion matrix over all images, at the size of the ground truth. A 19-class network is scored on merged classes
(CamVid) through summed probabilities; over a subset (SYNTHIA's 16 or 13) its figures are means of those of the 19.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

import numpy as np

from sim2street.models.errors import DatasetError, LabelError
from sim2street.models.labels import CITYSCAPES17, CITYSCAPES19, SYNTHIA13, SYNTHIA16, LabelSpace
from sim2street.models.metrics import Calibration, confusion_matrix, iou_per_class, mean_iou
from sim2street.models.predictor import Predictor
from sim2street.training.datasets.base import SegmentationDataset

SUBSETS: Final = {space.name: space for space in (SYNTHIA16, SYNTHIA13, CITYSCAPES17)}
"""Parts of Cityscapes' 19 classes over which figures are published."""


@dataclass(frozen=True)
class Report:
    """Figures of one checkpoint on one split.

    Attributes:
        miou: mean IoU in [0,1] over the classes that occur in truth or prediction; None if nothing was labelled.
        iou_per_class: by class name, None for a class in neither.
        label_space: in which the figures hold.
        images: how many were scored.
        ece: expected calibration error in [0,1], 15 bins, top label, labelled pixels.
        seconds_per_image: wall clock, from decoded photo to labels and confidence, without loading the network.
        weights_sha256: of the file that was evaluated, empty for a network in training.
    """

    miou: float | None
    iou_per_class: dict[str, float | None]
    label_space: str
    images: int
    ece: float | None
    seconds_per_image: float
    weights_sha256: str = ""

    def over(self, space: LabelSpace) -> Report:
        """The same figures over some of the classes, as SYNTHIA's 16 and 13 are counted: out of one matrix of all 19.

        The calibration stays that of all labelled pixels.

        Raises:
            LabelError: a class of `space` has no figure here.
        """
        foreign = [name for name in space.names if name not in self.iou_per_class]
        if foreign:
            raise LabelError(
                f"Scores on {self.label_space} say nothing of {', '.join(foreign[:3])}, which {space.name} has;"
                f" {', '.join(SUBSETS)} are parts of {CITYSCAPES19.name}."
            )
        iou = {name: self.iou_per_class[name] for name in space.names}
        occurring = [value for value in iou.values() if value is not None]
        miou = sum(occurring) / len(occurring) if occurring else None
        return replace(self, miou=miou, iou_per_class=iou, label_space=space.name)

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
    confusion = np.zeros((space.count, space.count), np.int64)
    calibration = Calibration()
    seconds = 0.0
    for index in range(len(dataset)):
        sample = dataset.read(index)
        scored = predictor(sample.photo, space)
        seconds += scored.seconds
        confusion += confusion_matrix(sample.labels, scored.labels, space.count)
        calibration.update(sample.labels, scored.labels, scored.confidence, space.count)
        if progress is not None:
            progress(index + 1, len(dataset))
    iou = iou_per_class(confusion)
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
