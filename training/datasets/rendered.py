"""Street scenes as a data set: every sample is rendered on request."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from sim2street.models.errors import ConfigError
from sim2street.models.labels import CITYSCAPES19
from sim2street.models.storage.files import visible
from sim2street.training.datasets.base import Sample, SegmentationDataset
from sim2street.training.datasets.street_scenes import check_arguments, render

MOST_SCENES = 1_000_000
SPLIT_STARTS = {"train": 0, "val": MOST_SCENES}
"""First scene of each split, chosen so that no scene is in both."""


class StreetScenes(SegmentationDataset):
    """Scenes `start` to `start + count - 1` of a seed, rendered in one style.

    Rendering takes tens of milliseconds per scene; for training, wrap the set in `cache_dataset`. The same seed and index
    show the same street in every style: give source and target different seeds, otherwise the target contains the same
    streets and the domains differ only in appearance.

    Args:
        style: one of the renderer's `STYLES`.
        count: number of scenes.
        seed: random seed of the streets.
        size: (width, height) in pixels.
        split: "train" or "val"; determines the first scene if `start` is not given.
        start: index of the first scene.

    Raises:
        ConfigError: the style or split is unknown, or a number is out of range.
    """

    name = "street_scenes"
    title = "rendered streets"
    terms = "Rendered by this project's own street renderer; Apache 2.0, with no third-party rights."
    generated = True
    labels = CITYSCAPES19

    def __init__(
        self,
        style: str = "game",
        count: int = 1000,
        seed: int = 0,
        size: tuple[int, int] = (512, 256),
        split: str = "train",
        start: int | None = None,
    ) -> None:
        if split not in SPLIT_STARTS:
            raise ConfigError(f"There is no split {split!r} of street scenes; known are {', '.join(SPLIT_STARTS)}.")
        start = SPLIT_STARTS[split] if start is None else start
        check_settings(style, count, start, seed, size)
        self.style = style
        self.seed = seed
        self.size = (size[0], size[1])
        self.start = start
        self.labelled = True
        self.keys = tuple(scene_key(style, seed, self.start + place) for place in range(count))

    @property
    def slug(self) -> str:
        """Set and settings."""
        width, height = self.size
        return f"{self.name}_{self.style}_{self.start}+{len(self)}_seed{self.seed}_{width}x{height}"

    def read_photo(self, index: int) -> NDArray[np.uint8]:
        """Render scene `index` as (H, W, 3) uint8 RGB."""
        return self.read(index).photo

    def read_labels(self, index: int) -> NDArray[np.uint8]:
        """Return the exact labels of scene `index`, (H, W) uint8 train ids."""
        return self.read(index).labels

    def read(self, index: int) -> Sample:
        """Render scene `index` and its labels together."""
        scene = render(self.style, self.start + range(len(self))[index], seed=self.seed, size=self.size)
        return Sample(scene.photo, scene.labels, self.keys[index])

    def fingerprint(self) -> str:
        """Digest of the settings and of the renderer's version."""
        return hashlib.sha256(f"{self.slug} {renderer_version()}".encode()).hexdigest()

    def describe(self) -> str:
        """Return style, number, size and seed."""
        width, height = self.size
        return (
            f"{self.name} in the style {self.style}: {len(self)} labelled scenes of {width}×{height} pixels from number"
            f" {self.start}, seed {self.seed}"
        )


def scene_key(style: str, seed: int, index: int) -> str:
    """Name a scene like a Cityscapes frame: city, sequence, frame."""
    return f"{style}_{seed:06d}_{index:06d}"


def check_settings(style: str, count: int, start: int, seed: int, size: tuple[int, int]) -> None:
    """Raise `ConfigError` if a setting is unknown or out of range."""
    if not 1 <= count <= MOST_SCENES:
        raise ConfigError(f"The count is {count}; expected 1 to {MOST_SCENES} scenes.")
    try:
        check_arguments(style, start, seed, size)
    except ValueError as error:
        raise ConfigError(str(error)) from error


@functools.cache
def renderer_version() -> str:
    """Digest of the renderer's source files and OpenCV's version, which identifies renders stored on disk."""
    training = Path(__file__).resolve().parent.parent
    digest = hashlib.sha256(cv2.__version__.encode())
    for path in sorted([training / "datasets" / "street_scenes.py", *visible(training / "scenes", "*.py")]):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]
