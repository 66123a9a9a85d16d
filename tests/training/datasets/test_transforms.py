"""Photo and labels stay aligned through every transform, and each does what its settings say."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from PIL import Image

from sim2street.models.errors import ConfigError
from sim2street.models.labels import IGNORE
from sim2street.training.datasets.transforms import (
    AUGMENTS,
    PADDING,
    AugmentConfig,
    Chain,
    ColourJitter,
    Gamma,
    GaussianBlur,
    GreyScale,
    Noise,
    RandomCrop,
    RandomErase,
    RandomFlip,
    RandomScale,
    Resize,
    TransformConfig,
    is_varied,
)

WIDTH, HEIGHT = 96, 64


def ramp() -> tuple[np.ndarray, np.ndarray]:
    """A photo whose red and green are x and y, and labels that are x // 8 + 16 * (y // 8 % 2)."""
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.uint8)
    photo = np.stack([x, y, np.full_like(x, 128)], axis=2)
    return photo, x // 8 + 16 * (y // 8 % 2)


def labels_of(photo: np.ndarray) -> np.ndarray:
    return photo[..., 0] // 8 + 16 * (photo[..., 1] // 8 % 2)


def colourful() -> np.ndarray:
    return np.random.default_rng(5).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)


GEOMETRY = [RandomCrop((40, 30)), RandomCrop((40, 30), cat_max_ratio=0.3), RandomFlip(1.0), RandomFlip(0.5)]
PHOTOMETRY = [
    ColourJitter(0.5, 0.5, 0.5, 0.2),
    Gamma(0.5, 1.0),
    GreyScale(1.0),
    GaussianBlur(0.5, 2.0, 1.0),
    Noise(20.0, 1.0),
    RandomErase(0.2, 1.0),
]
ALL = [*GEOMETRY, *PHOTOMETRY, Resize((50, 40)), RandomScale(0.5, 2.0), AUGMENTS["strong"].build()]


@pytest.mark.parametrize("transform", GEOMETRY, ids=str)
def test_geometry_keeps_photo_and_labels_aligned(transform):
    for seed in range(20):
        photo, labels = transform(*ramp(), np.random.default_rng(seed))
        assert labels.shape == photo.shape[:2]
        assert np.array_equal(labels, labels_of(photo))


@pytest.mark.parametrize("size", [(192, 128), (48, 32), (70, 90)])
@pytest.mark.parametrize("kind", ["fixed", "random"])
def test_resizing_keeps_photo_and_labels_aligned(size, kind):
    photo, labels = ramp()
    if kind == "fixed":
        photo, labels = Resize(size)(photo, labels, np.random.default_rng(0))
        assert photo.shape == (size[1], size[0], 3)
    else:
        factor = size[0] / WIDTH
        photo, labels = RandomScale(factor, factor)(photo, labels, np.random.default_rng(0))
        assert photo.shape == (round(HEIGHT * factor), round(WIDTH * factor), 3)
    assert labels.shape == photo.shape[:2]
    # Where a pixel lies well inside its square of 8 pixels, label and interpolated colour must agree.
    inside = ((photo[..., :2] % 8 >= 2) & (photo[..., :2] % 8 <= 5)).all(axis=2)
    assert inside.mean() > 0.15
    assert np.array_equal(labels[inside], labels_of(photo)[inside])


def test_fixed_resizing_is_pillows():
    photo, _ = Resize((50, 40))(colourful(), None, np.random.default_rng(0))
    assert np.array_equal(photo, np.asarray(Image.fromarray(colourful()).resize((50, 40), Image.Resampling.BICUBIC)))
    _, labels = ramp()
    expected = np.asarray(Image.fromarray(labels).resize((51, 77), Image.Resampling.NEAREST))
    assert np.array_equal(Resize((51, 77))(colourful(), labels, np.random.default_rng(0))[1], expected)


@pytest.mark.parametrize("transform", ALL, ids=str)
def test_inputs_are_left_alone_and_draws_repeat(transform):
    photo, labels = ramp()
    photo.flags.writeable = labels.flags.writeable = False
    first = transform(photo, labels, np.random.default_rng(3))
    second = transform(photo, labels, np.random.default_rng(3))
    unlabelled, nothing = transform(photo, None, np.random.default_rng(3))
    assert nothing is None
    assert first[0].dtype == first[1].dtype == unlabelled.dtype == np.uint8
    assert np.array_equal(first[0], second[0])
    assert np.array_equal(first[1], second[1])
    if not (isinstance(transform, RandomCrop) and transform.cat_max_ratio < 1):
        assert np.array_equal(unlabelled, first[0])


@pytest.mark.parametrize("transform", PHOTOMETRY, ids=str)
def test_photometry_changes_colours_only(transform):
    photo, labels = ramp()
    changed, kept = transform(photo, labels, np.random.default_rng(1))
    assert changed.shape == photo.shape
    assert not np.array_equal(changed, photo)
    if isinstance(transform, RandomErase):
        erased = kept == IGNORE
        assert 0.01 < erased.mean() < 0.3
        assert np.array_equal(kept[~erased], labels[~erased])
        assert np.array_equal(changed[~erased], photo[~erased])
        assert len(np.unique(changed[erased], axis=0)) == 1
    else:
        assert kept is labels


@pytest.mark.parametrize("kind", [ColourJitter, Gamma, GreyScale, GaussianBlur, Noise, RandomErase, RandomFlip])
def test_probability_is_kept(kind):
    photo, labels = colourful(), ramp()[1]
    rng = np.random.default_rng(0)
    transform = kind(probability=0.3)
    changed = sum(not np.array_equal(transform(photo, labels, rng)[0], photo) for _ in range(300))
    assert 60 < changed < 120


def test_jitter_without_spread_is_the_identity():
    photo = colourful()
    assert np.array_equal(ColourJitter(0, 0, 0, 0)(photo, None, np.random.default_rng(0))[0], photo)


def test_brightness_contrast_and_saturation_by_hand():
    class Extremes:
        """Draws the upper end of every range."""

        random = staticmethod(lambda: 0.0)
        uniform = staticmethod(lambda low, high, size=None: high if size is None else np.full(size, high))

    grey = np.full((4, 4, 3), 100, np.uint8)
    assert (ColourJitter(0.2, 0, 0)(grey, None, Extremes())[0] == 120).all()
    halves = np.concatenate([np.full((4, 4, 3), 80, np.uint8), np.full((4, 4, 3), 120, np.uint8)])
    assert np.unique(ColourJitter(0, 0.5, 0)(halves, None, Extremes())[0]).tolist() == [70, 130]
    red = np.full((4, 4, 3), (200, 100, 100), np.uint8)
    luma = 0.299 * 200 + 0.701 * 100
    saturated = ColourJitter(0, 0, 0.5)(red, None, Extremes())[0]
    assert saturated[0, 0].tolist() == pytest.approx([1.5 * 200 - luma / 2, *[1.5 * 100 - luma / 2] * 2], abs=1)
    third = ColourJitter(0, 0, 0, 1 / 3)(np.full((4, 4, 3), (200, 0, 0), np.uint8), None, Extremes())[0]
    assert third[0, 0].tolist() == pytest.approx([0, 200, 0], abs=4)


def test_noise_has_the_standard_deviation_drawn():
    photo = np.full((200, 200, 3), 128, np.uint8)
    rng = np.random.default_rng(2)
    deviations = [float(Noise(20.0, 1.0)(photo, None, rng)[0].std()) for _ in range(40)]
    assert max(deviations) < 20.5
    assert np.mean(deviations) == pytest.approx(10, abs=3)


def test_small_photos_are_padded_right_and_below():
    photo, labels = ramp()
    padded, ignored = RandomCrop((120, 80))(photo, labels, np.random.default_rng(0))
    assert padded.shape == (80, 120, 3)
    assert np.array_equal(padded[:HEIGHT, :WIDTH], photo)
    assert np.array_equal(ignored[:HEIGHT, :WIDTH], labels)
    assert (ignored[HEIGHT:] == IGNORE).all()
    assert (ignored[:, WIDTH:] == IGNORE).all()
    assert (padded[HEIGHT:] == PADDING).all()


def test_crops_reach_every_corner():
    rng = np.random.default_rng(0)
    corners = {tuple(RandomCrop((WIDTH - 1, HEIGHT - 1))(*ramp(), rng)[0][0, 0, :2]) for _ in range(60)}
    assert corners == {(0, 0), (0, 1), (1, 0), (1, 1)}


def test_uniform_crops_are_drawn_again_ten_times():
    class Places:
        """Returns given numbers and counts what was asked."""

        def __init__(self, *places: int) -> None:
            self.places = list(places)

        def integers(self, stop: int) -> int:
            return self.places.pop(0) if stop > 1 else 0

    labels = np.zeros((4, 40), np.uint8)
    labels[:, 20:30] = np.arange(10) % 2
    photo = np.repeat(labels[..., None], 3, axis=2)
    crop = RandomCrop((10, 4), cat_max_ratio=0.75)
    third = Places(0, 5, 20, 1, 2)
    assert np.array_equal(crop(photo, labels, third)[1], labels[:, 20:30])
    assert third.places == [1, 2]
    never = Places(*[0] * 10, 7, 20)
    photo[0, 7] = 99
    assert crop(photo, labels, never)[0][0, 0, 0] == 99
    assert never.places == [20]


def test_variety_ignores_unlabelled_pixels():
    assert not is_varied(np.array([[1, 1, 1, 1]], np.uint8), 0.75)
    assert not is_varied(np.array([[1, 1, 1, 2]], np.uint8), 0.75)
    assert is_varied(np.array([[1, 1, 2, 2, 1]], np.uint8), 0.75)
    assert not is_varied(np.array([[1, 255, 255, 255]], np.uint8), 0.75)
    assert not is_varied(np.array([[255, 255]], np.uint8), 0.75)


def test_configs_build_what_they_say():
    assert AugmentConfig().build() == Chain(())
    assert AUGMENTS["none"] == AugmentConfig()
    assert [type(step) for step in AUGMENTS["plain"].build().transforms] == [ColourJitter]
    assert len(AUGMENTS["strong"].build().transforms) == 6
    config = TransformConfig(resize=(80, 60), scale=(0.5, 2.0), crop=(40, 30), cat_max_ratio=0.75, flip=0.5)
    assert config.build_resize().transforms == (Resize((80, 60)),)
    assert config.build_geometry().transforms == (RandomScale(0.5, 2.0), RandomCrop((40, 30), 0.75), RandomFlip(0.5))
    assert TransformConfig().build_geometry() == Chain(())


@pytest.mark.parametrize(
    ("kind", "options", "words"),
    [
        (AugmentConfig, {"hue": 0.7}, "hue"),
        (AugmentConfig, {"blur_probability": -0.1}, "blur_probability"),
        (TransformConfig, {"resize": (0, 10)}, "resize"),
        (TransformConfig, {"crop": (10,)}, "crop"),
        (TransformConfig, {"crop": (10, 10), "scale": (2.0, 1.0)}, "scale"),
        (TransformConfig, {"scale": (0.5, 1.0)}, "needs a crop"),
        (TransformConfig, {"cat_max_ratio": 0.0}, "cat_max_ratio"),
        (TransformConfig, {"flip": 2.0}, "flip"),
        (TransformConfig, {"resampling": "lanczos"}, "known are bicubic, bilinear"),
    ],
)
def test_settings_out_of_range_are_refused(kind, options, words):
    with pytest.raises(ConfigError, match=words):
        kind(**options)


def test_opencv_and_pillow_agree_on_the_nearest_pixel():
    labels = np.random.default_rng(0).integers(0, 19, (61, 97), dtype=np.uint8)
    for size in ((33, 40), (200, 130), (97, 60)):
        ours = Resize(size)(np.zeros((61, 97, 3), np.uint8), labels, np.random.default_rng(0))[1]
        assert np.array_equal(ours, np.asarray(Image.fromarray(labels).resize(size, Image.Resampling.NEAREST)))
    assert cv2.INTER_NEAREST_EXACT != cv2.INTER_NEAREST
