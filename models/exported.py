"""Exported networks: files of other engines, opened as a `Segmenter` that the predictor uses like any other.

A file takes (1, 3, H, W) float32 RGB in [0,1] and gives (1, C, H, W) probabilities and (1, C, h, w) logits at the network's
own stride. The predictor needs the logits alone, so the engine is told to leave out the rest. The card beside a file,
FILE.json, says what it was made from and how photos are presented to it. `sim2street.training.export` writes both.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Final, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from sim2street.models.errors import CheckpointError, ConfigError, PhotoError, UnreadableError
from sim2street.models.options import Options
from sim2street.models.segmenter import Core, Segmenter
from sim2street.models.storage.checkpoint import CheckpointConfig
from sim2street.models.storage.files import read_json, sha256_of

SMALLEST: Final = 32
LARGEST: Final = 4096
"""Sides of the input of a file of free size, in pixels."""
INPUT: Final = "image"
OUTPUTS: Final = ("probabilities", "logits")

Runner = Callable[[NDArray[np.float32]], list[NDArray[np.float32]]]
"""(1, 3, H, W) -> the outputs asked for."""


@dataclass(frozen=True)
class Format:
    """A file format and what runs it.

    Attributes:
        engine: name of the engine.
        suffixes: of the file and, where the format has more than one, of those that belong to it.
        packages: needed to write and to run it.
        extra: of this project, which installs them.
        start: opens the files, in the order of `suffixes`, on the CPU, for some of `OUTPUTS`.
    """

    engine: str
    suffixes: tuple[str, ...]
    packages: tuple[str, ...]
    extra: str
    start: Callable[[Sequence[Path], Sequence[str]], Runner]

    def require(self) -> None:
        """Raise `ConfigError` where a package is missing."""
        missing = [name for name in self.packages if importlib.util.find_spec(name) is None]
        if missing:
            raise ConfigError(f'{self.engine} needs {" and ".join(missing)}: pip install "sim2street[{self.extra}]".')

    def files(self, file: Path) -> list[Path]:
        """All files of an exported network, from the path of the first."""
        return [file.with_suffix(suffix) for suffix in self.suffixes]


class ExportCard(Options):
    """The card beside an exported file."""

    format: Literal["onnx", "openvino", "torchscript"]
    checkpoint: str = Field(description="Name of the checkpoint.")
    config: CheckpointConfig = Field(description="The checkpoint's own config: classes, window, licence, origin.")
    align_corners: bool = Field(description="How logits are upsampled, see `Segmenter`.")
    multiple: int = Field(
        default=1, ge=1, le=1024, description="By which sides should be divisible, see `Core.multiple`."
    )
    size: tuple[int, int] | None = Field(description="(width, height) of the input; none = any size.")
    sha256: dict[str, str] = Field(description="Suffix of each file -> its sha256.")
    sim2street: str
    torch: str
    input: dict[str, Any]
    outputs: dict[str, Any]
    checked: dict[str, Any]


def card_of(file: Path) -> Path:
    """Path of an exported file's card."""
    return file.with_name(f"{file.name}.json")


class Exported(Segmenter):
    """A network in an exported file; it normalises photos itself."""

    def normalise(self, images: Tensor) -> Tensor:
        """Leave (B, 3, H, W) RGB in [0,1] as they are."""
        return images


class ExportedCore(Core):
    """Runs an exported file; it only predicts, on the CPU.

    Args:
        run: gives the logits.
        name: of the file, for errors.
        size: (width, height) of its input in pixels; None for any.
        multiple: see `Core.multiple`.
    """

    def __init__(self, run: Runner, name: str, size: tuple[int, int] | None, multiple: int) -> None:
        super().__init__()
        self.run, self.name, self.size, self.multiple = run, name, size, multiple

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """(B, 3, H, W) RGB in [0,1] -> `main`, (B, C, h, w) logits.

        Raises:
            PhotoError: the file does not take images of this size.
        """
        height, width = images.shape[-2:]
        if self.size not in (None, (width, height)):
            raise PhotoError(
                f"{self.name} takes images of {self.size[0]}x{self.size[1]} pixels, but a photo has {width}x{height} after"
                f" resizing. Export it for any size, without --size, or with --size {width}x{height}."
            )
        if not SMALLEST <= min(height, width) <= max(height, width) <= LARGEST:
            raise PhotoError(
                f"{self.name} takes images with sides of {SMALLEST} to {LARGEST} pixels, but a photo has {width}x{height}"
                " after resizing. Leave out --engine for it."
            )
        said = [self.run(image[None].contiguous().numpy())[0] for image in images]
        return {"main": torch.from_numpy(np.concatenate(said))}


def open_exported(file: Path, engine: str) -> tuple[Exported, ExportCard]:
    """Open an exported file with an engine, after checking it against its card.

    Raises:
        ConfigError: the engine is unknown, not installed, or runs files of another format.
        CheckpointError: the file or its card is missing, damaged, or they do not belong together.
    """
    form = format_of(engine)
    if file.suffix != FORMATS[form].suffixes[0]:
        raise ConfigError(f"{engine} runs files that end in {FORMATS[form].suffixes[0]}, not {file.name}.")
    FORMATS[form].require()
    card = _read_card(file)
    if card.format != form:
        raise CheckpointError(f"{card_of(file)} is the card of a file for {card.format}, not for {form}.")
    for path in FORMATS[form].files(file):
        if not path.is_file():
            raise CheckpointError(f"{path} is missing; {file.name} needs it. Export the checkpoint again.")
        if sha256_of(path) != card.sha256.get(path.suffix):
            raise CheckpointError(
                f"{path} is damaged, or {card_of(file).name} is the card of another file: their sha256 differ. Export the"
                " checkpoint again."
            )
    try:
        run = FORMATS[form].start(FORMATS[form].files(file), ("logits",))
    except Exception as error:  # the engines raise exceptions of their own, without a common base
        raise CheckpointError(
            f"{engine} cannot open {file} ({_first_line(error)}). Export the checkpoint again with this version."
        ) from error
    core = ExportedCore(run, file.name, card.size, card.multiple)
    return Exported(core, card.config.space, align_corners=card.align_corners).eval(), card


def format_of(engine: str) -> str:
    """The format whose files an engine runs.

    Raises:
        ConfigError: there is no such engine.
    """
    for name, form in FORMATS.items():
        if form.engine == engine:
            return name
    known = ", ".join(form.engine for form in FORMATS.values())
    raise ConfigError(f"The engine is {engine!r}; expected one of {known}.")


def _read_card(file: Path) -> ExportCard:
    path = card_of(file)
    if not path.is_file():
        raise CheckpointError(
            f"{file} has no card: {path.name} should be beside it. Only files written by sim2street export can be used."
        )
    try:
        content = read_json(path)
        if not isinstance(content, dict):
            raise CheckpointError(f"{path} contains a {type(content).__name__}; expected an object.")
        return ExportCard.parse(content, where=str(path))
    except (ConfigError, UnreadableError) as error:
        raise CheckpointError(str(error)) from error


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def import_openvino() -> ModuleType:
    """OpenVINO, without the package by which it reports its use to its makers."""
    sys.modules.setdefault("openvino_telemetry", None)  # pyright: ignore  # as if it were not installed
    return importlib.import_module("openvino")


def compiled_by_openvino(model: Any) -> Any:
    """A model of OpenVINO, compiled for the CPU in fp32 and for as many threads as PyTorch uses."""
    settings = {
        "INFERENCE_PRECISION_HINT": "f32",  # by default processors with bf16 round to it
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "NUM_STREAMS": 1,
    }
    core = import_openvino().Core()
    # OpenVINO gives the thread that compiles a stack for signal handlers, too small for Python's: Ctrl-C could crash.
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(core.compile_model, model, "CPU", settings).result()


def _in_onnxruntime(files: Sequence[Path], outputs: Sequence[str]) -> Runner:
    import onnx
    import onnxruntime
    from onnx.utils import Extractor

    # ONNX Runtime computes even what nobody asks for.
    wanted = Extractor(onnx.load(files[0])).extract_model([INPUT], list(outputs))
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(wanted.SerializeToString(), settings, providers=["CPUExecutionProvider"])
    return lambda image: [np.asarray(each) for each in session.run(list(outputs), {INPUT: image})]


def _in_openvino(files: Sequence[Path], outputs: Sequence[str]) -> Runner:
    openvino = import_openvino()
    core = openvino.Core()
    core.set_property({"ENABLE_MMAP": False})  # a file may be replaced or removed while it is in use
    model = core.read_model(*files)
    wanted = openvino.Model([model.output(name) for name in outputs], model.get_parameters())
    compiled = compiled_by_openvino(wanted)

    def run(image: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        said = compiled(image)
        return [np.array(said[place]) for place in range(len(outputs))]

    return run


def _in_torchscript(files: Sequence[Path], outputs: Sequence[str]) -> Runner:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # it recommends torch.export
        network = torch.jit.load(str(files[0]))
    places = [OUTPUTS.index(name) for name in outputs]

    def run(image: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        with torch.no_grad():
            said = network(torch.from_numpy(image))
        return [said[place].numpy() for place in places]

    return run


FORMATS: Final = {
    "onnx": Format("onnxruntime", (".onnx",), ("onnx", "onnxruntime"), "export", _in_onnxruntime),
    "openvino": Format("openvino", (".xml", ".bin"), ("openvino",), "openvino", _in_openvino),
    "torchscript": Format("torchscript", (".pt",), (), "", _in_torchscript),
}
"""By the name that `sim2street export --to` takes."""
