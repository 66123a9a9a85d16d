"""Predictions that were made elsewhere: scored as those of a checkpoint would be, and refused in sentences."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sim2street.app.content.benchmark_data import RESULTS_VARIABLE, sweep_tables
from sim2street.models.errors import DatasetError, LabelError
from sim2street.models.labels import CAMVID11, CITYSCAPES19
from sim2street.models.metrics import confusion_matrix, iou_per_class, mean_iou
from sim2street.training.cli import main
from sim2street.training.datasets import open_dataset
from sim2street.training.evaluate import evaluate_predictions
from sim2street.training.evaluation_table import add_to_table
from sim2street.training.external_predictions import PredictionFolder, read_probabilities

NAMES = ("a", "b", "c")
SIZE = (24, 32)


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def truth(tmp_path: Path) -> dict[str, np.ndarray]:
    """Three photos with random labels of Cityscapes' 19 in `tmp_path/set`."""
    generator = np.random.default_rng(0)
    labels = {name: generator.integers(0, 19, SIZE, np.uint8) for name in NAMES}
    for name, values in labels.items():
        save(tmp_path / "set" / "images" / f"{name}.jpg", np.zeros((*SIZE, 3), np.uint8))
        save(tmp_path / "set" / "labels" / f"{name}.png", values)
    return labels


def predicted(tmp_path: Path) -> PredictionFolder:
    return PredictionFolder(tmp_path / "theirs", open_dataset("folder", tmp_path / "set"))


def test_values_colours_and_probabilities_give_the_same_figures(tmp_path: Path, truth: dict[str, np.ndarray]) -> None:
    generator = np.random.default_rng(1)
    guesses = {name: np.where(generator.random(SIZE) < 0.7, truth[name], 3).astype(np.uint8) for name in NAMES}
    save(tmp_path / "theirs" / "deep" / "a.png", guesses["a"])
    save(tmp_path / "theirs" / "b.png", CITYSCAPES19.colourise(guesses["b"]))
    shares = np.full((19, *SIZE), 0.1 / 18, np.float16)
    np.put_along_axis(shares, guesses["c"][None].astype(int), 0.9, axis=0)
    np.savez_compressed(tmp_path / "theirs" / "c.npz", shares)
    report, faults = evaluate_predictions(predicted(tmp_path))
    confusion = sum((confusion_matrix(truth[name], guesses[name], 19) for name in NAMES), np.zeros((19, 19), np.int64))
    assert report.miou == pytest.approx(mean_iou(iou_per_class(confusion)))
    assert (report.images, report.ece, report.seconds_per_image) == (3, None, None)
    assert not faults.describe()


def test_pixels_without_a_prediction_are_wrong_and_no_other_class_pays_for_them(
    tmp_path: Path, truth: dict[str, np.ndarray]
) -> None:
    for name in NAMES:
        guess = truth[name].copy()
        guess[guess == 4] = 255
        save(tmp_path / "theirs" / f"{name}.png", guess)
    report, _ = evaluate_predictions(predicted(tmp_path))
    assert report.iou_per_class["fence"] == 0
    assert {value for name, value in report.iou_per_class.items() if name != "fence"} == {1}


def test_what_is_missing_or_does_not_fit_is_counted_and_named(
    tmp_path: Path, truth: dict[str, np.ndarray], capsys: pytest.CaptureFixture[str]
) -> None:
    save(tmp_path / "theirs" / "a.png", truth["a"].repeat(2, 0).repeat(2, 1))  # twice the size
    save(tmp_path / "theirs" / "b.png", truth["b"][:, :8])
    save(tmp_path / "theirs" / "d.png", truth["b"])
    with pytest.raises(
        DatasetError, match=r"not all of the 3 photos .*1 predictions with another aspect ratio .*b\.png, 8×24"
    ):
        evaluate_predictions(predicted(tmp_path))
    with pytest.raises(DatasetError, match="1 photos without a prediction: c"):
        evaluate_predictions(predicted(tmp_path))
    figures = tmp_path / "out" / "figures.json"
    command = ["evaluate", "--dataset", "folder", "--root", str(tmp_path / "set"), "--json", str(figures)]
    command += ["--predictions", f"rein={tmp_path / 'theirs'}"]
    assert main(command) == 2
    assert main([*command, "--incomplete"]) == 0
    said = capsys.readouterr().err
    assert "1 resized to the photo's size" in said
    assert "1 for no photo of the set" in said
    report = json.loads(figures.read_text(encoding="utf-8"))["rein"]
    assert (report["images"], report["miou"]) == (1, 1)
    save(tmp_path / "theirs" / "b.png", np.full(SIZE, 33, np.uint8))
    with pytest.raises(DatasetError, match=r"1 predictions that cannot be read: Found the values 33"):
        evaluate_predictions(predicted(tmp_path))


def test_predictions_say_their_own_classes(tmp_path: Path, truth: dict[str, np.ndarray]) -> None:
    for name in NAMES:
        save(tmp_path / "theirs" / f"{name}_pred.png", CAMVID11.relabel(truth[name], CITYSCAPES19))
    (tmp_path / "theirs" / "data.toml").write_text(
        'label_space = "camvid11"\nlabel_names = "*_pred"\n', encoding="utf-8"
    )
    report, _ = evaluate_predictions(predicted(tmp_path))
    assert (report.label_space, report.miou) == ("camvid11", 1), "the ground truth is merged into their classes"


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (np.full((11, 2, 2), 1 / 11), "expected float probabilities of the 19 classes"),
        (np.full((19, 2, 2), 3.0), "logits need a softmax first"),
        (np.full((19, 2, 2), np.nan), "expected probabilities, which are at least 0"),
        (np.zeros((19, 2, 2), np.int64), "contains int64"),
    ],
)
def test_arrays_that_are_no_probabilities_are_refused(tmp_path: Path, values: np.ndarray, sentence: str) -> None:
    np.savez(tmp_path / "a.npz", values)
    with pytest.raises(LabelError, match=sentence):
        read_probabilities(tmp_path / "a.npz", CITYSCAPES19)


def test_nothing_in_an_npz_is_executed_and_a_damaged_one_is_said(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", np.array([print], object))
    with pytest.raises(LabelError, match="cannot be read as npz"):
        read_probabilities(tmp_path / "a.npz", CITYSCAPES19)
    (tmp_path / "b.npz").write_bytes(b"PK")
    with pytest.raises(LabelError, match="cannot be read as npz"):
        read_probabilities(tmp_path / "b.npz", CITYSCAPES19)


def test_a_row_comes_to_the_benchmark_page(
    tmp_path: Path, truth: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in NAMES:
        save(tmp_path / "theirs" / f"{name}.png", truth[name])
    table = tmp_path / "results" / "mine.json"
    command = ["evaluate", "--dataset", "folder", "--root", str(tmp_path / "set"), "--table", str(table)]
    assert main([*command, "--predictions", f"rein={tmp_path / 'theirs'}"]) == 0
    assert main([*command, "--predictions", f"soma={tmp_path / 'theirs'}"]) == 0
    monkeypatch.setenv(RESULTS_VARIABLE, str(table.parent))
    (shown,) = [each for each in sweep_tables() if each.title == "Scored on folder"]
    assert shown.error is None
    assert [(row.title, row.network) for row in shown.rows] == [("rein", "predictions"), ("soma", "predictions")]
    assert shown.groups()
    dataset = open_dataset("folder", tmp_path / "set")
    report, _ = evaluate_predictions(PredictionFolder(tmp_path / "theirs", dataset))
    rows = {name: (report, "deeplab_v2") for name in ("one", "two", "three")}
    add_to_table(table, dataset, "folder", rows, {"one": "Mine", "two": "Mine", "three": "Other"})
    (shown,) = [each for each in sweep_tables() if each.title == "Scored on folder"]
    assert [row.title for row in shown.rows] == ["rein", "soma", "Mine (one)", "Mine (two)", "Other"]
    save(tmp_path / "set" / "images" / "e.jpg", np.zeros((*SIZE, 3), np.uint8))
    save(tmp_path / "set" / "labels" / "e.png", truth["a"])
    save(tmp_path / "theirs" / "e.png", truth["a"])
    assert main([*command, "--predictions", f"rein={tmp_path / 'theirs'}"]) == 2
    assert "with other files" in capsys.readouterr().err
