"""Error analysis: what is read, stored and found again, the orders of pictures, and the pixels behind a cell."""

from __future__ import annotations

import base64
import io
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sim2street.app.content import error_analysis, failures
from sim2street.app.content.background import MOST_WAITING, Background, BusyError, Task, TaskState
from sim2street.app.content.engine import Engine, Failure
from sim2street.app.content.error_analysis import (
    ORDERS,
    Analysis,
    Cell,
    address_in_compare,
    analysis_of,
    begin,
    detection,
    looked_for,
    middle_of_largest,
    ranked,
    reliability,
    sparsification,
)
from sim2street.app.content.labelled_sets import LabelledSet
from sim2street.app.content.panes import Pane, pane
from sim2street.models.errors import DatasetError
from sim2street.models.labels import CITYSCAPES19
from sim2street.models.photo import Photo
from sim2street.models.prediction import Prediction
from sim2street.models.storage.checkpoint import Checkpoint
from sim2street.training.datasets.base import SegmentationDataset

ROAD, SIDEWALK, BUILDING = 0, 1, 2


class Blocks(SegmentationDataset):
    """Pictures of 16 × 8 pixels: building above, road below, the last `index` columns of the road are sidewalk."""

    name, title, terms, labels, labelled, gallery = "blocks", "Blocks", "", CITYSCAPES19, True, ("val",)
    keys = ("a/1", "a/2", "b/3", "b/4")
    state = "first"
    broken: int | None = None

    @property
    def slug(self) -> str:
        return "blocks_val"

    def read_photo(self, index: int) -> np.ndarray:
        if index == self.broken:
            raise DatasetError("its photo is gone.")
        return np.full((8, 16, 3), 40 + index, np.uint8)

    def read_labels(self, index: int) -> np.ndarray:
        labels = np.full((8, 16), BUILDING, np.uint8)
        labels[4:] = ROAD
        labels[4:, 16 - index :] = SIDEWALK
        return labels

    def fingerprint(self) -> str:
        return self.state * 8

    def describe(self) -> str:
        return "blocks"


def sees_no_sidewalk(_checkpoint: Checkpoint, photo: Photo, _space: str, _settings: object) -> Pane:
    """Reads sidewalk as road and is unsure there."""
    truth = Blocks().read_labels(int(photo.pixels[0, 0, 0]) - 40)
    seen = np.where(truth == SIDEWALK, ROAD, truth)
    sure = np.where(truth == SIDEWALK, 0.4, 0.97).astype(np.float32)
    probabilities = np.repeat((1 - sure)[None] / np.float32(18), 19, axis=0)
    np.put_along_axis(probabilities, seen[None].astype(np.int64), sure[None], axis=0)
    return pane(Prediction.from_probabilities(probabilities, CITYSCAPES19, 0.0))


@pytest.fixture
def labelled(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> LabelledSet:
    monkeypatch.setenv("SIM2STREET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(error_analysis, "_KEPT", type(error_analysis._KEPT)(2**20))
    return LabelledSet("blocks/val", "Blocks val", Blocks())


@pytest.fixture
def checkpoint(tiny_checkpoints: Path) -> Checkpoint:
    return Checkpoint.open(tiny_checkpoints / "tiny_advent")


def finished(engine: Engine, analysis: Analysis) -> Analysis:
    wait_for(begin(engine, analysis))
    return analysis


def wait_for(task: Task) -> None:
    until = time.monotonic() + 30
    while task.under_way and time.monotonic() < until:
        time.sleep(0.01)
    assert not task.under_way


def test_a_set_is_read_once_and_found_again(labelled: LabelledSet, checkpoint: Checkpoint) -> None:
    read: list[str] = []

    def counting(*arguments: object) -> Pane:
        read.append("one")
        return sees_no_sidewalk(*arguments)  # pyright: ignore[reportArgumentType]

    first = finished(Engine(counting), analysis_of(labelled, checkpoint))
    assert first.complete
    assert first.summary().confusion[SIDEWALK, ROAD] == 4 * (0 + 1 + 2 + 3)
    error_analysis._KEPT.forget(lambda _: True)  # as after a restart
    again = analysis_of(labelled, checkpoint)
    assert again is not first
    assert again.complete
    np.testing.assert_array_equal(again.summary().confusion, first.summary().confusion)
    np.testing.assert_array_equal(again.photos[3].predicted(), first.photos[3].predicted())
    np.testing.assert_array_equal(again.photos[3].true(), Blocks().read_labels(3))
    assert again.photos[3].photo().shape == (240, 480, 3)
    assert len(read) == 4


def test_pictures_that_changed_are_read_anew(labelled: LabelledSet, checkpoint: Checkpoint) -> None:
    finished(Engine(sees_no_sidewalk), analysis_of(labelled, checkpoint))
    changed = Blocks()
    changed.state = "second"
    assert not analysis_of(LabelledSet("blocks/val", "Blocks val", changed), checkpoint).photos


def test_a_damaged_file_of_the_cache_is_read_anew(labelled: LabelledSet, checkpoint: Checkpoint) -> None:
    finished(Engine(sees_no_sidewalk), analysis_of(labelled, checkpoint))
    error_analysis._KEPT.forget(lambda _: True)
    (stored,) = error_analysis._path(labelled, checkpoint).parent.iterdir()
    stored.write_bytes(stored.read_bytes()[:200])
    assert not analysis_of(labelled, checkpoint).photos


def test_one_broken_picture_does_not_stop_the_others(labelled: LabelledSet, checkpoint: Checkpoint) -> None:
    labelled.pictures.broken = 1  # pyright: ignore[reportAttributeAccessIssue]
    found = finished(Engine(sees_no_sidewalk), analysis_of(labelled, checkpoint))
    assert [photo.index for photo in found.photos] == [0, 2, 3]
    assert found.problems == ["a/2: its photo is gone."]
    assert found.complete


def test_a_checkpoint_that_fails_says_so_once(labelled: LabelledSet, checkpoint: Checkpoint) -> None:
    found = finished(Engine(lambda *_: Failure("The weights are gone.")), analysis_of(labelled, checkpoint))
    assert not found.photos
    assert failures.problems_in_words(found) == ["a/1: The weights are gone. The same applies to 3 more."]


def test_stopped_goes_on_where_it_was(labelled: LabelledSet, checkpoint: Checkpoint) -> None:
    read: list[int] = []
    at_second, go_on = threading.Event(), threading.Event()

    def slowly(known: Checkpoint, photo: Photo, space: str, settings: object) -> Pane:
        read.append(int(photo.pixels[0, 0, 0]) - 40)
        if len(read) == 2:
            at_second.set()
            go_on.wait(30)
        return sees_no_sidewalk(known, photo, space, settings)

    engine, analysis = Engine(slowly), analysis_of(labelled, checkpoint)
    task = begin(engine, analysis)
    assert at_second.wait(30)
    assert begin(engine, analysis) is task  # asked for twice, read once
    task.stop()
    go_on.set()
    wait_for(task)
    assert task.state is TaskState.STOPPED
    assert [photo.index for photo in analysis.photos] == [0, 1]
    finished(engine, analysis)
    assert read == [0, 1, 2, 3]


def test_orders(labelled: LabelledSet, checkpoint: Checkpoint) -> None:
    photos = finished(Engine(sees_no_sidewalk), analysis_of(labelled, checkpoint)).photos
    perfect = [
        error_analysis.photo_figures(i, Blocks().read_photo(i), Blocks().read_labels(i), _true_pane(i))
        for i in range(4)
    ]
    assert [each.photo.index for each in ranked(photos, ORDERS[0])] == [3, 2, 1, 0]
    # Picture 0 has no sidewalk: neither the cell nor the class says anything of it.
    confused = ranked(photos, ORDERS[0], Cell(SIDEWALK, ROAD))
    assert [(each.photo.index, each.said) for each in confused] == [(3, "12 pixels"), (2, "8 pixels"), (1, "4 pixels")]
    assert {each.photo.index for each in ranked(photos, ORDERS[0], Cell(SIDEWALK))} == {1, 2, 3}
    losses = ranked(photos, ORDERS[1], None, perfect)
    assert [each.photo.index for each in losses] == [3, 2, 1]
    assert losses[0].said.startswith("-")
    assert not ranked(photos, ORDERS[2], None, perfect)
    assert [each.photo.index for each in ranked(perfect, ORDERS[2], None, photos)] == [3, 2, 1]
    assert ranked(photos, ORDERS[3], None, perfect)[0].said == "9 % differ"  # 12 of 128 pixels
    assert not ranked(photos, ORDERS[1], None, [])


def _true_pane(index: int) -> Pane:
    truth = Blocks().read_labels(index)
    probabilities = np.zeros((19, 8, 16), np.float32)
    np.put_along_axis(probabilities, truth[None].astype(np.int64), np.float32(1), axis=0)
    return pane(Prediction.from_probabilities(probabilities, CITYSCAPES19, 0.0))


def test_a_cell_opens_its_pixels(labelled: LabelledSet, checkpoint: Checkpoint) -> None:
    analysis = finished(Engine(sees_no_sidewalk), analysis_of(labelled, checkpoint))
    photo, scene = analysis.photos[3], labelled.scene(3)
    assert scene.truth is not None
    mask = looked_for(photo, Cell(SIDEWALK, ROAD))
    np.testing.assert_array_equal(mask, scene.truth == SIDEWALK)
    np.testing.assert_array_equal(looked_for(photo, None), mask)
    assert not looked_for(photo, Cell(ROAD, SIDEWALK)).any()
    address = address_in_compare(analysis, photo, Cell(SIDEWALK, ROAD))
    x, y = map(int, address["pixel"].split(","))
    assert mask[y, x]
    assert address["blocks_val_photo"] == "b/4"
    assert "pixel" not in address_in_compare(analysis, analysis.photos[0], None)


def test_cards_outline_the_pixels(labelled: LabelledSet, checkpoint: Checkpoint) -> None:
    analysis = finished(Engine(sees_no_sidewalk), analysis_of(labelled, checkpoint))
    cell = Cell(SIDEWALK, ROAD)
    data = failures.cards(analysis, ranked(analysis.photos, ORDERS[0], cell), cell)
    assert [item["title"] for item in data["items"]] == ["B/4", "B/3", "A/2"]
    shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(data["items"][0]["image"])))).astype(int)
    tinted = shown[..., 0] - shown[..., 1] > 40
    assert tinted[180, 440]  # within the sidewalk at the lower right
    assert not tinted[60].any()
    assert not tinted[180, :300].any()


def test_the_matrix_names_what_occurs(labelled: LabelledSet, checkpoint: Checkpoint) -> None:
    analysis = finished(Engine(sees_no_sidewalk), analysis_of(labelled, checkpoint))
    data = failures.matrix(analysis.summary(), CITYSCAPES19, "1,0")
    assert data["columns"] == [ROAD, SIDEWALK, BUILDING]
    assert [row["share"] for row in data["rows"]] == [[1, 0, 0], [1, 0, 0], [0, 0, 1]]
    assert "AUROC of 1.00" in " ".join(failures.figures_in_words(analysis, analysis.summary()))


@pytest.mark.parametrize("choice", ["", "19", "1,2,3", "-1", "1,x", "²", "1,19"])
def test_choices_that_name_no_cell(choice: str) -> None:
    assert failures.cell_of(choice, CITYSCAPES19) is None


def test_detection_and_sparsification_by_hand() -> None:
    wrong, right = np.zeros(256, np.int64), np.zeros(256, np.int64)
    wrong[200], right[10], right[200] = 10, 80, 10
    # A wrong pixel has more entropy than 80 right ones and as much as 10: (80 + 5) / 90.
    assert detection(wrong, right) == pytest.approx(85 / 90)
    errors = sparsification(wrong, right)
    assert errors[0] == pytest.approx(0.10)
    assert errors[1] == pytest.approx(5 / 90)  # 10 of the 20 most uncertain go, half of them wrong
    assert errors[2:] == pytest.approx([0] * 8)
    assert np.isnan(detection(wrong, np.zeros(256, np.int64)))


def test_reliability_by_hand() -> None:
    wrong, right = np.zeros(256, np.int64), np.zeros(256, np.int64)
    wrong[255], right[255], right[51] = 1, 3, 4
    assert reliability(wrong, right) == [pytest.approx((0.2, 1.0, 0.5)), pytest.approx((1.0, 0.75, 0.5))]


def test_the_middle_lies_within() -> None:
    mask = np.zeros((40, 40), bool)
    mask[2:5, 2:5] = True
    mask[10:30, 20:38] = True
    mask[14:26, 24:34] = False  # a frame: its centre of gravity is outside
    found = middle_of_largest(mask)
    assert found is not None
    assert mask[found[1], found[0]]
    assert found[0] >= 20
    assert middle_of_largest(np.zeros((3, 3), bool)) is None


def blocked(gate: threading.Event) -> Callable[[Task], None]:
    return lambda _task: (gate.wait(30), None)[1]


def test_too_many_wait() -> None:
    background, gate = Background(), threading.Event()
    tasks = [background.start("runs", 1, blocked(gate))]
    until = time.monotonic() + 30
    while tasks[0].state is TaskState.WAITING and time.monotonic() < until:
        time.sleep(0.01)
    tasks += [background.start(number, 1, blocked(gate)) for number in range(MOST_WAITING)]
    with pytest.raises(BusyError, match="Try again"):
        background.start("one more", 1, blocked(gate))
    gate.set()
    for task in tasks:
        wait_for(task)
        assert task.state is TaskState.DONE


def test_only_the_latest_ended_tasks_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sim2street.app.content.background.MOST_ENDED", 2)
    background, gate = Background(), threading.Event()
    for key in ("a", "b", "c", "a"):
        wait_for(background.start(key, 1, lambda _: None))
    running = background.start("running", 1, blocked(gate))
    last = background.start("last", 1, blocked(gate))
    known = [key for key in ("a", "b", "c", "running", "last") if background.task(key) is not None]
    assert known == ["a", "c", "running", "last"], "the oldest that has ended is forgotten, and none that is under way"
    gate.set()
    wait_for(running)
    wait_for(last)


def test_what_fails_unexpectedly_says_so_and_the_next_runs(caplog: pytest.LogCaptureFixture) -> None:
    background = Background()

    def broken(_task: Task) -> None:
        raise ZeroDivisionError

    first = background.start("first", 1, broken)
    wait_for(first)
    assert first.state is TaskState.FAILED
    assert "server's log" in first.error
    assert "ZeroDivisionError" in caplog.text
    second = background.start("second", 1, lambda _: None)
    wait_for(second)
    assert second.state is TaskState.DONE


def test_equal_weights_under_another_name_share_the_figures(
    labelled: LabelledSet, checkpoint: Checkpoint, tmp_path: Path
) -> None:
    first = finished(Engine(sees_no_sidewalk), analysis_of(labelled, checkpoint))
    shutil.copytree(checkpoint.path, tmp_path / "copy")
    other = analysis_of(labelled, Checkpoint.open(tmp_path / "copy"))
    assert other.checkpoint.name == "copy"
    assert other.photos is first.photos
