"""Checkpoints with random weights: the pages are tested, not what networks have learnt."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch

from sim2street.app.content.example_photos import Offer, OfferedPhoto
from sim2street.models.networks import build
from sim2street.models.storage.checkpoint import Checkpoint, CheckpointConfig

TINY = {
    "backbone": "resnet18",
    "width": 0.125,
    "output_stride": 16,
    "dilations": [1],
    "auxiliary": False,
    "caffe_style": False,
    "train_norm": True,
}


def save_tiny(
    folder: Path,
    name: str,
    method: str,
    title: str,
    *,
    target: str | None = None,
    source: str = "street_scenes/game",
    seed: int = 0,
    initialisation: str = "random",
    **options: Any,
) -> Path:
    """Write a checkpoint of some hundred kilobytes; `options` of its network differ from `TINY`."""
    torch.manual_seed(seed)
    config = CheckpointConfig(
        title=title,
        method=method,
        network="deeplab_v2",
        network_options=TINY | options,
        source=source,
        target=target,
        seed=seed,
        step=20,
        initialisation=initialisation,
    )
    metrics = {"camvid/val": {"miou": 0.3 + 0.1 * seed, "images": 101, "label_space": "camvid11"}}
    return Checkpoint.save(folder / name, build("deeplab_v2", options=TINY | options), config, metrics=metrics).path


def save_tiny_pair(folder: Path, prefix: str = "") -> Path:
    """Write a source-only and an adapted checkpoint, whose titles begin with `prefix`."""
    save_tiny(folder, "tiny_source_only", "source_only", f"{prefix}Source only")
    save_tiny(folder, "tiny_advent", "advent", f"{prefix}ADVENT", target="street_scenes/fog", seed=1)
    return folder


@pytest.fixture(scope="session")
def tiny_checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_pair(tmp_path_factory.mktemp("checkpoints"))


@contextmanager
def serving(folder: Path, files: Mapping[str, bytes]) -> Iterator[str]:
    """A server of these files on this machine."""
    for name, data in files.items():
        (folder / "www" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "www" / name).write_bytes(data)
    handler = partial(SimpleHTTPRequestHandler, directory=str(folder / "www"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def offer_of(address: str, photos: Mapping[str, bytes]) -> Offer:
    """An offer of these photos, whether or not the server at the address has them."""
    pinned = (OfferedPhoto(name, name, len(data), hashlib.sha256(data).hexdigest()) for name, data in photos.items())
    return Offer("set", "maker/set", "MIT", address, tuple(pinned))
