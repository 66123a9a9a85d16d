"""Class counts, their cache, and rare class sampling against numbers of the published code."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from sim2street.models.errors import ConfigError, DatasetError
from sim2street.models.labels import CAMVID11, CITYSCAPES19, LabelSpace
from sim2street.training.datasets.base import SegmentationDataset
from sim2street.training.datasets.rendered import StreetScenes
from sim2street.training.datasets.statistics import (
    ClassStatistics,
    LogInverseSampler,
    RareClassSampler,
    RareClassSampling,
    class_statistics,
    rare_class_probabilities,
)

PUBLISHED = json.loads((Path(__file__).parents[2] / "vectors" / "daformer_ops.json").read_text())["rcs"]


class Drawn(SegmentationDataset):
    """Labels handed over as arrays; counts how often they are read."""

    name = "drawn"

    def __init__(self, *labels: np.ndarray, space: LabelSpace = CITYSCAPES19, labelled: bool = True) -> None:
        self.arrays = [np.asarray(image, np.uint8) for image in labels]
        self.keys = tuple(f"{index}" for index in range(len(labels)))
        self.labels = space
        self.labelled = labelled
        self.reads = 0

    @property
    def slug(self) -> str:
        return "drawn/set"

    def read_photo(self, index: int) -> np.ndarray:
        raise AssertionError("counting classes needs no photo")

    def read_labels(self, index: int) -> np.ndarray:
        self.reads += 1
        return self.arrays[index]

    def fingerprint(self) -> str:
        return f"{hash(b''.join(array.tobytes() for array in self.arrays)) & 0xFFFFFFFF:08x}"

    def describe(self) -> str:
        return "a drawn set"


def published_statistics() -> ClassStatistics:
    counts = np.zeros((len(PUBLISHED["table"]), 19), np.int64)
    for row, entries in zip(counts, PUBLISHED["table"].values(), strict=True):
        for label, pixels in entries.items():
            row[int(label)] = pixels
    return ClassStatistics(counts, tuple(PUBLISHED["table"]))


@pytest.fixture
def sampler() -> RareClassSampler:
    return RareClassSampler(published_statistics(), RareClassSampling())


def test_pixels_are_counted_per_picture_and_ignored_ones_are_not(tmp_path):
    drawn = Drawn([[0, 0, 18], [255, 1, 0]], [[255, 255]])
    statistics = class_statistics(drawn, folder=tmp_path)
    assert statistics.counts.dtype == np.int64
    assert statistics.counts.shape == (2, 19)
    assert statistics.counts[0].nonzero()[0].tolist() == [0, 1, 18]
    assert statistics.counts[0, [0, 1, 18]].tolist() == [3, 1, 1]
    assert statistics.counts[1].sum() == 0
    assert statistics.frequencies[[0, 1, 18]].tolist() == [0.6, 0.2, 0.2]


def test_classes_of_another_space_are_counted_in_it(tmp_path):
    statistics = class_statistics(Drawn([[10, 255]], space=CAMVID11), folder=tmp_path)
    assert statistics.counts.tolist() == [[0] * 10 + [1]]


def test_an_unlabelled_set_cannot_be_counted(tmp_path):
    with pytest.raises(DatasetError, match="cannot be counted"):
        class_statistics(Drawn([[0]], labelled=False), folder=tmp_path)


def test_tables_are_kept_and_damaged_ones_made_anew(tmp_path):
    drawn = Drawn([[0, 0, 18]], [[5, 5, 5]])
    steps = []
    expected = class_statistics(drawn, folder=tmp_path, progress=lambda *step: steps.append(step)).counts
    assert steps == [(1, 2), (2, 2)]
    assert np.array_equal(class_statistics(drawn, folder=tmp_path, progress=pytest.fail).counts, expected)
    assert drawn.reads == 2

    (path,) = tmp_path.rglob("*.npz")
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 3] ^= 0xFF
    for turn, damage in enumerate((whole[: len(whole) // 2], b"", b"no archive", bytes(flipped)), start=2):
        path.write_bytes(damage)
        assert np.array_equal(class_statistics(drawn, folder=tmp_path).counts, expected)
        assert drawn.reads == 2 * turn
        assert path.read_bytes()[:2] == b"PK"
    np.savez(path, counts=np.zeros((1, 19), np.int64))
    assert np.array_equal(class_statistics(drawn, folder=tmp_path).counts, expected)


def test_another_set_has_another_table(tmp_path):
    class_statistics(Drawn([[0, 0]]), folder=tmp_path)
    assert class_statistics(Drawn([[1, 1]]), folder=tmp_path).totals[1] == 2
    assert len(list(tmp_path.rglob("*.npz"))) == 2


def test_two_shares_add_up_to_the_whole(tmp_path):
    size = (96, 48)
    whole = class_statistics(StreetScenes(count=4, size=size), folder=tmp_path)
    shares = [class_statistics(StreetScenes(count=2, size=size, start=start), folder=tmp_path) for start in (0, 2)]
    assert np.array_equal(np.concatenate([share.counts for share in shares]), whole.counts)
    assert np.array_equal(sum(share.totals for share in shares), whole.totals)


@pytest.mark.parametrize("temperature", [0.01, 0.1])
def test_probabilities_are_the_published(temperature):
    statistics = published_statistics()
    sampler = RareClassSampler(statistics, RareClassSampling(temperature=temperature))
    assert {str(label): total for label, total in enumerate(statistics.totals)} == PUBLISHED["total_per_class"]
    expected = dict(zip(PUBLISHED["class_order_rarest_first"], PUBLISHED[f"prob_T{temperature}"], strict=True))
    assert set(sampler.classes.tolist()) == set(expected)
    np.testing.assert_allclose(
        sampler.probabilities, [expected[label] for label in sampler.classes.tolist()], rtol=1e-5, atol=1e-12
    )


def test_order_and_eligible_pictures_are_the_published(sampler):
    # 17 and 18 tie; the published code keeps the order of first occurrence, which here is that of the labels.
    assert sampler.classes.tolist() == PUBLISHED["class_order_rarest_first"]
    keys = published_statistics().keys
    for label, indices in zip(sampler.classes, sampler.eligible, strict=True):
        assert [keys[index] for index in indices] == PUBLISHED["eligible_files"][str(label)]


def test_draws_follow_the_probabilities(sampler):
    rng = np.random.default_rng(0)
    draws = [sampler.draw(rng) for _ in range(20_000)]
    found = Counter(draw.wanted for draw in draws)
    for label, probability in zip(sampler.classes.tolist(), sampler.probabilities, strict=True):
        deviation = (20_000 * probability * (1 - probability)) ** 0.5
        assert abs(found[label] - 20_000 * probability) <= 4.5 * deviation + 1
    of_class = Counter(draw.index for draw in draws if draw.wanted == 18)
    assert set(of_class) == set(sampler.eligible[sampler.classes.tolist().index(18)])
    assert max(of_class.values()) < 1.25 * min(of_class.values())


def test_a_crop_needs_strictly_more_than_the_limit(sampler):
    labels = np.zeros((50, 50), np.uint8)
    labels.ravel()[:1500] = 7
    assert not sampler.accepts(labels, 7)
    labels.ravel()[1500] = 7
    assert sampler.accepts(labels, 7)


def test_two_classes_by_hand():
    assert rare_class_probabilities([0.5, 0.01], 0.01)[1] == pytest.approx(1 - np.exp(-49), abs=1e-15)
    assert rare_class_probabilities([0.5, 0.3], 0.1).tolist() == pytest.approx([1 / (1 + np.e**2), 1 / (1 + np.e**-2)])


def test_a_class_that_nothing_shows_is_left_out():
    statistics = ClassStatistics(np.array([[5000, 10, 0], [4000, 20, 0]]), ("a", "b"))
    sampler = RareClassSampler(statistics, RareClassSampling())
    assert sampler.classes.tolist() == [0]
    assert sampler.probabilities.tolist() == [1.0]
    with pytest.raises(DatasetError, match="more than 9000 pixels"):
        RareClassSampler(statistics, RareClassSampling(minimum_pixels=9000))


def test_log_inverse_weighs_pictures_by_hand():
    counts = np.array([[90, 0], [6, 4], [0, 0]])
    sampler = LogInverseSampler(ClassStatistics(counts, ("a", "b", "c")), RareClassSampling("log_inverse", tau=4.0))
    road, rare = 1 / np.log(100), 1 / np.log(8)
    expected = np.array([road, road + rare, 0]) / (2 * road + rare)
    np.testing.assert_allclose(sampler.probabilities, expected)
    rng = np.random.default_rng(0)
    found = Counter(sampler.draw(rng).index for _ in range(5000))
    assert found[1] / 5000 == pytest.approx(expected[1], abs=0.03)
    assert found[2] == 0
    assert sampler.draw(rng).wanted is None


def test_log_inverse_refuses_a_division_by_zero():
    statistics = ClassStatistics(np.array([[90, 0]]), ("a",))
    with pytest.raises(ConfigError, match="tau above 1"):
        LogInverseSampler(statistics, RareClassSampling("log_inverse", tau=1.0))


@pytest.mark.parametrize(
    "options", [{"formula": "focal"}, {"temperature": 0.0}, {"minimum_pixels": -1}, {"retries": -1}, {"tau": 0.5}]
)
def test_settings_out_of_range_are_refused(options):
    with pytest.raises(ConfigError, match=next(iter(options))):
        RareClassSampling(**options)
