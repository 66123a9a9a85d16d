"""Evaluation reads one sample ahead of the network, in order, and not after it was stopped."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from sim2street.models.errors import LabelError
from sim2street.models.labels import CITYSCAPES19
from sim2street.models.networks import build
from sim2street.models.predictor import Predictor
from sim2street.training.datasets.base import Sample, SegmentationDataset
from sim2street.training.evaluate import ScoreAccumulator, evaluate
from tests.models.test_deeplab_v2 import SLIM


class Noise(SegmentationDataset):
    """Photos of noise; remembers which were read."""

    name = "noise"
    labels = CITYSCAPES19

    def __init__(self, damaged: int | None = None) -> None:
        self.keys = tuple(str(index) for index in range(4))
        self.damaged = damaged
        self.asked: list[int] = []

    def read(self, index: int) -> Sample:
        self.asked.append(index)
        if index == self.damaged:
            raise LabelError(f"{index} is damaged")
        generator = np.random.default_rng(index)
        photo = generator.integers(0, 256, (48, 64 + index, 3), np.uint8)
        return Sample(photo, generator.integers(0, 19, photo.shape[:2], np.uint8), self.keys[index])

    def read_photo(self, index: int) -> np.ndarray:
        return self.read(index).photo

    def read_labels(self, index: int) -> np.ndarray:
        return self.read(index).labels

    @property
    def slug(self) -> str:
        return self.name

    def fingerprint(self) -> str:
        return self.name

    def describe(self) -> str:
        return self.name


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return Predictor(build("deeplab_v2", options=SLIM), device="cpu")


def test_scores_are_those_of_one_photo_after_the_other(predictor: Predictor) -> None:
    dataset, tally = Noise(), ScoreAccumulator(CITYSCAPES19, CITYSCAPES19)
    for index in range(len(dataset)):
        sample = dataset.read(index)
        predicted = predictor(sample.photo)
        tally.add(sample.labels, predicted.labels, predicted.confidence)
    dataset.asked.clear()
    done: list[int] = []
    report = evaluate(predictor, dataset, progress=lambda count, _: done.append(count))
    expected = tally.report(report.seconds_per_image)
    assert report == expected
    assert (dataset.asked, done) == ([0, 1, 2, 3], [1, 2, 3, 4])


def test_a_sample_that_cannot_be_read_stops_when_its_turn_comes(predictor: Predictor) -> None:
    done: list[int] = []
    with pytest.raises(LabelError, match="2 is damaged"):
        evaluate(predictor, Noise(damaged=2), progress=lambda count, _: done.append(count))
    assert done == [1, 2]


def test_nothing_is_read_after_a_stop(predictor: Predictor) -> None:
    def stop(_done: int, _total: int) -> None:
        raise KeyboardInterrupt

    dataset, before = Noise(), threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        evaluate(predictor, dataset, progress=stop)
    assert dataset.asked == [0, 1]
    assert threading.active_count() == before
