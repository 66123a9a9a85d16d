"""The mean of networks' weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from sim2street.models.labels import CAMVID11
from sim2street.models.networks import build
from sim2street.models.storage.checkpoint import CARD, Checkpoint
from sim2street.training.cli import main
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
