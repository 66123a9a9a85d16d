"""Predictions that were made elsewhere beside checkpoints: what labels alone can say, and what they cannot."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sim2street.app.content.comparison import current_results
from sim2street.app.content.engine import Engine, Settings
from sim2street.app.content.figures import numbers
from sim2street.app.content.gallery import PREDICTIONS_VARIABLE, photo_set_scene, prediction_folders
from sim2street.app.viewer.report import html_report
from sim2street.models.labels import CAMVID11, CITYSCAPES19
from sim2street.training.datasets import open_dataset

SIZE = (24, 32)


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def test_labels_are_scored_and_compared_and_lack_entropy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    truth = np.random.default_rng(0).integers(0, 19, SIZE, np.uint8)
    save(tmp_path / "set" / "images" / "a.png", np.zeros((*SIZE, 3), np.uint8))
    save(tmp_path / "set" / "labels" / "a.png", truth)
    save(tmp_path / "rein" / "a.png", truth)
    save(tmp_path / "camvid" / "a.png", CAMVID11.relabel(truth, CITYSCAPES19))
    (tmp_path / "camvid" / "data.toml").write_text('label_space = "camvid11"\n', encoding="utf-8")
    save(tmp_path / "broken" / "a.png", np.full(SIZE, 77, np.uint8))
    save(tmp_path / "elsewhere" / "b.png", truth)
    folders = [str(tmp_path / name) for name in ("rein", "camvid", "broken", "elsewhere", "nowhere")]
    monkeypatch.setenv(PREDICTIONS_VARIABLE, ":".join(folders))

    dataset = open_dataset("folder", tmp_path / "set")
    found, problems = prediction_folders(dataset)
    assert list(found) == ["rein", "camvid", "broken"]
    assert ["nowhere is not a folder" in problem for problem in problems] == [True]
    scene = photo_set_scene(dataset, 0)
    state = current_results(Engine(), scene, [], [], Settings(), "visitor", found)
    assert state.scene.space == CAMVID11, "into which all of them can be merged"
    assert [entrant.score.mean_iou for entrant in state.entrants if entrant.score] == [1, 1]
    assert state.bundle["disagreement"] is not None
    assert {"labels", "stride"} == {"labels", "entropy", "confidence", "candidates", "stride"} & {
        *state.bundle["methods"][0]
    }
    (failed,) = state.bundle["failed"]
    assert failed["title"] == "broken"
    assert "values 77" in failed["reason"]
    (row, _) = numbers(state.entrants).summary
    assert (row["Method"], row["Mean entropy"], row["Seconds"]) == ("rein", None, None)
    assert "rein and camvid" in html_report(state.bundle) or "rein, camvid" in html_report(state.bundle)
