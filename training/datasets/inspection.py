"""Inspect a data set on disk: which splits exist, what is missing or odd, and how often each class occurs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from sim2street.models.alignment import aligned
from sim2street.models.errors import DatasetError, Sim2StreetError
from sim2street.models.photo import is_nearly_black
from sim2street.training.datasets import DATASETS
from sim2street.training.datasets.base import FolderDataset, Progress


@dataclass(frozen=True)
class PartInspection:
    """The findings for one split.

    Attributes:
        split: name of the split.
        photos: number of photos.
        labelled: whether each photo has a label image.
        problem: why the split, or its labels, cannot be used; None if it can.
        inspected: number of pictures opened.
        sizes: number of opened pictures by "width x height".
        resized: number of opened labels whose size differs from their photo's; they are resized when read.
        turned: photos rotated by their EXIF orientation, with their labels if those fit the stored pixels.
        dark: photos that are nearly black.
        unreadable: sentences about the first ten pictures that cannot be read or whose labels do not fit.
        unreadable_total: number of such pictures.
        remarks: sentences about skipped files and labels that look misnumbered.
        shares: share of each class among labelled pixels by name, [0,1]; empty without labels.
        ignored: share of pixels without a class, [0,1].
    """

    split: str
    photos: int = 0
    labelled: bool = False
    problem: str | None = None
    inspected: int = 0
    sizes: dict[str, int] = field(default_factory=dict)
    resized: int = 0
    turned: int = 0
    dark: int = 0
    unreadable: tuple[str, ...] = ()
    unreadable_total: int = 0
    remarks: tuple[str, ...] = ()
    shares: dict[str, float] = field(default_factory=dict)
    ignored: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """Plain values for `json.dumps`."""
        return asdict(self)


def inspect_dataset(
    name: str,
    root: str | Path | None = None,
    split: str | None = None,
    *,
    images: int = 200,
    labelled: bool = True,
    progress: Progress | None = None,
    **options: Any,
) -> list[PartInspection]:
    """Inspect every split of a data set, or one.

    Args:
        name: key in `DATASETS` of a set stored as files.
        root: its folder; None takes the set's environment variable.
        split: the only split to inspect.
        images: largest number of pictures opened per split, evenly spread; 0 = all.
        labelled: False inspects only photos, as training does for a target.
        progress: called with the pictures opened and the pictures to open, split by split.
        options: further arguments of the set, such as `classes` for a labelled folder.

    Raises:
        DatasetError: the name is unknown, or the folder does not exist.
    """
    kind = DATASETS.get(name)
    if kind is None or not issubclass(kind, FolderDataset):
        known = [key for key, value in DATASETS.items() if issubclass(value, FolderDataset)]
        raise DatasetError(f"There is no data set {name!r} that is stored as files; known are {', '.join(known)}.")
    parts = (split,) if split is not None else kind.splits
    return [_inspect_part(kind, root, part, images, labelled, progress, options) for part in parts]


def _inspect_part(
    kind: type[FolderDataset],
    root: str | Path | None,
    split: str,
    images: int,
    labelled: bool,
    progress: Progress | None,
    options: Mapping[str, Any],
) -> PartInspection:
    kind.find_root(root)  # a missing folder is not a finding about a split
    # Splits that are not among the known ones, such as lists of file names, are inspected with their labels.
    wants_labels = labelled and (split in kind.labelled_splits or split not in kind.splits)
    problem = None
    try:
        dataset = kind(root, split, labelled=wants_labels, **options)
    except DatasetError as error:
        problem = str(error).removesuffix(f" {kind.how_to_get}")
        if not wants_labels:
            return PartInspection(split, problem=problem)
        try:
            dataset = kind(root, split, labelled=False, **options)
        except DatasetError:
            return PartInspection(split, problem=problem)
    count = len(dataset)
    chosen = range(count) if not images else sorted({int(place) for place in np.linspace(0, count - 1, images)})
    seen = _Seen(dataset)
    for done, index in enumerate(chosen, start=1):
        try:
            seen.look(index)
        except Sim2StreetError as error:
            seen.unreadable.append(str(error))
        if progress is not None:
            progress(done, len(chosen))
    classes = int(seen.totals[:-1].sum())
    named = zip(dataset.labels.names, seen.totals[:-1], strict=True)
    return PartInspection(
        split,
        photos=count,
        labelled=dataset.labelled,
        problem=problem,
        inspected=len(chosen),
        sizes=dict(seen.sizes.most_common()),
        resized=seen.resized,
        turned=seen.turned,
        dark=seen.dark,
        unreadable=tuple(seen.unreadable[:10]),
        unreadable_total=len(seen.unreadable),
        remarks=tuple(
            remark for remark in (dataset.listing.remark(dataset.root), dataset.misnumbered(seen.stored)) if remark
        ),
        shares={label: float(total / classes) for label, total in named} if classes else {},
        ignored=float(seen.totals[-1] / max(1, seen.totals.sum())),
    )


class _Seen:
    """Counts over the opened pictures.

    Attributes:
        stored: (256,) pixels of each value in the label files.
        totals: (C + 1,) pixels of each class, those without a class last.
    """

    def __init__(self, dataset: FolderDataset) -> None:
        self.dataset = dataset
        self.sizes: Counter[str] = Counter()
        self.stored = np.zeros(256, np.int64)
        self.totals = np.zeros(dataset.labels.count + 1, np.int64)
        self.resized = self.turned = self.dark = 0
        self.unreadable: list[str] = []

    def look(self, index: int) -> None:
        """Open one picture and its labels.

        Raises:
            Sim2StreetError: one cannot be read, or the two do not fit each other.
        """
        photo = self.dataset.open_photo(index)
        width, height = photo.size
        self.sizes[f"{width}x{height}"] += 1
        self.turned += photo.orientation != 1
        self.dark += is_nearly_black(photo.pixels)
        if not self.dataset.labelled:
            return
        stored = self.dataset.stored_labels(index)
        self.stored += np.bincount(stored.ravel(), minlength=256)
        labels = self.dataset.labels_of(stored, index)
        fitting = aligned(labels, photo, name=str(self.dataset.label_images[index]))
        self.resized += fitting.shape != (height, width)
        pixels = np.bincount(labels.ravel(), minlength=256)
        self.totals[:-1] += pixels[: self.dataset.labels.count]
        self.totals[-1] += pixels[self.dataset.labels.count :].sum()
