"""Shared fixtures: reference vectors of the authors' code, and weights by the rule that made them."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub.constants
import huggingface_hub.file_download
import huggingface_hub.utils._http
import numpy as np
import pytest
import torch
from torch import Tensor

from tests.hub_server import WRITE, HubServer, running_hub

# What a resumed run promises bit for bit, and two runs of one seed, it promises on a processor: the suite trains there
# on machines with a graphics card too. What needs the card says so (tests/training/run/test_cuda.py).
os.environ.setdefault("ACCELERATE_USE_CPU", "true")

# `pytest -n 2` runs the suite in processes that share the cores: each takes its part, for itself and for what it starts.
if workers := int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "0")):
    threads = max(1, (os.cpu_count() or 1) // workers)
    torch.set_num_threads(threads)
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))

# absl, which OpenVINO's converter imports, closes the stream it found as sys.stderr when logging is configured anew, as submitit
# does: under pytest that is the file into which output is captured.
with contextlib.suppress(ImportError):
    from absl import logging as absl_logging

    absl_logging.get_absl_handler().python_handler.stream = sys.__stderr__

VECTORS = Path(__file__).parent / "vectors"
TOLERANCES = json.loads((VECTORS / "tolerances.json").read_text())


class Vectors:
    """Arrays of one file, compared under the tolerance recorded for each."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.arrays = np.load(VECTORS / name)

    def __getitem__(self, key: str) -> np.ndarray:
        return self.arrays[key]

    def check(self, key: str, got: Tensor | np.ndarray | float) -> None:
        """Fail unless `got` equals the stored array within its tolerance."""
        got = got.detach().numpy() if isinstance(got, Tensor) else np.asarray(got)
        expected, rule = self.arrays[key], TOLERANCES[self.name][key]
        assert got.shape == expected.shape, f"{key}: shape {got.shape}, expected {expected.shape}"
        if rule["kind"] == "exact":
            np.testing.assert_array_equal(got, expected, err_msg=key)
        elif rule["kind"] == "labels":
            assert (got != expected).mean() <= rule["max_mismatch_fraction"], key
        else:
            np.testing.assert_allclose(got, expected, rtol=rule["rtol"], atol=rule["atol"], err_msg=key)


def normal(shape: tuple[int, ...], seed: int) -> Tensor:
    """Return `N(shape, seed)` of the vectors' README."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def weights_by_rule(file: str) -> dict[str, Tensor]:
    """Regenerate a state dict from the list of its keys; each tensor depends on its key and shape alone."""
    listing = json.loads((VECTORS / file).read_text())
    extra = dict(listing.get("extra_gain", {}))
    weights: dict[str, Tensor] = {}
    for key, entry in listing["tensors"].items():
        shape = tuple(entry["shape"])
        generator = torch.Generator().manual_seed(zlib.crc32(key.encode()))
        if entry["dtype"].startswith("int"):
            value = torch.zeros(shape, dtype=torch.int64)
        elif key.endswith("running_var") or (len(shape) == 1 and key.endswith(".weight")):
            value = torch.rand(shape, generator=generator) * 0.5 + 0.75
        elif key.endswith("running_mean"):
            value = torch.randn(shape, generator=generator) * 0.1
        elif len(shape) == 1:
            value = torch.randn(shape, generator=generator) * 0.02
        else:
            fan_in = int(np.prod(shape[1:]))
            value = torch.randn(shape, generator=generator) * (listing["gain"] / fan_in**0.5)
        value = value * extra.get(key, 1.0)
        if key in listing.get("kept_values", {}):
            value = torch.tensor(listing["kept_values"][key]).reshape(shape)
        value = weights.get(listing.get("aliases", {}).get(key, ""), value)
        total = float(value.double().sum())
        assert abs(total - entry["sum"]) <= 1e-5 * max(1.0, abs(entry["sum"])), f"{key}: sum {total}"
        weights[key] = value
    return weights


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """A local Hub that the real client talks to, with an empty cache and a token that may write."""
    constants = huggingface_hub.constants
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no_token"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)  # large files by plain LFS, which can be served here
    # The client waits seconds between attempts; the attempts themselves are what is tested.
    hasty = SimpleNamespace(**{**vars(time), "sleep": lambda seconds: None})
    monkeypatch.setattr(huggingface_hub.utils._http, "time", hasty)
    monkeypatch.setattr(huggingface_hub.file_download, "time", hasty)
    monkeypatch.setenv("HF_TOKEN", WRITE)
    with running_hub() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        yield server


@pytest.fixture(scope="session")
def advent_losses() -> Vectors:
    return Vectors("advent_losses.npz")
