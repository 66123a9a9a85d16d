"""Exported pseudo-labels are a labelled folder that says what the checkpoint was sure of, and nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sim2street.models.predictor import Predictor
from sim2street.models.storage.checkpoint import Checkpoint
from sim2street.training.cli import main
from sim2street.training.datasets import open_dataset
from tests.app.conftest import save_tiny


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two photos of one name, in two folders; the first says where it was taken."""
    for number, folder in enumerate(("a", "b")):
        (tmp_path / "photos" / folder).mkdir(parents=True)
        pixels = np.random.default_rng(number).integers(0, 256, (3, 4, 3), np.uint8).repeat(16, 0).repeat(16, 1)
        exif = Image.Exif()
        exif.get_ifd(0x8825)[1] = "N"
        Image.fromarray(pixels).save(tmp_path / "photos" / folder / "1.jpg", exif=exif)
    return tmp_path / "photos"


def test_the_folder_holds_what_the_checkpoint_is_sure_of(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = Checkpoint.open(save_tiny(tmp_path, "one", "source_only", "One"))
    predictor = Predictor.from_checkpoint(checkpoint, device="cpu")
    threshold = float(np.median(predictor(np.asarray(Image.open(photos / "a/1.jpg"))).confidence))
    out = tmp_path / "out"
    command = ["export-pseudo-labels", str(checkpoint.path), str(photos), "--device", "cpu", "--out", str(out)]
    assert main([*command, "--threshold", str(threshold)]) == 0
    said = capsys.readouterr().out
    assert "2 photos labelled, 0 already there" in said
    assert "below the threshold" in said

    dataset = open_dataset("folder", out)
    assert set(dataset.keys) == {"1", "1-2"}
    for index in range(2):
        sample = dataset.read(index)
        prediction = predictor(sample.photo)
        sure = prediction.confidence >= threshold
        assert np.array_equal(sample.labels, np.where(sure, prediction.labels, 255))
    assert (dataset.read(dataset.keys.index("1")).labels == 255).mean() == pytest.approx(0.5, abs=0.1)
    assert not Image.open(out / "images/1.png").getexif()

    (out / "labels/1.png").write_bytes(b"")
    assert main([*command, "--threshold", str(threshold)]) == 0
    assert "1 photos labelled, 1 already there" in capsys.readouterr().out
    assert main([*command, "--threshold", "0.5"]) == 2
    assert "another checkpoint or threshold" in capsys.readouterr().err
    assert main([*command[:-1], str(photos)]) == 2
    assert "not written by this command" in capsys.readouterr().err
    assert main([*command[:-1], str(tmp_path / "new"), "--threshold", "1.5"]) == 2
    assert "expected a probability from 0 to 1" in capsys.readouterr().err
