"""Predictor: uint8 photo in, Prediction at the photo's size out; whole or by sliding window, optionally averaged.

Order of operations, as in the papers' test scripts: resize the photo, normalise, network, upsample the *logits* to
the photo's size, softmax, then average over flips and scales.
"""

from __future__ import annotations

import contextlib
import copy
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Final, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from sim2street.models.errors import ConfigError
from sim2street.models.labels import LabelSpace
from sim2street.models.photo import Photo
from sim2street.models.prediction import Prediction, Upsampled, View
from sim2street.models.segmenter import Segmenter
from sim2street.models.storage.checkpoint import Checkpoint, Window

WINDOW_BATCH: Final = 4
"""Sliding windows that go through the network at once."""
MAX_NETWORK_PIXELS: Final = 16_000_000
"""Largest picture after resizing, in pixels, that the network accepts."""


AVERAGED: Final[dict[str, Callable[[Tensor], Tensor]]] = {
    "logits": lambda logits: logits,
    "probabilities": lambda logits: logits.softmax(dim=1),
    "scores": torch.exp,
}
"""What is computed from a window's logits (B, C, H, W) before averaging over windows."""


class Predictor:
    """Segments photos with one network.

    Args:
        segmenter: put into evaluation mode and moved to `device`.
        window: how a photo is presented to the network.
        device: by default CUDA if available, then Apple's GPU, then the CPU.
        flip: average with the mirrored photo.
        scales: average over these factors on the window's size, such as (0.75, 1.0, 1.25).
        precision: "fp32", as figures are measured, or "bf16", which is faster on NVIDIA GPUs and processors that compute in
            it (`has_bf16`) and has no effect elsewhere; it changes some labels in a thousand.

    Raises:
        ConfigError: a scale is out of range.
    """

    def __init__(
        self,
        segmenter: Segmenter,
        window: Window | None = None,
        *,
        device: str | torch.device | None = None,
        flip: bool = False,
        scales: tuple[float, ...] = (1.0,),
        precision: Literal["fp32", "bf16"] = "fp32",
    ) -> None:
        self.device = torch.device(device) if device is not None else best_device()
        self.segmenter = segmenter.eval().to(self.device)
        self.segmenter.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]  # missing in torch's stubs
        self.window = window or Window()
        self.flip = flip
        self.scales = _checked(scales)
        self.precision = precision

    @classmethod
    def from_checkpoint(
        cls,
        checkpoint: Checkpoint,
        *,
        device: str | torch.device | None = None,
        flip: bool = False,
        scales: tuple[float, ...] = (1.0,),
        precision: Literal["fp32", "bf16"] = "fp32",
    ) -> Self:
        """Load a checkpoint's network and use its window.

        The network is for prediction alone (`for_prediction`); to train, save or adapt it, give the constructor one from
        `checkpoint.load()`.

        Raises:
            CheckpointError: the weights are damaged or do not fit.
            ConfigError: see the constructor.
        """
        from sim2street.models.networks.for_prediction import for_prediction  # with all networks, as `load` does

        device = torch.device(device) if device is not None else best_device()
        segmenter = for_prediction(checkpoint.load(), device)
        window = checkpoint.config.window
        return cls(segmenter, window, device=device, flip=flip, scales=scales, precision=precision)

    def viewing(self, *, flip: bool, scales: tuple[float, ...]) -> Self:
        """A predictor with the same network, which both share, that averages over other views.

        Raises:
            ConfigError: a scale is out of range.
        """
        other = copy.copy(self)
        other.flip, other.scales = flip, _checked(scales)
        return other

    @torch.inference_mode()
    def __call__(
        self, photo: NDArray[np.uint8] | Photo, space: LabelSpace | None = None, *, with_entropy: bool = True
    ) -> Prediction:
        """Segment one photo; all parts of the answer have its height and width.

        Args:
            photo: (H, W, 3) uint8 RGB.
            space: classes of the labels, if it merges some of the network's classes; see `Prediction.of`.
            with_entropy: see `Prediction.of`.

        Raises:
            LabelError: the network does not have the classes that `space` merges.
            ValueError: the photo has another shape or type.
        """
        return self._together([photo], space, with_entropy=with_entropy)[0]

    @torch.inference_mode()
    def batch(self, photos: Sequence[NDArray[np.uint8] | Photo]) -> list[Prediction]:
        """Segment photos of one size, which go through the network together where it sees them whole.

        The labels are those of one call per photo, up to rounding; `seconds` is each photo's share.

        Args:
            photos: (H, W, 3) uint8 RGB, at least one.

        Raises:
            ValueError: a photo has another shape or type than the first.
        """
        if self.window.crop is not None:  # the windows of one photo are a batch already
            return [self(photo) for photo in photos]
        return self._together(photos, None, with_entropy=True)

    def _together(
        self, photos: Sequence[NDArray[np.uint8] | Photo], space: LabelSpace | None, *, with_entropy: bool
    ) -> list[Prediction]:
        shape = _pixels(photos[0]).shape
        for pixels in map(_pixels, photos):
            if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8:
                raise ValueError(
                    f"the photo has shape {pixels.shape} and type {pixels.dtype}; expected (H, W, 3) uint8"
                )
            if pixels.shape != shape:
                raise ValueError(f"a batch has photos of one size; found {pixels.shape} and {shape}")
        start = time.perf_counter()
        views: list[list[View]] = [[] for _ in photos]
        for scale in self.scales:
            for flipped in (False, True) if self.flip else (False,):
                with self._at_precision():
                    logits = self._logits(torch.cat([self._image(photo, scale, flipped) for photo in photos]))
                is_share = self.window.averaging != "logits"
                for own, one in zip(views, logits, strict=True):
                    own.append(View(one.float().contiguous(), flipped, is_share))
        height, width = shape[:2]
        predictions = []
        for own in views:
            source = Upsampled(own, (height, width), self.segmenter.align_corners)
            predictions.append(Prediction.of(source, self.segmenter.labels, 0.0, space, with_entropy=with_entropy))
        seconds = (time.perf_counter() - start) / len(photos)
        return [replace(prediction, seconds=seconds) for prediction in predictions]

    def shown(self, pixels: NDArray[np.uint8]) -> Iterator[Tensor]:
        """What the network is shown of an (H, W, 3) uint8 photo: all of it, or group after group of its windows.

        Yields:
            (B, 3, h, w) float32 RGB in [0,1] on the device.
        """
        image = self._image(pixels, 1.0, False)
        if self.window.crop is None:
            yield image
            return
        height, width = min(self.window.crop[0], image.shape[-2]), min(self.window.crop[1], image.shape[-1])
        for group in self._windows(image):
            yield torch.cat([image[..., y : y + height, x : x + width] for y, x in group])

    def _image(self, photo: NDArray[np.uint8] | Photo, scale: float, flipped: bool) -> Tensor:
        """Resized photo as (1, 3, h, w) float32 in [0,1] on the device."""
        pixels = _pixels(photo)
        height, width = pixels.shape[:2]
        size = self._network_size(height, width, scale)
        bilinear = self.window.resampling == "bilinear"
        if size != (width, height) and not bilinear:
            # Pillow's filters widen when they shrink: no aliasing, and what ADVENT's and VFM-UDA's loaders do.
            cubic = self.window.resampling == "bicubic"
            filter_ = Image.Resampling.BICUBIC if cubic else Image.Resampling.BILINEAR
            photo = photo if isinstance(photo, Photo) else Photo(pixels, "", "")
            pixels = photo.resized(size, filter_)
        tensor = torch.from_numpy(np.array(pixels)).to(self.device).permute(2, 0, 1)[None]
        image = tensor.to(memory_format=torch.channels_last).float()
        if size != (width, height) and bilinear:
            # Rounded to bytes again, since mmcv's loaders resize bytes.
            image = F.interpolate(image, size=size[::-1], mode="bilinear", align_corners=False).round_()
        image = image / 255
        return image.flip(-1) if flipped else image

    def _network_size(self, height: int, width: int, scale: float) -> tuple[int, int]:
        """(width, height) to which a photo is resized for the network."""
        window, multiple = self.window, self.segmenter.core.multiple
        factor = window.short_side / min(height, width) if window.short_side else 1.0
        if window.min_pixels:
            factor = max(factor, (window.min_pixels / (height * width)) ** 0.5)
        # The second limit is for photos so narrow that one side is rounded up to a whole multiple.
        largest = min(
            (MAX_NETWORK_PIXELS / (height * width)) ** 0.5, MAX_NETWORK_PIXELS / (multiple * max(height, width))
        )
        factor = min(scale * factor, largest)
        columns, rows = (max(1, round(side * factor / multiple)) * multiple for side in (width, height))
        return columns, rows

    def _logits(self, image: Tensor) -> Tensor:
        """(B, 3, h, w) -> logits, averaged where windows overlap; probabilities or scores where the window says so.

        Where there are windows, B is 1.

        Whole photos stay at the network's stride, so that the only upsampling is the one to the photo's size, unless
        the window asks for the two steps that DAFormer's figures were measured with.
        """
        if self.window.crop is None:
            logits = self.segmenter.core(self.segmenter.normalise(image))["main"]
            return self.segmenter.upsample(logits, image.shape[-2:]) if self.window.upsample_twice else logits
        height, width = image.shape[-2:]
        crop_height, crop_width = min(self.window.crop[0], height), min(self.window.crop[1], width)
        total = image.new_zeros((1, self.segmenter.labels.count, height, width))
        visits = image.new_zeros((1, 1, height, width))
        for group in self._windows(image):
            crops = torch.cat([image[..., y : y + crop_height, x : x + crop_width] for y, x in group])
            said = AVERAGED[self.window.averaging](self.segmenter(crops).logits.float())
            for (y, x), logits in zip(group, said, strict=True):
                total[0, :, y : y + crop_height, x : x + crop_width] += logits
                visits[..., y : y + crop_height, x : x + crop_width] += 1
        return total / visits

    def _windows(self, image: Tensor) -> Iterator[list[tuple[int, int]]]:
        """Top left corners of the windows of an image, as (row, column), in groups that fit through the network at once."""
        assert self.window.crop is not None
        height, width = image.shape[-2:]
        rows = self._places(height, min(self.window.crop[0], height), 0)
        columns = self._places(width, min(self.window.crop[1], width), 1)
        return _batches([(y, x) for y in rows for x in columns], WINDOW_BATCH)

    def _places(self, length: int, crop: int, axis: Literal[0, 1]) -> list[int]:
        """First pixels of the windows along the height (axis 0) or the width (axis 1) of a picture."""
        if self.window.spread:
            return _spread(length, crop)
        return _starts(length, crop, self.window.stride[axis] if self.window.stride else max(1, crop // 2))

    def _at_precision(self) -> contextlib.AbstractContextManager[object]:
        """Set the precision of CUDA GPUs and processors; Apple's GPU computes in fp32."""
        kind = self.device.type
        if self.precision == "bf16" and has_bf16(kind):
            return torch.autocast(kind, dtype=torch.bfloat16)
        if kind != "cuda":
            return contextlib.nullcontext()
        # By default PyTorch lets convolutions round to a 10-bit mantissa (TF32), but figures are measured in fp32.
        return torch.backends.cudnn.flags(enabled=True, allow_tf32=False)


def _pixels(photo: NDArray[np.uint8] | Photo) -> NDArray[np.uint8]:
    return photo.pixels if isinstance(photo, Photo) else photo


def _checked(scales: tuple[float, ...]) -> tuple[float, ...]:
    if not scales or not all(0.25 <= scale <= 4 for scale in scales):
        raise ConfigError(f"scales are {scales}; expected one or more factors from 0.25 to 4.")
    return scales


def has_bf16(kind: str) -> bool:
    """Whether a type of device, "cuda" or "cpu", computes in bf16 natively; others emulate it, slower than fp32."""
    if kind == "cpu":
        # Older versions of PyTorch do not say what the processor can do.
        found = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
        return bool(found.get("avx512_bf16") or found.get("amx_bf16"))
    return kind == "cuda" and torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)


def best_device() -> torch.device:
    """CUDA if available, otherwise Apple's GPU, otherwise the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def _starts(length: int, crop: int, stride: int) -> list[int]:
    """First pixels of windows that cover `length`; the last one is moved back to end at the border."""
    starts = list(range(0, max(length - crop, 0) + 1, stride))
    if starts[-1] + crop < length:
        starts.append(length - crop)
    return starts


def _spread(length: int, crop: int) -> list[int]:
    """First pixels of the fewest windows that cover `length`, evenly spread (EoMT)."""
    count = -(-length // crop)
    return [int(place * (length - crop) / (count - 1)) for place in range(count)] if count > 1 else [0]


def _batches(items: list[tuple[int, int]], size: int) -> Iterator[list[tuple[int, int]]]:
    for first in range(0, len(items), size):
        yield items[first : first + size]
