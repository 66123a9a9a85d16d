"""Export a checkpoint as one file that runs without this project, verified against this project's own output.

The exported network takes (1, 3, H, W) float32 RGB in [0,1] and returns (1, C, H, W) float32 probabilities; normalisation,
upsampling to the input's size and softmax are included. A card beside it, FILE.json, describes the network and its input.
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sim2street import __version__
from sim2street.models.errors import ConfigError
from sim2street.models.predictor import Predictor
from sim2street.models.segmenter import Segmenter
from sim2street.models.storage.checkpoint import Checkpoint, Window
from sim2street.models.storage.files import sha256_of, write_json, written_whole
from sim2street.training.datasets.street_scenes import render

TOLERANCE: Final = 1e-4
"""Largest accepted difference between a file's probabilities and this project's own."""
FREE_SIZES: Final = ((256, 128), (320, 192), (224, 224))
"""(width, height) of the photos with which a file of free size is verified; it is traced with the first."""
SMALLEST: Final = 32
LARGEST: Final = 4096
SUFFIXES: Final = {"onnx": ".onnx", "torchscript": ".pt"}
NEEDED: Final = {"onnx": ("onnx", "onnxscript", "onnxruntime"), "torchscript": ()}
"""Packages of the extra `export` that a format needs."""

Runner = Callable[[NDArray[np.float32]], NDArray[np.float32]]


class Exported(nn.Module):
    """The exported network: RGB in [0,1] to probabilities of the same size."""

    def __init__(self, segmenter: Segmenter) -> None:
        super().__init__()
        self.segmenter = segmenter

    def forward(self, image: Tensor) -> Tensor:
        """(1, 3, H, W) float32 RGB in [0,1] -> (1, C, H, W) float32, summing to one over C."""
        logits = self.segmenter.core(self.segmenter.normalise(image))["main"]
        return self.segmenter.upsample(logits, image.shape[-2:]).softmax(dim=1)


def export(checkpoint: Checkpoint, form: str, out: Path, size: tuple[int, int] | None = None) -> dict[str, Any]:
    """Write a checkpoint's network as one file, and its card beside it.

    Args:
        checkpoint: a single network that predicts photos whole, without sliding windows.
        form: "onnx" or "torchscript".
        out: the file, with the suffix of its format; an existing file is replaced only after the new one was verified.
        size: fixed (width, height) of the input in pixels, each 32 to 4096; None allows any size.

    Returns:
        The card.

    Raises:
        ConfigError: an argument is invalid, a package is missing, the checkpoint is an ensemble or uses sliding windows, or
            the file's probabilities differ from this project's by more than `TOLERANCE`.
        CheckpointError: the weights are damaged or do not fit the network.
    """
    _check(checkpoint, form, out, size)
    segmenter = checkpoint.load()
    module = Exported(segmenter).eval()
    sizes = FREE_SIZES if size is None else (size,) * 3
    photos = [render("game", index, size=each).photo for index, each in enumerate(sizes)]
    out.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(out) as partial:
        _write(module, form, partial, _image(photos[0]), free=size is None)
        difference = _largest_difference(_runner(form, partial), segmenter, photos)
        if not difference <= TOLERANCE:  # NaN too
            raise ConfigError(
                f"The exported network's probabilities differ from the original's by up to {difference:.1e}, more than"
                f" {TOLERANCE:.0e}; nothing was written. Try a fixed size (--size), or another format."
            )
        card = _card(checkpoint, form, size, partial, difference)
        # A kill between the two files can leave a file without a card, but never a file beside another one's card.
        card_of(out).unlink(missing_ok=True)
    write_json(card_of(out), card)
    return card


def card_of(out: Path) -> Path:
    """Path of an exported file's card."""
    return out.with_name(f"{out.name}.json")


def _check(checkpoint: Checkpoint, form: str, out: Path, size: tuple[int, int] | None) -> None:
    """Raise `ConfigError` for anything that cannot be exported, before the network is loaded."""
    if form not in SUFFIXES:
        raise ConfigError(f"The format is {form!r}; expected one of {', '.join(SUFFIXES)}.")
    if out.suffix != SUFFIXES[form]:
        raise ConfigError(f"The output file is {out.name}; expected a name that ends in {SUFFIXES[form]} for {form}.")
    if size is not None and not all(SMALLEST <= side <= LARGEST for side in size):
        raise ConfigError(f"The size is {size[0]}x{size[1]}; each side must have {SMALLEST} to {LARGEST} pixels.")
    if checkpoint.config.network == "ensemble":
        raise ConfigError(f"{checkpoint.name} is an ensemble, which cannot be exported; export its members one by one.")
    if checkpoint.config.window.crop is not None:
        raise ConfigError(
            f"{checkpoint.name} predicts photos in overlapping windows, which an exported network cannot do; use"
            " sim2street predict, or a checkpoint that predicts photos whole."
        )
    missing = [name for name in NEEDED[form] if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(f'{form} needs {", ".join(missing)}: pip install "sim2street[export]".')


def _write(module: Exported, form: str, path: Path, image: Tensor, *, free: bool) -> None:
    """Write the network in one of the formats, traced with `image`."""
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they concern the exporters' own code; the result is verified afterwards
        if form == "torchscript":
            torch.jit.trace(module, (image,), check_trace=False).save(str(path))  # pyright: ignore[reportAttributeAccessIssue]
            return
        sides = {
            2: torch.export.Dim("height", min=SMALLEST, max=LARGEST),
            3: torch.export.Dim("width", min=SMALLEST, max=LARGEST),
        }
        try:
            torch.onnx.export(
                module,
                (image,),
                str(path),
                dynamo=True,
                external_data=False,
                verbose=False,
                input_names=["image"],
                output_names=["probabilities"],
                dynamic_shapes=(sides,) if free else None,
            )
        except torch.onnx.errors.OnnxExporterError as error:
            said = str(error).strip().splitlines()
            raise ConfigError(
                f"PyTorch cannot write this network as ONNX with a {'free' if free else 'fixed'} size"
                f" ({said[0] if said else type(error).__name__}). Try a fixed size (--size), or --to torchscript."
            ) from error


def _runner(form: str, path: Path) -> Runner:
    """Open an exported file with the engine of its format, on the CPU."""
    if form == "torchscript":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # it recommends torch.export
            loaded = torch.jit.load(str(path))

        def run(image: NDArray[np.float32]) -> NDArray[np.float32]:
            with torch.no_grad():
                return loaded(torch.from_numpy(image)).numpy()

        return run
    import onnxruntime  # imported here, because TorchScript does not need the extra `export`

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return lambda image: np.asarray(session.run(None, {"image": image})[0])


def _largest_difference(run: Runner, segmenter: Segmenter, photos: list[NDArray[np.uint8]]) -> float:
    """Largest difference of any probability from this project's own predictor, over photos of the network's input size."""
    predictor = Predictor(segmenter, Window(), device="cpu")
    found = [np.abs(run(_image(photo).numpy())[0] - predictor(photo).probabilities).max() for photo in photos]
    return float(np.max(found))


def _image(photo: NDArray[np.uint8]) -> Tensor:
    """Convert (H, W, 3) uint8 to (1, 3, H, W) float32 in [0,1]."""
    return torch.from_numpy(np.array(photo)).permute(2, 0, 1)[None].float().contiguous() / 255


def _card(
    checkpoint: Checkpoint, form: str, size: tuple[int, int] | None, path: Path, difference: float
) -> dict[str, Any]:
    """Describe the file for those who run it: origin, input, output and how it was verified."""
    config = checkpoint.config
    return {
        "format": form,
        "checkpoint": checkpoint.name,
        "title": config.title,
        "licence": config.licence,
        "weights_sha256": config.weights_sha256,
        "sha256": sha256_of(path),
        "sim2street": __version__,
        "torch": torch.__version__,
        "input": {
            "name": "image",
            "shape": [1, 3, *(["height", "width"] if size is None else size[::-1])],
            "values": "float32 RGB in [0,1]; normalisation is inside",
            "short_side": config.window.short_side,
            "resampling": config.window.resampling,
        },
        "output": {
            "name": "probabilities",
            "shape": [1, config.space.count, *(["height", "width"] if size is None else size[::-1])],
            "values": "float32, summing to one over the classes; upsampling to the input's size and softmax are inside",
            "classes": list(config.space.names),
        },
        "checked": {"photos": 3, "largest_difference": difference, "tolerance": TOLERANCE},
    }
