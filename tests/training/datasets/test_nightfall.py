"""Nightfall darkens what labels call sky, leaves labels alone, and refuses what it cannot do."""

from __future__ import annotations

import numpy as np
import pytest

from sim2street.models.errors import ConfigError
from sim2street.models.label_space import IGNORE
from sim2street.models.labels import CITYSCAPES19, LABEL_SPACES
from sim2street.training.config import TransformOptions
from sim2street.training.datasets.nightfall import DARKEST_DAY, Nightfall
from sim2street.training.datasets.pairs import DomainPairs, PairsConfig
from sim2street.training.datasets.rendered import StreetScenes
from sim2street.training.datasets.transforms import TransformConfig
from sim2street.training.selection import build_transform

SKY, ROAD = 10, 0


def street() -> tuple[np.ndarray, np.ndarray]:
    """A bright sky over a grey street, 96×64, with an unlabelled strip of sky between them."""
    labels = np.full((64, 96), ROAD, np.uint8)
    labels[:24] = SKY
    labels[24:30] = IGNORE
    photo = np.where((labels == ROAD)[..., None], np.uint8(110), np.uint8(230)).repeat(3, axis=2)
    return photo, labels


def test_the_sky_becomes_darker_than_the_ground_and_labels_stay():
    photo, labels = street()
    nights = [Nightfall(SKY, 1.0)(photo, labels, np.random.default_rng(seed)) for seed in range(20)]
    for night, kept in nights:
        assert night.dtype == np.uint8
        assert night.shape == photo.shape
        assert kept is labels
        assert night.mean() < 110
    sky = np.median([night[:24] for night, _ in nights])
    unlabelled = np.median([night[25:29] for night, _ in nights])
    road = np.median([night[34:] for night, _ in nights])
    assert sky < road / 1.5
    assert unlabelled < road / 1.5, "what is as bright as the sky is dark too, though it has no label"


def test_the_same_seed_gives_the_same_night_and_inputs_stay_as_they_are():
    photo, labels = street()
    before = photo.copy(), labels.copy()
    first, second = (Nightfall(SKY, 1.0)(photo, labels, np.random.default_rng(3))[0] for _ in range(2))
    assert np.array_equal(first, second)
    assert np.array_equal(photo, before[0])
    assert np.array_equal(labels, before[1])


def test_dark_and_unlabelled_photos_stay_as_they_are():
    photo, labels = street()
    rng = np.random.default_rng(0)
    assert Nightfall(SKY, 1.0)(photo, None, rng)[0] is photo
    dark = np.full_like(photo, DARKEST_DAY - 1)
    assert Nightfall(SKY, 1.0)(dark, labels, rng)[0] is dark


@pytest.mark.parametrize("value", [0, 255])
def test_photos_of_one_colour_and_without_sky_do_not_fail(value):
    photo = np.full((5, 7, 3), max(value, DARKEST_DAY), np.uint8)
    night, _ = Nightfall(SKY, 1.0)(photo, np.full((5, 7), value % IGNORE, np.uint8), np.random.default_rng(1))
    assert night.shape == photo.shape


def test_probability_is_the_share_of_photos_that_change():
    photo, labels = street()
    rng = np.random.default_rng(0)
    changed = sum(Nightfall(SKY, 0.3)(photo, labels, rng)[0] is not photo for _ in range(200))
    assert 40 <= changed <= 80


def test_classes_without_sky_are_refused():
    assert Nightfall.of(CITYSCAPES19, 0.5) == Nightfall(SKY, 0.5)
    with pytest.raises(ConfigError, match="comma10k5 do not include 'sky'; set nightfall to 0"):
        Nightfall.of(LABEL_SPACES["comma10k5"], 0.5)


def test_a_recipe_turns_it_on_for_the_source():
    transform = build_transform(TransformOptions(nightfall=1.0))
    scenes = StreetScenes(style="game", count=2, size=(64, 48), seed=1)
    day, night = (
        DomainPairs([(scenes, 1.0)], None, PairsConfig(source=source))[0] for source in (TransformConfig(), transform)
    )
    assert night.source_images.mean() < 0.7 * day.source_images.mean()
    assert bool((night.source_labels == day.source_labels).all())


def test_a_target_has_no_labels_to_tell_the_sky_by():
    with pytest.raises(ConfigError, match="nightfall of the target"):
        PairsConfig(target=TransformConfig(nightfall=0.5))


def test_probabilities_above_one_are_refused():
    with pytest.raises(ConfigError, match=r"nightfall is 1\.5"):
        TransformConfig(nightfall=1.5)
