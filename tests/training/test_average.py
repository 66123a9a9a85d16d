"""The mean of networks' weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError

from sim2street.models.labels import CAMVID11
from sim2street.models.networks import build
from sim2street.models.storage.checkpoint import CARD, Checkpoint
from sim2street.training.average import average
from sim2street.training.cli import main
from sim2street.training.run.folder import LOCK, sole_use
from tests.models.storage.test_checkpoint import CONFIG
from tests.models.test_deeplab_v2 import SLIM


def saved(path: Path, seed: int, **changes: object) -> Checkpoint:
    torch.manual_seed(seed)
    config = CONFIG.model_copy(update={"network_options": SLIM, **changes})
    segmenter = build("deeplab_v2", config.space, config.network_options)
    return Checkpoint.save(path, segmenter, config, half=False)


def test_every_tensor_is_the_mean_and_one_given_twice_counts_twice(tmp_path: Path) -> None:
    a, b = saved(tmp_path / "a", 1), saved(tmp_path / "b", 2)
    assert main(["average", str(a.path), str(b.path), str(b.path), "--out", str(tmp_path / "mean")]) == 0
    mean = Checkpoint.open(tmp_path / "mean")
    assert mean.config.averaged == ("a", "b", "b")
    assert "the mean of those of a, b, b" in (mean.path / CARD).read_text()
    ours, theirs, others = (each.load().core.state_dict() for each in (mean, a, b))
    assert any("running_mean" in key for key in ours)
    for key, value in ours.items():
        if value.is_floating_point():
            torch.testing.assert_close(
                value, (theirs[key] + 2 * others[key]) / 3, rtol=1e-3, atol=1e-4
            )  # stored in fp16
    assert not torch.equal(ours["main.branches.0.weight"], theirs["main.branches.0.weight"])


def test_what_cannot_be_averaged_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a = saved(tmp_path / "a", 1)
    wider = saved(tmp_path / "wider", 1, network_options={**SLIM, "width": 0.5})
    camvid = saved(tmp_path / "camvid", 1, labels=CAMVID11.name)
    full = tmp_path / "full"
    full.mkdir()
    (full / "thesis.tex").touch()
    for others, out, said in (
        ([], "mean", "at least two checkpoints"),
        ([wider], "mean", "wider has network_options"),
        ([camvid], "mean", "camvid predicts camvid11, but a predicts cityscapes19"),
        ([a], "full", "exists already"),
    ):
        names = [str(each.path) for each in (a, *others)]
        assert main(["average", *names, "--out", str(tmp_path / out)]) == 2
        assert said in capsys.readouterr().err
    assert not (tmp_path / "mean").exists()
    assert (full / "thesis.tex").exists()


def test_the_mean_has_the_data_and_licences_of_all(tmp_path: Path) -> None:
    a = saved(tmp_path / "a", 1, source="street_scenes/game", licence="apache-2.0")
    b = saved(tmp_path / "b", 2, source="street_scenes/game", target="cityscapes/train", licence="cc-by-nc-4.0")
    c = saved(tmp_path / "c", 3, source="gta5/train", target="cityscapes/train + camvid/train", licence="unknown")
    _, config = average([a, b])
    assert (config.source, config.target) == ("street_scenes/game", "cityscapes/train")
    assert config.licence == "apache-2.0 and cc-by-nc-4.0"
    _, config = average([a, b, c])
    assert (config.source, config.target) == ("street_scenes/game + gta5/train", "cityscapes/train + camvid/train")
    assert config.licence == "unknown"


def test_a_full_disk_is_said_in_a_sentence_and_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    a = saved(tmp_path / "a", 1)

    def full(*_arguments: object, **_settings: object) -> None:
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr("safetensors.torch.save_file", full)
    assert main(["average", str(a.path), str(a.path), "--out", str(tmp_path / "mean")]) == 2
    assert capsys.readouterr().err.endswith(f"error: {tmp_path / 'mean'}: No space left on device.\n")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_two_at_once_into_one_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a = saved(tmp_path / "a", 1)
    with sole_use(tmp_path / "mean"):
        assert main(["average", str(a.path), str(a.path), "--out", str(tmp_path / "mean")]) == 2
        assert "Another process is writing into" in capsys.readouterr().err
    assert main(["average", str(a.path), str(a.path), "--out", str(tmp_path / "mean")]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "mean"]
    assert not (tmp_path / "mean" / LOCK).exists()
