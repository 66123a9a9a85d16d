"""Fetching over HTTP from a real server: resumed, verified, and refused in words."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest
import torch

from sim2street.models.errors import CheckpointError
from sim2street.models.importers import releases
from sim2street.models.importers.download import fetch, fetch_from_hub
from sim2street.models.storage.checkpoint import Checkpoint
from sim2street.training.cli import main
from tests.conftest import weights_by_rule


class Release(BaseHTTPRequestHandler):
    """Serves `files` by name, from the byte asked for; the first answer breaks off after `break_after` bytes.

    With `tagged` each has the digest of its content as a tag, and a part of another content is not handed out. With
    `astray` another part is sent than the one asked for.
    """

    files: ClassVar[dict[str, bytes]] = {}
    asked: ClassVar[list[str | None]] = []
    break_after: ClassVar[int | None] = None
    tagged: ClassVar[bool] = False
    astray: ClassVar[bool] = False

    def log_message(self, *_: object) -> None: ...

    def do_GET(self) -> None:
        self.asked.append(self.headers.get("Range"))
        name = self.path.partition("?")[0].rpartition("/")[2]
        if name not in self.files:
            return self.send_error(404)
        data = self.files[name]
        tag = f'"{hashlib.sha256(data).hexdigest()}"'
        fits = self.headers.get("If-Range", tag) == tag
        start = int((self.headers.get("Range") or "bytes=0-")[6:-1]) if fits else 0
        if start >= len(data):
            return self.send_error(416)
        self.send_response(206 if start else 200)
        if start:
            start = 0 if self.astray else start
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.send_header("Content-Length", str(len(data) - start))
        if self.tagged:
            self.send_header("ETag", tag)
        self.send_header("Content-Type", "text/html" if name == "page.pth" else "application/octet-stream")
        self.end_headers()
        end = len(data) if Release.break_after is None else start + Release.break_after
        Release.break_after = None
        self.wfile.write(data[start:end])

    do_HEAD = do_GET


@pytest.fixture
def release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """URL of a server whose files a test fills in."""
    Release.files, Release.asked, Release.break_after, Release.tagged = {}, [], None, False
    Release.astray = False
    monkeypatch.setenv("SIM2STREET_CACHE", str(tmp_path / "cache"))
    server = ThreadingHTTPServer(("127.0.0.1", 0), Release)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/download"
    server.shutdown()
    server.server_close()


def test_a_file_is_fetched_once(release: str) -> None:
    Release.files = {"model.pth": bytes(range(256)) * 9000}
    seen: list[tuple[int, int]] = []
    path = fetch(f"{release}/model.pth?dl=1", progress=lambda done, total: seen.append((done, total)))
    assert path.name == "model.pth"
    assert path.read_bytes() == Release.files["model.pth"]
    assert seen[-1] == (2304000, 2304000)
    assert fetch(f"{release}/model.pth?dl=1") == path
    assert Release.asked == [None]


def test_a_broken_download_goes_on_where_it_stopped(release: str) -> None:
    Release.files = {"model.pth": bytes(range(256)) * 9000}
    Release.break_after = 1_500_000
    with pytest.raises(CheckpointError, match="Run the command again to resume"):
        fetch(f"{release}/model.pth")
    path = fetch(f"{release}/model.pth")
    assert path.read_bytes() == Release.files["model.pth"]
    assert Release.asked[0] is None
    assert Release.asked[1] is not None
    assert 0 < int(Release.asked[1][6:-1]) <= 1_500_000
    assert [item.name for item in path.parent.iterdir()] == ["model.pth"]


def test_a_file_that_changed_meanwhile_begins_anew(release: str) -> None:
    old, new = bytes(range(256)) * 9000, bytes(range(255, -1, -1)) * 9000
    Release.files, Release.tagged, Release.break_after = {"model.pth": old}, True, 1_500_000
    with pytest.raises(CheckpointError, match="Run the command again to resume"):
        fetch(f"{release}/model.pth")
    Release.files = {"model.pth": new}
    path = fetch(f"{release}/model.pth")
    assert path.read_bytes() == new
    assert [item.name for item in path.parent.iterdir()] == ["model.pth"]


def test_a_server_that_sends_another_part_is_not_believed(release: str) -> None:
    Release.files, Release.break_after, Release.astray = {"model.pth": bytes(range(256)) * 9000}, 1_500_000, True
    with pytest.raises(CheckpointError, match="Run the command again to resume"):
        fetch(f"{release}/model.pth")
    with pytest.raises(CheckpointError, match="resumed at another position"):
        fetch(f"{release}/model.pth")
    assert fetch(f"{release}/model.pth").read_bytes() == Release.files["model.pth"]
    with pytest.raises(CheckpointError, match="does not name a file"):
        fetch(f"{release}/..")


def test_two_who_want_one_file_fetch_it_once(release: str) -> None:
    Release.files = {"model.pth": bytes(range(256)) * 90_000}
    with ThreadPoolExecutor(4) as threads:
        paths = set(threads.map(fetch, [f"{release}/model.pth"] * 4))
    assert [path.read_bytes() for path in paths] == [Release.files["model.pth"]]
    assert Release.asked == [None]


def test_digest_in_a_name_is_verified(release: str) -> None:
    data = b"weights" * 1000
    right = f"model-{hashlib.sha256(data).hexdigest()[:8]}.pth"
    Release.files = {right: data, "model-00000000.pth": data}
    assert fetch(f"{release}/{right}").read_bytes() == data
    with pytest.raises(CheckpointError, match="its name says 00000000"):
        fetch(f"{release}/model-00000000.pth")


def test_refusals(release: str, monkeypatch: pytest.MonkeyPatch) -> None:
    Release.files = {"page.pth": b"<html>", "large.pth": b"x" * 100}
    with pytest.raises(CheckpointError, match="404"):
        fetch(f"{release}/absent.pth")
    with pytest.raises(CheckpointError, match="returns a web page"):
        fetch(f"{release}/page.pth")
    monkeypatch.setattr("sim2street.models.importers.download.MAX_BYTES", 99)
    with pytest.raises(CheckpointError, match="has 100 bytes; expected at most 99 bytes"):
        fetch(f"{release}/large.pth")
    with pytest.raises(CheckpointError, match="could not be fetched"):
        fetch("http://127.0.0.1:9/model.pth")


def test_hub_repositories_without_weights(release: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", release)
    with pytest.raises(CheckpointError, match="maker/absent"):
        fetch_from_hub("maker/absent", ("model.safetensors", "pytorch_model.bin"))


@pytest.mark.parametrize("name", [name for name, entry in releases.RELEASES.items() if not entry.members])
def test_without_a_network_every_name_says_which_page_to_open(
    release: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    entry = releases.RELEASES[name]
    monkeypatch.setattr(time, "sleep", lambda seconds: None)  # between the Hub client's attempts
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    nowhere = {**vars(entry), "url": "http://127.0.0.1:9/model.pth" if entry.url else ""}
    monkeypatch.setitem(releases.RELEASES, name, releases.Release(**nowhere))
    assert main(["import", entry.family, "--published", name, "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert f"open {entry.page}, download the file" in said
    assert f"sim2street import {entry.family} FILE --published {name}" in said


def test_published_weights_are_fetched_and_imported(
    release: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save(weights_by_rule("cycada_drn26_keys.json"), tmp_path / "drn.pth")
    Release.files = {"drn.pth": (tmp_path / "drn.pth").read_bytes()}
    entry = releases.RELEASES["gta2cityscapes_cycada"]
    here = releases.Release(**{**vars(entry), "url": f"{release}/drn.pth?dl=1"})
    monkeypatch.setitem(releases.RELEASES, entry.name, here)
    out = tmp_path / "out"
    assert main(["import", "cycada", "--published", entry.name, "--out", str(out)]) == 0
    assert "licence: bsd-2-clause" in capsys.readouterr().out
    config = Checkpoint.open(out).config
    assert config.imported is not None
    assert config.imported.files[0].url == here.url
    assert config.imported.reported_miou == 39.5
    assert config.network == "drn"
