"""Predictions made elsewhere: a folder of label images or probabilities for the photos of a data set.

    DIR/aachen_000000_000019.png     a label image of class numbers or colours; or
    DIR/aachen_000000_000019.npz     one array (C, H, W) of probabilities

Files may be in subfolders at any depth and have the names of the photos. An optional `data.toml` in the folder takes keys of
a labelled folder: `label_space` (by default the data set's own), `label_names`, `read_by`, `labels`.
"""

from __future__ import annotations

import zipfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sim2street.models.errors import DatasetError, LabelError, Sim2StreetError
from sim2street.models.label_space import LabelSpace
from sim2street.models.photo import read_label_picture
from sim2street.models.prediction import Prediction
from sim2street.training.datasets.base import SegmentationDataset, resize_labels
from sim2street.training.datasets.labelled_folder import ANY, DATA_FILE, LABEL_SUFFIXES, FolderOptions, shared_part
from sim2street.training.datasets.listing import Listing

PROBABILITIES: Final = ".npz"
MAX_ARRAY: Final = 2 * 2**30
"""Largest array of probabilities that is read, in bytes: 19 classes of 27 megapixels."""
SUMS: Final = 0.01
"""Largest deviation from 1 of the sum of a pixel's probabilities; allows for half precision and rounding."""
SAME_SHAPE: Final = 0.01
"""Largest relative difference between the aspect ratios of a prediction and its photo."""
NAMED: Final = 3
"""Number of files listed for each kind of fault."""


@dataclass(frozen=True, eq=False)
class Answer:
    """The prediction for one photo.

    Attributes:
        labels: (H, W) uint8 in the requested space; 255 where nothing was predicted.
        confidence: (H, W) float32 in [0,1]; None if only labels are known.
    """

    labels: NDArray[np.uint8]
    confidence: NDArray[np.float32] | None


@dataclass
class Faults:
    """Missing and unusable predictions, by kind of fault.

    Attributes:
        found: kind of fault -> a text for each file.
        resized: number of predictions that were resized to their photo's size.
    """

    found: dict[str, list[str]] = field(default_factory=dict)
    resized: int = 0

    def add(self, kind: str, sentence: str) -> None:
        """Record one fault."""
        self.found.setdefault(kind, []).append(sentence)

    def describe(self) -> list[str]:
        """One sentence per kind of fault, with the number of files and the first `NAMED` of them."""
        said = []
        for kind, sentences in self.found.items():
            more = f"; and {len(sentences) - NAMED} more" if len(sentences) > NAMED else ""
            said.append(f"{len(sentences)} {kind}: {'; '.join(sentences[:NAMED])}{more}")
        if self.resized:
            said.append(f"{self.resized} resized to the photo's size by nearest neighbour")
        return said


class PredictionFolder:
    """A folder of predictions for a data set.

    Args:
        root: the folder.
        dataset: the data set whose photos were predicted.

    Attributes:
        space: the predicted classes.

    Raises:
        DatasetError: there is no such folder, it contains no predictions, or two have the same name.
        LabelError, ConfigError: its `data.toml` is invalid.
    """

    def __init__(self, root: str | Path, dataset: SegmentationDataset) -> None:
        self.root = Path(root)
        if not self.root.is_dir():
            raise DatasetError(f"{root} is not a folder; expected one with predictions for {dataset.describe()}.")
        self.dataset = dataset
        self.options = FolderOptions.read(self.root)
        given = self.options.model_fields_set
        self.space: LabelSpace = self.options.space(self.root, None) if "label_space" in given else dataset.labels
        self.place = self.options.labels if "labels" in given else ANY
        if not self.files:
            raise DatasetError(
                f"{root} contains no predictions: looked for {self.options.label_names} with"
                f" {', '.join((*LABEL_SUFFIXES, PROBABILITIES))} at any depth."
            )

    @cached_property
    def files(self) -> dict[str, Path]:
        """Part of the name shared with the photo -> file of the prediction."""
        found: dict[str, Path] = {}
        for path in Listing().files(self.root):
            *above, _ = path.relative_to(self.root).parts
            name = shared_part(path.stem, self.options.label_names)
            if name is None or path.suffix.lower() not in (*LABEL_SUFFIXES, PROBABILITIES):
                continue
            if self.place != ANY and self.place not in above:
                continue
            if name in found:
                raise DatasetError(
                    f"{self.root} contains two predictions named {name}, {found[name].relative_to(self.root)} and"
                    f" {path.relative_to(self.root)}; remove one, or set label_names in {self.root / DATA_FILE}."
                )
            found[name] = path
        return found

    def of(self, key: str) -> Path | None:
        """The file with the prediction for the photo of this key, or None."""
        return self.files.get(_last_part(key))

    def read(self, key: str, size: tuple[int, int], space: LabelSpace, faults: Faults) -> Answer | None:
        """Read the prediction for a photo; None, with an entry in `faults`, if it is missing or unusable.

        Args:
            key: key of the photo in the data set.
            size: (width, height) in pixels that the prediction should have; it is resized if the aspect ratio agrees.
            space: classes to which the prediction is converted.
            faults: where faults are recorded.

        Raises:
            LabelError: the predicted classes cannot be converted to `space`.
        """
        path = self.of(key)
        if path is None:
            faults.add("photos without a prediction", key)
            return None
        try:
            answer = self._read(path, space)
        except Sim2StreetError as error:
            faults.add("predictions that cannot be read", str(error))
            return None
        height, width = answer.labels.shape
        if (width, height) == size:
            return answer
        if abs(width * size[1] - height * size[0]) > SAME_SHAPE * width * size[1]:
            faults.add(
                "predictions with another aspect ratio than their photo",
                f"{path}, {width}×{height} for {size[0]}×{size[1]}",
            )
            return None
        faults.resized += 1
        confidence = answer.confidence
        if confidence is not None:
            rows, columns = (np.arange(new) * old // new for new, old in ((size[1], height), (size[0], width)))
            confidence = confidence[np.ix_(rows, columns)]
        return Answer(resize_labels(answer.labels, size), confidence)

    def check(self) -> None:
        """Raise `DatasetError` if two photos of the set have the same name, so that a prediction could belong to either."""
        twice = [name for name, count in Counter(map(_last_part, self.dataset.keys)).items() if count > 1]
        if twice:
            raise DatasetError(
                f"{self.dataset.describe()} contains {len(twice)} names more than once, such as {twice[0]}. Predictions are"
                " found by name, so score one split at a time."
            )

    def unmatched(self) -> Iterator[Path]:
        """Yield the predictions that belong to no photo of the set."""
        wanted = set(map(_last_part, self.dataset.keys))
        yield from (path for name, path in self.files.items() if name not in wanted)

    def _read(self, path: Path, space: LabelSpace) -> Answer:
        if path.suffix.lower() == PROBABILITIES:
            predicted = Prediction.from_probabilities(read_probabilities(path, self.space), self.space, 0.0, space)
            return Answer(predicted.labels, predicted.confidence)
        stored = read_label_picture(path, name=str(path), by=self.options.read_by)
        convert = self.space.from_colours if stored.ndim == 3 else self.space.from_values
        return Answer(space.relabel(convert(stored, source=str(path)), self.space), None)


def read_probabilities(path: Path, space: LabelSpace) -> NDArray[np.float32]:
    """Read (C, H, W) float32 probabilities of the classes of `space` from an npz file, without pickle.

    Raises:
        LabelError: the file is damaged or larger than `MAX_ARRAY`, does not contain exactly one array of the expected shape,
            or its values are not probabilities.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            sizes = {info.filename: info.file_size for info in archive.infolist()}
        if len(sizes) != 1 or sum(sizes.values()) > MAX_ARRAY:
            raise LabelError(
                f"{path} contains {len(sizes)} arrays of {sum(sizes.values()) / 2**20:.0f} MB; expected one, (C, H, W), of"
                f" up to {MAX_ARRAY / 2**20:.0f} MB"
            )
        with np.load(path, allow_pickle=False) as arrays:
            values = arrays[arrays.files[0]]
    except (OSError, ValueError, zipfile.BadZipFile, EOFError) as error:
        raise LabelError(f"{path} cannot be read as npz: {error}") from error
    if values.ndim != 3 or values.shape[0] != space.count or values.dtype.kind != "f" or 0 in values.shape:
        raise LabelError(
            f"{path} contains {values.dtype} of shape {values.shape}; expected float probabilities of the {space.count}"
            f" classes of {space.name}, ({space.count}, H, W)"
        )
    values = values.astype(np.float32)
    sums = values.sum(axis=0)
    if not (values.min() >= 0 and np.abs(sums - 1).max() <= SUMS):  # written this way, it refuses NaN too
        raise LabelError(
            f"{path} contains values from {values.min():.3g} to {values.max():.3g} with sums over the classes from"
            f" {sums.min():.3g} to {sums.max():.3g}; expected probabilities, which are at least 0 and sum to 1 (logits"
            " need a softmax first)"
        )
    return values


def _last_part(key: str) -> str:
    """The name in a photo's key, without folders and image suffix."""
    name = key.rpartition("/")[2]
    return Path(name).stem if Path(name).suffix.lower() in (*LABEL_SUFFIXES, ".jpg", ".jpeg") else name
