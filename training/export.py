"""Export a checkpoint as a file that runs without this project, verified against this project's own output.

The exported network takes (1, 3, H, W) float32 RGB in [0,1] and returns (1, C, H, W) float32 probabilities and (1, C, h, w)
logits at its own stride; normalisation, upsampling to the input's size and softmax are included. A card beside it,
FILE.json, describes the network and its input. `sim2street.models.exported` opens such files.
"""

from __future__ import annotations

import io
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sim2street import __version__
from sim2street.models.errors import ConfigError
from sim2street.models.exported import (
    FORMATS,
    INPUT,
    LARGEST,
    OUTPUTS,
    SMALLEST,
    ExportCard,
    Exported,
    Runner,
    card_of,
    format_of,
    import_openvino,
    open_exported,
)
from sim2street.models.predictor import Predictor
from sim2street.models.segmenter import Segmenter
from sim2street.models.storage.checkpoint import Checkpoint, Window
from sim2street.models.storage.files import (
    failures_naming,
    give_usual_mode,
    partial_of,
    remove_left_behind,
    sha256_of,
    write_json,
)
from sim2street.training.datasets.street_scenes import render

TOLERANCE: Final = 1e-4
"""Largest accepted difference between a file's probabilities and this project's own."""
FREE_SIZES: Final = ((256, 128), (320, 192), (224, 224))
"""(width, height) of the photos with which a file of free size is verified; it is traced with the first."""
OPSET: Final = 18
"""Version of ONNX's operators; ONNX Runtime has known it since 2022."""


class ToExport(nn.Module):
    """What is exported: RGB in [0,1] to probabilities of the same size, and logits."""

    def __init__(self, segmenter: Segmenter) -> None:
        super().__init__()
        self.segmenter = segmenter

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """(1, 3, H, W) float32 RGB in [0,1] -> (1, C, H, W) summing to one over C, and (1, C, h, w) at the own stride."""
        logits = self.segmenter.core(self.segmenter.normalise(image))["main"]
        return self.segmenter.upsample(logits, image.shape[-2:]).softmax(dim=1), logits


def export(checkpoint: Checkpoint, form: str, out: Path, size: tuple[int, int] | None = None) -> ExportCard:
    """Write a checkpoint's network as a file (OpenVINO: two files), and its card beside it.

    Args:
        checkpoint: a single network that predicts photos whole, without sliding windows.
        form: a key of `FORMATS`.
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
    if size is not None and any(side % segmenter.core.multiple for side in size):
        raise ConfigError(
            f"The size is {size[0]}x{size[1]}; this network reads photos whose sides are multiples of"
            f" {segmenter.core.multiple}."
        )
    sizes = FREE_SIZES if size is None else (size,) * 3
    photos = [render("game", index, size=each).photo for index, each in enumerate(sizes)]
    out.parent.mkdir(parents=True, exist_ok=True)
    remove_left_behind(out)
    with _folder_beside(out) as folder:
        files = FORMATS[form].files(folder / out.name)
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they concern the exporters' own code; the result is verified
            WRITERS[form](ToExport(segmenter).eval(), _image(photos[0]), files, size is None)
        difference = _largest_difference(FORMATS[form].start(files, OUTPUTS), segmenter, photos)
        if not difference <= TOLERANCE:  # NaN too
            raise ConfigError(
                f"The exported network's probabilities differ from the original's by up to {difference:.1e}, more than"
                f" {TOLERANCE:.0e}; nothing was written. Try a fixed size (--size), or another format."
            )
        hashes = {file.suffix: sha256_of(file) for file in files}
        card = _card(checkpoint, segmenter, form, size, hashes, difference)
        # A kill between the files can leave some without a card, but never beside another one's card.
        card_of(out).unlink(missing_ok=True)
        for file in files:
            give_usual_mode(file)
            file.replace(out.with_name(file.name))
    write_json(card_of(out), card.model_dump(mode="json"))
    return card


def in_engine(checkpoint: Checkpoint, engine: str) -> Exported:
    """Export a checkpoint to a temporary folder, for any size, and open it with an engine.

    Raises:
        ConfigError, CheckpointError: see `export` and `open_exported`.
    """
    form = format_of(engine)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"{checkpoint.name}{FORMATS[form].suffixes[0]}"
        export(checkpoint, form, file)
        return open_exported(file, engine)[0]


@contextmanager
def _folder_beside(out: Path) -> Iterator[Path]:
    """A folder on the same disk as `out`, removed in the end."""
    folder = partial_of(out)
    try:
        with failures_naming(out):
            folder.mkdir()
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _check(checkpoint: Checkpoint, form: str, out: Path, size: tuple[int, int] | None) -> None:
    """Raise `ConfigError` for anything that cannot be exported, before the network is loaded."""
    if form not in FORMATS:
        raise ConfigError(f"The format is {form!r}; expected one of {', '.join(FORMATS)}.")
    suffix = FORMATS[form].suffixes[0]
    if out.suffix != suffix:
        raise ConfigError(f"The output file is {out.name}; expected a name that ends in {suffix} for {form}.")
    if size is not None and not all(SMALLEST <= side <= LARGEST for side in size):
        raise ConfigError(f"The size is {size[0]}x{size[1]}; each side must have {SMALLEST} to {LARGEST} pixels.")
    if checkpoint.config.network == "ensemble":
        raise ConfigError(f"{checkpoint.name} is an ensemble, which cannot be exported; export its members one by one.")
    if checkpoint.config.window.crop is not None:
        raise ConfigError(
            f"{checkpoint.name} predicts photos in overlapping windows, which an exported network cannot do; use"
            " sim2street predict without --engine, or a checkpoint that predicts photos whole."
        )
    if checkpoint.config.network == "hrda" and size is None:
        raise ConfigError(
            f"{checkpoint.name} is an HRDA network, whose detail windows an exported file can place for one size only. Export"
            " it with --size, such as --size 1024x512, or use sim2street predict without --engine."
        )
    FORMATS[form].require()


def _write_torchscript(network: ToExport, image: Tensor, files: Sequence[Path], _free: bool) -> None:
    held = io.BytesIO()  # given a file, PyTorch aborts the process where the disk is full
    torch.jit.save(torch.jit.trace(network, (image,), check_trace=False), held)
    files[0].write_bytes(held.getbuffer())


def _write_onnx(network: ToExport, image: Tensor, files: Sequence[Path], free: bool) -> None:
    free_axes = {
        INPUT: {2: "height", 3: "width"},
        "probabilities": {2: "height", 3: "width"},
        "logits": {2: "rows", 3: "columns"},
    }
    try:
        torch.onnx.export(
            network,
            (image,),
            str(files[0]),
            # The newer exporter derives conditions on every size from strides, and fails for most networks of free size.
            dynamo=False,
            opset_version=OPSET,
            input_names=[INPUT],
            output_names=list(OUTPUTS),
            dynamic_axes=free_axes if free else None,
        )
    except torch.onnx.errors.OnnxExporterError as error:
        said = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise ConfigError(
            f"PyTorch cannot write this network as ONNX ({said}). Try another format, such as --to openvino."
        ) from error


def _write_openvino(network: ToExport, image: Tensor, files: Sequence[Path], free: bool) -> None:
    openvino = import_openvino()
    side = (SMALLEST, LARGEST)
    shape = openvino.PartialShape([1, 3, side, side] if free else list(image.shape))
    traced = torch.jit.trace(network, (image,), check_trace=False)
    model = openvino.convert_model(traced, example_input=image, input=[shape])
    model.inputs[0].get_tensor().set_names({INPUT})
    for output, name in zip(model.outputs, OUTPUTS, strict=True):
        output.get_tensor().set_names({name})
    try:
        openvino.serialize(model, *files)
    except RuntimeError as error:
        raise ConfigError(
            f"OpenVINO could not write its files ({error}). Is there room for them on the disk?"
        ) from error


WRITERS: Final[dict[str, Callable[[ToExport, Tensor, Sequence[Path], bool], None]]] = {
    "onnx": _write_onnx,
    "openvino": _write_openvino,
    "torchscript": _write_torchscript,
}
"""By format: write a network, traced with an image, to its files, for any size or for the image's."""


def _largest_difference(run: Runner, segmenter: Segmenter, photos: list[NDArray[np.uint8]]) -> float:
    """Largest difference of any probability from this project's own predictor, over photos of the network's input size.

    Both the file's probabilities and those of its logits are compared.
    """
    predictor = Predictor(segmenter, Window(), device="cpu")
    found = []
    for photo in photos:
        expected = predictor(photo).probabilities
        probabilities, logits = (torch.from_numpy(each) for each in run(_image(photo).numpy()))
        for said in (probabilities, segmenter.upsample(logits, photo.shape[:2]).softmax(dim=1)):
            found.append(np.abs(said[0].numpy() - expected).max())
    return float(np.max(found))


def _image(photo: NDArray[np.uint8]) -> Tensor:
    """Convert (H, W, 3) uint8 to (1, 3, H, W) float32 in [0,1]."""
    return torch.from_numpy(np.array(photo)).permute(2, 0, 1)[None].float().contiguous() / 255


def _card(
    checkpoint: Checkpoint,
    segmenter: Segmenter,
    form: str,
    size: tuple[int, int] | None,
    hashes: dict[str, str],
    difference: float,
) -> ExportCard:
    """Describe the file for those who run it: origin, input, outputs and how it was verified."""
    space = checkpoint.config.space
    sides = ["height", "width"] if size is None else list(size[::-1])
    upsampled = "upsampling to the input's size and softmax are inside"
    return ExportCard(
        format=form,  # pyright: ignore[reportArgumentType]  # a key of FORMATS
        checkpoint=checkpoint.name,
        config=checkpoint.config,
        align_corners=segmenter.align_corners,
        multiple=segmenter.core.multiple,
        size=size,
        sha256=hashes,
        sim2street=__version__,
        torch=torch.__version__,
        input={"name": INPUT, "shape": [1, 3, *sides], "values": "float32 RGB in [0,1]; normalisation is inside"},
        outputs={
            "probabilities": {
                "shape": [1, space.count, *sides],
                "values": f"float32, summing to one over the classes; {upsampled}",
                "classes": list(space.names),
            },
            "logits": {"shape": [1, space.count, "rows", "columns"], "values": "float32, at the network's own stride"},
        },
        checked={"photos": 3, "largest_difference": difference, "tolerance": TOLERANCE},
    )
