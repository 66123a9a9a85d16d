"""Prediction of folders, patterns and clips: what is found, what is made again, and what a broken clip gives."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sim2street.models.errors import PhotoError
from sim2street.models.photo import SUFFIXES, Photo
from sim2street.models.prediction import Prediction
from sim2street.models.predictor import Predictor
from sim2street.models.storage.checkpoint import Checkpoint
from sim2street.training import camera
from sim2street.training.cli import main
from sim2street.training.predict import photos_of, predict_photos
from sim2street.training.video import Clip
from tests.app.conftest import save_tiny

av = pytest.importorskip("av")


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoints")
    save_tiny(folder, "one", "source_only", "One")
    save_tiny(folder, "two", "advent", "Two", target="street_scenes/fog", seed=1)
    return folder


def write_clip(path: Path, frames: int = 5) -> Path:
    """A clip of moving noise, 66×48 pixels, that says where it was taken."""
    generator = np.random.default_rng(0)
    with av.open(str(path), "w", container_options={"movflags": "use_metadata_tags"}) as container:
        container.metadata["location"] = "+48.1-11.5/"
        stream = container.add_stream("mpeg4", rate=Fraction(10))
        stream.width, stream.height, stream.pix_fmt = 66, 48, "yuv420p"
        for _ in range(frames):
            pixels = generator.integers(0, 256, (6, 11, 3), np.uint8).repeat(8, 0).repeat(6, 1)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    return path


def test_patterns_find_photos_at_any_depth(tmp_path: Path) -> None:
    for name in ("a/1.jpg", "a/b/2.JPG", "a/b/note.txt", "odd[1].png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    found = photos_of([str(tmp_path / "a/**/*")])
    assert [Path(each).name for each in found] == ["1.jpg", "2.JPG"]
    assert photos_of([str(tmp_path / "odd[1].png")]) == [str(tmp_path / "odd[1].png")], "a file is no pattern"
    with pytest.raises(PhotoError, match=r"matches 1 files, none of which is a photo"):
        photos_of([str(tmp_path / "a/b/*.txt")], SUFFIXES)


def test_a_call_that_was_cut_off_goes_on(checkpoints: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for number in range(3):
        Image.effect_noise((40 + number, 32), 50).convert("RGB").save(tmp_path / f"in/{number}.png")
    command = [
        "predict",
        str(tmp_path / "in"),
        "--checkpoint",
        str(checkpoints / "one"),
        "--out",
        str(tmp_path / "out"),
    ]
    assert main(command) == 0
    files = [tmp_path / f"out/{number}/one/labels.png" for number in range(3)]
    times = [file.stat().st_mtime_ns for file in files]
    files[0].write_bytes(files[0].read_bytes()[:-5])  # cut
    Image.effect_noise((48, 32), 50).convert("RGB").save(tmp_path / "in/1.png")  # another photo
    assert main(command) == 0
    assert Image.open(files[0]).size == (40, 32)
    assert Image.open(files[1]).size == (48, 32)
    assert files[2].stat().st_mtime_ns == times[2], "whole and unchanged"
    summary = json.loads((tmp_path / "out/summary.json").read_text())
    assert [len(entry["checkpoints"]) for entry in summary.values()] == [1, 1, 1]
    assert main([*command, "--flip"]) == 0
    assert files[2].stat().st_mtime_ns != times[2], "other settings"


def test_batches_give_the_same_labels_and_one_bad_photo_stops_none(
    checkpoints: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """Photos of two sizes in turn, a damaged one between, and a last group that is not full."""
    (tmp_path / "in").mkdir()
    for number, size in enumerate([(64, 48), (64, 48), (64, 48), (40, 32), (64, 48), (64, 48)]):
        Image.effect_noise(size, 90).convert("RGB").save(tmp_path / f"in/{number}.png")
    (tmp_path / "in/1b.png").write_bytes(b"no picture")
    chosen = [word for name in ("one", "two") for word in ("--checkpoint", str(checkpoints / name))]
    outs = {}
    for batch in ("1", "4"):
        outs[batch] = tmp_path / batch
        command = ["predict", str(tmp_path / "in"), *chosen, "--flip", "--out", str(outs[batch]), "--batch", batch]
        assert main(command) == 2
        assert "6 of 7 photos segmented" in capsys.readouterr().out
    files = sorted(path.relative_to(outs["1"]) for path in outs["1"].glob("*/*/labels.png"))
    assert len(files) == 12
    for file in files:
        assert np.array_equal(np.asarray(Image.open(outs["1"] / file)), np.asarray(Image.open(outs["4"] / file))), file
    summary = json.loads((outs["4"] / "summary.json").read_text())
    assert [Path(source).name for source in summary] == sorted(path.name for path in (tmp_path / "in").iterdir())
    assert "error" in summary[str(tmp_path / "in/1b.png")]


def test_a_group_that_does_not_fit_into_memory_is_segmented_one_by_one(
    checkpoints: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Predictor.batch

    def small(self: Predictor, photos: Sequence[Photo]) -> list[Prediction]:
        if len(photos) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return whole(self, photos)

    monkeypatch.setattr(Predictor, "batch", small)
    for number in range(3):
        Image.effect_noise((40, 32), 50).convert("RGB").save(tmp_path / f"{number}.png")
    predictor = Predictor.from_checkpoint(Checkpoint.open(checkpoints / "one"))
    photos = [str(tmp_path / f"{number}.png") for number in range(3)]
    assert predict_photos(photos, {"one": predictor}, tmp_path / "out", batch=3) == []
    assert len(list((tmp_path / "out").glob("*/one/labels.png"))) == 3


def test_a_clip_gives_labels_overlays_and_all_side_by_side(checkpoints: Path, tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "drive.mp4")
    out = tmp_path / "out"
    names = [word for name in ("one", "two") for word in ("--checkpoint", str(checkpoints / name))]
    assert main(["predict", str(clip), *names, "--out", str(out)]) == 0
    labels = sorted((out / "drive.mp4/one/labels").iterdir())
    assert [file.name for file in labels] == [f"{number:06d}.png" for number in range(5)]
    assert np.asarray(Image.open(labels[0])).shape == (48, 66)
    assert np.asarray(Image.open(labels[0])).max() < 19
    with av.open(str(out / "drive.mp4/side_by_side.mp4")) as film:
        frames = [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]
        assert not {key for key in film.metadata if "location" in key}
    assert len(frames) == 5
    assert frames[0].shape == (48, 198, 3)
    with av.open(str(clip)) as film:
        original = next(film.decode(video=0)).to_ndarray(format="rgb24")
    assert np.abs(frames[0][:, :66].astype(int) - original).mean() < 25, "the clip stands first"

    before = [file.stat().st_mtime_ns for file in labels]
    labels[3].unlink()
    assert main(["predict", str(clip), *names, "--out", str(out)]) == 0
    after = [file.stat().st_mtime_ns for file in labels]
    assert [old == new for old, new in zip(before, after, strict=True)] == [True, True, True, False, True]


def test_a_cut_clip_is_read_up_to_there_and_an_empty_one_says_so(
    checkpoints: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = write_clip(tmp_path / "whole.avi", 40).read_bytes()
    (tmp_path / "cut.avi").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty.mp4").write_bytes(b"")
    out = tmp_path / "out"
    command = ["--checkpoint", str(checkpoints / "one"), "--out", str(out)]
    assert main(["predict", str(tmp_path / "cut.avi"), *command]) == 2
    said = capsys.readouterr().err
    assert "only those were read" in said
    count = len(list((out / "cut.avi/one/labels").iterdir()))
    assert 0 < count < 40
    assert re.search(rf"after {count}\b", said)
    assert main(["predict", str(tmp_path / "empty.mp4"), *command]) == 2
    assert "empty.mp4 cannot be opened as a video" in capsys.readouterr().err
    assert not list(out.rglob("*.partial"))


def test_sources_of_one_name_get_a_folder_each(checkpoints: Path, tmp_path: Path) -> None:
    sources = [
        tmp_path / "a/clip.mp4",
        tmp_path / "b/clip.mp4",
        tmp_path / "clip.mp4.png",
        tmp_path / "summary.json.png",
    ]
    for source in sources:
        source.parent.mkdir(exist_ok=True)
        if source.suffix == ".mp4":
            write_clip(source, 2 if source.parent.name == "a" else 3)
        else:
            Image.new("RGB", (64, 48)).save(source)
    out = tmp_path / "out"
    given = [*map(str, sources), str(sources[-1])]
    assert main(["predict", *given, "--checkpoint", str(checkpoints / "one"), "--out", str(out)]) == 0
    assert {path.name for path in out.iterdir()} == {
        *("clip.mp4", "clip.mp4-2", "clip.mp4-3", "summary.json", "summary.json-2")
    }
    assert [len(list((out / name / "one/labels").iterdir())) for name in ("clip.mp4", "clip.mp4-2")] == [2, 3]
    assert json.loads((out / "summary.json").read_text())[str(sources[2])]["folder"] == "clip.mp4-3"


def test_clips_of_tiny_or_changing_frames_are_said_and_the_others_segmented(
    checkpoints: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def write(name: str, width: int, height: int) -> Path:
        with av.open(str(tmp_path / name), "w") as container:
            stream = container.add_stream("mpeg2video", rate=2)
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            pixels = np.full((height, width, 3), 90, np.uint8)
            for _ in range(3):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
            container.mux(stream.encode())
        return tmp_path / name

    turned = [write("1.ts", 64, 48).read_bytes(), write("2.ts", 48, 64).read_bytes()]
    (tmp_path / "changes.ts").write_bytes(b"".join(turned))
    write("tiny.ts", 8, 8)
    out = tmp_path / "out"
    assert main(["predict", str(tmp_path), "--checkpoint", str(checkpoints / "one"), "--out", str(out)]) == 2
    said = capsys.readouterr().err
    assert "tiny.ts measures 8×8 pixels; a street photo needs at least 16" in said
    assert "changes.ts goes on with 48×64 instead of 64×48 pixels after" in said
    assert {path.name for path in out.iterdir()} == {"1.ts", "2.ts", "changes.ts"}


def test_a_photo_that_cannot_be_read_is_named_by_its_path(
    checkpoints: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for day in ("monday", "tuesday"):
        (tmp_path / day).mkdir()
        (tmp_path / day / "1.jpg").write_bytes(b"" if day == "tuesday" else b"no photo")
    assert main(["predict", str(tmp_path), "--checkpoint", str(checkpoints / "one"), "--out", str(tmp_path / "o")]) == 2
    said = capsys.readouterr().err
    assert f"{tmp_path / 'monday/1.jpg'} is not a picture" in said
    assert f"{tmp_path / 'tuesday/1.jpg'} is empty" in said


def test_a_camera_is_recorded_and_segmented(
    checkpoints: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """FFmpeg's own test picture stands in for the camera."""
    monkeypatch.setitem(camera.DEVICES, "linux", ("testsrc=size=66x48:rate=4", "lavfi"))
    monkeypatch.setattr(sys, "platform", "linux")
    command = ["predict", "--checkpoint", str(checkpoints / "one"), "--out", str(tmp_path), "--camera", "0"]
    assert main([*command, "--seconds", "1"]) == 0
    assert "4 frames recorded" in capsys.readouterr().out
    assert len(list(tmp_path.glob("camera0_*.mp4/one/labels/*.png"))) == 4
    (clip,) = tmp_path.glob("recorded/camera0_*.mp4")
    assert Clip.open(clip).rate == 4
    monkeypatch.setitem(camera.DEVICES, "linux", (str(tmp_path / "video{}"), "v4l2"))
    assert main(command) == 2
    assert "Camera 0" in (said := capsys.readouterr().err)
    assert "cannot be read: No such file or directory. Is it connected" in said
    monkeypatch.setattr(sys, "platform", "win32")
    assert main(command) == 2
    assert "Record a video and give its file instead" in capsys.readouterr().err
    assert main(["predict", "--out", str(tmp_path)]) == 2
    assert "There is nothing to segment" in capsys.readouterr().err
    assert main(["predict", str(tmp_path), "--seconds", "5", "--out", str(tmp_path)]) == 2
    assert "add --camera 0" in capsys.readouterr().err


def test_bf16_is_refused_where_it_has_no_effect(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sim2street.models.predictor.has_bf16", lambda kind: False)
    Image.new("RGB", (64, 48)).save(tmp_path / "photo.png")
    command = ["predict", str(tmp_path / "photo.png"), "--checkpoint", "source_only_game", "--device", "cpu"]
    assert main([*command, "--precision", "bf16", "--out", str(tmp_path / "out")]) == 2
    assert "The device cpu does not compute in bf16" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
