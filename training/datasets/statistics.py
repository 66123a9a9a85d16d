"""How often each class occurs in each picture, and sampling that compensates for rare classes.

Rare class sampling is DAFormer's (Hoyer et al., CVPR 2022, arXiv:2111.14887, Sec. 3.3): first draw a class, with a higher
probability the rarer it is, then a picture that shows enough of it, then a crop that does.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from sim2street.models.errors import ConfigError, DatasetError
from sim2street.models.storage.cache import STATISTICS, cache_folder, mark_used
from sim2street.models.storage.files import written_whole
from sim2street.training.datasets.base import Progress, SegmentationDataset
from sim2street.training.datasets.workers import map_in_order

FORMAT: Final = 1
"""Part of a stored table's name; increased when the table's meaning changes."""


@dataclass(frozen=True, eq=False)
class ClassStatistics:
    """Pixels per picture and class.

    Attributes:
        counts: (N, C) int64 pixels at full label resolution; ignored pixels are not counted.
        keys: names of the N pictures.
    """

    counts: NDArray[np.int64]
    keys: tuple[str, ...]

    @property
    def totals(self) -> NDArray[np.int64]:
        """(C,) pixels of each class in the whole set."""
        return self.counts.sum(axis=0)

    @property
    def frequencies(self) -> NDArray[np.float64]:
        """(C,) share of each class among all labelled pixels, summing to one."""
        totals = self.totals
        return totals / max(1, totals.sum())


def class_statistics(
    dataset: SegmentationDataset,
    *,
    folder: Path | None = None,
    workers: int = 0,
    progress: Progress | None = None,
) -> ClassStatistics:
    """Count the pixels of each class in each picture, or read the table stored by an earlier count.

    Args:
        dataset: a labelled set, in any label space.
        folder: where tables are kept; None takes `cache_folder()`.
        workers: processes that read labels.
        progress: called after each picture.

    Raises:
        DatasetError: the set is unlabelled.
    """
    if not dataset.labelled:
        raise DatasetError(f"The classes of {dataset.describe()} cannot be counted, because the set has no labels.")
    name = re.sub(r"[^\w.+-]", "-", f"{dataset.slug}_{dataset.fingerprint()[:16]}_{FORMAT}")
    path = (folder or cache_folder()) / STATISTICS / f"{name}.npz"
    shape = (len(dataset), dataset.labels.count)
    counts = _read(path, shape)
    if counts is None:
        counts = np.zeros(shape, np.int64)
        count = partial(_count, dataset)
        for index, row in enumerate(map_in_order(count, range(len(dataset)), workers)):
            counts[index] = row
            if progress:
                progress(index + 1, len(dataset))
        _write(path, counts)
    mark_used(path)
    return ClassStatistics(counts, dataset.keys)


def count_classes(labels: NDArray[np.uint8], classes: int) -> NDArray[np.int64]:
    """(H, W) uint8 labels -> (classes,) int64 pixels of each; values from `classes` on are not counted."""
    return np.bincount(labels.ravel(), minlength=classes)[:classes]


def _count(dataset: SegmentationDataset, index: int) -> NDArray[np.int64]:
    return count_classes(dataset.read_labels(index), dataset.labels.count)


def _read(path: Path, shape: tuple[int, int]) -> NDArray[np.int64] | None:
    """Return the stored table; None if it is missing or damaged, since it can be counted again."""
    try:
        with np.load(path) as stored:
            counts = stored["counts"]
    except Exception:  # NumPy may raise anything for a damaged file
        return None
    return counts if counts.shape == shape and counts.dtype == np.int64 else None


def _write(path: Path, counts: NDArray[np.int64]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(path) as partial, partial.open("wb") as file:  # given a name, NumPy would append its own suffix
        np.savez_compressed(file, counts=counts)


@dataclass(frozen=True)
class RareClassSampling:
    """Settings of rare class sampling; the defaults are DAFormer's for 512×512 crops of 1280×720 pictures.

    For pictures of another size, scale `minimum_pixels` and `crop_pixels` with their area.

    Attributes:
        formula: "softmax", P(c) = exp((1 - f_c) / T) / Σ exp((1 - f_c') / T) with f_c the share of class c among the
            labelled pixels, then a picture uniformly among those showing c; or "log_inverse", which weights pictures:
            w_i = Σ over the classes in picture i of 1 / log(tau + N_c), N_c pixels of c in the set, normalised over the
            pictures. It draws no class, so crops are not redrawn.
        temperature: T.
        minimum_pixels: a picture shows a class with strictly more pixels than this.
        crop_pixels: a crop shows it with strictly more than this.
        retries: number of crops that are checked; if all are rejected, the next crop is accepted unchecked.
        tau: shift in "log_inverse"; must exceed 1 if a class may be absent from the set, as log 1 = 0.
    """

    formula: Literal["softmax", "log_inverse"] = "softmax"
    temperature: float = 0.01
    minimum_pixels: int = 3000
    crop_pixels: int = 1500
    retries: int = 10
    tau: float = 2.0

    def __post_init__(self) -> None:
        if self.formula not in ("softmax", "log_inverse"):
            raise ConfigError(
                f"The formula of rare class sampling is {self.formula!r}; known are softmax, log_inverse."
            )
        if not self.temperature > 0:
            raise ConfigError(f"The temperature of rare class sampling is {self.temperature}; expected more than 0.")
        if min(self.minimum_pixels, self.crop_pixels, self.retries) < 0:
            raise ConfigError("minimum_pixels, crop_pixels and retries of rare class sampling must be at least 0.")
        if self.tau < 1:
            raise ConfigError(f"tau of rare class sampling is {self.tau}; expected at least 1.")


@dataclass(frozen=True)
class Draw:
    """A picture, and the class for which it was drawn (None: for no particular class)."""

    index: int
    wanted: int | None


class Sampler(Protocol):
    """Chooses pictures of one set."""

    def draw(self, rng: np.random.Generator) -> Draw:
        """Choose a picture."""
        ...


class RareClassSampler:
    """DAFormer's sampling: a class c ~ P, then a picture uniformly among those showing it.

    A class that no picture shows with enough pixels is left out and the others share its probability; the authors' code
    fails in that case.

    Attributes:
        classes: (K,) labels that can be drawn, rarest first, ties in the order of the labels.
        probabilities: (K,) probabilities of drawing them, summing to one.
        eligible: for each class, the indices of the pictures that show it.
    """

    def __init__(self, statistics: ClassStatistics, config: RareClassSampling) -> None:
        self.config = config
        frequencies = statistics.frequencies
        counts = statistics.counts
        rarest_first = np.argsort(frequencies, kind="stable")
        self.classes = rarest_first[counts.max(axis=0)[rarest_first] > config.minimum_pixels]
        if not self.classes.size:
            raise DatasetError(
                f"No class covers more than {config.minimum_pixels} pixels of any of the {len(statistics.keys)}"
                " pictures. The limit is meant for pictures of 1280×720 pixels; lower minimum_pixels for smaller ones."
            )
        self.probabilities = rare_class_probabilities(frequencies[self.classes], config.temperature)
        self.eligible = tuple(np.flatnonzero(counts[:, label] > config.minimum_pixels) for label in self.classes)
        self._cumulative = np.cumsum(self.probabilities)

    def draw(self, rng: np.random.Generator) -> Draw:
        """Draw a class, then a picture that shows it."""
        place = np.searchsorted(self._cumulative, rng.random() * self._cumulative[-1], side="right")
        candidates = self.eligible[place]
        return Draw(int(candidates[rng.integers(len(candidates))]), int(self.classes[place]))

    def accepts(self, labels: NDArray[np.uint8], wanted: int) -> bool:
        """Whether the (H, W) labels of a crop show the wanted class with more than `crop_pixels` pixels."""
        return bool(np.count_nonzero(np.equal(labels, wanted)) > self.config.crop_pixels)


class LogInverseSampler:
    """Pictures weighted by the inverse logarithms of the pixel counts of the classes they show.

    Attributes:
        probabilities: (N,) probabilities of drawing each picture, summing to one.
    """

    def __init__(self, statistics: ClassStatistics, config: RareClassSampling) -> None:
        shifted = config.tau + statistics.totals
        if (shifted <= 1).any():
            raise ConfigError(
                f"tau is {config.tau}, which divides by log 1 = 0 for a class that is absent from the set; set tau above 1."
            )
        weights = (statistics.counts > 0) @ (1 / np.log(shifted))
        self.probabilities = weights / weights.sum()
        self._cumulative = np.cumsum(self.probabilities)

    def draw(self, rng: np.random.Generator) -> Draw:
        """Draw a picture by its weight."""
        place = np.searchsorted(self._cumulative, rng.random() * self._cumulative[-1], side="right")
        return Draw(int(place), None)


def rare_class_probabilities(
    frequencies: Sequence[float] | NDArray[np.float64], temperature: float
) -> NDArray[np.float64]:
    """(C,) shares in [0,1] -> (C,) probabilities, softmax of (1 - f) / T."""
    exponents = (1 - np.asarray(frequencies, np.float64)) / temperature
    powers = np.exp(exponents - exponents.max())
    return powers / powers.sum()
