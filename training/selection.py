"""Open the data sets that a recipe names, and the stream of training pairs."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tqdm import tqdm

from sim2street.models.errors import ConfigError
from sim2street.models.label_space import LabelSpace
from sim2street.models.labels import CITYSCAPES19, LABEL_SPACES, label_space
from sim2street.training.activity import ActivityWriter
from sim2street.training.config import DatasetConfig, RunConfig, TransformOptions
from sim2street.training.datasets import open_dataset
from sim2street.training.datasets.base import SegmentationDataset
from sim2street.training.datasets.labelled_folder import DATA_FILE, LabelledFolder
from sim2street.training.datasets.pairs import DomainPairs, PairsConfig
from sim2street.training.datasets.statistics import RareClassSampling
from sim2street.training.datasets.stored import cache_dataset
from sim2street.training.datasets.transforms import AUGMENTS, TransformConfig


def open_originals(config: DatasetConfig, *, labelled: bool = True) -> SegmentationDataset:
    """Open a data set of a recipe without its uncompressed copy; reads no picture.

    Args:
        config: the data set.
        labelled: False for a target domain, whose label files are then never opened and need not exist.

    Raises:
        DatasetError: files are missing; the message says which and how to get them.
    """
    options = config.options
    if not labelled and "labelled" in config.kind.parameters():
        options["labelled"] = False
    return open_dataset(config.dataset, config.root, config.split, **options)


def open_selection(config: DatasetConfig, *, labelled: bool = True, workers: int = 0) -> SegmentationDataset:
    """Open a data set of a recipe; if `store` is set, make and open its uncompressed copy on disk.

    Args:
        config: the data set.
        labelled: see `open_originals`.
        workers: number of processes that render or decode while the copy is written.

    Raises:
        DatasetError: see `open_originals`.
    """
    dataset = open_originals(config, labelled=labelled)
    if config.store is None:
        return dataset
    with progress_bar(f"storing {config.label}") as report:
        return cache_dataset(dataset, size=config.store, workers=workers, progress=report)


def predicted_space(config: RunConfig) -> LabelSpace:
    """The classes that a recipe's network predicts.

    Raises:
        ConfigError: two sources define their own classes and the recipe does not set `labels`; or the method mixes source
            labels with pseudo labels, and a source's classes are coarser than the network's.
        LabelError: there is no such label space, or a source's classes cannot be converted to or from it.
        DatasetError: a folder that defines its own classes is missing.
    """
    predicted = _named_space(config)
    for source in config.sources:
        config.check_source_classes(source, source.label_space, predicted)
    return predicted


def _named_space(config: RunConfig) -> LabelSpace:
    if config.labels is not None:
        in_folder = Path(config.labels).name == DATA_FILE
        return LabelledFolder.space_of(config.labels, None) if in_folder else label_space(config.labels)
    own = {source.label_space for source in config.sources} - set(LABEL_SPACES.values())
    if len(own) > 1:
        raise ConfigError(
            f"The sources have the classes of {' and '.join(sorted(space.name for space in own))}: set labels to the"
            " classes that the network should predict."
        )
    return own.pop() if own else CITYSCAPES19


def open_pairs(config: RunConfig, *, rank: int = 0, ranks: int = 1) -> DomainPairs:
    """Open sources and target of a recipe as its stream of pairs.

    Args:
        config: the recipe.
        rank: number of this process, which gets its own share of the stream.
        ranks: number of processes.

    Raises:
        ConfigError, LabelError, DatasetError: see `predicted_space` and `open_selection`.
    """
    labels = predicted_space(config)
    sources = [(open_selection(item, workers=config.workers), item.weight) for item in config.sources]
    target = None if config.target is None else open_selection(config.target, labelled=False, workers=config.workers)
    pairs = PairsConfig(
        batch=config.batch,
        source=build_transform(config.source_transform),
        target=build_transform(config.target_transform),
        sampling=config.sampling,
        rare_class=RareClassSampling(
            formula=config.rare_class.formula,
            temperature=config.rare_class.temperature,
            minimum_pixels=config.rare_class.minimum_pixels,
            crop_pixels=config.rare_class.crop_pixels,
            retries=config.rare_class.retries,
        ),
    )
    with progress_bar("counting classes") as report:
        return DomainPairs(
            sources,
            target,
            pairs,
            config.seed,
            labels=labels,
            rank=rank,
            ranks=ranks,
            workers=config.workers,
            progress=report,
        )


def build_transform(options: TransformOptions) -> TransformConfig:
    """Convert a recipe's options to the transform's settings."""
    return TransformConfig(
        resize=options.resize,
        resampling=options.resampling,
        scale=options.scale,
        crop=options.crop,
        cat_max_ratio=options.cat_max_ratio,
        flip=options.flip,
        augment=AUGMENTS[options.augment],
        nightfall=options.nightfall,
        margins=options.margins,
    )


@contextlib.contextmanager
def progress_bar(title: str) -> Iterator[Callable[[int, int], None]]:
    """Give a `progress(done, total)` callback that draws a bar on stderr and writes to the `ActivityWriter`."""
    bar: tqdm[Any] | None = None
    activity = ActivityWriter(title)

    def report(done: int, total: int) -> None:
        nonlocal bar
        bar = bar or tqdm(total=total, desc=title, file=sys.stderr)
        bar.update(done - bar.n)
        activity.report(done, total)

    try:
        yield report
    finally:
        activity.close()
        if bar is not None:
            bar.close()
