"""A data set stored uncompressed at one size, so that reading a sample needs no decoding.

Photos and labels are in two memory-mapped NumPy files, so all workers share one copy. A pixel takes 4 bytes: 1000 samples
take 0.5 GB at 512x256 and 2 GB at 1024x512.
"""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from sim2street.models.errors import DatasetError
from sim2street.models.storage.cache import SAMPLES, cache_folder, mark_used
from sim2street.models.storage.files import in_units, partial_of, remove_left_behind
from sim2street.training.datasets.base import Progress, SegmentationDataset, resize_labels
from sim2street.training.datasets.transforms import resize_photo
from sim2street.training.datasets.workers import map_in_order


class CachedDataset(SegmentationDataset):
    """A data set read from the two files that `cache_dataset` wrote.

    Args:
        origin: the set that was stored, which defines names, space and keys.
        size: (width, height) of every stored sample.
        photos: file of (N, H, W, 3) uint8.
        label_images: file of (N, H, W) uint8, None for an unlabelled set.
    """

    def __init__(
        self, origin: SegmentationDataset, size: tuple[int, int], photos: Path, label_images: Path | None
    ) -> None:
        self.origin = origin
        self.size = size
        self.photos = photos
        self.label_images = label_images
        self.labels = origin.labels
        self.labelled = origin.labelled
        self.keys = origin.keys
        self._photo_map: NDArray[np.uint8] | None = None
        self._label_map: NDArray[np.uint8] | None = None

    @property
    def name(self) -> str:  # type: ignore[override]
        """Name of the stored set."""
        return self.origin.name

    @property
    def slug(self) -> str:
        """Stored set and size."""
        return f"{self.origin.slug}_at_{self.size[0]}x{self.size[1]}"

    def read_photo(self, index: int) -> NDArray[np.uint8]:
        """Return photo `index` as a read-only (H, W, 3) view of the file."""
        if self._photo_map is None:
            self._photo_map = _map(self.photos)
        return self._photo_map[index]

    def read_labels(self, index: int) -> NDArray[np.uint8]:
        """Return labels `index` as a read-only (H, W) view of the file."""
        if self.label_images is None:
            raise DatasetError(f"{self.describe()} was stored without labels, so {self.keys[index]} has no labels.")
        if self._label_map is None:
            self._label_map = _map(self.label_images)
        return self._label_map[index]

    def fingerprint(self) -> str:
        """Digest of the stored set, and the size."""
        return f"{self.origin.fingerprint()}{self.size[0]:05d}{self.size[1]:05d}"

    def describe(self) -> str:
        """Return the stored set's line and the size."""
        return f"{self.origin.describe()}, stored at {self.size[0]}×{self.size[1]} pixels"

    def __getstate__(self) -> dict[str, Any]:
        # A pickled memory map would contain all pixels; a worker opens the files itself.
        return {**self.__dict__, "_photo_map": None, "_label_map": None}


def cache_dataset(
    dataset: SegmentationDataset,
    *,
    size: tuple[int, int] | None = None,
    folder: Path | None = None,
    workers: int = 0,
    progress: Progress | None = None,
) -> CachedDataset:
    """Store a data set on disk unless it is already there, and return the stored set.

    The files are named after the set's settings and fingerprint. They appear only when they are complete; truncated or
    unrelated files are overwritten.

    Args:
        dataset: the data set to store.
        size: (width, height) to resize to, photos bicubic, labels nearest; None takes the first photo's size and
            requires all photos to have it.
        folder: where to store it; None takes `cache_folder()`.
        workers: number of processes that read or render.
        progress: called after each sample.

    Raises:
        DatasetError: photos differ in size and no size was given, or there is not enough disk space.
    """
    if size is None:
        height, width = dataset.read_photo(0).shape[:2]
        reader = _Reader(dataset, (width, height), resizes=False)
    else:
        width, height = size
        reader = _Reader(dataset, size, resizes=True)
    files = _files(dataset, (width, height), folder)
    if not all(file.is_whole() for file in files):
        _store(reader, files, workers, progress)
    for file in files:
        mark_used(file.path)
    return CachedDataset(dataset, (width, height), files[0].path, files[1].path if dataset.labelled else None)


def bytes_to_store(dataset: SegmentationDataset, size: tuple[int, int]) -> int:
    """Bytes that `cache_dataset` would write for a (width, height); 0 if the set is already stored."""
    files = _files(dataset, size, None)
    return 0 if all(file.is_whole() for file in files) else sum(file.bytes for file in files)


def _files(dataset: SegmentationDataset, size: tuple[int, int], folder: Path | None) -> list[_File]:
    """Where photos and, if there are any, labels are stored."""
    width, height = size
    folder = (folder or cache_folder()) / SAMPLES
    stem = re.sub(r"[^\w.+-]", "-", f"{dataset.slug}_{width}x{height}_{dataset.fingerprint()[:12]}")
    photos = _File(folder / f"{stem}.photos.npy", (len(dataset), height, width, 3))
    label_images = _File(folder / f"{stem}.labels.npy", (len(dataset), height, width))
    return [photos, label_images] if dataset.labelled else [photos]


def _map(path: Path) -> NDArray[np.uint8]:
    try:
        # As a plain array, because slicing a memmap object takes ten times as long.
        return np.asarray(np.load(path, mmap_mode="r"))
    except FileNotFoundError as error:
        raise DatasetError(
            f"{path} was removed during the run. Start again or resume; the file will be stored again."
        ) from error


@dataclass(frozen=True)
class _File:
    path: Path
    shape: tuple[int, ...]

    @property
    def bytes(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64))

    def is_whole(self) -> bool:
        try:
            found = open_memmap(self.path, mode="r")
        except Exception:  # NumPy may raise anything for a damaged header
            return False
        return found.shape == self.shape and found.dtype == np.uint8


@dataclass(frozen=True)
class _Reader:
    """Reads one sample at the stored size; a class because workers need to unpickle it."""

    dataset: SegmentationDataset
    size: tuple[int, int]
    resizes: bool

    def __call__(self, index: int) -> list[NDArray[np.uint8]]:
        if self.dataset.labelled:
            sample = self.dataset.read(index)
            photo, labels = sample.photo, [sample.labels]
        else:
            photo, labels = self.dataset.read_photo(index), []
        height, width = photo.shape[:2]
        if (width, height) == self.size:
            return [photo, *labels]
        if not self.resizes:
            raise DatasetError(
                f"{self.dataset.keys[index]} measures {width}×{height} pixels, the first photo of"
                f" {self.dataset.name} {self.size[0]}×{self.size[1]}. Specify the size at which to store the set."
            )
        return [resize_photo(photo, self.size, "bicubic"), *(resize_labels(image, self.size) for image in labels)]


def _store(reader: _Reader, files: list[_File], workers: int, progress: Progress | None) -> None:
    folder = files[0].path.parent
    folder.mkdir(parents=True, exist_ok=True)
    needed, free = sum(file.bytes for file in files), shutil.disk_usage(folder).free
    if needed > free:
        raise DatasetError(
            f"Storing {reader.dataset.describe()} takes {in_units(needed)}; {folder} has {in_units(free)} left."
            " `sim2street cache list` shows stored sets and `sim2street cache remove` frees space;"
            " set SIM2STREET_CACHE to a larger disk, or use fewer or smaller samples."
        )
    count = len(reader.dataset)
    # Two processes may store the same set at once: each writes its own files, and both renames give the same result.
    partial = [partial_of(file.path) for file in files]
    for file in files:
        remove_left_behind(file.path)
    try:
        maps = [open_memmap(path, "w+", np.uint8, file.shape) for path, file in zip(partial, files, strict=True)]
        for index, arrays in enumerate(map_in_order(reader, range(count), workers)):
            for target, array in zip(maps, arrays, strict=True):
                target[index] = array
            if progress:
                progress(index + 1, count)
        for target in maps:
            target.flush()
        del maps
        for path, file in zip(partial, files, strict=True):
            path.replace(file.path)
    finally:
        for path in partial:
            path.unlink(missing_ok=True)
