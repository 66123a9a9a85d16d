"""Exported pseudo-labels are a labelled folder that says what the checkpoint was sure of, and nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sim2street.models.predictor import Predictor
from sim2street.models.storage.checkpoint import Checkpoint
from sim2street.training.cli import main
from sim2street.training.datasets import open_dataset
from sim2street.training.pseudo_labels import Labeller
from sim2street.training.run.mean_teacher import load_teacher
from tests.app.conftest import save_tiny
from tests.training.jobs.conftest import STREETS, tiny_config


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
    assert "another checkpoint or other settings" in capsys.readouterr().err
    assert main([*command[:-1], str(photos)]) == 2
    assert "not written by this command" in capsys.readouterr().err
    assert main([*command[:-1], str(tmp_path / "new"), "--threshold", "1.5"]) == 2
    assert "expected a probability from 0 to 1" in capsys.readouterr().err


@pytest.mark.slow
def test_the_teacher_of_a_run_labels_where_it_is_asked(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    no_distance = {
        "method": "daformer",
        "method_options": {"distance_weight": 0.0, "ignore_top": 0, "ignore_bottom": 0, "teacher_momentum": 0.9},
    }
    rate = {"optimisers": {"segmenter": {"kind": "sgd", "rate": 0.5}}}
    config = tiny_config(**no_distance, **rate, target=STREETS, evaluations=[], recalibration=2)
    (tmp_path / "mine.json").write_text(config.model_dump_json())
    assert main(["train", str(tmp_path / "mine.json"), "--out", str(run)]) == 0
    capsys.readouterr()
    command = ["export-pseudo-labels", str(run), str(photos), "--device", "cpu", "--threshold", "0", "--out"]
    assert main([*command, str(tmp_path / "student")]) == 0
    assert f"Labelling with the network of {run / 'checkpoint'}, daformer at step 4." in capsys.readouterr().out
    assert main([*command, str(tmp_path / "teacher"), "--teacher"]) == 0
    assert f"Labelling with the mean teacher of {run / 'state.pt'}." in capsys.readouterr().out

    teacher, settings, _ = load_teacher(run)
    kept = torch.load(run / "state.pt", weights_only=True)["method"]
    for name, value in teacher.state_dict().items():
        assert torch.equal(value, kept[f"teacher.segmenter.{name}"])
    sample = open_dataset("folder", tmp_path / "teacher").read(0)
    assert np.array_equal(sample.labels, Predictor(teacher, settings.window, device="cpu")(sample.photo).labels)
    assert not np.array_equal(sample.labels, open_dataset("folder", tmp_path / "student").read(0).labels)
    assert main([*command, str(tmp_path / "teacher")]) == 2, "a folder is filled by one network"

    (run / "checkpoint" / "config.json").unlink()  # an unfinished run has a teacher too
    assert main([*command, str(tmp_path / "teacher"), "--teacher"]) == 0
    (run / "state.pt").write_bytes(b"cut")
    assert main([*command, str(tmp_path / "other"), "--teacher"]) == 2
    assert "is damaged" in capsys.readouterr().err


def test_a_run_without_a_teacher_says_so(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["export-pseudo-labels", str(tmp_path), str(photos), "--teacher", "--out", str(tmp_path / "out")]
    assert main(command) == 2
    assert "is not the folder of a run" in capsys.readouterr().err
    (tmp_path / "config.json").write_text(tiny_config().model_dump_json())
    assert main(command) == 2
    assert "has not saved a state yet" in capsys.readouterr().err
    torch.save({"method": {"segmenter.weight": torch.zeros(1)}}, tmp_path / "state.pt")
    assert main(command) == 2
    assert "The method source_only of" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_networks_are_averaged_and_each_class_keeps_a_share(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, two = (
        save_tiny(tmp_path, name, "source_only", name.title(), seed=seed) for seed, name in enumerate(("one", "two"))
    )
    out = tmp_path / "out"
    command = ["export-pseudo-labels", str(one), str(photos), "--device", "cpu", "--with", str(two), "--out", str(out)]
    assert main([*command, "--threshold", "0"]) == 0
    dataset = open_dataset("folder", out)
    predictors = [Predictor.from_checkpoint(Checkpoint.open(path), device="cpu") for path in (one, two)]
    for index in range(2):
        sample = dataset.read(index)
        mean = np.mean([predictor(sample.photo).probabilities for predictor in predictors], axis=0)
        assert np.array_equal(sample.labels, mean.argmax(0))
    assert main([*command, "--share", "0.5"]) == 2, "the folder has labels with a threshold"
    capsys.readouterr()
    assert main([*command[:-1], str(tmp_path / "share"), "--share", "0.5"]) == 0
    assert "below the threshold" in capsys.readouterr().out
    for option, given, said in (
        ("--share", "1.5", "more than 0 and at most 1"),
        ("--ignore-bottom", "1", "from 0 to less than 1"),
        ("--imagenet-evidence", "nan", "a weight from 0 to 10"),
        ("--scales", "9", "factors from 0.25 to 4"),
    ):
        assert main([*command[:-1], str(tmp_path / "none"), option, given]) == 2
        assert said in capsys.readouterr().err

    (photos / "a/1.jpg").write_bytes(b"cut")
    assert main([*command[:-1], str(tmp_path / "one_cut"), "--share", "0.5"]) == 2
    assert "1 photos labelled" in capsys.readouterr().out, "the rest goes on"
    (photos / "b/1.jpg").write_bytes(b"cut")
    assert main([*command[:-1], str(tmp_path / "both_cut"), "--share", "0.5"]) == 2
    assert "None of the 2 photos that set the thresholds can be read" in capsys.readouterr().err

    labeller = Labeller(predictors, np.zeros(19, np.float32))
    pictures = [dataset.read(index).photo for index in range(2)]
    whole = np.concatenate([labeller.sure_labels(picture).ravel() for picture in pictures])
    labeller.keep_share(0.5, pictures)
    kept = np.concatenate([labeller.sure_labels(picture).ravel() for picture in pictures])
    for number in np.unique(whole):
        assert (kept == number).sum() >= 0.5 * (whole == number).sum(), "never less than the share"
    assert (kept == 255).mean() > 0.4, "and hardly more"


def test_evidence_moves_labels_to_what_it_sees(photos: Path, tmp_path: Path) -> None:
    predictor = Predictor.from_checkpoint(
        Checkpoint.open(save_tiny(tmp_path, "one", "source_only", "One")), device="cpu"
    )
    picture = np.asarray(Image.open(photos / "a/1.jpg"))

    class Bus:
        def __call__(self, photo: np.ndarray) -> torch.Tensor:
            evidence = torch.zeros((19, *photo.shape[:2]))
            evidence[15, :8] = 20
            return evidence

    labeller = Labeller([predictor], np.zeros(19, np.float32), Bus(), 1.0, 0.25)  # pyright: ignore[reportArgumentType]
    assert ((labeller.sure_labels(picture) == 255) == (np.arange(48) >= 36)[:, None]).all(), (
        "the bottom quarter stays free"
    )
    labels, confidence = labeller.likeliest(picture)
    plain = predictor(picture)
    assert (labels[:8] == 15).all()
    assert np.array_equal(labels[8:], plain.labels[8:])
    assert np.allclose(confidence[8:], plain.confidence[8:], atol=1e-4)
