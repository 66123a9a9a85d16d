"""What is shown of predictions: numbers by hand, planes that decode to what went in."""

from __future__ import annotations

import base64
import io
import json

import numpy as np
import pytest
from PIL import Image

from sim2street.app.content import panes
from sim2street.app.viewer.report import html_report
from sim2street.models.errors import LabelError
from sim2street.models.labels import CAMVID11, CITYSCAPES19, IGNORE, SYNTHIA13
from sim2street.models.photo import Photo
from sim2street.models.prediction import Prediction


def prediction_of(labels: np.ndarray, certainty: float = 0.9) -> Prediction:
    """A prediction that gives `certainty` to the labels and shares the rest evenly."""
    rest = (1 - certainty) / 18
    probabilities = np.full((19, *labels.shape), rest, np.float32)
    np.put_along_axis(probabilities, labels[None].astype(np.int64), certainty, axis=0)
    return Prediction.from_probabilities(probabilities, CITYSCAPES19, 0.5)


def reading_of(labels: np.ndarray, key: str = "a", truth: np.ndarray | None = None) -> panes.Reading:
    pane = panes.pane(prediction_of(labels))
    score = None if truth is None else panes.score(pane, truth)
    return panes.Reading(key, key.upper(), "game", "#123456", pane, score)


def decode(plane: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(plane))))


@pytest.fixture
def labels() -> np.ndarray:
    grid = np.zeros((20, 30), np.uint8)
    grid[:5] = 10
    grid[5:10, :15] = 2
    return grid


@pytest.fixture
def photo(labels: np.ndarray) -> Photo:
    pixels = np.random.default_rng(0).integers(0, 255, (*labels.shape, 3), np.uint8)
    return Photo(pixels, "street </script>", "ab" * 32)


def test_a_pane_quantises_and_keeps_every_pixel_of_small_photos(labels: np.ndarray) -> None:
    prediction = prediction_of(labels)
    pane = panes.pane(prediction)
    assert pane.stride == 1
    np.testing.assert_array_equal(pane.labels, labels)
    np.testing.assert_array_equal(pane.candidates[..., 0], labels)
    assert pane.confidence[0, 0] == round(255 * 0.9)
    np.testing.assert_allclose(pane.entropy / 255, prediction.entropy, atol=0.5 / 255 + 1e-6)
    assert pane.mean_entropy == pytest.approx(float(prediction.entropy.mean()))
    assert sum(pane.class_shares) == pytest.approx(1)
    assert pane.class_shares[10] == pytest.approx(5 / 20)


def test_uniform_probabilities_are_entropy_one_everywhere() -> None:
    uniform = np.full((19, 4, 4), 1 / 19, np.float32)
    pane = panes.pane(Prediction.from_probabilities(uniform, CITYSCAPES19, 0.1))
    assert (pane.entropy == 255).all()
    assert pane.mean_entropy == pytest.approx(1)


@pytest.mark.parametrize(("size", "stride"), [((640, 320), 1), ((641, 320), 2), ((1280, 720), 2), ((90, 1281), 3)])
def test_the_probe_grid_is_bounded(size: tuple[int, int], stride: int) -> None:
    pane = panes.pane(prediction_of(np.zeros(size[::-1], np.uint8)))
    assert pane.stride == stride
    assert max(pane.candidates.shape) <= panes.PROBE_SIDE
    height, width = pane.candidates.shape[:2]
    assert pane.shown["entropy"].shape == (height, width)
    assert pane.shown["labels"].shape == size[::-1]


def test_entropy_and_confidence_are_shown_where_the_candidates_are() -> None:
    scores = np.random.default_rng(2).normal(0, 2, (19, 10, 700)).astype(np.float32)
    probabilities = np.exp(scores) / np.exp(scores).sum(axis=0)
    pane = panes.pane(Prediction.from_probabilities(probabilities, CITYSCAPES19, 0.1))
    assert pane.stride == 2
    assert "confidence" not in pane.shown, "it is the first of the shares"
    np.testing.assert_array_equal(pane.shown["entropy"], pane.entropy[1::2, 1::2])
    np.testing.assert_array_equal(pane.shown["candidateShares"][..., 0], pane.confidence[1::2, 1::2])
    np.testing.assert_array_equal(pane.shown["candidates"][..., 0], pane.labels[1::2, 1::2])


def test_merged_ground_truth_sums_probabilities_before_the_argmax() -> None:
    probabilities = np.zeros((19, 1, 1), np.float32)
    # Road leads, but the four vehicles together are likelier.
    probabilities[[0, 13, 14, 15, 16], 0, 0] = 0.3, 0.25, 0.2, 0.15, 0.1
    prediction = Prediction.from_probabilities(probabilities, CITYSCAPES19, 0.1)
    assert panes.pane(prediction).labels[0, 0] == 0
    pane = panes.pane(Prediction.from_probabilities(probabilities, CITYSCAPES19, 0.1, CAMVID11))
    assert CAMVID11.names[pane.labels[0, 0]] == "car"
    assert pane.confidence[0, 0] == pytest.approx(255 * 0.7, abs=0.6)


def test_display_spaces() -> None:
    assert panes.display_space(None) is CITYSCAPES19
    assert panes.display_space(CAMVID11) is CAMVID11
    assert panes.display_space(SYNTHIA13) is CITYSCAPES19


def test_ground_truth_of_a_subset_is_shown_among_the_nineteen() -> None:
    truth = np.array([[0, SYNTHIA13.names.index("car"), IGNORE]], np.uint8)
    shown = panes.display_truth(truth, SYNTHIA13, (3, 1))
    assert shown.tolist() == [[0, CITYSCAPES19.names.index("car"), IGNORE]]


def test_ground_truth_is_resized_without_new_classes() -> None:
    truth = np.repeat(np.array([[0, 18]], np.uint8), 4, axis=1)
    assert set(np.unique(panes.display_truth(truth, CITYSCAPES19, (3, 1)))) <= {0, 18}


def test_ground_truth_with_foreign_values_is_refused() -> None:
    with pytest.raises(LabelError, match="values 30"):
        panes.display_truth(np.full((2, 2), 30, np.uint8), CITYSCAPES19, (2, 2))


def test_score_by_hand() -> None:
    # Four of five scored pixels right; road 3 of 4, sky 1 of 2, all others absent.
    truth = np.array([[0, 0, 0, 10, 10, IGNORE]], np.uint8)
    said = np.array([[0, 0, 0, 0, 10, 10]], np.uint8)
    score = panes.score(panes.pane(prediction_of(said)), truth)
    assert score.iou[0] == pytest.approx(3 / 4)
    assert score.iou[10] == pytest.approx(1 / 2)
    assert np.isnan(np.delete(score.iou, [0, 10])).all()
    assert score.mean_iou == pytest.approx((3 / 4 + 1 / 2) / 2)
    assert score.accuracy == pytest.approx(4 / 5)
    assert score.error.tolist() == [[0, 0, 0, 1, 0, IGNORE]]


def test_score_refuses_another_size(labels: np.ndarray) -> None:
    with pytest.raises(LabelError, match="15×20 pixels and the photo 30×20"):
        panes.score(reading_of(labels).pane, labels[:, :15])


def test_disagreement_is_the_share_that_differs_from_the_most_common() -> None:
    methods = [np.array([[1, 1, 1]], np.uint8), np.array([[1, 1, 2]], np.uint8), np.array([[1, 2, 3]], np.uint8)]
    np.testing.assert_allclose(panes.disagreement(methods), [[0, 1 / 3, 2 / 3]], atol=1e-6)


def test_the_bundle_is_json_and_its_planes_decode_to_the_arrays(photo: Photo, labels: np.ndarray) -> None:
    other = labels.copy()
    other[-1] = 1
    truth = labels.copy()
    truth[0] = IGNORE
    readings = [reading_of(labels, "a", truth), reading_of(other, "b", truth)]
    bundle = json.loads(json.dumps(panes.bundle(photo, readings, truth=truth)))
    assert (bundle["width"], bundle["height"]) == (30, 20)
    assert [entry["name"] for entry in bundle["classes"]] == list(CITYSCAPES19.names)
    assert len({entry["safe"] for entry in bundle["classes"]}) == 19
    np.testing.assert_array_equal(decode(bundle["truth"]["labels"]), truth)
    first, second = bundle["methods"]
    np.testing.assert_array_equal(decode(first["labels"]), labels)
    assert decode(first["labels"]).dtype == np.uint8
    assert decode(second["candidates"]).shape == (20, 30, 3)
    np.testing.assert_array_equal(decode(second["error"])[-1], np.ones(30))
    assert first["iou"][18] is None
    assert first["meanIou"] == 1
    np.testing.assert_array_equal(decode(bundle["disagreement"])[-1], np.full(30, 128))
    assert decode(bundle["disagreement"])[:-1].max() == 0


def test_images_travel_apart_and_come_back_under_their_digest(labels: np.ndarray, photo: Photo) -> None:
    readings = [reading_of(labels, key, labels) for key in "ab"]
    alone, both = (panes.bundle(photo, readings[:count], truth=labels) for count in (1, 2))
    state, images = panes.images_apart(both)
    parts = (state["photo"], state["truth"], *state["methods"])
    for part, whole in zip(parts, (both["photo"], both["truth"], *both["methods"]), strict=True):
        assert {name: value for name, value in part.items() if name != "images"} | images[part["images"]] == whole
    assert len(images) == 3, "panes of equal content travel once"
    assert panes.images_apart(alone)[1] == images, "what was sent for one method is not sent anew for two"
    assert both["methods"][0]["labels"] not in json.dumps(state)


def test_a_bundle_without_ground_truth_claims_no_score(photo: Photo, labels: np.ndarray) -> None:
    bundle = panes.bundle(photo, [reading_of(labels)])
    assert bundle["truth"] is None
    assert bundle["disagreement"] is None
    assert not {"error", "iou", "meanIou"} & bundle["methods"][0].keys()


def test_a_large_bundle_stays_small() -> None:
    noise = np.random.default_rng(0)
    shape = (768, panes.LONG_SIDE)
    blocks = noise.integers(0, 19, (12, 16), np.uint8).repeat(64, axis=0).repeat(64, axis=1)
    smooth = Image.fromarray(noise.integers(0, 255, (48, 64, 3), np.uint8)).resize(shape[::-1])
    photo = Photo(np.asarray(smooth), "large", "0" * 64)
    readings = [reading_of(blocks, key, blocks) for key in "abc"]
    assert len(json.dumps(panes.bundle(photo, readings, truth=blocks))) < 3e6


def test_label_image_keeps_the_class_numbers_and_shows_the_palette(labels: np.ndarray) -> None:
    image = Image.open(io.BytesIO(panes.label_image(reading_of(labels).pane)))
    assert image.mode == "P"
    assert not image.info
    np.testing.assert_array_equal(np.asarray(image), labels)
    np.testing.assert_array_equal(np.asarray(image.convert("RGB")), CITYSCAPES19.colourise(labels))


def test_overlay_image_mixes_photo_and_colours(photo: Photo, labels: np.ndarray) -> None:
    image = Image.open(io.BytesIO(panes.overlay_image(photo, reading_of(labels).pane, opacity=0.25)))
    expected = 0.75 * photo.pixels + 0.25 * CITYSCAPES19.colourise(labels)
    np.testing.assert_allclose(np.asarray(image), expected, atol=0.51)
    assert not image.getexif()


def test_the_report_is_one_file_that_no_name_can_break_out_of(photo: Photo, labels: np.ndarray) -> None:
    page = html_report(panes.bundle(photo, [reading_of(labels, truth=labels)], truth=labels))
    assert page.count("</script>") == 1
    assert "export function mount" in page
    assert "street &lt;/script&gt;" in page
    assert "http://" not in page.replace("http://www.w3.org/2000/svg", "")
    assert "https://" not in page
