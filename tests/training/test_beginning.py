"""A run that is resumed goes on with what it began with, or says what differs."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from sim2street.models.errors import Interrupted
from sim2street.training.cli import main
from sim2street.training.config import RunConfig
from sim2street.training.run import loop
from sim2street.training.run.beginning import beginning, changes, recorded
from sim2street.training.run.loop import STATE, TrainingError, train
from tests.training.run.test_loop import make_tree, recipe


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return make_tree(tmp_path / "tree")


def photo_of(tree: Path) -> Path:
    return min(tree.glob("leftImg8bit/train/*/*.png"))


def add_a_photo(tree: Path) -> None:
    photo = photo_of(tree)
    labels = min(tree.glob("gtFine/train/*/*_labelIds.png"))
    shutil.copy(photo, photo.with_name("zzz_000009_000019_leftImg8bit.png"))
    shutil.copy(labels, labels.with_name("zzz_000009_000019_gtFine_labelIds.png"))


def rewrite_a_photo(tree: Path) -> None:
    data = photo_of(tree).read_bytes()
    photo_of(tree).write_bytes(data)
    os.utime(photo_of(tree), (1, 1))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (add_a_photo, "images in"),
        (rewrite_a_photo, "names, sizes or modification times"),
        (lambda tree: photo_of(tree).rename(photo_of(tree).with_name("zzz_leftImg8bit.png")), "names, sizes"),
    ],
)
def test_changed_files_are_named(tree: Path, change: Callable[[Path], None], words: str) -> None:
    before = _photos_beginning(tree)
    change(tree)
    (found,) = changes(before, _photos_beginning(tree))
    assert words in found
    assert "target photos" in found


def _photos_beginning(tree: Path) -> dict[str, object]:
    """What a run begins with whose target is every photo of the tree."""
    values = recipe(tree, "advent").model_dump(mode="json")
    scenes = {"dataset": "street_scenes", "count": 2}
    values |= {"sources": [scenes], "evaluations": [], "target": {"dataset": "photos", "root": str(tree)}}
    return beginning(RunConfig.parse(values, where="test"))


def test_moved_data_are_the_same(tree: Path, tmp_path: Path) -> None:
    before = beginning(recipe(tree))
    moved = tree.rename(tmp_path / "elsewhere")
    assert changes(before, beginning(recipe(moved))) == []


def test_settings_are_named_by_their_keys(tree: Path) -> None:
    before = beginning(recipe(tree))
    sgd = {"segmenter": {"kind": "sgd", "rate": 2e-2, "weight_decay": 5e-4, "head_factor": 10}}
    found = changes(before, beginning(recipe(tree, steps=9, optimisers=sgd)))
    assert sorted(found) == ["optimisers.segmenter.rate was 0.01 and is now 0.02", "steps was 6 and is now 9"]


def test_another_renderer_is_named(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = _photos_beginning(tree)
    monkeypatch.setattr("sim2street.training.datasets.rendered.renderer_version", lambda: "another")
    assert changes(before, _photos_beginning(tree)) == ["this version renders source street_scenes/game differently"]


@pytest.fixture
def stopped(tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run that was stopped after step 2 and was given its data by a relative link."""
    (tmp_path / "data").symlink_to(tree)
    monkeypatch.chdir(tmp_path)
    take_step = loop.Run.take_step

    def stop_after_two(run: loop.Run, stream: object) -> dict[str, float]:
        values = take_step(run, stream)  # type: ignore[arg-type]
        if run.step == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return values

    with monkeypatch.context() as patched:
        patched.setattr(loop.Run, "take_step", stop_after_two)
        with pytest.raises(Interrupted):
            train(recipe(Path("data")), tmp_path / "run")
    return tmp_path / "run"


def test_a_run_goes_on_from_another_folder(stopped: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    config = RunConfig.read(stopped / "config.json")
    assert config.sources[0].root == str(tmp_path / "data")
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    assert main(["train", "--resume", str(stopped)]) == 0
    assert (recorded(stopped) or {})["changes"] == []


def test_other_data_and_an_edited_config_are_refused_unless_allowed(
    stopped: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(tmp_path / "tree", tmp_path / "other", copy_function=shutil.copyfile)  # new times of change
    (tmp_path / "data").unlink()
    (tmp_path / "data").symlink_to(tmp_path / "other")
    stored = json.loads((stopped / "config.json").read_text())
    (stopped / "config.json").write_text(json.dumps({**stored, "steps": 3}))
    assert main(["train", "--resume", str(stopped)]) == 2
    said = capsys.readouterr().err
    assert "steps was 6 and is now 3" in said
    assert "source cityscapes has as many images" in said
    assert "evaluation cityscapes/val has as many images" in said
    assert "--allow-changes" in said
    assert torch.load(stopped / STATE, weights_only=True)["step"] == 2
    assert main(["train", "--resume", str(stopped), "--allow-changes"]) == 0
    assert "continues with a change: steps was 6 and is now 3" in caplog.text
    assert len((recorded(stopped) or {})["changes"]) == 3


def test_a_state_of_an_older_version_keeps_no_record(stopped: Path, caplog: pytest.LogCaptureFixture) -> None:
    state = torch.load(stopped / STATE, weights_only=True)
    del state["began"]
    torch.save(state, stopped / STATE)
    train(RunConfig.read(stopped / "config.json"), stopped, resume=True)
    assert "has no record" in caplog.text


def test_stages_go_on_with_what_the_whole_run_began_with(tree: Path, tmp_path: Path) -> None:
    config = recipe(tree, steps=1, stages=[{"stage_name": "one"}, {"stage_name": "two"}])
    train(config, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "checkpoint")
    shutil.rmtree(tmp_path / "run" / "two")  # as if it had been stopped between the two
    add_a_photo(tree)
    with pytest.raises(TrainingError, match="two: source cityscapes had"):
        train(config, tmp_path / "run", resume=True)
