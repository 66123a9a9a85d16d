"""Checks of the procedural renderer: determinism, styles, labels, depth and errors."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sim2street.training.datasets.street_scenes import CONTENT, STYLES, RenderedScene, render

SMALL = (128, 96)
REPOSITORY = Path(__file__).resolve().parents[3]


def digest(scene: RenderedScene) -> str:
    """Fingerprint of all three arrays."""
    whole = hashlib.sha256()
    for array in (scene.photo, scene.labels, scene.depth):
        whole.update(np.ascontiguousarray(array).tobytes())
    return whole.hexdigest()


@pytest.fixture(scope="module")
def scenes() -> dict[tuple[str, int], RenderedScene]:
    """Some small scenes in every style, rendered once for all tests."""
    return {(style, index): render(style, index, size=SMALL) for index in range(4) for style in STYLES}


def test_shapes_types_and_ranges(scenes: dict[tuple[str, int], RenderedScene]) -> None:
    for style in STYLES:
        scene = scenes[style, 3]
        assert scene.photo.shape == (96, 128, 3)
        assert scene.photo.dtype == np.uint8
        assert scene.labels.shape == (96, 128)
        assert scene.labels.dtype == np.uint8
        assert scene.depth.shape == (96, 128)
        assert scene.depth.dtype == np.float32
        assert set(np.unique(scene.labels)) <= {*range(19), 255}
        assert (scene.depth > 0).all()
        assert np.array_equal(scene.labels == 10, scene.depth >= 1e4)


def test_equal_arguments_give_equal_scenes(scenes: dict[tuple[str, int], RenderedScene]) -> None:
    # All the other scenes of the fixture have been rendered in between.
    for style in STYLES:
        assert digest(render(style, 0, size=SMALL)) == digest(scenes[style, 0])


def test_another_process_gives_the_same_scene() -> None:
    code = (
        "import sys; sys.path.insert(0, 'tests/training/datasets');"
        "from test_street_scenes import digest, render, SMALL;"
        "print(digest(render('rain', 11, seed=1, size=SMALL)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=REPOSITORY,
        env={"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == digest(render("rain", 11, seed=1, size=SMALL))


def test_global_random_state_is_left_alone() -> None:
    np.random.seed(4)  # noqa: NPY002
    expected = np.random.get_state()[1].copy()  # noqa: NPY002
    render("randomised", 0, size=SMALL)
    assert np.array_equal(np.random.get_state()[1], expected)  # noqa: NPY002


def test_styles_share_labels_and_depth_but_not_the_photo(scenes: dict[tuple[str, int], RenderedScene]) -> None:
    for index in range(4):
        styles = [scenes[style, index] for style in STYLES if style not in CONTENT]
        for scene in styles[1:]:
            assert np.array_equal(scene.labels, styles[0].labels)
            assert np.array_equal(scene.depth, styles[0].depth)
        photos = {scene.photo.tobytes() for scene in styles}
        assert len(photos) == len(styles) == len(STYLES) - len(CONTENT)


@pytest.mark.slow
def test_streets_show_more_of_what_the_plain_content_rarely_has() -> None:
    """The 19 classes, and each thing that networks missed on real photos on a larger share of the pixels."""
    shares = {}
    for style in ("game", "streets"):
        counts = sum(
            np.bincount(render(style, index, seed=3, size=(96, 64)).labels.ravel(), minlength=256)[:19]
            for index in range(60)
        )
        shares[style] = counts / np.sum(counts)
    assert (shares["streets"] > 0).all()
    for label in (6, 7, 11, 12, 14, 15, 17, 18):  # light, sign, person, rider, truck, bus, two-wheelers
        assert shares["streets"][label] > shares["game"][label], label


def test_index_and_seed_change_the_scene(scenes: dict[tuple[str, int], RenderedScene]) -> None:
    labels = {scenes["game", index].labels.tobytes() for index in range(4)}
    labels |= {render("game", 0, seed=seed, size=SMALL).labels.tobytes() for seed in (1, 2)}
    assert len(labels) == 6


def test_all_classes_occur_with_sane_shares() -> None:
    counts = np.zeros(256, np.int64)
    for index in range(40):
        labels = render("fog", index, size=(48, 32)).labels
        counts += np.bincount(labels.ravel(), minlength=256)
    shares = counts[:19] / counts.sum()
    assert (shares > 0).all()
    assert 0.2 < shares[0] < 0.45
    assert 0.08 < shares[2] < 0.4
    assert 0.03 < shares[8] < 0.3
    assert 0.03 < shares[10] < 0.35
    assert 0.02 < shares[13] < 0.2


def test_sizes_of_one_aspect_show_one_scene(scenes: dict[tuple[str, int], RenderedScene]) -> None:
    small, large = scenes["game", 1], render("game", 1, size=(2 * SMALL[0], 2 * SMALL[1]))
    agreement = (large.labels[::2, ::2] == small.labels).mean()
    assert agreement > 0.9


def test_depth_of_the_road_falls_towards_the_lower_border(scenes: dict[tuple[str, int], RenderedScene]) -> None:
    scene = scenes["game", 2]
    for column in range(0, 128, 8):
        road = scene.depth[:, column][scene.labels[:, column] == 0]
        assert (np.diff(road) <= 1e-4).all()


def test_fog_hides_more_with_depth() -> None:
    contrast = np.zeros(4)
    seen = np.zeros(4)
    edges = [0, 10, 25, 60, 9e3]
    for index in range(8):
        foggy, clear = (render(style, index, size=SMALL) for style in ("fog", "overcast"))
        air = np.median(foggy.photo[foggy.depth >= 1e4], axis=0) if (foggy.depth >= 1e4).any() else np.full(3, 190.0)
        for number in range(4):
            place = (foggy.depth >= edges[number]) & (foggy.depth < edges[number + 1])
            place &= foggy.labels != 255
            contrast[number] += np.abs(foggy.photo[place] - air).sum()
            seen[number] += np.abs(clear.photo[place] - air).sum()
    remaining = contrast / seen
    assert (np.diff(remaining) < 0).all()
    assert remaining[0] > 0.4
    assert remaining[3] < 0.15


def test_night_is_darker_and_overcast_greyer_than_game(scenes: dict[tuple[str, int], RenderedScene]) -> None:
    for index in range(4):
        game, night, overcast = (scenes[style, index].photo.astype(float) for style in ("game", "night", "overcast"))
        assert night.mean() < 0.75 * game.mean()
        assert np.ptp(overcast, axis=2).mean() < np.ptp(game, axis=2).mean()


@pytest.mark.parametrize(
    ("arguments", "wording"),
    [
        ({"style": "snow"}, "style is 'snow'"),
        ({"index": -1}, "index is -1"),
        ({"index": 1.5}, "index is 1.5"),
        ({"seed": -2}, "seed is -2"),
        ({"seed": "a"}, "seed is 'a'"),
        ({"size": (16, 64)}, r"size is \(16, 64\)"),
        ({"size": (64, 5000)}, r"size is \(64, 5000\)"),
        ({"size": (64.0, 64)}, r"size is \(64.0, 64\)"),
        ({"size": (64,)}, r"size is \(64,\)"),
    ],
)
def test_wrong_arguments_are_named(arguments: dict[str, object], wording: str) -> None:
    call: dict[str, object] = {"style": "game", "index": 0, "size": SMALL} | arguments
    style, index = call.pop("style"), call.pop("index")
    with pytest.raises(ValueError, match=wording):
        render(style, index, **call)  # type: ignore[arg-type]
