from __future__ import annotations

import ctypes
import errno
import importlib.util
import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sim2street import child_environment
from sim2street.models.errors import CheckpointError, ConfigError
from sim2street.models.exported import FORMATS, OUTPUTS, card_of, open_exported
from sim2street.models.networks import build
from sim2street.models.predictor import Predictor
from sim2street.models.storage.checkpoint import Checkpoint, Window
from sim2street.models.storage.files import WEIGHTS, sha256_of, write_json
from sim2street.training import export as exporting
from sim2street.training.cli import main
from sim2street.training.export import TOLERANCE, export
from sim2street.training.predict import predict_photos
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


def need(form: str) -> None:
    """Skip the test where the engine of a format is not installed."""
    if any(importlib.util.find_spec(name) is None for name in FORMATS[form].packages):
        pytest.skip(f"needs .[{FORMATS[form].extra}]")


def photo(width: int, height: int) -> np.ndarray:
    return np.random.default_rng(width).integers(0, 256, (height, width, 3), dtype=np.uint8)


def ours(checkpoint: Path, pixels: np.ndarray) -> np.ndarray:
    return Predictor(Checkpoint.open(checkpoint).load(), Window(), device="cpu")(pixels).probabilities


def image(pixels: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)[None], np.float32) / 255


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("size", [None, (96, 64)])
def test_an_engine_says_what_we_say(saved: Path, tmp_path: Path, form: str, size: tuple[int, int] | None) -> None:
    need(form)
    out = tmp_path / "new" / f"slim{FORMATS[form].suffixes[0]}"
    card = export(Checkpoint.open(saved), form, out, size)
    assert sorted(out.parent.iterdir()) == sorted([*FORMATS[form].files(out), card_of(out)])
    network = FORMATS[form].start(FORMATS[form].files(out), OUTPUTS)
    segmenter, read = open_exported(out, FORMATS[form].engine)
    assert read == card
    # Sizes that it was not traced with, unless it takes one only.
    for each in ((97, 64), (160, 130)) if size is None else (size,):
        pixels = photo(*each)
        expected = ours(saved, pixels)
        np.testing.assert_allclose(network(image(pixels))[0][0], expected, atol=TOLERANCE)
        predicted = Predictor(segmenter, device="cpu")(pixels)
        np.testing.assert_allclose(predicted.probabilities, expected, atol=TOLERANCE)


def test_the_card_says_how_to_use_the_file(saved: Path, tmp_path: Path) -> None:
    out = tmp_path / "slim.pt"
    export(Checkpoint.open(saved), "torchscript", out)
    card = json.loads(card_of(out).read_text())
    assert card["sha256"] == {".pt": sha256_of(out)}
    assert card["input"]["shape"] == [1, 3, "height", "width"]
    assert card["config"]["window"]["short_side"] == 64


def test_an_engine_averages_flips_and_takes_batches_like_the_network(saved: Path, tmp_path: Path) -> None:
    out = tmp_path / "slim.pt"
    export(Checkpoint.open(saved), "torchscript", out)
    photos = [photo(96, 64), photo(96, 64)[::-1].copy()]
    networks = (open_exported(out, "torchscript")[0], Checkpoint.open(saved).load())
    theirs, expected = (Predictor(each, device="cpu", flip=True).batch(photos) for each in networks)
    for one, other in zip(theirs, expected, strict=True):
        np.testing.assert_allclose(one.probabilities, other.probabilities, atol=TOLERANCE)


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "sigaltstack"), reason="needs POSIX signals")
def test_openvino_leaves_the_stack_of_signal_handlers_alone(saved: Path, tmp_path: Path) -> None:
    """Its own is too small for Python's handlers, so that Ctrl-C would crash."""
    need("openvino")

    class Stack(ctypes.Structure):
        _fields_ = (("start", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t))

    def stack() -> tuple[int | None, int]:
        found = Stack()
        assert ctypes.CDLL(None).sigaltstack(None, ctypes.byref(found)) == 0
        return found.start, found.size

    before = stack()
    out = tmp_path / "slim.xml"
    export(Checkpoint.open(saved), "openvino", out)
    Predictor(open_exported(out, "openvino")[0], device="cpu")(photo(96, 64))
    assert stack() == before


def damage(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda out: card_of(out).unlink(), "has no card: slim.pt.json should be beside it"),
        (lambda out: card_of(out).write_text("[]"), "contains a list; expected an object"),
        (lambda out: card_of(out).write_text("{"), "it is not JSON"),
        (lambda out: card_of(out).write_text(json.dumps({"format": "onnx"})), "checkpoint is missing"),
        (damage, "is the card of another file"),
        (lambda out: out.unlink(), "slim.pt is missing"),
        (
            lambda out: card_of(out).write_text(card_of(out).read_text().replace('"torchscript"', '"onnx"')),
            "is the card of a file for onnx",
        ),
    ],
)
def test_a_file_and_a_card_that_do_not_fit_are_refused(
    saved: Path, tmp_path: Path, change: Callable[[Path], object], said: str
) -> None:
    out = tmp_path / "slim.pt"
    export(Checkpoint.open(saved), "torchscript", out, (64, 64))
    change(out)
    with pytest.raises(CheckpointError, match=re.escape(said)):
        open_exported(out, "torchscript")


def test_a_file_that_the_engine_cannot_open_is_refused(saved: Path, tmp_path: Path) -> None:
    out = tmp_path / "slim.pt"
    card = export(Checkpoint.open(saved), "torchscript", out, (64, 64))
    out.write_bytes(b"not a network")
    write_json(card_of(out), card.model_copy(update={"sha256": {".pt": sha256_of(out)}}).model_dump(mode="json"))
    with pytest.raises(CheckpointError, match="torchscript cannot open"):
        open_exported(out, "torchscript")


def test_engines_and_files_that_do_not_fit_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="engine is 'tensorrt'; expected one of onnxruntime, openvino, torchscript"):
        open_exported(tmp_path / "slim.pt", "tensorrt")
    with pytest.raises(ConfigError, match=r"openvino runs files that end in \.xml, not slim\.pt"):
        open_exported(tmp_path / "slim.pt", "openvino")


def test_a_file_that_says_something_else_is_not_put_in_place(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "slim.pt"
    out.write_bytes(b"what was there")
    right = exporting.ToExport.forward
    monkeypatch.setattr(exporting.ToExport, "forward", lambda self, image: right(self, image.flip(1)))  # BGR
    with pytest.raises(ConfigError, match="probabilities differ from the original's by up to"):
        export(Checkpoint.open(saved), "torchscript", out, (96, 64))
    assert out.read_bytes() == b"what was there"
    assert [item.name for item in tmp_path.iterdir()] == ["slim.pt"]


@pytest.mark.parametrize(
    ("update", "said"),
    [
        ({"network": "ensemble"}, "is an ensemble"),
        ({"window": Window(crop=(64, 64))}, "overlapping windows"),
        ({"network": "hrda"}, "for one size only. Export it with --size"),
    ],
)
def test_what_one_pass_cannot_do_is_refused(saved: Path, tmp_path: Path, update: dict[str, object], said: str) -> None:
    opened = Checkpoint.open(saved)
    opened.config = opened.config.model_copy(update=update)
    with pytest.raises(ConfigError, match=said):
        export(opened, "torchscript", tmp_path / "slim.pt")
    assert not list(tmp_path.iterdir())


def test_a_package_that_is_missing_is_named(saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FORMATS, "onnx", replace(FORMATS["onnx"], packages=("no_such_package",)))
    with pytest.raises(ConfigError, match=r'onnxruntime needs no_such_package: pip install "sim2street\[export\]"'):
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


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("photos") / "street.png"
    Image.fromarray(photo(150, 100)).save(path)
    return path


@pytest.mark.parametrize("form", FORMATS)
def test_a_disk_without_room_gets_a_sentence(saved: Path, tmp_path: Path, form: str) -> None:
    """In a process of its own: PyTorch's writer used to abort it."""
    resource = pytest.importorskip("resource")
    need(form)
    out = tmp_path / "out" / f"network{FORMATS[form].suffixes[0]}"
    code = "import sys; from sim2street.training.cli import main; sys.exit(main(sys.argv[1:]))"
    ended = subprocess.run(
        [sys.executable, "-c", code, "export", str(saved), "--to", form, "--out", str(out)],
        env=child_environment(),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000)),
        capture_output=True,
        text=True,
    )
    assert (ended.returncode, ended.stdout) == (2, "")
    (said,) = ended.stderr.splitlines()
    assert re.fullmatch(rf"error: ({re.escape(str(out))}: File too large\.|OpenVINO could not write its files.+)", said)
    assert list(out.parent.iterdir()) == []


@pytest.mark.parametrize("form", ["onnx", "openvino"])
def test_predicting_with_an_engine_gives_the_same_labels(
    saved: Path, street: Path, tmp_path: Path, form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of a checkpoint, which is exported for the occasion, and of a file."""
    need(form)
    file = tmp_path / f"slim{FORMATS[form].suffixes[0]}"
    export(Checkpoint.open(saved), form, file)
    command = ["predict", str(street), "--checkpoint", str(saved)]
    assert main([*command, "--device", "cpu", "--out", str(tmp_path / "ours")]) == 0
    engine = ["--checkpoint", str(file), "--engine", FORMATS[form].engine]
    assert main([*command, *engine, "--out", str(tmp_path / "theirs")]) == 0
    expected = np.asarray(Image.open(tmp_path / "ours/street/slim/labels.png"))
    for name in ("slim", file.name):
        said = np.asarray(Image.open(tmp_path / "theirs/street" / name / "labels.png"))
        assert (said != expected).mean() < 1e-3
    made_by = json.loads((tmp_path / "theirs/summary.json").read_text())[str(street)]["made_by"]
    assert made_by[str(file)] == made_by[str(saved)] == f"{sha256_of(saved / WEIGHTS)}, {FORMATS[form].engine}"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--engine", "openvino", "--device", "cuda"], "--engine predicts on the CPU. Leave out --device cuda"),
        (["--checkpoint", "slim.xml"], "slim.xml is a file, not a checkpoint's folder. Add --engine"),
        (["--checkpoint", "slim.xml", "--engine", "onnxruntime"], "onnxruntime runs files that end in .onnx"),
        (["--checkpoint", "slim.xml", "--engine", "openvino"], "slim.xml has no card"),
        (["--checkpoint", "windows", "--engine", "openvino"], "predicts photos in overlapping windows"),
    ],
)
def test_engines_that_cannot_be_used_get_a_sentence(
    saved: Path,
    street: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    said: str,
) -> None:
    for form in ("onnx", "openvino"):
        need(form)
    monkeypatch.chdir(tmp_path)
    Path("slim.xml").write_text("<net/>")
    if "windows" in options:
        update = {"window": Window(crop=(64, 64))}
        Checkpoint.save(
            "windows", Checkpoint.open(saved).load(), Checkpoint.open(saved).config.model_copy(update=update)
        )
    assert main(["predict", str(street), "--out", "out", *options]) == 2
    assert said in capsys.readouterr().err
    assert not Path("out").exists()


def test_an_engine_that_is_not_installed_is_named_with_the_command(
    saved: Path, street: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(FORMATS, "openvino", replace(FORMATS["openvino"], packages=("no_such_package",)))
    assert main(["predict", str(street), "--engine", "openvino", "--out", str(tmp_path / "out")]) == 2
    assert 'openvino needs no_such_package: pip install "sim2street[openvino]"' in capsys.readouterr().err


def test_a_photo_of_another_size_than_the_files_does_not_stop_the_others(saved: Path, tmp_path: Path) -> None:
    export(Checkpoint.open(saved), "torchscript", tmp_path / "slim.pt", (96, 64))
    for name, size in (("square", (64, 64)), ("fits", (96, 64))):
        Image.fromarray(photo(*size)).save(tmp_path / f"{name}.png")
    predictor = Predictor(open_exported(tmp_path / "slim.pt", "torchscript")[0], device="cpu")
    photos = [str(tmp_path / "square.png"), str(tmp_path / "fits.png")]
    (failure,) = predict_photos(photos, {"slim": predictor}, tmp_path / "out")
    assert "square.png: slim.pt takes images of 96x64 pixels, but a photo has 64x64 after resizing" in failure
    assert (tmp_path / "out/fits/slim/labels.png").is_file()


def test_a_file_rounds_the_sides_of_photos_as_its_network_does(tmp_path: Path) -> None:
    options = {"encoder": "tf_efficientnet_lite0", "channels": 16, "dilations": [1, 3], "fuse_kernel": 1}
    config = CONFIG.model_copy(update={"network": "daformer", "network_options": options})
    checkpoint = Checkpoint.save(tmp_path / "lite", build("daformer", options=options), config)
    with pytest.raises(ConfigError, match="100x64; this network reads photos whose sides are multiples of 32"):
        export(checkpoint, "torchscript", tmp_path / "lite.pt", (100, 64))
    export(checkpoint, "torchscript", tmp_path / "lite.pt", (96, 64))
    exported, card = open_exported(tmp_path / "lite.pt", "torchscript")
    assert card.multiple == exported.core.multiple == 32
    pixels = photo(101, 60)
    said = Predictor(exported, Window(), device="cpu")(pixels).probabilities
    np.testing.assert_allclose(said, ours(tmp_path / "lite", pixels), rtol=0, atol=TOLERANCE)
