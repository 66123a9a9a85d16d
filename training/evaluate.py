"""Evaluate a predictor on a labelled data set.

One confusion matrix is summed over all images, at the size of the ground truth. If the ground truth has coarser classes
(CamVid), the network's probabilities are summed over the classes that each merges; if it has a subset (SYNTHIA's 16 or 13),
the mean is taken over that subset. Ground truth that is finer than the network's classes is merged into them.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sim2street.models.compiled_code import compiled_code
from sim2street.models.errors import DatasetError, LabelError
from sim2street.models.label_space import IGNORE, LabelSpace
from sim2street.models.labels import CITYSCAPES17, CITYSCAPES19, SYNTHIA13, SYNTHIA16, common_space
from sim2street.models.metrics import CALIBRATION_BINS, Calibration, confusion_matrix, iou_per_class, mean_iou
from sim2street.models.predictor import Predictor
from sim2street.training.datasets.base import Sample, SegmentationDataset
from sim2street.training.external_predictions import Faults, PredictionFolder

SUBSETS: Final = {space.name: space for space in (SYNTHIA16, SYNTHIA13, CITYSCAPES17)}
"""Subsets of Cityscapes' 19 classes over which results are published."""


@dataclass(frozen=True)
class Report:
    """Scores of one checkpoint on one split.

    Attributes:
        miou: mean IoU in [0,1] over the classes that occur in truth or prediction; None if nothing was labelled.
        iou_per_class: class name -> IoU in [0,1]; None for a class in neither truth nor prediction.
        label_space: name of the label space of the scores.
        images: number of images scored.
        ece: expected calibration error in [0,1] of the predicted class over labelled pixels, with 15 bins; None if only
            labels are known.
        seconds_per_image: wall-clock time from decoded photo to labels and confidence, without loading the network; None
            for predictions made elsewhere.
        weights_sha256: hash of the evaluated weights; empty for a network in training.
    """

    miou: float | None
    iou_per_class: dict[str, float | None]
    label_space: str
    images: int
    ece: float | None
    seconds_per_image: float | None
    weights_sha256: str = ""

    def over(self, space: LabelSpace) -> Report:
        """Restrict the scores to a subset of the classes, as is usual for SYNTHIA's 16 and 13 of the 19.

        The IoU of each class and the calibration error stay those over all labelled pixels.

        Raises:
            LabelError: a class of `space` is not in this report.
        """
        foreign = [name for name in space.names if name not in self.iou_per_class]
        if foreign:
            raise LabelError(
                f"{space.name} has the classes {', '.join(foreign[:3])}, which are not in {self.label_space}, the label"
                f" space of these scores; {', '.join(SUBSETS)} are subsets of {CITYSCAPES19.name}."
            )
        iou = {name: self.iou_per_class[name] for name in space.names}
        occurring = [value for value in iou.values() if value is not None]
        miou = sum(occurring) / len(occurring) if occurring else None
        return replace(self, miou=miou, iou_per_class=iou, label_space=space.name)

    def to_json(self) -> dict[str, Any]:
        """Plain values for `json.dumps`."""
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
        predictor: predictor of a network whose classes can be compared with the data set's, see `scored_space`.
        dataset: a labelled data set.
        weights_sha256: recorded in the report.
        progress: called with images done and images in all.

    Raises:
        DatasetError: the data set is empty.
        PhotoError: a photo cannot be read.
        LabelError: a label image cannot be read, or the classes of network and data set cannot be compared.
    """
    if not len(dataset):
        raise DatasetError(f"{dataset.describe()} contains no images to score.")
    tally = ScoreAccumulator(predictor.segmenter.labels, dataset.labels)
    seconds = 0.0
    with contextlib.closing(_read_ahead(dataset)) as samples:
        for done, sample in enumerate(samples, start=1):
            scored = predictor(sample.photo, tally.space, with_entropy=False)
            seconds += scored.seconds
            tally.add(sample.labels, scored.labels, scored.confidence)
            if progress is not None:
                progress(done, len(dataset))
    return tally.report(seconds / len(dataset), weights_sha256)


def _read_ahead(dataset: SegmentationDataset) -> Generator[Sample, None, None]:
    """All samples in order; while one is used, a thread reads the next, so that the network need not wait for files."""
    with ThreadPoolExecutor(1) as thread:
        coming = thread.submit(dataset.read, 0)
        for following in range(1, len(dataset) + 1):
            sample = coming.result()
            if following < len(dataset):
                coming = thread.submit(dataset.read, following)
            yield sample


def evaluate_predictions(
    folder: PredictionFolder, *, incomplete: bool = False, progress: Callable[[int, int], None] | None = None
) -> tuple[Report, Faults]:
    """Score predictions that were made elsewhere.

    Args:
        folder: predictions for a labelled set.
        incomplete: whether to score the usable predictions if some are missing or unusable.
        progress: called with images done and images in all.

    Returns:
        The scores, and the predictions that are missing or unusable.

    Raises:
        DatasetError: a prediction is missing or unusable and `incomplete` is not set, or none is usable.
        LabelError: the classes of predictions and data set cannot be compared.
    """
    dataset = folder.dataset
    folder.check()
    tally, faults = ScoreAccumulator(folder.space, dataset.labels), Faults()
    for index in range(len(dataset)):
        sample = dataset.read(index)
        height, width = sample.labels.shape
        answer = folder.read(dataset.keys[index], (width, height), tally.space, faults)
        if answer is not None:
            tally.add(sample.labels, answer.labels, answer.confidence)
        if progress is not None:
            progress(index + 1, len(dataset))
    if not tally.images or (faults.found and not incomplete):
        raise DatasetError(
            f"{folder.root} was not scored, because not all of the {len(dataset)} photos have a usable prediction:"
            f" {'. '.join(faults.describe())}. {'' if not tally.images else '--incomplete scores the usable ones.'}"
        )
    return tally.report(None), faults


class ScoreAccumulator:
    """Accumulates the confusion matrix and the calibration of one network or folder of predictions over a labelled set.

    Args:
        predicted: the predicted classes.
        labelled: the classes of the ground truth.

    Attributes:
        space: the classes in which both are compared, see `scored_space`.
        images: number of images added.

    Raises:
        LabelError: the two cannot be compared.
    """

    def __init__(self, predicted: LabelSpace, labelled: LabelSpace) -> None:
        self.space = scored_space(predicted, labelled)
        self.labelled = labelled
        self.images = 0
        self._code = compiled_code()  # loaded now, so that the first photo is computed as all others are
        self._truth = self.space.relabel(np.arange(256, dtype=np.uint8), labelled)  # of every value in a label image
        self._truth[np.isin(self._truth, unreachable(predicted, self.space))] = IGNORE
        self._confusion = np.zeros((self.space.count, self.space.count + 1), np.int64)
        self._calibration: Calibration | None = Calibration()

    def add(
        self, labels: NDArray[np.uint8], predicted: NDArray[np.uint8], confidence: NDArray[np.float32] | None
    ) -> None:
        """Add one image.

        Args:
            labels: (H, W) uint8 ground truth in the data set's classes.
            predicted: (H, W) uint8 predictions in `space`; 255 where nothing was predicted, which counts as wrong.
            confidence: (H, W) in [0,1], or None.

        Raises:
            ValueError: the shapes differ, or a prediction is outside the classes.
        """
        count, code = self.space.count, self._code
        if confidence is None:
            self._calibration = None
        if code is None or confidence is None or self._calibration is None:
            truth = np.take(self._truth, labels)
            predicted = np.where(predicted == IGNORE, np.uint8(count), predicted)
            self._confusion += confusion_matrix(truth, predicted, count + 1)[:count]
            if confidence is not None and self._calibration is not None:
                self._calibration.update(truth, predicted, confidence, count)
        else:
            pairs, pixels, sums = code.count(labels, predicted, confidence, self._truth, count, CALIBRATION_BINS)
            foreign = np.flatnonzero(pairs[:, count:IGNORE].any(axis=0))
            if foreign.size:
                raise ValueError(f"a prediction of {count + foreign[0]} was found; classes are 0 to {count - 1}")
            self._confusion += np.column_stack([pairs[:, :count], pairs[:, IGNORE]])
            self._calibration.add(pixels, sums)
        self.images += 1

    def report(self, seconds_per_image: float | None, weights_sha256: str = "") -> Report:
        """The scores over all images added."""
        iou = iou_per_class(self._confusion)
        report = Report(
            miou=_number(mean_iou(iou)),
            iou_per_class={name: _number(value) for name, value in zip(self.space.names, iou.tolist(), strict=True)},
            label_space=self.space.name,
            images=self.images,
            ece=None if self._calibration is None else _number(self._calibration.error),
            seconds_per_image=seconds_per_image,
            weights_sha256=weights_sha256,
        )
        return report.over(self.labelled) if self.labelled.is_part_of(self.space) else report


def scored_space(predicted: LabelSpace, labelled: LabelSpace) -> LabelSpace:
    """The space in which predictions are scored against ground truth.

    The first that applies: the predicted space, if the ground truth's classes are a subset of it; the ground truth's, if
    the predicted classes can be merged into it; the predicted space, if the ground truth can be merged into it; the finest
    of the project's spaces into which both can be merged.

    Raises:
        LabelError: there is no such space.
    """
    if labelled.is_part_of(predicted):
        return predicted
    if labelled.members_in(predicted) is not None:
        return labelled
    if predicted.members_in(labelled) is not None:
        return predicted
    common = common_space((predicted, labelled))
    if common is None:
        labelled.require_members(predicted)  # raises an error that says how to define a mapping
    assert common is not None
    return common


def unreachable(predicted: LabelSpace, scored: LabelSpace) -> list[int]:
    """Labels in `scored` to which no predicted class is mapped, such as comma10k's lane markings; they are not scored."""
    if scored.is_part_of(predicted):
        return []
    return [label for label, group in enumerate(scored.require_members(predicted)) if not group]


def _number(value: float) -> float | None:
    """Convert NaN, which JSON does not have, to None."""
    return None if math.isnan(value) else float(value)
