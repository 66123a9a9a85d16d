"""A checkpoint is a folder that holds everything needed to use a trained segmenter, and nothing that executes.

Its files::

    model.safetensors   weights, fp16 or fp32
    config.json         what they are: network, label space, window, method, recipe, seed, step, commit, licence, origin
    metrics.json        what `sim2street evaluate` printed for exactly these weights (may be missing)
    README.md           the model card

Opening is strict: every file is checked before any weight is used, and a folder that is damaged, incomplete or not a
checkpoint raises `CheckpointError` with the reason. A folder is written under a temporary name and then renamed. PyTorch is
imported only when weights are loaded or saved.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Mapping
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, Self

from pydantic import Field, field_validator, model_validator
from safetensors import SafetensorError

from sim2street.models.errors import CheckpointError, ConfigError, LabelError, Sim2StreetError, UnreadableError
from sim2street.models.label_space import LabelSpace, LabelSpaceOptions
from sim2street.models.labels import LABEL_SPACES, label_space, refuse_taken_name
from sim2street.models.network_names import NETWORK_NAMES
from sim2street.models.options import Options
from sim2street.models.storage.files import (
    CARD,
    CONFIG,
    METRICS,
    RUN_FOLDER,
    WEIGHTS,
    failures_naming,
    give_usual_mode,
    partial_of,
    read_json,
    remove_left_behind,
    replace_folder,
    sha256_of,
    visible,
    write_json,
)
from sim2street.models.storage.origin import ImportRecord

if TYPE_CHECKING:
    from torch import Tensor

    from sim2street.models.segmenter import Segmenter

FORMAT: Final = 1
"""Version of the folder's layout; a newer one is refused rather than misread."""
PICKLES: Final = (".pt", ".pth", ".bin", ".pkl", ".ckpt")
"""Suffixes of files that can run code when opened; never opened as a checkpoint."""


class Window(Options):
    """How a photo is presented to the network, part of the evaluation protocol."""

    short_side: int | None = Field(
        default=None, ge=32, le=4096, description="The photo is resized so that its shorter side has this many pixels."
    )
    min_pixels: int | None = Field(
        default=None,
        ge=1024,
        le=16_000_000,
        description="The photo is resized to at least this many pixels in all: at the same shorter side, a photo of 4:3 has"
        " fewer than one of 2:1 and shows everything smaller.",
    )
    crop: tuple[int, int] | None = Field(
        default=None, description="(height, width) of sliding windows after resizing; none = the whole photo at once."
    )
    stride: tuple[int, int] | None = Field(
        default=None, description="(down, right) steps of the windows; default half a crop."
    )
    resampling: Literal["bicubic", "bilinear", "pillow_bilinear"] = Field(
        default="bicubic",
        description="How the photo is resized: Pillow's antialiased bicubic or bilinear filter, or OpenCV's bilinear filter"
        " of four neighbours (bilinear), which papers based on mmsegmentation use.",
    )
    spread: bool = Field(
        default=False,
        description="Whether the fewest windows that cover a side are spread evenly along it, in place of a stride.",
    )
    averaging: Literal["logits", "probabilities", "scores"] = Field(
        default="logits",
        description="What is averaged where windows overlap and resized to the photo: logits, their softmax, or their"
        " exponential (EoMT).",
    )
    upsample_twice: bool = Field(
        default=False,
        description="Whether logits of a whole photo are first upsampled to the network's input size, then to the photo's.",
    )

    @model_validator(mode="after")
    def _covers(self) -> Self:
        if self.crop is None and (self.spread or self.averaging != "logits"):
            raise ValueError("spread and averaging apply to windows only; give a crop")
        if self.stride is not None:
            if self.spread:
                raise ValueError("windows are spread evenly or have a stride, not both")
            if self.crop is None:
                raise ValueError("stride needs a crop")
            if self.stride[0] > self.crop[0] or self.stride[1] > self.crop[1]:
                raise ValueError("stride is larger than the crop, which would leave gaps between windows")
        return self

    @field_validator("crop", "stride")
    @classmethod
    def _positive(cls, value: tuple[int, int] | None) -> tuple[int, int] | None:
        if value is not None and min(value) < 16:
            raise ValueError("expected two lengths of at least 16 pixels")
        return value


class CheckpointConfig(Options):
    """`config.json`: what the weights are and where they come from."""

    format: Literal[1] = FORMAT
    title: str = Field(min_length=1, max_length=80)
    method: str = Field(min_length=1, max_length=40)
    network: str
    network_options: dict[str, Any] = Field(default_factory=dict)
    labels: str | LabelSpaceOptions = Field(
        default="cityscapes19",
        description="The classes: the name of one of the project's label spaces, or a table of your own.",
    )
    window: Window = Window()
    source: str = Field(description="Labelled source data, such as street_scenes/game.")
    target: str | None = Field(default=None, description="Unlabelled domain adapted to; none for source-only.")
    recipe: str = ""
    seed: int = 0
    step: int = Field(default=0, ge=0)
    commit: str = Field(default="", description="Revision of this repository that trained it.")
    licence: str = "apache-2.0"
    origin: Literal["trained", "imported"] = "trained"
    initialisation: str = Field(default="random", description="The initial weights.")
    averaged: tuple[str, ...] = Field(
        default=(), description="Names of the checkpoints whose weights these are the mean of."
    )
    imported: ImportRecord | None = Field(
        default=None, description="Origin and evaluation protocol of imported weights."
    )
    weights_sha256: str = Field(default="", pattern=r"^([0-9a-f]{64})?$")

    @field_validator("network")
    @classmethod
    def _known_network(cls, value: str) -> str:
        if value in NETWORK_NAMES:
            return value
        from sim2street.models.networks import NETWORKS  # imports PyTorch; a package may have added the name

        if value not in NETWORKS:
            said = [
                f"expected one of {', '.join(NETWORKS)}; a newer Sim2Street or a package may know it",
                *NETWORKS.left_out,
            ]
            raise ValueError(". ".join(said))
        return value

    @field_validator("labels")
    @classmethod
    def _known_labels(cls, value: str | LabelSpaceOptions) -> str | LabelSpaceOptions:
        if isinstance(value, LabelSpaceOptions):
            refuse_taken_name(value.build(), where="labels")
        elif value not in LABEL_SPACES:
            raise ValueError(f"expected one of {', '.join(LABEL_SPACES)}, or a table of classes")
        return value

    @cached_property
    def space(self) -> LabelSpace:
        """The classes that the network predicts."""
        return label_space(self.labels) if isinstance(self.labels, str) else self.labels.build()


class Checkpoint:
    """A validated checkpoint folder; the network is built on demand.

    Attributes:
        path: the folder.
        config: parsed `config.json`.
        metrics: parsed `metrics.json`, `{"<data set>/<split>": {"miou": ..., "iou_per_class": {...}, ...}}`.
        repository: `owner/name@commit` if it came from the Hub, otherwise None.
    """

    def __init__(
        self, path: Path, config: CheckpointConfig, metrics: dict[str, Any], repository: str | None = None
    ) -> None:
        self.path = path
        self.config = config
        self.metrics = metrics
        self.repository = repository

    @property
    def name(self) -> str:
        """Its name in the catalog: that of its repository, of its folder, or of the run for `RUN/checkpoint`."""
        if self.repository is not None:
            return self.repository.partition("@")[0].rpartition("/")[2]
        return self.path.parent.name if self.path.name == RUN_FOLDER else self.path.name

    @classmethod
    def open(cls, source: str | Path, *, repository: str | None = None) -> Self:
        """Open and check a folder; `repository` names the repository on the Hub that it is a copy of.

        Raises:
            CheckpointError: a file is missing, truncated, invalid, or does not match its recorded sha256.
        """
        path = Path(source).resolve()
        try:
            return cls._open(path, source, repository)
        except OSError as error:
            raise CheckpointError(f"{path} cannot be read: {error.strerror or error}.") from error

    @classmethod
    def _open(cls, path: Path, source: str | Path, repository: str | None) -> Self:
        if not path.is_dir():
            raise CheckpointError(f"There is no checkpoint folder at {source}.")
        for required in (CONFIG, WEIGHTS):
            if not (path / required).is_file():
                pickles = [item.name for item in visible(path) if item.suffix in PICKLES]
                hint = f" It contains {pickles[0]}, a pickle, which is never opened as a checkpoint." if pickles else ""
                raise CheckpointError(f"{path} is not a checkpoint: {required} is missing.{hint}")
        try:
            config = CheckpointConfig.parse(_read_json(path / CONFIG), where=str(path / CONFIG))
        except (ConfigError, LabelError) as error:
            raise CheckpointError(str(error)) from error
        metrics = _read_metrics(path / METRICS) if (path / METRICS).exists() else {}
        digest = _digest_of(path / WEIGHTS)
        if config.weights_sha256 and config.weights_sha256 != digest:
            raise CheckpointError(
                f"{path / WEIGHTS} is damaged or was replaced: its sha256 is {digest[:12]}…, {CONFIG} says"
                f" {config.weights_sha256[:12]}…. Download or train it again."
            )
        return cls(path, config, metrics, repository)

    @cached_property
    def segmenter(self) -> Segmenter:
        """The network from `load`, loaded once and shared; to modify a network, `load` a separate one."""
        return self.load()

    def load(self) -> Segmenter:
        """Build the network and load its weights strictly, on CPU in fp32, in evaluation mode.

        Raises:
            CheckpointError: the weights file is damaged or does not fit the network that the config names.
        """
        # Imported here, so that listing checkpoints does not wait for PyTorch.
        from safetensors.torch import load_file

        from sim2street.models.networks import build_unfilled, fill, is_finite

        try:
            segmenter = build_unfilled(self.config.network, self.config.space, self.config.network_options)
            weights = load_file(self.path / WEIGHTS)
        except Sim2StreetError as error:
            raise CheckpointError(f"{self.path / CONFIG}: {error}") from error
        except (RuntimeError, MemoryError) as error:  # a config can ask for more memory than there is
            raise CheckpointError(f"The network of {self.path / CONFIG} cannot be built: {error}") from error
        except (SafetensorError, OSError) as error:
            raise CheckpointError(
                f"{self.path / WEIGHTS} is not a readable safetensors file ({error}). Download or train it again."
            ) from error
        expected = segmenter.core.state_dict()
        missing = sorted(expected.keys() - weights.keys())
        foreign = sorted(weights.keys() - expected.keys())
        misshapen = [key for key in expected.keys() & weights.keys() if expected[key].shape != weights[key].shape]
        if missing or foreign or misshapen:
            raise CheckpointError(
                f"{self.path / WEIGHTS} does not fit {self.config.network}: {len(missing)} tensors missing"
                f"{_some(missing)}, {len(foreign)} unknown{_some(foreign)}, {len(misshapen)} of the wrong shape{_some(misshapen)}."
            )
        broken = [key for key, value in weights.items() if value.is_floating_point() and not is_finite(value)]
        if broken:
            raise CheckpointError(
                f"{self.path / WEIGHTS} contains NaN or infinite values{_some(broken)}. Download or train it again."
            )
        fill(segmenter.core, weights)
        return segmenter.eval()

    @classmethod
    def save(
        cls,
        path: str | Path,
        segmenter: Segmenter,
        config: CheckpointConfig,
        *,
        metrics: dict[str, Any] | None = None,
        card: str = "",
        half: bool = True,
    ) -> Self:
        """Write the folder, replacing an older one at `path` atomically.

        Args:
            path: the new folder.
            segmenter: its core's weights are stored.
            config: `weights_sha256` is filled in here.
            metrics: content of metrics.json.
            card: content of README.md.
            half: store floating-point weights in fp16, which halves the file; running statistics of batch norm stay
                fp32, because small variances would lose most of their digits.

        Raises:
            OSError: a file cannot be written; what was at `path` stays.
        """
        path = Path(path).resolve()
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = partial_of(path)
        shutil.rmtree(partial, ignore_errors=True)
        remove_left_behind(path)
        try:
            with failures_naming(path):
                partial.mkdir()
                weights = {
                    key: value.half() if half and value.is_floating_point() and "running_" not in key else value
                    for key, value in segmenter.core.state_dict().items()
                }
                write_weights(weights, partial / WEIGHTS)
                give_usual_mode(partial / WEIGHTS)
                config = config.model_copy(update={"weights_sha256": sha256_of(partial / WEIGHTS)})
                write_json(partial / CONFIG, config.model_dump(mode="json"))
                write_json(partial / METRICS, metrics or {})
                (partial / CARD).write_text(card, encoding="utf-8")
                written = cls.open(partial)
                written.load()  # a folder that cannot be opened again must not replace the old one
                replace_folder(partial, path)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        return cls(path, written.config, written.metrics)


def write_weights(weights: Mapping[str, Tensor], path: Path) -> None:
    """Write tensors of any shape and device as a safetensors file.

    Raises:
        OSError: the file cannot be written; safetensors reports a full disk as an error of its own.
    """
    from safetensors.torch import save_file

    held = {key: value.detach().cpu().contiguous() for key, value in weights.items()}
    try:
        save_file(held, path, metadata={"format": "pt"})
    except SafetensorError as error:
        number = re.search(r"\(os error (\d+)\)", str(error))
        if number is None:
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1])), str(path)) from error


def _digest_of(path: Path) -> str:
    """Hex sha256 of a file, computed again only after the file has changed: catalogs are listed often."""
    status = path.stat()
    # Clocks of file systems are coarse: a second change of a file that has just been written could go unnoticed.
    if time.time() - status.st_ctime < 2:
        return sha256_of(path)
    return _known_digest(path, (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns))


@lru_cache(maxsize=512)
def _known_digest(path: Path, _state: tuple[int, ...]) -> str:
    return sha256_of(path)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = read_json(path)
    except UnreadableError as error:
        raise CheckpointError(str(error)) from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} contains a {type(content).__name__}; expected an object.")
    return content


def _read_metrics(path: Path) -> dict[str, Any]:
    metrics = _read_json(path)
    for name, report in metrics.items():
        miou = report.get("miou") if isinstance(report, dict) else ""
        images = report.get("images") if isinstance(report, dict) else None
        fits = _is_figure(miou) and isinstance(images, int) and not isinstance(images, bool) and images >= 0
        per_class = report.get("iou_per_class", {}) if fits else None
        fits = isinstance(per_class, dict) and all(_is_figure(value) for value in per_class.values())
        if not (fits and _is_figure(report.get("ece"))):
            raise CheckpointError(
                f"{path}: the report {name[:60]!r} is damaged; expected miou, ece and iou_per_class as numbers from 0"
                " to 100 or null, and images as a count."
            )
    return metrics


def _is_figure(value: Any) -> bool:
    """Whether a metric is None or a finite number from 0 to 100."""
    return value is None or (isinstance(value, float | int) and not isinstance(value, bool) and 0 <= value <= 100)


def _some(keys: list[str]) -> str:
    return f" (such as {keys[0]})" if keys else ""
