from __future__ import annotations

import numpy as np
import pytest

from sim2street.models.labels import CITYSCAPES19, SYNTHIA13, SYNTHIA16
from sim2street.models.metrics import (
    Calibration,
    confusion_matrix,
    iou_per_class,
    mean_iou,
    pixel_accuracy,
)
from tests.conftest import Vectors


@pytest.fixture(scope="module")
def vectors() -> Vectors:
    return Vectors("cityscapes_metrics.npz")


def test_figures_equal_both_published_codes(vectors: Vectors) -> None:
    pairs = list(zip(vectors["labels"], vectors["preds"], strict=True))
    total = sum(confusion_matrix(labels, predicted, 19) for labels, predicted in pairs)
    vectors.check("confusion_rows_label_cols_pred", total)
    vectors.check("iou_per_class", iou_per_class(total))
    vectors.check("pixel_accuracy", pixel_accuracy(total))
    vectors.check("miou_nanmean", mean_iou(iou_per_class(total)))
    each = [iou_per_class(confusion_matrix(labels, predicted, 19)) for labels, predicted in pairs]
    vectors.check("iou_per_image", np.stack(each))
    vectors.check("miou_per_image", np.array([mean_iou(iou) for iou in each]))


def test_synthia_subsets_average_the_19_class_figures(vectors: Vectors) -> None:
    iou = vectors["iou_per_class"]
    for space, key in ((SYNTHIA16, "16"), (SYNTHIA13, "13")):
        ids = [group[0] for group in space.members_in(CITYSCAPES19)]
        vectors.check(f"classes{key}", np.array(ids))
        vectors.check(f"miou_{key}_nanmean", mean_iou(iou[ids]))
        assert space.names == tuple(CITYSCAPES19.names[value] for value in ids)


def test_iou_by_hand() -> None:
    labels = np.array([[0, 0, 1], [1, 1, 255], [2, 2, 2]], np.uint8)
    predicted = np.array([[0, 1, 1], [1, 1, 0], [0, 2, 2]], np.uint8)
    iou = iou_per_class(confusion_matrix(labels, predicted, 4))
    assert iou[:3].tolist() == pytest.approx([1 / 3, 3 / 4, 2 / 3])
    assert np.isnan(iou[3])
    assert mean_iou(iou) == pytest.approx((1 / 3 + 3 / 4 + 2 / 3) / 3)


@pytest.mark.parametrize("block", [1, 40])
def test_counting_runs_and_counting_pixels_agree(block: int) -> None:
    generator = np.random.default_rng(0)
    labels, predicted = (
        generator.integers(0, top, (160 // block, 400 // block)).astype(np.uint8).repeat(block, 0).repeat(block, 1)
        for top in (23, 19)
    )
    expected = np.zeros((19, 19), np.int64)
    np.add.at(expected, (labels[labels < 19], predicted[labels < 19]), 1)
    counted = confusion_matrix(labels, predicted, 19)
    assert counted.dtype == np.int64
    np.testing.assert_array_equal(counted, expected)
    for empty in (np.zeros((0, 4), np.uint8), np.zeros((4, 0), np.uint8)):
        assert not confusion_matrix(empty, empty, 19).any()


def test_mismatched_shapes_and_foreign_predictions_are_refused() -> None:
    with pytest.raises(ValueError, match="must match"):
        confusion_matrix(np.zeros((2, 2), np.uint8), np.zeros((2, 3), np.uint8), 2)
    with pytest.raises(ValueError, match="classes are 0 to 1"):
        confusion_matrix(np.zeros((1, 1), np.uint8), np.full((1, 1), 7, np.uint8), 2)
    with pytest.raises(ValueError, match="uint8"):
        confusion_matrix(np.zeros((1, 1), np.int64), np.zeros((1, 1), np.uint8), 2)


def test_calibration_of_a_large_picture_is_that_of_all_its_pixels_at_once() -> None:
    generator = np.random.default_rng(0)
    shape = 300, 500  # more than a strip, and no whole number of them
    labels = generator.choice(np.array([0, 1, 2, 3, 255], np.uint8), shape)
    predicted = generator.integers(0, 4, shape, np.uint8)
    confidence = generator.choice(np.linspace(0, 1, 61, dtype=np.float32), shape)  # edges of bins among them
    calibration = Calibration()
    calibration.update(labels, predicted, confidence, 3)
    wide = confidence.astype(np.float64)
    bins = np.maximum(np.ceil(wide * 15), 1)
    for number in range(15):
        chosen = (labels < 3) & (bins == number + 1)
        assert calibration.counts[number] == chosen.sum()
        assert calibration.correct[number] == (chosen & (labels == predicted)).sum()
        assert calibration.confidence[number] == pytest.approx(wide[chosen].sum(), rel=1e-12)


def test_calibration_error_by_hand() -> None:
    calibration = Calibration()
    labels = np.array([[0, 0, 1, 255]], np.uint8)
    predicted = np.array([[0, 1, 1, 0]], np.uint8)
    confidence = np.array([[0.95, 0.95, 0.55, 0.99]], np.float32)
    calibration.update(labels, predicted, confidence, 2)
    # One bin holds the two at 0.95 (one right), another the one at 0.55 (right); the ignored pixel counts nowhere.
    assert calibration.counts.sum() == 3
    assert calibration.error == pytest.approx((abs(2 * 0.95 - 1) + abs(0.55 - 1)) / 3, abs=1e-6)


def test_nothing_scored_is_not_a_number() -> None:
    empty = confusion_matrix(np.full((2, 2), 255, np.uint8), np.zeros((2, 2), np.uint8), 3)
    assert np.isnan(pixel_accuracy(empty))
    assert np.isnan(mean_iou(iou_per_class(empty)))
    assert np.isnan(Calibration().error)
