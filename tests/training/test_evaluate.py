"""Evaluation reads one sample ahead of the network, in order, and not after it was stopped; compiled code scores alike."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
import pytest

from sim2street.models.compiled_code import compiled_code
from sim2street.models.errors import LabelError
from sim2street.models.label_space import IGNORE, LabelSpace
from sim2street.models.labels import CAMVID11, CITYSCAPES19, IDD_LITE7, SYNTHIA13
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


@pytest.mark.parametrize("labelled", [CITYSCAPES19, CAMVID11, SYNTHIA13, IDD_LITE7])
def test_compiled_code_scores_as_numpy_does(labelled: LabelSpace, monkeypatch: pytest.MonkeyPatch) -> None:
    if compiled_code() is None:
        pytest.skip("needs .[fast]")
    reports = []
    for code in (compiled_code(), None):
        monkeypatch.setattr("sim2street.training.evaluate.compiled_code", lambda code=code: code)
        generator = np.random.default_rng(0)
        tally = ScoreAccumulator(CITYSCAPES19, labelled)
        for shape in ((40, 70), (31, 50)):
            labels = generator.choice(np.array([*range(labelled.count), IGNORE], np.uint8), shape)
            predicted = generator.choice(np.array([*range(tally.space.count), IGNORE], np.uint8), shape)
            predicted = np.where(generator.random(shape) < 0.5, tally.space.relabel(labels, labelled), predicted)
            confidence = generator.choice(np.linspace(0, 1, 61, dtype=np.float32), shape)  # edges of bins among them
            tally.add(labels, predicted, confidence)
        reports.append(tally.report(0.1))
        with pytest.raises(ValueError, match="must match"):
            tally.add(labels, predicted[1:], confidence)
        with pytest.raises(ValueError, match="classes are 0 to"):
            tally.add(labels, np.full(shape, 200, np.uint8), confidence)
        tally.add(labels, predicted, np.full(shape, np.nan, np.float32))
        assert tally.report(0.1).ece is None
    quick, plain = reports
    assert 0.2 < quick.miou < 0.8
    assert quick.ece == pytest.approx(plain.ece, rel=1e-12)
    assert replace(quick, ece=None) == replace(plain, ece=None)


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
