"""Joint transforms of a photo and its labels.

Each is called as `transform(photo, labels, rng)` with (H, W, 3) uint8 RGB, (H, W) uint8 or None for an unlabelled
photo, and a random generator; it returns photo and labels and never modifies its input.
`TransformConfig` selects the transforms, in the order of the papers: resize, scale, crop, flip, then photometric
augmentation. Strong photometric augmentation of the source is the cheapest form of domain randomisation
(Tremblay et al., CVPRW 2018, arXiv:1804.06516).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import Any, Final, Literal, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sim2street.models.errors import ConfigError
from sim2street.models.labels import IGNORE
from sim2street.training.datasets.base import resize_labels

Photo = NDArray[np.uint8]
Labels = NDArray[np.uint8]
Resampling = Literal["bicubic", "bilinear"]

FILTERS: Final = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}

PADDING: Final = (124, 116, 104)
"""RGB of padding outside a photo: ImageNet's mean, which normalisation maps to zero."""
CROP_CHECKS: Final = 10
"""Crops that are checked before the next one is accepted unchecked (mmsegmentation's RandomCrop, used by DAFormer)."""
LUMA: Final = np.array((0.299, 0.587, 0.114), np.float32)
"""Weights of red, green and blue in grey (ITU-R BT.601, as Pillow and torchvision)."""
NORMAL_LEVELS: Final = np.array([NormalDist().inv_cdf((level + 0.5) / 256) for level in range(256)], np.float32)
"""The standard normal distribution quantised to 256 equally likely values."""


class Transform(Protocol):
    """Interface of all transforms."""

    def __call__(self, photo: Photo, labels: Labels | None, rng: np.random.Generator) -> tuple[Photo, Labels | None]:
        """Return the transformed photo and labels."""
        ...


@dataclass(frozen=True)
class Resize:
    """Resize to a fixed (width, height) without keeping the aspect ratio: Pillow's filter for photos, nearest for labels."""

    size: tuple[int, int]
    resampling: Resampling = "bicubic"

    def __call__(self, photo: Photo, labels: Labels | None, rng: np.random.Generator) -> tuple[Photo, Labels | None]:
        """Return both at this size; inputs that already have it are returned unchanged."""
        photo = resize_photo(photo, self.size, self.resampling)
        if labels is not None and labels.shape != photo.shape[:2]:
            labels = resize_labels(labels, self.size)
        return photo, labels


@dataclass(frozen=True)
class RandomScale:
    """Scale by a factor drawn log-uniformly from [smallest, largest], so that halving is as likely as doubling."""

    smallest: float = 0.5
    largest: float = 2.0

    def __call__(self, photo: Photo, labels: Labels | None, rng: np.random.Generator) -> tuple[Photo, Labels | None]:
        """Return both scaled, sides rounded to whole pixels."""
        factor = np.exp(rng.uniform(np.log(self.smallest), np.log(self.largest)))
        height, width = photo.shape[:2]
        size = (max(1, round(width * factor)), max(1, round(height * factor)))
        # OpenCV takes a tenth of Pillow's time, and no paper prescribes Pillow's filter here. INTER_AREA avoids aliasing.
        method = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
        photo = np.asarray(cv2.resize(photo, size, interpolation=method), dtype=np.uint8)
        return photo, None if labels is None else resize_labels(labels, size)


@dataclass(frozen=True)
class RandomCrop:
    """A window of (width, height) at a random position.

    A smaller photo is padded at the right and the bottom: the photo with `PADDING`, the labels with 255. An
    unlabelled photo cannot mark its padding, so choose a target crop that fits.

    Attributes:
        size: (width, height) in pixels.
        cat_max_ratio: a crop in which one class covers at least this share of the labelled pixels, or with only one class,
            is redrawn up to ten times (DAFormer: 0.75; 1 switches this off). Needs labels.
    """

    size: tuple[int, int]
    cat_max_ratio: float = 1.0

    def __call__(self, photo: Photo, labels: Labels | None, rng: np.random.Generator) -> tuple[Photo, Labels | None]:
        """Return both cropped to exactly the size."""
        photo, labels = self._pad(photo, labels)
        window = self._draw(photo, rng)
        if labels is not None and self.cat_max_ratio < 1:
            for _ in range(CROP_CHECKS):
                if is_varied(labels[window], self.cat_max_ratio):
                    break
                window = self._draw(photo, rng)
        return photo[window], None if labels is None else labels[window]

    def _draw(self, photo: Photo, rng: np.random.Generator) -> tuple[slice, slice]:
        width, height = self.size
        top = int(rng.integers(photo.shape[0] - height + 1))
        left = int(rng.integers(photo.shape[1] - width + 1))
        return slice(top, top + height), slice(left, left + width)

    def _pad(self, photo: Photo, labels: Labels | None) -> tuple[Photo, Labels | None]:
        below = max(0, self.size[1] - photo.shape[0])
        right = max(0, self.size[0] - photo.shape[1])
        if not below and not right:
            return photo, labels
        photo = np.asarray(
            cv2.copyMakeBorder(photo, 0, below, 0, right, cv2.BORDER_CONSTANT, value=PADDING), dtype=np.uint8
        )
        if labels is not None:
            labels = np.pad(labels, ((0, below), (0, right)), constant_values=IGNORE)
        return photo, labels


@dataclass(frozen=True)
class RandomFlip:
    """Flip horizontally with the given probability."""

    probability: float = 0.5

    def __call__(self, photo: Photo, labels: Labels | None, rng: np.random.Generator) -> tuple[Photo, Labels | None]:
        """Return both flipped, or both unchanged."""
        if rng.random() >= self.probability:
            return photo, labels
        # Not [:, ::-1]: copying from a negative stride later takes five times as long.
        photo = np.asarray(cv2.flip(photo, 1), dtype=np.uint8)
        return photo, None if labels is None else np.asarray(cv2.flip(labels, 1), dtype=np.uint8)


class Photometric(ABC):
    """A transform of colours that leaves labels alone, applied to each photo with the given probability."""

    probability: float

    def __call__(self, photo: Photo, labels: Labels | None, rng: np.random.Generator) -> tuple[Photo, Labels | None]:
        """Return the photo, changed or not, and the unchanged labels."""
        if rng.random() < self.probability:
            photo = np.asarray(self.change(np.ascontiguousarray(photo), rng), dtype=np.uint8)
        return photo, labels

    @abstractmethod
    def change(self, photo: Photo, rng: np.random.Generator) -> NDArray[Any]:
        """Return the changed photo, whose memory is contiguous."""


@dataclass(frozen=True)
class ColourJitter(Photometric):
    """Change brightness, contrast, saturation and hue by random amounts, in this order.

    Attributes:
        brightness: factor drawn from [1 - b, 1 + b].
        contrast: factor drawn from [1 - c, 1 + c], about the photo's mean grey.
        saturation: factor drawn from [1 - s, 1 + s], about each pixel's grey.
        hue: shift drawn from [-h, h] in turns of the colour circle, h up to 0.5.
        probability: probability that a photo is changed at all.
    """

    brightness: float = 0.2
    contrast: float = 0.2
    saturation: float = 0.2
    hue: float = 0.0
    probability: float = 1.0

    def change(self, photo: Photo, rng: np.random.Generator) -> NDArray[Any]:
        """Return the recoloured photo."""
        spread = np.array((self.brightness, self.contrast, self.saturation))
        brightness, contrast, saturation = np.maximum(1 + spread * rng.uniform(-1, 1, 3), 0)
        shift = rng.uniform(-self.hue, self.hue)

        # Everything except hue is affine in RGB, so one matrix suffices: (saturate) · contrast · brightness, plus an offset.
        mean = float(LUMA @ np.array(cv2.mean(photo)[:3], np.float32)) * brightness
        matrix = np.empty((3, 4), np.float32)
        matrix[:, :3] = contrast * brightness * ((1 - saturation) * LUMA[None] + saturation * np.eye(3))
        matrix[:, 3] = (1 - contrast) * mean
        photo = np.asarray(cv2.transform(photo, matrix), dtype=np.uint8)
        return _shift_hue(photo, shift) if self.hue > 0 else photo


@dataclass(frozen=True)
class Gamma(Photometric):
    """Tone curve photo^g with log g drawn from [-spread, spread], all channels alike."""

    spread: float = 0.4
    probability: float = 0.5

    def change(self, photo: Photo, rng: np.random.Generator) -> NDArray[Any]:
        """Return the photo with its new tone curve."""
        exponent = np.exp(rng.uniform(-self.spread, self.spread))
        curve = np.rint(255 * (np.arange(256) / 255) ** exponent).astype(np.uint8)
        return cv2.LUT(photo, curve)


@dataclass(frozen=True)
class GreyScale(Photometric):
    """Remove colour with the given probability; the photo keeps three channels."""

    probability: float = 0.1

    def change(self, photo: Photo, rng: np.random.Generator) -> NDArray[Any]:
        """Return the grey photo."""
        return cv2.cvtColor(cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)


@dataclass(frozen=True)
class GaussianBlur(Photometric):
    """Blur with a standard deviation in pixels drawn from [smallest, largest]."""

    smallest: float = 0.15
    largest: float = 1.15
    probability: float = 0.5

    def change(self, photo: Photo, rng: np.random.Generator) -> NDArray[Any]:
        """Return the blurred photo."""
        sigma = float(rng.uniform(self.smallest, self.largest))
        # A kernel of (0, 0) lets OpenCV cover three standard deviations on each side.
        return cv2.GaussianBlur(photo, (0, 0), sigma, borderType=cv2.BORDER_REFLECT_101)


@dataclass(frozen=True)
class Noise(Photometric):
    """Independent Gaussian noise per pixel and channel, its standard deviation drawn from [0, largest] of 0..255."""

    largest: float = 12.0
    probability: float = 0.5

    def change(self, photo: Photo, rng: np.random.Generator) -> NDArray[Any]:
        """Return the noisy photo."""
        # One random byte picks one of 256 equally likely levels: practically exact for 8-bit photos, and six times as fast.
        levels = NORMAL_LEVELS * np.float32(rng.uniform(0, self.largest))
        noise = cv2.LUT(rng.integers(0, 256, photo.shape, dtype=np.uint8), levels)
        return cv2.add(photo, noise, dtype=cv2.CV_8U)


@dataclass(frozen=True)
class RandomErase:
    """Fill one rectangle with a random colour; its labels become 255, because its class can no longer be seen.

    Attributes:
        largest: greatest share of the photo's area that is erased.
        probability: probability that a photo is changed at all.
    """

    largest: float = 0.15
    probability: float = 0.3

    def __call__(self, photo: Photo, labels: Labels | None, rng: np.random.Generator) -> tuple[Photo, Labels | None]:
        """Return both with the rectangle erased, or both unchanged."""
        if rng.random() >= self.probability:
            return photo, labels
        area = rng.uniform(0.02, max(0.02, self.largest))
        stretch = np.exp(rng.uniform(-0.7, 0.7))  # sides of 1:4 to 4:1, relative to the photo's
        height = min(photo.shape[0], max(1, round(photo.shape[0] * np.sqrt(area) * stretch)))
        width = min(photo.shape[1], max(1, round(photo.shape[1] * np.sqrt(area) / stretch)))
        top = int(rng.integers(photo.shape[0] - height + 1))
        left = int(rng.integers(photo.shape[1] - width + 1))
        photo = photo.copy()
        photo[top : top + height, left : left + width] = rng.integers(0, 256, 3, dtype=np.uint8)
        if labels is not None:
            labels = labels.copy()
            labels[top : top + height, left : left + width] = IGNORE
        return photo, labels


@dataclass(frozen=True)
class Chain:
    """Several transforms, one after another."""

    transforms: tuple[Transform, ...]

    def __call__(self, photo: Photo, labels: Labels | None, rng: np.random.Generator) -> tuple[Photo, Labels | None]:
        """Return the result of the last transform."""
        for transform in self.transforms:
            photo, labels = transform(photo, labels, rng)
        return photo, labels


@dataclass(frozen=True)
class AugmentConfig:
    """Photometric augmentation. The defaults do nothing, as in ADVENT.

    Attributes:
        brightness: see `ColourJitter`, likewise contrast, saturation and hue.
        contrast: see `ColourJitter`.
        saturation: see `ColourJitter`.
        hue: see `ColourJitter`.
        jitter_probability: see `ColourJitter`.
        gamma: spread of log gamma, see `Gamma`.
        gamma_probability: see `Gamma`.
        grey_probability: see `GreyScale`.
        blur: largest standard deviation in pixels, see `GaussianBlur`.
        blur_probability: see `GaussianBlur`.
        noise: largest standard deviation of 0..255, see `Noise`.
        noise_probability: see `Noise`.
        erase: largest share of the area, see `RandomErase`.
        erase_probability: see `RandomErase`.
    """

    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0
    jitter_probability: float = 0.0
    gamma: float = 0.0
    gamma_probability: float = 0.0
    grey_probability: float = 0.0
    blur: float = 0.0
    blur_probability: float = 0.0
    noise: float = 0.0
    noise_probability: float = 0.0
    erase: float = 0.0
    erase_probability: float = 0.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            top = {"hue": 0.5, "gamma": 5.0, "blur": 100.0, "noise": 255.0}.get(name, 1.0)
            if not 0 <= value <= top:
                raise ConfigError(f"{name} of an augmentation is {value}; expected 0 to {top:g}.")

    def build(self) -> Chain:
        """Return the transforms with an effect: colours first, then blur, noise and erasing."""
        candidates: Sequence[tuple[float, Transform]] = (
            (
                self.jitter_probability * (self.brightness + self.contrast + self.saturation + self.hue),
                ColourJitter(self.brightness, self.contrast, self.saturation, self.hue, self.jitter_probability),
            ),
            (self.gamma_probability * self.gamma, Gamma(self.gamma, self.gamma_probability)),
            (self.grey_probability, GreyScale(self.grey_probability)),
            (
                self.blur_probability * self.blur,
                GaussianBlur(min(0.15, self.blur), self.blur, self.blur_probability),
            ),
            (self.noise_probability * self.noise, Noise(self.noise, self.noise_probability)),
            (self.erase_probability * self.erase, RandomErase(self.erase, self.erase_probability)),
        )
        return Chain(tuple(transform for amount, transform in candidates if amount > 0))


AUGMENTS: Final = {
    "none": AugmentConfig(),
    # Similar to the jitter in DAFormer's code (0.2 each, applied to 8 of 10 photos), with less hue and no blur.
    "plain": AugmentConfig(brightness=0.2, contrast=0.2, saturation=0.2, hue=0.05, jitter_probability=0.8),
    # DAFormer's augmentation of mixed images, for the control without a target.
    "daformer": AugmentConfig(
        brightness=0.2, contrast=0.2, saturation=0.2, hue=0.2, jitter_probability=0.8, blur=1.15, blur_probability=0.5
    ),
    "strong": AugmentConfig(
        brightness=0.5,
        contrast=0.5,
        saturation=0.6,
        hue=0.12,
        jitter_probability=0.9,
        gamma=0.5,
        gamma_probability=0.5,
        grey_probability=0.1,
        blur=1.8,
        blur_probability=0.5,
        noise=14.0,
        noise_probability=0.5,
        erase=0.12,
        erase_probability=0.2,
    ),
}
"""Augmentations by their names in recipes."""


@dataclass(frozen=True)
class TransformConfig:
    """The transforms from a photo of the data set to the network's input, for one domain.

    Attributes:
        resize: (width, height) to which every photo is resized first; None keeps its size.
        resampling: filter of that resizing.
        scale: range of a random factor after it; None does not scale.
        crop: (width, height) of a random crop; None takes the whole picture.
        cat_max_ratio: see `RandomCrop`.
        flip: probability of a mirror image.
        augment: photometric augmentation.
        nightfall: probability that a labelled photo by day becomes one by night, see `sim2street.training.datasets.nightfall`.
        margins: (top, bottom, left, right) pixels of a resized target photo on which pseudo-labels are not trusted.
    """

    resize: tuple[int, int] | None = None
    resampling: Resampling = "bicubic"
    scale: tuple[float, float] | None = None
    crop: tuple[int, int] | None = None
    cat_max_ratio: float = 1.0
    flip: float = 0.0
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    nightfall: float = 0.0
    margins: tuple[int, int, int, int] | None = None

    def __post_init__(self) -> None:
        if self.resampling not in FILTERS:
            raise ConfigError(f"resampling is {self.resampling!r}; known are {', '.join(FILTERS)}.")
        for name, size in (("resize", self.resize), ("crop", self.crop)):
            if size is not None and (len(size) != 2 or min(size) < 1):
                raise ConfigError(f"{name} is {size}; expected width and height in pixels, for example 1280, 720.")
        if self.scale is not None and not (len(self.scale) == 2 and 0 < self.scale[0] <= self.scale[1]):
            raise ConfigError(f"scale is {self.scale}; expected a smallest and a largest factor, for example 0.5, 2.0.")
        if self.scale is not None and self.crop is None:
            raise ConfigError("A random scale needs a crop; without one, the pictures in a batch would differ in size.")
        if not 0 < self.cat_max_ratio <= 1:
            raise ConfigError(f"cat_max_ratio is {self.cat_max_ratio}; expected more than 0, at most 1.")
        if not 0 <= self.flip <= 1:
            raise ConfigError(f"flip is {self.flip}; expected a probability of 0 to 1.")
        if not 0 <= self.nightfall <= 1:
            raise ConfigError(f"nightfall is {self.nightfall}; expected a probability of 0 to 1.")
        if self.margins is not None and min(self.margins) < 0:
            raise ConfigError(f"margins are {self.margins}; expected pixels at the top, bottom, left and right.")

    def build_resize(self) -> Chain:
        """Return the resizing, the part without randomness."""
        return Chain(() if self.resize is None else (Resize(self.resize, self.resampling),))

    def build_geometry(self) -> Chain:
        """Return scale, crop and flip, the part that rare class sampling redraws."""
        transforms: list[Transform] = []
        if self.scale is not None:
            transforms.append(RandomScale(*self.scale))
        if self.crop is not None:
            transforms.append(RandomCrop(self.crop, self.cat_max_ratio))
        if self.flip > 0:
            transforms.append(RandomFlip(self.flip))
        return Chain(tuple(transforms))


def resize_photo(photo: Photo, size: tuple[int, int], resampling: Resampling) -> Photo:
    """Resize (H, W, 3) uint8 to (width, height) with Pillow's filter of this name, as the papers' loaders do."""
    height, width = photo.shape[:2]
    if (width, height) == size:
        return photo
    return np.asarray(Image.fromarray(photo).resize(size, FILTERS[resampling]))


def margin_mask(shape: tuple[int, ...], margins: tuple[int, int, int, int]) -> Labels:
    """(H, W) uint8 for a photo of shape (H, W, ...): 0, and 255 in its (top, bottom, left, right) margins."""
    top, bottom, left, right = margins
    height, width = shape[:2]
    mask = np.full((height, width), IGNORE, np.uint8)
    mask[top : max(top, height - bottom), left : max(left, width - right)] = 0
    return mask


def is_varied(labels: Labels, cat_max_ratio: float) -> bool:
    """Whether at least two classes occur and none covers `cat_max_ratio` of the labelled pixels or more."""
    counts = np.bincount(labels.ravel(), minlength=IGNORE + 1)[:IGNORE]
    return bool(np.count_nonzero(counts) > 1 and counts.max() / counts.sum() < cat_max_ratio)


def _shift_hue(photo: Photo, shift: float) -> Photo:
    """Rotate the hue of every pixel by `shift` of a full circle; saturation and value stay."""
    hsv = cv2.cvtColor(photo, cv2.COLOR_RGB2HSV_FULL)  # hue in 0..255, so that uint8 wraps around
    hsv[:, :, 0] += np.uint8(round(shift * 256) % 256)
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB_FULL), dtype=np.uint8)
