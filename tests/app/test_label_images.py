"""A photo and its label image, as they are uploaded: turned together, never stretched, and numbered as they say."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sim2street.app.content import gallery
from sim2street.app.content.engine import OwnPhoto
from sim2street.app.demo_page import uploads
from sim2street.models.errors import LabelError
from sim2street.models.labels import CAMVID11, CITYSCAPES19, label_ids_from_train_ids
from sim2street.models.numbering import CAMVID_CLASSES, LABEL_IDS, TRAIN_IDS, MisnumberedError, Numbering
from sim2street.models.photo import UPRIGHT_TRANSPOSITION
from sim2street.training.datasets.street_scenes import render

WIDTH, HEIGHT = 64, 32


def encoded(image: Image.Image, form: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def labelled(orientation: int) -> tuple[bytes, np.ndarray]:
    """A photo whose stored pixels EXIF turns, and labels that fit the stored pixels."""
    labels = np.full((HEIGHT, WIDTH), 13, np.uint8)
    labels[:, : WIDTH // 4], labels[: HEIGHT // 4] = 0, 8
    exif = Image.Exif()
    exif[0x0112] = orientation
    colours = CITYSCAPES19.colourise(labels)
    return encoded(Image.fromarray(colours), "JPEG", exif=exif, quality=95, subsampling=0), labels


def fit(scene: gallery.Scene) -> float:
    assert scene.truth is not None
    colours = CITYSCAPES19.colourise(scene.truth).astype(int)
    return float((np.abs(colours - scene.photo.pixels.astype(int)).sum(axis=2) < 60).mean())


def opened(photo: bytes, labels: np.ndarray, encoding: str = TRAIN_IDS.title) -> gallery.Scene:
    return gallery.with_label_image(photo, "photo.jpg", encoded(Image.fromarray(labels)), "labels.png", encoding)


@pytest.mark.parametrize("orientation", [1, 5, 6, 7, 8])
@pytest.mark.parametrize("scale", [1, 0.5])
def test_labels_of_the_stored_pixels_turn_with_the_photo(orientation: int, scale: float) -> None:
    photo, labels = labelled(orientation)
    labels = labels[:: int(1 / scale), :: int(1 / scale)]
    scene = opened(photo, labels)
    assert fit(scene) > 0.9
    assert any("is turned by its EXIF" in remark for remark in scene.photo.remarks) == (orientation != 1)


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_labels_of_the_upright_photo_stay(orientation: int) -> None:
    photo, labels = labelled(orientation)
    upright = np.asarray(Image.fromarray(labels).transpose(UPRIGHT_TRANSPOSITION[orientation]))
    assert fit(opened(photo, upright)) > 0.9


@pytest.mark.parametrize("orientation", [2, 3, 4])
def test_labels_that_would_fit_both_ways_are_refused(orientation: int) -> None:
    photo, labels = labelled(orientation)
    with pytest.raises(LabelError, match=f"EXIF orientation {orientation}.* unclear on which"):
        opened(photo, labels)


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ((WIDTH, HEIGHT), "Width and height are swapped"),
        ((HEIGHT, HEIGHT), "aspect ratio"),
        ((HEIGHT, WIDTH + 4), "aspect"),
    ],
)
def test_other_shapes_are_refused(shape: tuple[int, int], words: str) -> None:
    photo, _ = labelled(1)
    with pytest.raises(LabelError, match=words):
        opened(photo, np.zeros(shape, np.uint8))


TRUTH = render("game", 2_000_003, size=(256, 128)).labels
AS_CAMVID = CAMVID11.relabel(TRUTH, CITYSCAPES19)
STORED = {
    TRAIN_IDS.title: TRUTH,
    LABEL_IDS.title: label_ids_from_train_ids(TRUTH),
    CAMVID_CLASSES.title: np.where(AS_CAMVID == 255, 11, AS_CAMVID).astype(np.uint8),
}


@pytest.mark.parametrize("held", STORED)
@pytest.mark.parametrize("assumed", STORED)
def test_a_file_in_another_numbering_is_doubted_or_refused(held: str, assumed: str) -> None:
    photo = encoded(Image.fromarray(np.full((128, 256, 3), 90, np.uint8)))
    assert (held in _others(photo, STORED[held], assumed)) == (held != assumed)


def _others(photo: bytes, labels: np.ndarray, assumed: str) -> list[str]:
    """How else the labels may have to be read: of a refusal those that fit, else those that are suspected in a remark."""
    try:
        scene = opened(photo, labels, assumed)
    except MisnumberedError as error:
        return [other.title for other in error.fitting]
    assert any("looks like" in remark for remark in scene.photo.remarks) == bool(scene.numberings)
    return list(scene.numberings)


@pytest.mark.parametrize(
    ("value", "assumed", "fitting"),
    [
        (3, LABEL_IDS, [TRAIN_IDS, CAMVID_CLASSES]),
        (11, CAMVID_CLASSES, [TRAIN_IDS, LABEL_IDS]),
        (255, TRAIN_IDS, []),
        (34, LABEL_IDS, []),
    ],
)
def test_a_file_without_a_class_is_refused_with_the_numberings_that_give_it_some(
    value: int, assumed: Numbering, fitting: list[Numbering]
) -> None:
    photo = encoded(Image.fromarray(np.full((HEIGHT, WIDTH, 3), 90, np.uint8)))
    with pytest.raises(MisnumberedError, match=r"^No pixel of labels\.png has a class when read as ") as caught:
        opened(photo, np.full((HEIGHT, WIDTH), value, np.uint8), assumed.title)
    assert list(caught.value.fitting) == fitting
    assert ("Choose that numbering." in str(caught.value)) == bool(fitting)


def test_the_hosted_page_keeps_the_label_image_for_another_numbering(tmp_path: Path) -> None:
    for name, pixels in (("photo.png", np.full((128, 256, 3), 90, np.uint8)), ("truth.png", STORED[LABEL_IDS.title])):
        (tmp_path / name).write_bytes(encoded(Image.fromarray(pixels)))
    own = uploads.take(None, str(tmp_path / "photo.png"), str(tmp_path / "truth.png"), TRAIN_IDS.title)
    assert isinstance(own, OwnPhoto)
    assert own.scene.truth is None
    assert own.problem is not None
    assert LABEL_IDS in own.problem.fitting
    again = uploads.take(own, None, None, LABEL_IDS.title)
    assert isinstance(again, OwnPhoto)
    assert again.problem is None
    assert again.scene.truth is not None
    np.testing.assert_array_equal(again.scene.truth, TRUTH)
