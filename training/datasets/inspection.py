"""Inspection of a data set on disk: which parts are there, what is missing or odd, and how often each class occurs."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from sim2street.models.errors import DatasetError, Sim2StreetError
from sim2street.training.datasets import DATASETS, open_dataset
from sim2street.training.datasets.base import FolderDataset, Progress


@dataclass(frozen=True)
class PartInspection:
    """What was found of one split.

    Attributes:
        split: its name.
        photos: how many there are.
        labelled: whether each of them has a label image.
        problem: why the part, or its labels, cannot be used; None if all is well.
        inspected: how many pictures were opened.
        sizes: pictures by "width x height", of those opened.
        resized: labels that differ from their photo in size, of those opened; they are resized when read.
        unreadable: sentences on pictures that cannot be read, the first ten.
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
    unreadable: tuple[str, ...] = ()
    shares: dict[str, float] = field(default_factory=dict)
    ignored: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """Plain values, ready for `json.dumps`."""
        return asdict(self)


def inspect_dataset(
    name: str,
    root: str | Path | None = None,
    split: str | None = None,
    *,
    images: int = 200,
    labelled: bool = True,
    progress: Progress | None = None,
) -> list[PartInspection]:
    """Look at every split of a data set, or at one.

    Args:
        name: key in `DATASETS`; one that is made of files.
        root: its folder; None takes the environment variable of the set.
        split: the only part to look at.
        images: most pictures per part that are opened, evenly spread; 0 = all.
        labelled: False looks at photos alone, as training looks at a target.
        progress: called with pictures opened and pictures to open, part by part.

    Raises:
        DatasetError: the name is unknown, or there is no such folder.
    """
    kind = DATASETS.get(name)
    if kind is None or not issubclass(kind, FolderDataset):
        known = [key for key, value in DATASETS.items() if issubclass(value, FolderDataset)]
        raise DatasetError(f"There is no data set {name!r} of files; known are {', '.join(known)}.")
    parts = (split,) if split is not None else kind.splits
    return [_inspect_part(kind, root, part, images, labelled, progress) for part in parts]


def _inspect_part(
    kind: type[FolderDataset],
    root: str | Path | None,
    split: str,
    images: int,
    labelled: bool,
    progress: Progress | None,
) -> PartInspection:
    kind.find_root(root)  # a folder that is not there is no finding about a part
    # A part that is not among the known ones, such as a list of file names, is looked at with its labels.
    wants_labels = labelled and (split in kind.labelled_splits or split not in kind.splits)
    problem = None
    try:
        dataset = open_dataset(kind.name, root, split, labelled=wants_labels)
    except DatasetError as error:
        problem = str(error).removesuffix(f" {kind.how_to_get}")
        if not wants_labels:
            return PartInspection(split, problem=problem)
        try:
            dataset = open_dataset(kind.name, root, split, labelled=False)
        except DatasetError:
            return PartInspection(split, problem=problem)
    count = len(dataset)
    chosen = range(count) if not images else sorted({int(place) for place in np.linspace(0, count - 1, images)})
    sizes: Counter[str] = Counter()
    totals = np.zeros(dataset.labels.count + 1, np.int64)
    unreadable: list[str] = []
    resized = 0
    for done, index in enumerate(chosen, start=1):
        try:
            height, width = dataset.read_photo(index).shape[:2]
            sizes[f"{width}x{height}"] += 1
            if dataset.labelled:
                labels = dataset.read_labels(index)
                resized += labels.shape != (height, width)
                pixels = np.bincount(labels.ravel(), minlength=256)
                totals[:-1] += pixels[: dataset.labels.count]
                totals[-1] += pixels[dataset.labels.count :].sum()
        except Sim2StreetError as error:
            unreadable.append(str(error))
        if progress is not None:
            progress(done, len(chosen))
    classes = totals[:-1].sum()
    return PartInspection(
        split,
        photos=count,
        labelled=dataset.labelled,
        problem=problem,
        inspected=len(chosen),
        sizes=dict(sizes.most_common()),
        resized=resized,
        unreadable=tuple(unreadable[:10]),
        shares=(
            {label: float(total / classes) for label, total in zip(dataset.labels.names, totals[:-1], strict=True)}
            if classes
            else {}
        ),
        ignored=float(totals[-1] / max(1, totals.sum())),
    )
