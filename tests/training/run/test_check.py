"""`sim2street train --check`: what is found before a run begins, with a step taken for real, and nothing left behind."""

from __future__ import annotations

import os
import re
import shutil
import signal
import tempfile
from collections import namedtuple
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from huggingface_hub.errors import EntryNotFoundError

from sim2street.models.errors import ConfigError
from sim2street.training.cli import main
from sim2street.training.config import RunConfig, load_recipe
from sim2street.training.durations import in_words
from sim2street.training.run import check as module
from sim2street.training.run import rehearsal
from sim2street.training.run.check import Finding, Verdict, check_run
from sim2street.training.run.loop import Run, TrainingError, train
from sim2street.training.run.rehearsal import Rehearsal, rehearse
from tests.training.run.test_loop import make_tree, recipe

COST = Rehearsal("cpu", "1 threads", 2.0, 3.0, 10**9, 8 * 10**9, 5 * 10**8, 10**8)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tree(tmp_path_factory.mktemp("tree"))


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SIM2STREET_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def no_step(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """No step is taken; the list tells for each whether it was to be on noise."""
    asked: list[bool] = []

    def answer(config: RunConfig, *, on_noise: bool) -> Rehearsal:
        asked.append(on_noise)
        return COST

    monkeypatch.setattr(module, "rehearse", answer)
    return asked


def problems(config: RunConfig, out: Path) -> dict[str, str]:
    found = [finding for finding in check_run(config, out) if finding.verdict is Verdict.PROBLEM]
    return {finding.subject: finding.text for finding in found}


def finding(config: RunConfig, out: Path, subject: str) -> Finding:
    return next(found for found in check_run(config, out) if found.subject == subject)


@pytest.mark.slow
def test_the_command_takes_a_step_and_leaves_nothing(
    tree: Path, tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(
        f"""
title = "Test"
method = "source_only"
network_options = {{ backbone = "resnet18", width = 0.125, output_stride = 16, dilations = [1] }}
source_transform = {{ crop = [64, 48] }}
sources = [{{ dataset = "cityscapes", root = "{tree}", store = [96, 64] }}]
optimisers.segmenter = {{ kind = "sgd", rate = 1e-2 }}
steps = 1000
"""
    )
    out = tmp_path / "run"
    assert main(["train", str(path), "--check", "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert "source cityscapes: cityscapes train: 6 labelled photos" in said
    assert "6 opened" not in said  # only a few
    assert re.search(r"peak memory [\d.]+ [MG]B of \d+ GB", said)
    assert "for 1000 steps in one process" in said
    assert "The run could start." in said
    assert not out.exists()
    assert not cache.exists()

    text = path.read_text()
    path.write_text(text.replace(str(tree), str(tmp_path / "absent")))
    assert main(["train", str(path), "--check", "--out", str(out)]) == 2
    said = capsys.readouterr().out
    assert "PROBLEM" in said
    assert "absent; found nothing." in said
    assert "on noise of the recipe's size" in said
    assert "The run could not start." in said


@pytest.mark.slow
def test_a_rehearsal_measures_states_as_they_are_saved(tree: Path, tmp_path: Path) -> None:
    config = recipe(tree, "advent", accumulate=2)
    cost = rehearse(config)
    assert cost.seconds > 0
    assert cost.loading is not None
    assert cost.memory is not None
    assert 10**8 < cost.memory < 10**10
    train(config.model_copy(update={"steps": 1}), tmp_path / "run")
    assert cost.state == pytest.approx((tmp_path / "run" / "state.pt").stat().st_size, rel=0.2)
    weights = tmp_path / "run" / "checkpoint" / "model.safetensors"
    assert cost.weights == pytest.approx(weights.stat().st_size, rel=0.2)


def fail_oddly(*given: object) -> None:
    raise ValueError("parts that do not fit")


@pytest.mark.slow
def test_whatever_a_first_step_raises_is_a_finding(tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rehearsal, "_rehearse", fail_oddly)
    config = recipe(tree).model_copy(update={"extra_networks": str(tmp_path / "mistyped")})
    problems = {
        item.subject: item.text for item in check_run(config, tmp_path / "run") if item.verdict is Verdict.PROBLEM
    }
    assert problems.keys() == {"extra_networks", "step"}
    assert "There are no networks in" in problems["extra_networks"]
    assert problems["step"] == "The first step failed: parts that do not fit (ValueError)."


def end_by_kill(*given: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.slow
def test_a_step_without_memory_is_a_sentence(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = recipe(tree, batch=65_536, source_transform={"crop": [16384, 16384]})
    with pytest.raises(TrainingError, match="more memory than this machine has"):
        rehearse(config, on_noise=True)
    monkeypatch.setattr(rehearsal, "_rehearse", end_by_kill)
    with pytest.raises(TrainingError, match="was killed, most likely because it needs more memory"):
        rehearse(config)


@pytest.mark.slow
def test_a_step_that_takes_too_long_is_given_up(tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rehearsal, "LONGEST", 0.0)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(rehearsal.TooSlow, match=r"longer than 0\.0 seconds on this machine's"):
        rehearse(recipe(tree))
    assert list(tmp_path.iterdir()) == []
    found = {finding.subject: finding.verdict for finding in check_run(recipe(tree), tmp_path / "run")}
    assert (found["step"], found["time"]) == (Verdict.UNKNOWN, Verdict.UNKNOWN)
    assert Verdict.PROBLEM not in found.values()


def test_a_run_that_could_start_has_no_problem(tree: Path, tmp_path: Path, no_step: list[bool]) -> None:
    config = recipe(tree, "advent", sampling="rare_class", workers=4, steps=100)
    found = {finding.subject: finding for finding in check_run(config, tmp_path / "run")}
    assert not [finding for finding in found.values() if finding.verdict is Verdict.PROBLEM]
    assert {"networks", "start", "source cityscapes", "target cityscapes/val", "evaluation cityscapes/val"} <= set(
        found
    )
    assert "segmenter, discriminator" in found["networks"].text
    assert "about 3 minutes for 100 steps" in found["time"].text  # of 2 seconds; four loaders keep up with 3
    assert found["rare classes"].verdict is Verdict.UNKNOWN
    assert no_step == [False]


def test_a_target_needs_no_labels_and_a_source_does(tree: Path, tmp_path: Path, no_step: list[bool]) -> None:
    bare = tmp_path / "bare"
    shutil.copytree(tree / "leftImg8bit", bare / "leftImg8bit")
    unlabelled = {"dataset": "cityscapes", "root": str(bare)}
    assert not problems(recipe(tree, "advent", target=unlabelled), tmp_path / "run")
    assert "label images" in problems(recipe(tree, sources=[unlabelled]), tmp_path / "run")["source cityscapes"]
    assert no_step == [False, True]
    broken = next((bare / "leftImg8bit/train/blocks").iterdir())
    broken.write_bytes(b"no picture")
    assert "not a picture" in problems(recipe(tree, "advent", target=unlabelled), tmp_path / "run")["target cityscapes"]


def test_networks_without_their_optimisers(tree: Path, tmp_path: Path, no_step: list[bool]) -> None:
    config = recipe(tree, "advent", optimisers={"segmenter": {"kind": "sgd", "rate": 1}})
    assert "Give exactly one optimiser for each network" in problems(config, tmp_path / "run")["networks"]
    assert no_step == []
    assert finding(config, tmp_path / "run", "step").verdict is Verdict.UNKNOWN


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"initialisation": "absent"}, "There is no checkpoint 'absent'"),
        ({"initialisation": "source_only_game"}, "has weights of another network"),
        ({"initialisation": "previous"}, "There is no checkpoint 'previous'"),
        ({"initialisation": "imagenet"}, "width 1"),
    ],
)
def test_a_start_that_is_not_there(
    tree: Path, tmp_path: Path, no_step: list[bool], changes: dict[str, str], words: str
) -> None:
    assert words in problems(recipe(tree, **changes), tmp_path / "run")["start"]


def imagenet(tree: Path) -> RunConfig:
    options = {"backbone": "resnet18", "caffe_style": False}
    return recipe(tree, initialisation="imagenet", network_options=options)


def test_imagenet_in_the_cache_on_the_hub_or_out_of_reach(
    tree: Path, tmp_path: Path, no_step: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def refuse(url: str, timeout: float) -> None:
        raise ConnectionError("no route to host")

    def answer(url: str, timeout: float) -> SimpleNamespace:
        asked.append(url)
        if url.endswith("safetensors"):
            raise EntryNotFoundError("not there")
        return SimpleNamespace(size=47_000_000)

    config = imagenet(tree)
    monkeypatch.setattr(module, "try_to_load_from_cache", lambda repository, file: None)
    monkeypatch.setattr(module, "get_hf_file_metadata", refuse)
    found = finding(config, tmp_path / "run", "start")
    assert found.verdict is Verdict.PROBLEM
    assert "timm/resnet18.a1_in1k are not in the cache" in found.text
    assert "no route to host" in found.text
    monkeypatch.setattr(module, "get_hf_file_metadata", answer)
    found = finding(config, tmp_path / "run", "start")
    assert found.verdict is Verdict.FINE
    assert "pytorch_model.bin (47 MB)" in found.text
    assert len(asked) == 2
    monkeypatch.setattr(module, "try_to_load_from_cache", lambda repository, file: f"/there/{file}")
    assert "in the cache: /there/model.safetensors" in finding(config, tmp_path / "run", "start").text


def test_stages_that_do_not_follow_each_other(tree: Path, tmp_path: Path, no_step: list[bool]) -> None:
    stages = [{"stage_name": "first"}, {"stage_name": "second", "steps": 4}]
    found = {finding.subject: finding.text for finding in check_run(recipe(tree, stages=stages), tmp_path / "run")}
    assert "10 steps in 2 stages (first, second)" in found["recipe"]
    assert found["second, start"] == "the checkpoint of the stage before"
    stages[1]["network_options"] = {"width": 0.25}
    assert "another network" in problems(recipe(tree, stages=stages), tmp_path / "run")["second, start"]


def test_a_folder_that_holds_a_run_and_a_full_disk(
    tree: Path, tmp_path: Path, no_step: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    out.mkdir()
    (out / "state.pt").write_bytes(b"")
    assert "already contains a run" in problems(recipe(tree), out)["folder"]
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(module.shutil, "disk_usage", lambda path: usage(10**9, 0, 10**9))
    sources = [{"dataset": "cityscapes", "root": str(tree), "store": [96, 64]}]
    found = problems(recipe(tree, sources=sources), tmp_path / "other")
    assert "1.1 GB in" in found["disk for states and checkpoint"]
    stored = finding(recipe(tree, sources=sources), tmp_path / "other", "disk for caches")
    assert stored.text.startswith("needs 147 kB in")  # 6 pictures of 96x64 pixels of 4 bytes
    monkeypatch.setattr(module.os, "access", lambda path, mode: False)  # tests may run as root, who may write anywhere
    assert "it cannot be written to" in problems(recipe(tree), tmp_path / "other")["disk for caches"]


def test_check_is_for_new_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "demo_source_only_game", "--check", "--resume", str(tmp_path)]) == 2
    assert "leave out --resume" in capsys.readouterr().err


def test_noise_has_the_recipes_size(tree: Path) -> None:
    config = recipe(tree, "advent", batch=3)
    pair = next(rehearsal._Noise(config).stream())
    assert pair.source_images.shape == pair.target_images.shape == (3, 3, 48, 64)
    assert set(pair.source_labels.unique().tolist()) <= set(range(19))
    with pytest.raises(ConfigError, match="depends on its photos, which are missing"):
        rehearsal._Noise(recipe(tree, source_transform={}))


def test_what_is_rehearsed_costs_what_the_recipe_costs(tree: Path) -> None:
    stored = {"dataset": "cityscapes", "root": str(tree), "store": [96, 64]}
    config = recipe(tree, "advent", sources=[stored], source_transform={}, sampling="rare_class")
    rehearsed = rehearsal.as_rehearsed(config)
    assert rehearsed.source_transform.resize == (96, 64)
    changed = {key for key in RunConfig.model_fields if getattr(rehearsed, key) != getattr(config, key)}
    assert changed == {"sources", "source_transform", "sampling", "evaluations"}


def test_the_loop_steps_on_whatever_pairs_it_is_given(tree: Path, tmp_path: Path) -> None:
    class Given(Run):
        def open_pairs(self) -> rehearsal._Noise:
            return rehearsal._Noise(self.config)

    run = Given(recipe(tree, evaluations=[]), tmp_path / "run", resume=False)
    losses = run.take_step(run.pairs.stream())
    assert all(torch.isfinite(torch.tensor(value)) for value in losses.values())


def test_pace_waits_for_the_slower_of_loading_and_learning() -> None:
    assert [COST.pace(workers) for workers in (0, 1, 2)] == [5.0, 3.0, 2.0]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.25, "0.2 seconds"), (40, "40 seconds"), (720, "12 minutes"), (12600, "3.5 hours"), (180_000, "2.1 days")],
)
def test_durations_in_words(seconds: float, words: str) -> None:
    assert in_words(seconds) == words


@pytest.mark.parametrize(("crop", "advises"), [((304, 224), True), ((320, 224), False)])
def test_crops_that_do_not_suit_the_padding_are_named(
    tmp_path: Path, no_step: list[bool], crop: tuple[int, int], advises: bool
) -> None:
    config = load_recipe("streets__continued_lite0")
    transform = config.source_transform.model_copy(update={"crop": crop})
    found = finding(config.model_copy(update={"source_transform": transform}), tmp_path / "run", "networks")
    assert found.verdict is Verdict.FINE
    assert ("crops of 304x224 should have sides that are multiples of 32" in found.text) is advises
