from __future__ import annotations

import errno
import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from sim2street.models.errors import ConfigError
from sim2street.models.networks import build
from sim2street.models.predictor import Predictor
from sim2street.models.storage.checkpoint import Checkpoint, Window
from sim2street.models.storage.files import sha256_of
from sim2street.training import export as exporting
from sim2street.training.cli import main
from sim2street.training.export import TOLERANCE, card_of, export
from tests.models.storage.test_checkpoint import CONFIG
from tests.models.test_deeplab_v2 import SLIM


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint with random weights that reads a photo whole."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("checkpoints") / "slim"
    Checkpoint.save(
        path, build("deeplab_v2", options=SLIM), CONFIG.model_copy(update={"window": Window(short_side=64)})
    )
    return path


def photo(width: int, height: int) -> np.ndarray:
    return np.random.default_rng(width).integers(0, 256, (height, width, 3), dtype=np.uint8)


def ours(checkpoint: Path, pixels: np.ndarray) -> np.ndarray:
    return Predictor(Checkpoint.open(checkpoint).load(), Window(), device="cpu")(pixels).probabilities


def image(pixels: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)[None], np.float32) / 255


def test_torchscript_of_free_size_says_what_we_say_at_sizes_it_was_not_traced_with(saved: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "slim.pt"
    card = export(Checkpoint.open(saved), "torchscript", out)
    network = torch.jit.load(out)
    for size in ((97, 64), (160, 130)):
        pixels = photo(*size)
        with torch.no_grad():
            said = network(torch.from_numpy(image(pixels))).numpy()[0]
        np.testing.assert_allclose(said, ours(saved, pixels), atol=TOLERANCE)
    assert card == json.loads(card_of(out).read_text())
    assert card["sha256"] == sha256_of(out)
    assert card["input"]["shape"] == [1, 3, "height", "width"]
    assert card["input"]["short_side"] == 64


@pytest.mark.slow
@pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in exporting.NEEDED["onnx"]), reason="needs .[export]"
)
@pytest.mark.parametrize("size", [None, (96, 64)])
def test_onnx_says_what_we_say(saved: Path, tmp_path: Path, size: tuple[int, int] | None) -> None:
    import onnxruntime

    out = tmp_path / "slim.onnx"
    export(Checkpoint.open(saved), "onnx", out, size)
    session = onnxruntime.InferenceSession(out, providers=["CPUExecutionProvider"])
    for each in ((97, 65), (160, 130)) if size is None else (size,):
        pixels = photo(*each)
        np.testing.assert_allclose(
            session.run(None, {"image": image(pixels)})[0][0], ours(saved, pixels), atol=TOLERANCE
        )
    if size is not None:
        with pytest.raises(Exception, match="invalid dimensions"):
            session.run(None, {"image": image(photo(64, 96))})


def test_a_file_that_says_something_else_is_not_put_in_place(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "slim.pt"
    out.write_bytes(b"what was there")
    right = exporting.Exported.forward
    monkeypatch.setattr(exporting.Exported, "forward", lambda self, image: right(self, image.flip(1)))  # BGR
    with pytest.raises(ConfigError, match="probabilities differ from the original's by up to"):
        export(Checkpoint.open(saved), "torchscript", out, (96, 64))
    assert out.read_bytes() == b"what was there"
    assert [item.name for item in tmp_path.iterdir()] == ["slim.pt"]


@pytest.mark.parametrize(
    ("update", "said"),
    [({"network": "ensemble"}, "is an ensemble"), ({"window": Window(crop=(64, 64))}, "overlapping windows")],
)
def test_what_one_pass_cannot_do_is_refused(saved: Path, tmp_path: Path, update: dict[str, object], said: str) -> None:
    opened = Checkpoint.open(saved)
    opened.config = opened.config.model_copy(update=update)
    with pytest.raises(ConfigError, match=said):
        export(opened, "torchscript", tmp_path / "slim.pt")
    assert not list(tmp_path.iterdir())


def test_a_package_that_is_missing_is_named(saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(exporting.NEEDED, "onnx", ("no_such_package",))
    with pytest.raises(ConfigError, match=r'onnx needs no_such_package: pip install "sim2street\[export\]"'):
        export(Checkpoint.open(saved), "onnx", tmp_path / "slim.onnx")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--out", "slim.bin"], "ends in .pt"),
        (["--out", "slim.pt", "--size", "8x8"], "32 to 4096 pixels"),
    ],
)
def test_bad_options_get_a_sentence(
    saved: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["export", str(saved), "--to", "torchscript", *options]) == 2
    assert said in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_file_never_stands_beside_the_card_of_another(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    out = tmp_path / "slim.pt"
    export(Checkpoint.open(saved), "torchscript", out, (64, 64))
    monkeypatch.setattr(exporting, "write_json", full)
    with pytest.raises(OSError, match="No space left"):
        export(Checkpoint.open(saved), "torchscript", out, (96, 64))
    assert out.exists()
    assert not card_of(out).exists()
