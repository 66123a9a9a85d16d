"""Downloads by the real huggingface_hub client from a local Hub: whole, resumed, verified, or a sentence."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import huggingface_hub.constants
import pytest
import torch

from sim2street.models.errors import CheckpointError
from sim2street.models.networks import build
from sim2street.models.storage import hub as downloads
from sim2street.models.storage.catalog import find_checkpoint
from sim2street.models.storage.checkpoint import Checkpoint
from sim2street.models.storage.hub import cached_checkpoint, redacted
from tests.hub_server import Fault, HubServer, Repository
from tests.models.storage.test_checkpoint import CONFIG
from tests.models.test_deeplab_v2 import SLIM


@pytest.fixture
def model(hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    """`maker/model`, tagged v1, which also holds a pickle; and a gated repository."""
    torch.manual_seed(0)
    saved = Checkpoint.save(tmp_path / "saved", build("deeplab_v2", options=SLIM), CONFIG)
    files = {path.name: path.read_bytes() for path in saved.path.iterdir()}
    repository = hub.add("maker/model", {**files, "evil.pkl": b"\x80\x04never fetched"})
    repository.tags["v1"] = repository.head
    hub.add("maker/gated", files, gated=True)
    monkeypatch.chdir(tmp_path)
    return repository


def test_a_repository_id_is_fetched_checked_and_cached(hub: HubServer, model: Repository) -> None:
    checkpoint = find_checkpoint("maker/model@v1")
    assert checkpoint.config.title == "Test"
    assert checkpoint.name == "model"
    assert checkpoint.repository == f"maker/model@{model.head}"
    checkpoint.load()
    assert not hub.asked("evil")
    before = len(hub.requests)
    assert find_checkpoint(f"maker/model@{model.head}").config == checkpoint.config
    assert len(hub.requests) == before, "a pinned commit that is cached asks nothing"


def test_what_was_fetched_works_without_network(
    hub: HubServer, model: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = f"maker/model@{model.head}"
    assert cached_checkpoint(source) is None
    find_checkpoint(source)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert find_checkpoint(source).config.title == "Test"
    cached = cached_checkpoint(source)
    assert cached is not None
    assert cached.repository == source


def test_progress_is_reported_in_bytes(hub: HubServer, model: Repository) -> None:
    seen: list[tuple[int, int]] = []
    downloads.download_checkpoint("maker/model", lambda done, total: seen.append((done, total)))
    wanted = sum(len(model.files[name]) for name in downloads.FILES)
    assert seen[-1] == (wanted, wanted)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("maker/absent", "repository maker/absent does not exist"),
        ("maker/model@v9", "has no revision 'v9'"),
        ("maker/gated", "is gated"),
    ],
)
def test_what_the_hub_refuses_is_a_sentence(hub: HubServer, model: Repository, source: str, words: str) -> None:
    with pytest.raises(CheckpointError, match=words):
        find_checkpoint(source)


def test_a_connection_that_breaks_off_is_resumed_where_it_was(hub: HubServer, model: Repository) -> None:
    fault = Fault("GET /maker/model/resolve/" + model.head + "/model.safetensors", "cut", times=1)
    hub.faults.append(fault)
    find_checkpoint("maker/model").load()
    assert fault.times == 0
    assert hub.asked("GET /maker/model/resolve/" + model.head + "/model.safetensors") == 2


def test_a_download_that_gave_up_is_finished_by_the_next(hub: HubServer, model: Repository) -> None:
    path = f"GET /maker/model/resolve/{model.head}/model.safetensors"
    hub.faults.append(Fault(path, "cut", times=50))
    with pytest.raises(CheckpointError, match=r"broke off|could not be stored"):
        find_checkpoint("maker/model")
    assert cached_checkpoint("maker/model") is None, "half a file is no checkpoint"
    hub.faults.clear()
    find_checkpoint("maker/model").load()


def test_a_slow_hub_is_waited_for(hub: HubServer, model: Repository) -> None:
    hub.faults.append(Fault("GET /maker/model/resolve", "slow", times=2, seconds=0.3))
    find_checkpoint("maker/model").load()
    assert hub.faults[0].times == 0, "it was slow twice"


@pytest.mark.parametrize(("status", "words"), [(429, "rate limit"), (500, "server error"), (503, "server error")])
def test_a_hub_in_trouble_is_a_sentence(hub: HubServer, model: Repository, status: int, words: str) -> None:
    hub.faults.append(Fault("/api/models/maker/model", "status", status=status, times=99))
    with pytest.raises(CheckpointError, match=words):
        find_checkpoint("maker/model")


def test_a_passing_trouble_is_not_noticed(hub: HubServer, model: Repository) -> None:
    hub.faults.append(Fault(f"GET /maker/model/resolve/{model.head}/model.safetensors", "status", status=429))
    find_checkpoint("maker/model").load()
    assert hub.faults[0].times == 0, "there was trouble"


def test_a_wrong_token_is_told_from_a_missing_repository(
    hub: HubServer, model: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    model.private = True
    hub.faults.append(Fault("/api/models/maker/model", "status", status=401, times=99))
    with pytest.raises(CheckpointError, match="does not accept the token"):
        find_checkpoint("maker/model")
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(CheckpointError, match="or is private"):
        find_checkpoint("maker/model")


def test_a_damaged_download_is_refused_and_not_kept(hub: HubServer, model: Repository) -> None:
    path = f"GET /maker/model/resolve/{model.head}/model.safetensors"
    hub.faults.append(Fault(path, "spoil"))
    with pytest.raises(CheckpointError, match="damaged or was replaced"):
        find_checkpoint("maker/model")
    assert cached_checkpoint("maker/model") is None
    find_checkpoint("maker/model").load()  # fetched anew, whole this time
    assert hub.asked(path) == 2


def test_a_pickle_instead_of_safetensors_is_named_and_never_fetched(hub: HubServer, model: Repository) -> None:
    files = {name: data for name, data in model.files.items() if name != "model.safetensors"}
    hub.add("maker/pickled", files)
    with pytest.raises(CheckpointError, match=r"model.safetensors is missing.*evil.pkl, a pickle"):
        find_checkpoint("maker/pickled")
    assert not hub.asked("evil")


def test_a_full_disk_is_a_sentence(hub: HubServer, model: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(downloads, "snapshot_download", full)
    with pytest.raises(CheckpointError, match="the disk is full"):
        find_checkpoint("maker/model")


def test_no_network_is_a_sentence(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(CheckpointError, match="cannot be reached"):
        find_checkpoint("maker/model")


def test_a_local_folder_wins_over_the_hub(hub: HubServer, model: Repository, tmp_path: Path) -> None:
    (tmp_path / "maker").mkdir()
    (tmp_path / "saved").rename(tmp_path / "maker" / "model")
    assert find_checkpoint("maker/model").path == tmp_path / "maker" / "model"
    assert hub.requests == []


def test_sentences_hold_neither_tokens_nor_signatures() -> None:
    text = redacted("PUT https://cdn.example/lfs/abc?X-Signature=s3cret&more=1 with Bearer hf_abcDEF123 failed")
    assert text == "PUT https://cdn.example/lfs/abc?… with Bearer hf_… failed"


def test_the_fixture_leaves_the_persons_own_cache_alone(hub: HubServer, tmp_path: Path) -> None:
    assert Path(huggingface_hub.constants.HF_HUB_CACHE).is_relative_to(tmp_path)
