"""A staged CyCADA run from its first step to its translated pictures."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sim2street.models.errors import CheckpointError, ConfigError, DatasetError, Interrupted
from sim2street.training.cli import main
from sim2street.training.config import RunConfig
from sim2street.training.datasets import open_dataset
from sim2street.training.pair import DomainPair
from sim2street.training.run import loop
from sim2street.training.run.extra_networks import EXTRA_NETWORKS
from sim2street.training.run.loop import TrainingError, train
from sim2street.training.translate import (
    Direction,
    carry_generators,
    generator_of_checkpoint,
    open_generator,
    translate,
    translate_photo,
)
from tests.training.methods.test_methods import PAINTERS
from tests.training.run.test_loop import assert_same, make_tree, recipe, weights
from tests.training.test_cli import fails

pytestmark = pytest.mark.slow

ADAM = {"kind": "adam", "rate": 2e-4}
PAINTING = {name: ADAM for name in ("to_target", "to_source", "discriminator_target", "discriminator_source")}
LEARNING = {"segmenter": {"kind": "sgd", "rate": 1e-2}}
STAGES = [
    {"stage_name": "translation", "optimisers": PAINTING, "method_options": {"phase": "translation"}},
    {"stage_name": "segmentation", "optimisers": LEARNING, "method_options": {"phase": "segmentation"}},
    {
        "stage_name": "features",
        "optimisers": {**LEARNING, "discriminator": ADAM},
        "method_options": {"phase": "features", "accuracy_gate": 0.0},
    },
]


def staged(tree: Path, **changes: object) -> RunConfig:
    values = {
        "target": {"dataset": "cityscapes", "root": str(tree), "split": "val"},
        "method_options": PAINTERS,
        "optimisers": {},
        "stages": STAGES,
        "steps": 2,
        "save_every": 1,
        "evaluations": [],
    }
    return recipe(tree, "cycada", **{**values, **changes})


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tree(tmp_path_factory.mktemp("tree"))


@pytest.fixture(scope="module")
def run(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "cycada"
    assert train(staged(tree), out) is not None
    return out


def test_generators_travel_through_the_stages_and_stay_as_they_were(run: Path) -> None:
    files = {
        name: run / part / EXTRA_NETWORKS / f"{name}.safetensors"
        for name in ("to_target",)
        for part in ("translation",)
    }
    trained = files["to_target"].read_bytes()
    for part in ("segmentation", "features", "."):
        assert (run / part / EXTRA_NETWORKS / "to_target.safetensors").read_bytes() == trained
    assert (run / "translation" / EXTRA_NETWORKS / "to_source.safetensors").exists()
    assert not (run / "features" / EXTRA_NETWORKS / "to_source.safetensors").exists()


def test_a_checkpoint_carries_the_generators_of_its_run(run: Path, tmp_path: Path) -> None:
    checkpoint = tmp_path / "elsewhere"
    shutil.copytree(run / "checkpoint", checkpoint)
    assert generator_of_checkpoint(checkpoint) is None, "the run is not beside it"
    carry_generators(run, checkpoint)
    photo = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    directions: tuple[Direction, ...] = ("to_target", "to_source")
    for direction in directions:
        of_run, carried = (
            generator_of_checkpoint(run / "checkpoint", direction),
            generator_of_checkpoint(checkpoint, direction),
        )
        assert of_run is not None
        assert carried is not None
        assert carried.is_relative_to(checkpoint)
        painted = [translate_photo(open_generator(folder, direction), photo) for folder in (of_run, carried)]
        np.testing.assert_allclose(painted[0].astype(int), painted[1].astype(int), atol=2)  # fp16


def test_a_checkpoint_beside_a_run_has_not_its_generators(run: Path, tmp_path: Path) -> None:
    """Any folder of checkpoints may also contain runs."""
    shutil.copytree(run, tmp_path / "run")
    shutil.copytree(run / "checkpoint", tmp_path / "other")
    assert generator_of_checkpoint(tmp_path / "other") is None
    assert generator_of_checkpoint(tmp_path / "run" / "checkpoint") is not None


def test_a_run_without_generators_gives_none(tmp_path: Path) -> None:
    carry_generators(tmp_path, tmp_path / "checkpoint")
    assert not (tmp_path / "checkpoint").exists()


def test_a_resumed_joint_run_is_bit_identical(tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pools of images and the discriminator's remembered accuracy are part of the state."""
    options = {**PAINTERS, "phase": "joint", "accuracy_gate": 0.5, "generator_dropout": True}
    optimisers = {**PAINTING, **LEARNING, "discriminator": ADAM}
    config = staged(tree, stages=[], method_options=options, optimisers=optimisers, steps=4)
    train(config, tmp_path / "whole")
    take_step = loop.Run.take_step

    def stop_after_two(run: loop.Run, stream: Iterator[DomainPair]) -> dict[str, float]:
        values = take_step(run, stream)
        if run.step == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return values

    monkeypatch.setattr(loop.Run, "take_step", stop_after_two)
    with pytest.raises(Interrupted, match="step 2 of 4"):
        train(config, tmp_path / "parts")
    monkeypatch.setattr(loop.Run, "take_step", take_step)
    train(config, tmp_path / "parts", resume=True)
    assert weights(tmp_path / "whole")["pools.0._extra_state"].shape == (3, 3, 48, 64)
    assert_same(weights(tmp_path / "whole"), weights(tmp_path / "parts"))


def test_a_stage_that_needs_generators_says_so(tree: Path, run: Path, tmp_path: Path) -> None:
    second = {key: value for key, value in STAGES[1].items() if key != "stage_name"}
    options = {**PAINTERS, "phase": "segmentation"}
    alone = staged(tree, **{**second, "stages": [], "method_options": options})
    with pytest.raises(TrainingError, match="needs to_target from an earlier run"):
        train(alone, tmp_path / "alone")
    nowhere = alone.model_copy(update={"extra_networks": str(tmp_path)})
    with pytest.raises(CheckpointError, match=r"to_target\.safetensors is missing"):
        train(nowhere, tmp_path / "nowhere")
    other = alone.model_copy(update={"extra_networks": str(run), "method_options": {**options, "generator_width": 8}})
    with pytest.raises(CheckpointError, match="contains a network of another size"):
        train(other, tmp_path / "other")
    assert train(alone.model_copy(update={"extra_networks": str(run)}), tmp_path / "fits") is not None
    useless = alone.model_copy(
        update={"method": "source_only", "method_options": {}, "extra_networks": str(run), "target": None}
    )
    with pytest.raises(ConfigError, match="has no extra networks"):
        train(useless, tmp_path / "useless")


def test_a_folder_of_translated_pictures_can_be_trained_on(
    run: Path, tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "painted"
    arguments = ["translate", str(run), "--dataset", "cityscapes", "--root", str(tree), "--split", "train"]
    assert main([*arguments, "--out", str(out)]) == 0
    assert "6 pictures translated, 0 already there" in capsys.readouterr().out
    original, painted = open_dataset("cityscapes", tree, "train"), open_dataset("cityscapes", out, "train")
    assert len(painted) == 6
    for index in range(6):
        assert np.array_equal(painted.read_labels(index), original.read_labels(index))
    generator = open_generator(run)
    assert np.array_equal(painted.read_photo(2), translate_photo(generator, original.read_photo(2)))
    assert not np.array_equal(painted.read_photo(2), original.read_photo(2))
    preview = np.asarray(Image.open(out / "preview.png"))
    assert preview.shape == (2 * 64, 6 * 96, 3)
    assert np.array_equal(preview[:64, :96], original.read_photo(0))
    assert np.array_equal(preview[64:, :96], painted.read_photo(0))

    next(out.glob("leftImg8bit/train/*/*000003_leftImg8bit.png")).unlink()
    for name, length in (("leftImg8bit/train/*/*000001_leftImg8bit.png", 0), ("gtFine/train/*/*000004_*.png", 40)):
        cut_short = next(out.glob(name))
        cut_short.write_bytes(cut_short.read_bytes()[:length])
    assert main([*arguments, "--out", str(out)]) == 0
    assert "3 pictures translated, 3 already there" in capsys.readouterr().out
    assert np.array_equal(open_dataset("cityscapes", out, "train").read_labels(4), original.read_labels(4))
    message = fails([*arguments, "--width", "48", "--out", str(out)], capsys)
    assert "written with other settings (width differ)" in message


def test_other_sizes_other_direction_and_pictures_without_labels(run: Path, tree: Path, tmp_path: Path) -> None:
    unlabelled = open_dataset("cityscapes", tree, "val", labelled=False)
    stage = run / "translation"
    assert translate(stage, unlabelled, tmp_path / "out", direction="to_source", split="val", width=50) == 6
    assert not (tmp_path / "out" / "gtFine").exists()
    again = open_dataset("cityscapes", tmp_path / "out", "val", labelled=False)
    assert again.read_photo(0).shape == (33, 50, 3)  # 64 · 50 / 96; sides are no multiples of 4
    with pytest.raises(CheckpointError, match=r"to_source\.safetensors is missing"):
        open_generator(run, "to_source")  # the last stage keeps only what it used


def test_what_cannot_be_translated_is_said(run: Path, tree: Path, tmp_path: Path) -> None:
    dataset = open_dataset("cityscapes", tree, "val")
    with pytest.raises(ConfigError, match="does not contain a run"):
        translate(tmp_path, dataset, tmp_path / "out")
    (tmp_path / "config.json").write_text(recipe(tree).model_dump_json())
    with pytest.raises(ConfigError, match="a run of source_only; only runs of cycada"):
        open_generator(tmp_path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").touch()
    with pytest.raises(DatasetError, match="not written by this command"):
        translate(run, dataset, tmp_path / "full")


def test_grey_in_grey_out_of_range_never() -> None:
    """A generator's output of -1 and 1 is 0 and 255."""

    class Extremes(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(1))

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images.sign() + self.weight

    photo = np.array([[[0, 127, 128], [255, 1, 254]]], np.uint8)
    broken = Extremes()
    torch.nn.init.constant_(broken.weight, float("nan"))
    with pytest.raises(CheckpointError, match="contains NaN or infinity"):
        translate_photo(broken, photo)  # pyright: ignore
    assert translate_photo(Extremes(), photo).tolist() == [[[0, 0, 255], [255, 0, 255]]]  # pyright: ignore
