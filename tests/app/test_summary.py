"""The sentence that answers, on labels small enough to count by hand."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sim2street.app.content import exports, panes
from sim2street.app.content.engine import Engine, Settings
from sim2street.app.content.figures import Entrant
from sim2street.app.content.streets import rendered_scene
from sim2street.app.content.summary import answer, most_different_classes
from sim2street.models.labels import CITYSCAPES19
from sim2street.models.photo import Photo
from sim2street.models.storage.checkpoint import Checkpoint, CheckpointConfig
from tests.app.conftest import TINY, save_tiny_pair

ROAD, SIDEWALK, BUILDING = (CITYSCAPES19.names.index(name) for name in ("road", "sidewalk", "building"))
TRUTH = np.array([[ROAD, ROAD, SIDEWALK, SIDEWALK]], np.uint8)


def entrant(method: str, labels: list[int], *, truth: np.ndarray | None = TRUTH, entropy: float = 0.5) -> Entrant:
    values = np.array([labels], np.uint8)
    plain = np.zeros_like(values)
    pane = panes.Pane(
        CITYSCAPES19,
        values,
        plain,
        plain,
        np.zeros((1, 4, 3), np.uint8),
        np.zeros((1, 4, 3), np.uint8),
        1,
        entropy,
        0.1,
    )
    score = None if truth is None else panes.score(pane, truth)
    config = CheckpointConfig(
        title=method, method=method, network="deeplab_v2", network_options=TINY, source="street_scenes/game"
    )
    checkpoint: Any = Checkpoint.__new__(Checkpoint)
    object.__setattr__(checkpoint, "config", config)
    return Entrant(checkpoint, panes.Reading(method, method.upper(), "", "#000000", pane, score))


def test_the_best_is_named_with_its_gain_and_where_it_comes_from() -> None:
    plain = entrant("source_only", [ROAD, ROAD, ROAD, ROAD])  # road 1/2, sidewalk 0: mean 0.25
    best = entrant("advent", [ROAD, ROAD, SIDEWALK, SIDEWALK])
    said = answer([plain, best], TRUTH)
    assert said == (
        "ADVENT does best on this image: +75.0 points of mean IoU over SOURCE_ONLY, most of all on sidewalk (+100)."
        " The two methods disagree on 50 % of the pixels, most of them on sidewalk."
    )


def test_where_source_only_wins_the_sentence_says_so() -> None:
    said = answer([entrant("source_only", [ROAD, ROAD, SIDEWALK, SIDEWALK]), entrant("dann", [ROAD] * 4)], TRUTH)
    assert said.startswith("No method does better on this image than SOURCE_ONLY, which reaches a mean IoU of 100.0")


def test_equal_methods_are_called_equal_and_one_alone_is_compared_with_nobody() -> None:
    both = [entrant("source_only", [ROAD] * 4), entrant("dann", [ROAD] * 4)]
    assert "agree on nearly every pixel" in answer(both, TRUTH)
    assert "better on this image than SOURCE_ONLY" in answer(both, TRUTH)
    assert answer([both[1]], TRUTH) == "DANN reaches a mean IoU of 25.0 on this image."


def test_without_ground_truth_nobody_is_called_right() -> None:
    sure = entrant("mic", [ROAD] * 4, truth=None, entropy=0.1)
    unsure = entrant("dann", [ROAD, ROAD, BUILDING, ROAD], truth=None, entropy=0.4)
    said = answer([unsure, sure], None)
    assert "best" not in said
    assert said.startswith("MIC is the most certain (entropy 0.10), DANN the least (0.40)")
    assert said.endswith("The two methods disagree on 25 % of the pixels, most often about road.")


@pytest.mark.parametrize("truth", [TRUTH, np.full_like(TRUTH, 255)], ids=["labelled", "nothing labelled"])
def test_nothing_to_score_gives_a_sentence_too(truth: np.ndarray) -> None:
    entrants = [
        entrant("source_only", [ROAD] * 4, truth=truth),
        entrant("dann", [ROAD, ROAD, SIDEWALK, 5], truth=truth),
    ]
    assert "nan" not in answer(entrants, truth)


def test_the_archive_holds_both_numberings_and_the_figures() -> None:
    photo = Photo(np.zeros((1, 4, 3), np.uint8), "street", "digest")
    data = exports.archive(photo, [entrant("advent", [ROAD, ROAD, SIDEWALK, BUILDING])])
    with zipfile.ZipFile(io.BytesIO(data)) as files:
        values = {
            name: np.asarray(Image.open(io.BytesIO(files.read(f"advent_{name}.png")))).tolist()
            for name in ("labels", "train_ids", "label_ids")
        }
        lines = files.read("figures.csv").decode().splitlines()
        assert Image.open(io.BytesIO(files.read("advent_overlay.png"))).size == (4, 1)
        assert "0 road" in files.read("README.txt").decode()
        with np.load(io.BytesIO(files.read("advent.npz")), allow_pickle=False) as arrays:
            assert arrays["labels"].tolist() == [[0, 0, 1, 2]]
            assert arrays["classes"][arrays["candidates"][0, 0, 0]] == "road"
            assert arrays["entropy"].shape == (1, 4)
    assert values == {"labels": [[0, 0, 1, 2]], "train_ids": [[0, 0, 1, 2]], "label_ids": [[7, 7, 8, 11]]}
    assert lines[:3] == [
        "checkpoint,method,class,share_percent,iou_percent",
        "advent,ADVENT,road,50.000,100.00",
        "advent,ADVENT,sidewalk,25.000,50.00",
    ]
    assert lines[-1] == "advent,ADVENT,bicycle,0.000,"


def test_all_probabilities_come_as_they_are_and_one_broken_checkpoint_stops_none(tmp_path: Path) -> None:
    folder = save_tiny_pair(tmp_path)
    first, second = (Checkpoint.open(folder / name) for name in ("tiny_advent", "tiny_source_only"))
    (second.path / "model.safetensors").unlink()
    scene = rendered_scene("fog", 3)
    data = exports.probabilities(Engine(), scene, [second, first], Settings())
    with zipfile.ZipFile(io.BytesIO(data)) as files:
        assert sorted(files.namelist()) == ["tiny_advent.npz", "tiny_source_only.txt"]
        with np.load(io.BytesIO(files.read("tiny_advent.npz")), allow_pickle=False) as arrays:
            values, classes = arrays["probabilities"].astype(np.float32), arrays["classes"]
    assert values.shape == (19, 256, 512)
    assert classes[0] == "road"
    assert np.abs(values.sum(axis=0) - 1).max() < 0.01
    pane = Engine().read(scene, first, Settings(), "visitor")
    assert isinstance(pane, panes.Pane)
    named = np.take_along_axis(values, pane.labels[None].astype(np.int64), axis=0)[0]
    assert (values.max(axis=0) - named).max() < 0.002, "float16 makes ties of what is nearly equal"


def test_classes_in_the_photo_are_listed_by_how_much_the_methods_differ() -> None:
    plain, best = entrant("source_only", [ROAD] * 4), entrant("advent", [ROAD, BUILDING, SIDEWALK, SIDEWALK])
    assert most_different_classes([plain, best], TRUTH) == [
        SIDEWALK,
        ROAD,
    ]  # a building is predicted, but there is none
    assert most_different_classes([plain, best], None) == [ROAD, SIDEWALK, BUILDING]
    assert most_different_classes([], None) == []
