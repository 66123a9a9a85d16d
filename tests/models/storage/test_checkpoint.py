from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from sim2street.models.errors import CheckpointError
from sim2street.models.networks import build
from sim2street.models.storage.catalog import catalog, find_checkpoint
from sim2street.models.storage.checkpoint import Checkpoint, CheckpointConfig, Window
from tests.models.test_deeplab_v2 import SLIM

CONFIG = CheckpointConfig(
    title="Test",
    method="source_only",
    network="deeplab_v2",
    network_options=SLIM,
    window=Window(short_side=64),
    source="x",
)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Checkpoint:
    torch.manual_seed(0)
    return Checkpoint.save(tmp_path / "test", build("deeplab_v2", options=SLIM), CONFIG, card="# Test")


def edit(checkpoint: Checkpoint, **changes: object) -> None:
    path = checkpoint.path / "config.json"
    content = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({key: value for key, value in content.items() if value != "remove"}))


def test_saved_weights_come_back_within_half_precision(tmp_path: Path) -> None:
    torch.manual_seed(1)
    segmenter = build("deeplab_v2", options=SLIM).eval()
    images = torch.rand(1, 3, 64, 96)
    with torch.inference_mode():
        before = segmenter(images).logits
        for half, tolerance in ((False, 0), (True, 0.02)):
            opened = Checkpoint.save(tmp_path / str(half), segmenter, CONFIG, half=half)
            after = Checkpoint.open(opened.path).load()(images).logits
            assert (after - before).abs().max() <= tolerance * before.abs().max()
    size = {half: (tmp_path / half / "model.safetensors").stat().st_size for half in ("True", "False")}
    assert size["True"] < 0.6 * size["False"]


def test_config_survives(checkpoint: Checkpoint) -> None:
    again = Checkpoint.open(checkpoint.path)
    assert again.config.window == Window(short_side=64)
    assert again.config.network_options == SLIM
    assert len(again.config.weights_sha256) == 64
    assert again.name == "test"


def test_saving_over_an_older_checkpoint_replaces_it_and_leaves_nothing_behind(checkpoint: Checkpoint) -> None:
    Checkpoint.save(checkpoint.path, checkpoint.load(), CONFIG.model_copy(update={"title": "Second"}))
    assert Checkpoint.open(checkpoint.path).config.title == "Second"
    assert [path.name for path in checkpoint.path.parent.iterdir()] == ["test"]


def test_a_failing_save_keeps_the_old_one(checkpoint: Checkpoint) -> None:
    broken = checkpoint.load()
    next(broken.core.parameters()).data.fill_(float("nan"))
    with pytest.raises(CheckpointError, match="NaN or infinite values"):
        Checkpoint.save(checkpoint.path, broken, CONFIG)
    Checkpoint.open(checkpoint.path).load()
    assert [path.name for path in checkpoint.path.parent.iterdir()] == ["test"]


def test_damage_is_said_in_words(checkpoint: Checkpoint) -> None:
    weights = checkpoint.path / "model.safetensors"
    whole = weights.read_bytes()

    weights.write_bytes(whole[:-1000])
    with pytest.raises(CheckpointError, match="damaged or was replaced"):
        Checkpoint.open(checkpoint.path)
    edit(checkpoint, weights_sha256="")
    with pytest.raises(CheckpointError, match="not a readable safetensors"):
        Checkpoint.open(checkpoint.path).load()

    tensors = load_file_of(whole, checkpoint.path)
    first = next(iter(tensors))
    save_file({key: value for key, value in tensors.items() if key != first}, weights)
    with pytest.raises(CheckpointError, match=f"1 tensors missing \\(such as {first}\\)"):
        Checkpoint.open(checkpoint.path).load()
    save_file({**tensors, "extra": torch.zeros(1)}, weights)
    with pytest.raises(CheckpointError, match="1 unknown"):
        Checkpoint.open(checkpoint.path).load()
    save_file({**tensors, first: torch.zeros(3)}, weights)
    with pytest.raises(CheckpointError, match="1 of the wrong shape"):
        Checkpoint.open(checkpoint.path).load()
    weights.unlink()
    with pytest.raises(CheckpointError, match="safetensors is missing"):
        Checkpoint.open(checkpoint.path)
    (checkpoint.path / "weights.pth").write_bytes(b"pickle")
    with pytest.raises(CheckpointError, match="a pickle, which is never opened"):
        Checkpoint.open(checkpoint.path)


def load_file_of(data: bytes, folder: Path) -> dict[str, torch.Tensor]:
    path = folder / "copy.safetensors"
    path.write_bytes(data)
    tensors = load_file(path)
    path.unlink()
    return tensors


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"network": "segnet"}, "expected one of deeplab_v2"),
        ({"format": 2}, "format is 2"),
        ({"title": "remove"}, "title is missing"),
        ({"colour": "blue"}, "unknown key 'colour'"),
        ({"window": {"shortside": 3}}, "did you mean 'short_side'"),
        ({"window": {"crop": [1, 2]}}, "at least 16"),
        ({"window": {"crop": [64, 64], "stride": [64, 96]}}, "gaps between windows"),
        ({"window": {"stride": [64, 64]}}, "stride needs a crop"),
        ({"labels": "voc"}, "cityscapes19"),
    ],
)
def test_bad_configs_are_said_in_words(checkpoint: Checkpoint, changes: dict[str, object], words: str) -> None:
    edit(checkpoint, **changes)
    with pytest.raises(CheckpointError, match=words):
        Checkpoint.open(checkpoint.path)


def test_unknown_network_option_is_said_on_loading(checkpoint: Checkpoint) -> None:
    edit(checkpoint, network_options={**SLIM, "widht": 2})
    with pytest.raises(CheckpointError, match="did you mean 'width'"):
        Checkpoint.open(checkpoint.path).load()


@pytest.mark.parametrize("content", ["", "{", "[1]", "\x00\x01", "[" * 100_000])
def test_config_that_is_no_json_object(checkpoint: Checkpoint, content: str) -> None:
    (checkpoint.path / "config.json").write_text(content)
    with pytest.raises(CheckpointError):
        Checkpoint.open(checkpoint.path)


def test_catalog_lists_the_broken_with_their_reason(
    checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "model.safetensors").write_bytes(b"")
    (tmp_path / "no checkpoint at all").mkdir()
    for name in ("finished", "unfinished"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("{}")
        (tmp_path / name / "progress.jsonl").write_text("")
    shutil.copytree(checkpoint.path, tmp_path / "finished" / "checkpoint")
    absent = tmp_path / "absent"
    monkeypatch.setenv("SIM2STREET_CHECKPOINTS", f"{tmp_path}{os.pathsep}{absent}")
    entries = {entry.name: entry for entry in catalog()}
    assert entries["test"].checkpoint is not None
    assert entries["broken"].checkpoint is None
    assert "config.json is missing" in str(entries["broken"].error)
    assert entries["finished"].checkpoint is not None
    assert entries["finished"].checkpoint.name == "finished"
    assert "does not exist" in str(entries[str(absent)].error)
    assert not entries.keys() & {"unfinished", "no checkpoint at all"}
    assert find_checkpoint("test").path == find_checkpoint(str(checkpoint.path)).path
    assert find_checkpoint("finished").path == find_checkpoint(str(tmp_path / "finished")).path
    monkeypatch.chdir(tmp_path.parent)
    with pytest.raises(CheckpointError, match="expected a folder"):  # and no request to the Hub
        find_checkpoint(f"{tmp_path.name}/mistyped")
    with pytest.raises(CheckpointError, match="a name that `sim2street checkpoints` lists"):
        find_checkpoint("absent")
    with pytest.raises(CheckpointError, match="unfinished run, which has no checkpoint yet"):
        find_checkpoint(str(tmp_path / "unfinished"))


def test_metrics_of_another_kind_are_refused(checkpoint: Checkpoint) -> None:
    (checkpoint.path / "metrics.json").write_text('{"camvid/val": 3}')
    with pytest.raises(CheckpointError, match="the report 'camvid/val' is damaged"):
        Checkpoint.open(checkpoint.path)


def test_a_network_that_no_memory_holds_is_refused(checkpoint: Checkpoint) -> None:
    edit(checkpoint, network_options={**SLIM, "detail_channels": 10**9})
    with pytest.raises(CheckpointError, match="detail_channels is 1000000000"):
        Checkpoint.open(checkpoint.path).load()


def test_an_old_folder_left_by_a_kill_is_put_back_by_the_next_save(checkpoint: Checkpoint) -> None:
    checkpoint.path.rename(checkpoint.path.parent / ".test.old")
    Checkpoint.save(checkpoint.path, build("deeplab_v2", options=SLIM), CONFIG)
    assert [path.name for path in checkpoint.path.parent.iterdir()] == ["test"]
