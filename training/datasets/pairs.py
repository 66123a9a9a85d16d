"""The endless stream of training batches: labelled source pictures and unlabelled target pictures.

Batch k depends only on the seed and on k, not on the number of loader processes or on earlier batches, so a resumed run
sees the same batches as an uninterrupted one. Several training processes share one stream: batch k of rank r of n is batch
n·k + r of a single process.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Final, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sim2street.models.errors import ConfigError, DatasetError
from sim2street.models.label_space import IGNORE, LabelSpace, Members
from sim2street.models.labels import CITYSCAPES19
from sim2street.training.datasets.base import Progress, SegmentationDataset
from sim2street.training.datasets.nightfall import Nightfall
from sim2street.training.datasets.relabelled import Relabelled
from sim2street.training.datasets.statistics import (
    Draw,
    LogInverseSampler,
    RareClassSampler,
    RareClassSampling,
    Sampler,
    class_statistics,
)
from sim2street.training.datasets.transforms import Chain, Transform, TransformConfig, margin_mask
from sim2street.training.datasets.workers import map_in_order
from sim2street.training.pair import DomainPair

Sampling = Literal["uniform", "rare_class"]

# Separate random streams, so that a change in how the source is drawn does not change the target.
SOURCE_SAMPLE: Final = 0
TARGET_SAMPLE: Final = 1
SOURCE_ORDER: Final = 2
TARGET_ORDER: Final = 3


@dataclass(frozen=True)
class PairsConfig:
    """Settings of the batches.

    Attributes:
        batch: number of source images and of target images in a batch.
        source: transform of source photos.
        target: transform of target photos.
        sampling: "uniform" takes every picture of a set once before any of them again; "rare_class" is rare class
            sampling. The target is always drawn uniformly.
        rare_class: settings of rare class sampling.
    """

    batch: int = 1
    source: TransformConfig = field(default_factory=TransformConfig)
    target: TransformConfig = field(default_factory=TransformConfig)
    sampling: Sampling = "uniform"
    rare_class: RareClassSampling = field(default_factory=RareClassSampling)

    def __post_init__(self) -> None:
        if self.batch < 1:
            raise ConfigError(f"batch is {self.batch}; expected at least 1.")
        if self.sampling not in ("uniform", "rare_class"):
            raise ConfigError(f"sampling is {self.sampling!r}; known are uniform, rare_class.")
        if self.target.cat_max_ratio < 1:
            raise ConfigError(
                f"cat_max_ratio of the target is {self.target.cat_max_ratio}, but it needs labels, which a target does not"
                " have; leave it at 1."
            )
        if self.target.nightfall > 0:
            raise ConfigError(
                f"nightfall of the target is {self.target.nightfall}, but it needs labels, which a target does not have;"
                " leave it at 0."
            )
        if self.source.margins is not None:
            raise ConfigError(
                "margins are set for the source, but they concern pseudo labels; set them for the target only."
            )


class DomainPairs:
    """The stream of batches: `pairs[k]` is batch k, for any k >= 0.

    Args:
        sources: labelled sets with their weights; a set is drawn with probability weight / sum of weights.
        target: the unlabelled domain; its labels are never read. None for learning from the source only, in which case
            `target_images` is (0, 3, H, W).
        config: batch size, transforms, sampling.
        seed: seed of all random choices.
        labels: the network's classes. Finer labels of a source are merged into them; coarser ones are kept, with
            `source_members` saying which classes they merge.
        rank: number of this training process.
        ranks: number of training processes.
        cache: folder for class statistics; None takes the default.
        workers: number of processes that count classes.
        progress: called while the classes of a set are counted.

    Raises:
        ConfigError: there is no source, a weight or rank is out of range, or nightfall is asked of a source without sky.
        DatasetError: a source has no labels.
        LabelError: the classes of a source and the network's cannot be converted into each other.
    """

    def __init__(
        self,
        sources: Sequence[tuple[SegmentationDataset, float]],
        target: SegmentationDataset | None,
        config: PairsConfig,
        seed: int = 0,
        *,
        labels: LabelSpace = CITYSCAPES19,
        rank: int = 0,
        ranks: int = 1,
        cache: Path | None = None,
        workers: int = 0,
        progress: Progress | None = None,
    ) -> None:
        weights = np.array([weight for _, weight in sources], np.float64)
        if not weights.size or not np.isfinite(weights).all() or weights.min() < 0 or weights.sum() == 0:
            raise ConfigError(f"The weights of the sources are {weights.tolist()}; expected at least one above 0.")
        if not 0 <= rank < ranks:
            raise ConfigError(f"rank is {rank} of {ranks} processes; expected 0 to {ranks - 1}.")
        for dataset, _ in sources:
            if not dataset.labelled:
                raise DatasetError(f"{dataset.describe()} has no labels and cannot be a source.")
        self.sources = tuple(_relabelled(dataset, labels) for dataset, _ in sources)
        self._members = tuple(_merges(dataset, labels) for dataset in self.sources)
        self.target = target
        self.config = config
        self.seed = seed
        self.rank = rank
        self.ranks = ranks
        self._cumulative = np.cumsum(weights / weights.sum())
        self._samplers = [self._sampler(dataset, cache, workers, progress) for dataset in self.sources]
        self._nightfalls = tuple(_nightfall(dataset, config.source.nightfall) for dataset in self.sources)
        self._source = _Steps.of(config.source)
        self._target = _Steps.of(config.target)

    def __getitem__(self, k: int) -> DomainPair:
        """Read and transform batch k of this rank."""
        return _to_pair(self._read(k))

    def stream(self, start: int = 0, *, workers: int = 0, ahead: int = 2) -> Generator[DomainPair, None, None]:
        """Yield batches `start`, `start + 1`, ... without end.

        Args:
            start: number of the first batch; the step of a resumed run.
            workers: number of loader processes, 0 for none; the batches do not depend on it.
            ahead: number of batches that each worker prepares in advance.
        """
        # Closing the generator ends the worker processes.
        with contextlib.closing(map_in_order(self._read, _Numbers(start), workers, ahead=ahead)) as batches:
            yield from map(_to_pair, batches)

    def _read(self, k: int) -> _Bytes:
        if k < 0:
            raise IndexError(f"batches are numbered from 0; got {k}")
        first = (k * self.ranks + self.rank) * self.config.batch
        places = range(first, first + self.config.batch)
        photos, labels, members = zip(*(self._read_source(place) for place in places), strict=True)
        targets = [] if self.target is None else [self._read_target(self.target, place) for place in places]
        source = _stack(photos, "source")
        target = _stack([photo for photo, _ in targets], "target") if targets else source[:0]
        valid = [mask for _, mask in targets if mask is not None]
        return _Bytes(
            source,
            torch.from_numpy(np.stack(labels)),
            target,
            members,
            torch.from_numpy(np.stack(valid)) if valid else None,
        )

    def _sampler(
        self, dataset: SegmentationDataset, cache: Path | None, workers: int, progress: Progress | None
    ) -> Sampler | None:
        if self.config.sampling == "uniform":
            return None
        statistics = class_statistics(dataset, folder=cache, workers=workers, progress=progress)
        if self.config.rare_class.formula == "log_inverse":
            return LogInverseSampler(statistics, self.config.rare_class)
        return RareClassSampler(statistics, self.config.rare_class)

    def _read_source(self, place: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8], Members | None]:
        """Return photo, labels and merged classes of source sample `place` of the global stream."""
        rng = np.random.default_rng((self.seed, SOURCE_SAMPLE, place))
        chosen = int(np.searchsorted(self._cumulative, rng.random() * self._cumulative[-1], side="right"))
        dataset, sampler = self.sources[chosen], self._samplers[chosen]
        if sampler is None:
            draw = Draw(_shuffled(len(dataset), place, (self.seed, SOURCE_ORDER, chosen)), None)
        else:
            draw = sampler.draw(rng)
        sample = dataset.read(draw.index)
        photo, labels = self._source.resize(sample.photo, sample.labels, rng)
        cropped = self._source.geometry(photo, labels, rng)
        if isinstance(sampler, RareClassSampler) and draw.wanted is not None:
            for _ in range(sampler.config.retries):
                if sampler.accepts(_present(cropped[1]), draw.wanted):
                    break
                cropped = self._source.geometry(photo, labels, rng)
        photo, labels = self._source.augment(*self._nightfalls[chosen](*cropped, rng), rng)
        return photo, _present(labels), self._members[chosen]

    def _read_target(
        self, dataset: SegmentationDataset, place: int
    ) -> tuple[NDArray[np.uint8], NDArray[np.bool_] | None]:
        """Return photo and, if margins are set, a mask of the pixels that are neither in a margin nor padding."""
        rng = np.random.default_rng((self.seed, TARGET_SAMPLE, place))
        photo = dataset.read_photo(_shuffled(len(dataset), place, (self.seed, TARGET_ORDER)))
        photo, _ = self._target.resize(photo, None, rng)
        # The mask is transformed like labels: cropped and flipped with the photo, 255 where a crop is padded.
        mask = None if self.config.target.margins is None else margin_mask(photo.shape, self.config.target.margins)
        photo, mask = self._target.geometry(photo, mask, rng)
        photo, _ = self._target.augment(photo, None, rng)
        return photo, None if mask is None else mask != IGNORE


@dataclass(frozen=True)
class _Steps:
    """The transforms of one domain."""

    resize: Chain
    geometry: Chain
    augment: Chain

    @classmethod
    def of(cls, config: TransformConfig) -> _Steps:
        return cls(config.build_resize(), config.build_geometry(), config.augment.build())


@dataclass(frozen=True)
class _Bytes:
    """A pair as uint8, which loader processes pass on because it has a fifth of the size of a `DomainPair`.

    Attributes:
        source: (B, H, W, 3) uint8.
        labels: (B, H, W) uint8.
        target: (B, H', W', 3) uint8, or (0, H, W, 3).
        members: see `DomainPair.source_members`.
        valid: see `DomainPair.target_valid`.
    """

    source: Tensor
    labels: Tensor
    target: Tensor
    members: tuple[Members | None, ...]
    valid: Tensor | None


@dataclass(frozen=True)
class _Numbers:
    """start, start + 1, ... without end; each iteration begins again at start."""

    start: int

    def __iter__(self) -> Iterator[int]:
        return itertools.count(self.start)


def _relabelled(dataset: SegmentationDataset, labels: LabelSpace) -> SegmentationDataset:
    """Convert a data set to the classes `labels` if they are merged from its own; otherwise return it unchanged."""
    if dataset.labels == labels or not labels.takes(dataset.labels):
        return dataset
    return Relabelled(dataset, labels)


def _merges(dataset: SegmentationDataset, labels: LabelSpace) -> Members | None:
    return None if dataset.labels == labels else dataset.labels.require_members(labels)


def _nightfall(dataset: SegmentationDataset, probability: float) -> Transform:
    return Nightfall.of(dataset.labels, probability) if probability > 0 else Chain(())


def _shuffled(count: int, place: int, key: tuple[int, ...]) -> int:
    """Return the index at `place` of an endless sequence of shuffled passes over `count` indices."""
    turn, rest = divmod(place, count)
    return int(_order(count, (*key, turn))[rest])


@lru_cache(maxsize=16)
def _order(count: int, key: tuple[int, ...]) -> NDArray[np.int64]:
    return np.random.default_rng(key).permutation(count)


def _present(labels: NDArray[np.uint8] | None) -> NDArray[np.uint8]:
    assert labels is not None, "a transform lost the labels"
    return labels


def _stack(photos: Sequence[NDArray[np.uint8]], domain: str) -> Tensor:
    """Stack (H, W, 3) photos as (B, H, W, 3) uint8."""
    sizes = {photo.shape for photo in photos}
    if len(sizes) > 1:
        shown = " and ".join(sorted(f"{width}×{height}" for height, width, _ in sizes)[:3])
        raise ConfigError(
            f"Photos of the {domain} measure {shown} pixels and cannot be batched; set a resize or crop for the {domain}."
        )
    return torch.from_numpy(np.stack(photos))


def _to_pair(batch: _Bytes) -> DomainPair:
    source, target = (
        photos.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format).div_(255)
        for photos in (batch.source, batch.target)
    )
    return DomainPair(source, batch.labels.long(), target, batch.members, batch.valid)
