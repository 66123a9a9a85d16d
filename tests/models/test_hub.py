"""The real huggingface_hub client against a small local server."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import huggingface_hub.constants
import pytest
import torch

from models.catalog import find_checkpoint
from models.checkpoint import Checkpoint
from models.errors import CheckpointError
from models.networks import build
from tests.models.test_checkpoint import CONFIG
from tests.models.test_deeplab_v2 import SLIM

COMMIT = "c" * 40


class Hub(BaseHTTPRequestHandler):
    """Serves one repository, `maker/model`, at one commit; `maker/gated` and everything else is refused."""

    files: ClassVar[dict[str, bytes]] = {}
    requests: ClassVar[list[str]] = []
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None: ...

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_GET(self) -> None:
        self.requests.append(self.path)
        path = self.path.partition("?")[0]
        if path.startswith(("/api/models/maker/gated", "/maker/gated")):
            return self.answer(403, X_Error_Code="GatedRepo")
        if path.startswith("/api/models/maker/model/revision/") and path.endswith(("main", "v1", COMMIT)):
            info = {"id": "maker/model", "sha": COMMIT, "siblings": [{"rfilename": name} for name in self.files]}
            return self.answer(200, json.dumps(info).encode(), Content_Type="application/json")
        if path.startswith("/api/models/maker/model/tree/"):
            tree = [
                {"type": "file", "path": name, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
                for name, data in self.files.items()
            ]
            return self.answer(200, json.dumps(tree).encode(), Content_Type="application/json")
        if path.startswith("/api/models/maker/model/revision/"):
            return self.answer(404, X_Error_Code="RevisionNotFound")
        name = path.rpartition("/")[2]
        if path.startswith("/maker/model/resolve/") and name in self.files:
            data = self.files[name]
            return self.answer(200, data, X_Repo_Commit=COMMIT, ETag=f'"{hashlib.sha1(data).hexdigest()}"')
        return self.answer(404, X_Error_Code="RepoNotFound")

    do_HEAD = do_GET


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Hub]]:
    torch.manual_seed(0)
    saved = Checkpoint.save(tmp_path / "saved", build("deeplab_v2", options=SLIM), CONFIG)
    Hub.files = {path.name: path.read_bytes() for path in saved.path.iterdir()}
    Hub.files["evil.pkl"] = b"\x80\x04never fetched"
    Hub.requests = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    yield Hub
    server.shutdown()
    server.server_close()


def test_a_repository_id_is_fetched_checked_and_cached(hub: type[Hub]) -> None:
    checkpoint = find_checkpoint("maker/model@v1")
    assert checkpoint.config.title == "Test"
    checkpoint.load()
    assert not any("evil" in path for path in hub.requests)
    before = len([path for path in hub.requests if "resolve" in path])
    assert find_checkpoint(f"maker/model@{COMMIT}").config == checkpoint.config
    assert len([path for path in hub.requests if "resolve" in path]) == before


def test_what_the_hub_refuses_is_a_sentence(hub: type[Hub]) -> None:
    for source, words in (
        ("maker/absent", "no repository maker/absent"),
        ("maker/model@v9", "has no revision 'v9'"),
        ("maker/gated", "is gated"),
    ):
        with pytest.raises(CheckpointError, match=words):
            find_checkpoint(source)


def test_a_damaged_download_is_refused(hub: type[Hub]) -> None:
    hub.files["model.safetensors"] = hub.files["model.safetensors"][:-10] + bytes(10)
    with pytest.raises(CheckpointError, match="damaged or was replaced"):
        find_checkpoint("maker/model")


def test_no_network_is_a_sentence(hub: type[Hub], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(CheckpointError, match="cannot be reached"):
        find_checkpoint("maker/model")


def test_a_local_folder_wins_over_the_hub(hub: type[Hub], tmp_path: Path) -> None:
    (tmp_path / "maker").mkdir()
    (tmp_path / "saved").rename(tmp_path / "maker" / "model")
    assert find_checkpoint("maker/model").path == tmp_path / "maker" / "model"
    assert hub.requests == []
