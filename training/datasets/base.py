"""Base classes of all data sets.

A data set is a list of keys, each with a photo and, if the set is labelled, a label image. `read_photo` reads a photo
without its labels, so a target domain's label files are never opened and need not exist.
"""

from __future__ import annotations

import hashlib
import inspect
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from sim2street.models.alignment import aligned
from sim2street.models.errors import DatasetError, LabelError, Sim2StreetError
from sim2street.models.labels import IGNORE, LabelSpace
from sim2street.models.numbering import NUMBERINGS, Numbering, find_mismatch
from sim2street.models.photo import Photo, read_label_image, read_photo
from sim2street.training.datasets.listing import Listing

Progress = Callable[[int, int], None]
"""Called as `progress(done, total)` after each image of a long operation."""

FOREIGN: Final = 254
"""Marks stored values that are not in a label table; no data set with such a table has that many classes."""
SAMPLED: Final = 8
"""Number of label images, evenly spread over a set, that are opened to check how its classes are numbered."""


def why_unread(error: OSError | UnicodeDecodeError) -> str:
    """Why a list of files could not be read, in a few words."""
    return "it is not UTF-8 text" if isinstance(error, UnicodeDecodeError) else str(error.strerror)


@dataclass(frozen=True, eq=False)
class Sample:
    """One labelled picture.

    Attributes:
        photo: (H, W, 3) uint8 RGB.
        labels: (H, W) uint8 in the label space of its data set, 255 for ignored pixels.
        key: name of the picture, unique within its data set.
    """

    photo: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    key: str


class SegmentationDataset(ABC):
    """A list of photos, labelled or not; class attributes describe the data set.

    Attributes:
        name: key in `DATASETS`, in recipes and in configs.
        title: display name.
        paper: authors, venue and year in one line; empty for the user's own pictures.
        terms: terms of use, as quoted on model cards.
        splits: splits of a complete copy, which `sim2street datasets check` looks for.
        labelled_splits: the splits with public labels.
        gallery: labelled splits of real photos that the app offers; empty for none.
        generated: whether pictures are generated on demand, without files.
        labels: space of the labels; for an unlabelled set, the space in which its predictions are shown.
        labelled: whether `read` and `read_labels` may be called.
        keys: unique names of the pictures, in a fixed order.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    paper: ClassVar[str] = ""
    terms: ClassVar[str]
    splits: ClassVar[tuple[str, ...]] = ("train", "val")
    labelled_splits: ClassVar[tuple[str, ...]] = ("train", "val")
    gallery: ClassVar[tuple[str, ...]] = ()
    generated: ClassVar[bool] = False
    labels: LabelSpace
    labelled: bool
    keys: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.keys)

    @classmethod
    def parameters(cls) -> tuple[str, ...]:
        """Names of the arguments with which the set can be opened."""
        return tuple(inspect.signature(cls).parameters)

    @classmethod
    def space_of(cls, root: str | Path | None, classes: str | None) -> LabelSpace:
        """The space of the labels, without listing pictures; `root` and `classes` are used by labelled folders only."""
        return cls.labels

    @classmethod
    def is_configured(cls) -> bool:
        """Whether the set can be opened without naming its folder."""
        return cls.generated

    @property
    @abstractmethod
    def slug(self) -> str:
        """Short name for use in file names: set, split, settings."""

    @abstractmethod
    def read_photo(self, index: int) -> NDArray[np.uint8]:
        """Return photo `index` as (H, W, 3) uint8 RGB without opening its labels."""

    @abstractmethod
    def read_labels(self, index: int) -> NDArray[np.uint8]:
        """Return the labels of photo `index` at their stored size, (H, W) uint8 in this set's space.

        Raises:
            DatasetError: the set is unlabelled.
            LabelError: the file contains values that the set does not have.
        """

    @abstractmethod
    def fingerprint(self) -> str:
        """Return a hex digest that changes whenever the set's pictures may have changed."""

    @abstractmethod
    def describe(self) -> str:
        """Return one line for display: name, number of pictures and folder."""

    def read(self, index: int) -> Sample:
        """Return photo and labels, of the photo's size."""
        return Sample(self.read_photo(index), self.read_labels(index), self.keys[index])


class FolderDataset(SegmentationDataset):
    """A data set of files. A subclass defines their layout and the meaning of the stored label values.

    Args:
        root: folder of the set. None takes it from the environment variable `root_variable`.
        split: the split to read.
        labelled: False reads photos only; label files need not exist and are never opened.

    Raises:
        DatasetError: the root, the split, a photo or a label is missing; the message says how to get it.

    Attributes:
        photos: files of the photos.
        label_images: files of their labels; empty for an unlabelled set.
        listing: finds the files and records which ones it skipped.
    """

    root_variable: ClassVar[str]
    how_to_get: ClassVar[str]
    table: NDArray[np.uint8]
    """(256,) uint8: stored label value -> label, or `FOREIGN` for values that must not occur."""
    numbering: Numbering | None = None
    """How label files number classes, if it is one of `NUMBERINGS`, which are easily confused; otherwise None."""

    def __init__(self, root: str | Path | None = None, split: str = "train", *, labelled: bool = True) -> None:
        self.root = self.find_root(root)
        self.split = split
        self.labelled = labelled
        self.listing = Listing()
        self.keys, self.photos, self.label_images = self.list_files()
        if labelled:
            self.label_images = self._existing(self.label_images, "label image")

    @abstractmethod
    def list_files(self) -> tuple[tuple[str, ...], tuple[Path, ...], tuple[Path, ...]]:
        """Return keys, existing photo files, and the expected paths of their label images (empty if unlabelled)."""

    @property
    def slug(self) -> str:
        """Set and split."""
        return f"{self.name}_{self.split.replace('/', '_')}"

    def read_photo(self, index: int) -> NDArray[np.uint8]:
        """Return photo `index` as (H, W, 3) uint8 RGB."""
        return self.open_photo(index).pixels

    def open_photo(self, index: int) -> Photo:
        """Return photo `index` with its orientation and remarks."""
        path = self.photos[index]
        return read_photo(path, name=str(path))

    def read(self, index: int) -> Sample:
        """Return photo and labels; the labels are turned like the photo and resized to it by nearest neighbour.

        Raises:
            LabelError: the labels do not fit the photo.
        """
        photo = self.open_photo(index)
        labels = aligned(self.read_labels(index), photo, name=str(self.label_images[index]))
        if labels.shape != photo.pixels.shape[:2]:
            labels = resize_labels(labels, photo.size)
        return Sample(photo.pixels, labels, self.keys[index])

    def read_labels(self, index: int) -> NDArray[np.uint8]:
        """Return the labels of photo `index` as (H, W) uint8 at their stored size and orientation."""
        return self.labels_of(self.stored_labels(index), index)

    def stored_labels(self, index: int) -> NDArray[np.uint8]:
        """Return the stored values in the label file of photo `index`, (H, W) uint8."""
        if not self.labelled:
            raise DatasetError(
                f"{self.describe()} was opened without labels (labelled = false), so {self.keys[index]} has none."
            )
        return self._stored_labels(self.label_images[index])

    def labels_of(self, stored: NDArray[np.uint8], index: int) -> NDArray[np.uint8]:
        """Convert the stored values of photo `index` to labels.

        Raises:
            LabelError: a value is not one of the set's.
        """
        path = self.label_images[index]
        labels = np.asarray(cv2.LUT(stored, self.table), np.uint8)  # in a quarter of the time of indexing
        foreign = labels == FOREIGN
        if foreign.any():
            shown = ", ".join(map(str, np.unique(stored[foreign])[:5]))
            known = np.flatnonzero(self.table != FOREIGN)
            hint = self._fitting_numberings(stored)
            raise LabelError(
                f"Found the values {shown} in {path}; {self.name} stores {known[0]} to {known[known < IGNORE][-1]}.{hint}"
                " Check whether the image belongs to another data set or stores colours."
            )
        return labels

    def _fitting_numberings(self, stored: NDArray[np.uint8]) -> str:
        """A sentence, with a leading space, on numberings that have all of these values; empty if there are none."""
        counts = np.bincount(stored.ravel(), minlength=256)
        fitting = [each.title for each in NUMBERINGS.values() if self.numbering and each.could_hold(counts)]
        return f" They fit {' or '.join(fitting)}." if fitting else ""

    def _stored_labels(self, path: Path) -> NDArray[np.uint8]:
        """Read the stored values of a label file as (H, W) uint8."""
        return read_label_image(path, name=str(path))

    @cached_property
    def remarks(self) -> tuple[str, ...]:
        """Sentences that users should see before using the set: skipped files, labels that look misnumbered."""
        found = [self.listing.remark(self.root), self.misnumbered(self._sampled_counts())]
        return tuple(f"{self.name} {self.split}: {sentence}" for sentence in found if sentence)

    def misnumbered(self, counts: NDArray[np.int64]) -> str | None:
        """One sentence if (256,) pixels of each stored value look like another numbering than this set's."""
        found = find_mismatch(counts, self.numbering) if self.numbering is not None else None
        if found is None or self.numbering is None:
            return None
        return (
            f"the labels are read as {self.numbering.title}, but look like {found.suspected}: a sample of them contains"
            f" {found.evidence}. If this is the case, convert the files (models/labels.py has functions for it) or read"
            " them with a data set that uses that numbering; otherwise ignore this message."
        )

    def _sampled_counts(self) -> NDArray[np.int64]:
        """(256,) pixels of each stored value in some label images; unreadable ones are skipped here and fail when used."""
        counts = np.zeros(256, np.int64)
        if self.labelled and self.numbering is not None:
            for index in sorted({int(place) for place in np.linspace(0, len(self) - 1, SAMPLED)}):
                try:
                    counts += np.bincount(self.stored_labels(index).ravel(), minlength=256)
                except Sim2StreetError:
                    continue
        return counts

    def fingerprint(self) -> str:
        """Digest of file names, sizes and modification times."""
        digest = hashlib.sha256(os.fsencode(f"{self.slug} {self.labels.name}"))
        for path in (*self.photos, *self.label_images):
            status = path.stat()
            line = f"\n{path.relative_to(self.root)} {status.st_size} {status.st_mtime_ns}"
            digest.update(os.fsencode(line))  # a name need not be UTF-8
        return digest.hexdigest()

    def describe(self) -> str:
        """Return set, split, number of photos and folder."""
        kind = "labelled photos" if self.labelled else "photos without labels"
        return f"{self.name} {self.split}: {len(self)} {kind} in {self.root}"

    @classmethod
    def is_configured(cls) -> bool:
        """Whether the environment names the set's folder."""
        return bool(os.environ.get(cls.root_variable))

    @classmethod
    def find_root(cls, root: str | Path | None) -> Path:
        """Return the set's folder, as given or from its environment variable, or raise `DatasetError`."""
        given = root if root is not None else os.environ.get(cls.root_variable)
        if not given:
            raise DatasetError(
                f"The folder of {cls.name} is not set: give its root or set {cls.root_variable}. {cls.how_to_get}"
            )
        try:
            path = Path(given).expanduser()
        except RuntimeError as error:
            raise DatasetError(f"{given} is not a valid folder for {cls.name}: {error}. Give its folder.") from error
        if not path.is_dir():
            found = "a file" if path.exists() else "nothing"
            raise DatasetError(
                f"{cls.name} was looked for in the folder {path.absolute()}; found {found}. {cls.how_to_get}"
            )
        return path

    def _existing(self, paths: Sequence[Path], what: str) -> tuple[Path, ...]:
        """Return the files with the spelling they have on disk, ignoring case; each folder is listed only once.

        Raises:
            DatasetError: some files are missing.
        """
        present = {folder: _names_in(folder) for folder in {path.parent for path in paths}}
        spelt = {folder: {name.lower(): name for name in names} for folder, names in present.items()}
        found: list[Path] = []
        missing: list[Path] = []
        for path in paths:
            if path.name in present[path.parent]:
                found.append(path)
            elif (name := spelt[path.parent].get(path.name.lower())) is not None:
                found.append(path.with_name(name))
            else:
                missing.append(path)
        if missing:
            raise DatasetError(
                f"{len(missing)} of {len(paths)} {what}s of {self.name} {self.split} are missing, first"
                f" {missing[0].absolute()}. {self.how_to_get}"
            )
        return tuple(found)

    def refuse_empty(self, found: Collection[object], pattern: Path) -> None:
        """Raise `DatasetError` if nothing was found; the message names the pattern."""
        if not found:
            left_out = self.listing.remark(self.root)
            raise DatasetError(
                f"No photo of {self.name} {self.split!r} was found: looked for {pattern.absolute()};"
                f" {self.root} contains {_listing(self.root)}.{f' {left_out}' if left_out else ''} {self.how_to_get}"
            )


def fault_of_dataset(entry: Any) -> str | None:
    """Why an object of another package is not a valid data set, in words; None if it is valid."""
    if not (isinstance(entry, type) and issubclass(entry, SegmentationDataset)):
        return f"its entry point leads to {entry!r}, expected a subclass of SegmentationDataset"
    needed = ("name", "title", "terms", *(("root_variable", "how_to_get") if issubclass(entry, FolderDataset) else ()))
    missing = [field for field in needed if not isinstance(getattr(entry, field, None), str)]
    missing += sorted(entry.__abstractmethods__)
    return f"it lacks {', '.join(missing)}" if missing else None


def label_table(known: dict[int, int]) -> NDArray[np.uint8]:
    """Build the (256,) uint8 table of stored value -> label; unknown values become `FOREIGN`, 255 stays 255."""
    table = np.full(256, FOREIGN, np.uint8)
    table[IGNORE] = IGNORE
    for stored, label in known.items():
        table[stored] = label
    table.flags.writeable = False
    return table


def resize_labels(labels: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Resize (H, W) labels to (width, height) by nearest neighbour, pixel centres aligned as in Pillow."""
    # cv2.INTER_NEAREST samples at a pixel's corner instead of its centre, which shifts labels by up to half a pixel.
    return np.asarray(cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST_EXACT), dtype=np.uint8)


def _names_in(folder: Path) -> set[str]:
    try:
        return {entry.name for entry in os.scandir(folder)}
    except OSError:
        return set()


def _listing(folder: Path) -> str:
    names = sorted(_names_in(folder))
    shown = ", ".join(names[:6]) + (", ..." if len(names) > 6 else "")
    return shown or "nothing"
