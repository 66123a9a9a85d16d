"""Predictions that were made elsewhere: a folder of label images, or of probabilities, for the photos of a data set.

    DIR/aachen_000000_000019.png     class numbers or colours, as a label image; or
    DIR/aachen_000000_000019.npz     one array (C, H, W) of probabilities

Files may lie at any depth and are called like the photos of the set. A `data.toml` beside them says what differs, with
the keys of a labelled folder: `label_space` (without it the data set's own), `label_names`, `read_by`, `labels`.
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
"""Bytes of the largest array of probabilities that is read: 19 classes of 27 megapixels."""
SUMS: Final = 0.01
"""By how much probabilities of a pixel may miss one: half precision and rounding cost that much."""
SAME_SHAPE: Final = 0.01
"""Share by which the aspect of a prediction may differ from its photo's."""
NAMED: Final = 3
"""Files of each kind of fault that are named."""


@dataclass(frozen=True, eq=False)
class Answer:
    """What was predicted of one photo.

    Attributes:
        labels: (H, W) uint8, in the space that was asked for; 255 where nothing was predicted.
        confidence: (H, W) float32 in [0,1]; None where only labels are known.
    """

    labels: NDArray[np.uint8]
    confidence: NDArray[np.float32] | None


@dataclass
class Faults:
    """Predictions that cannot be used, by the kind of fault.

    Attributes:
        found: for each kind sentences, each on one file.
        resized: predictions of another size than their photo's that were brought to it.
    """

    found: dict[str, list[str]] = field(default_factory=dict)
    resized: int = 0

    def add(self, kind: str, sentence: str) -> None:
        """Note one."""
        self.found.setdefault(kind, []).append(sentence)

    def describe(self) -> list[str]:
        """One sentence for each kind: how many, and the first of them."""
        said = []
        for kind, sentences in self.found.items():
            more = f"; and {len(sentences) - NAMED} more" if len(sentences) > NAMED else ""
            said.append(f"{len(sentences)} {kind}: {'; '.join(sentences[:NAMED])}{more}")
        if self.resized:
            said.append(f"{self.resized} of another size than the photo, brought to it by nearest neighbour")
        return said


class PredictionFolder:
    """Somebody's predictions for a data set.

    Args:
        root: the folder.
        dataset: the set whose photos were predicted.

    Attributes:
        space: the classes that were predicted.

    Raises:
        DatasetError: there is no such folder, it holds no predictions, or two of one name.
        LabelError, ConfigError: its `data.toml` is wrong.
    """

    def __init__(self, root: str | Path, dataset: SegmentationDataset) -> None:
        self.root = Path(root)
        if not self.root.is_dir():
            raise DatasetError(f"{root} is not a folder; expected one that holds predictions for {dataset.describe()}.")
        self.dataset = dataset
        self.options = FolderOptions.read(self.root)
        given = self.options.model_fields_set
        self.space: LabelSpace = self.options.space(self.root, None) if "label_space" in given else dataset.labels
        self.place = self.options.labels if "labels" in given else ANY
        if not self.files:
            raise DatasetError(
                f"{root} holds no predictions: looked for {self.options.label_names} with"
                f" {', '.join((*LABEL_SUFFIXES, PROBABILITIES))} at any depth."
            )

    @cached_property
    def files(self) -> dict[str, Path]:
        """Predictions by what their names share with the photos'."""
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
                    f"{self.root} holds two predictions called {name}, {found[name].relative_to(self.root)} and"
                    f" {path.relative_to(self.root)}; remove one, or set label_names in {self.root / DATA_FILE}."
                )
            found[name] = path
        return found

    def of(self, key: str) -> Path | None:
        """The file that holds the prediction for the photo of that key; None where there is none."""
        return self.files.get(_last_part(key))

    def read(self, key: str, size: tuple[int, int], space: LabelSpace, faults: Faults) -> Answer | None:
        """The prediction for a photo in the classes of `space`, at `size` = (width, height); None, and a fault, without.

        Raises:
            LabelError: `space` is not made of the classes that were predicted.
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
                "predictions of another shape than their photo", f"{path}, {width}×{height} for {size[0]}×{size[1]}"
            )
            return None
        faults.resized += 1
        confidence = answer.confidence
        if confidence is not None:
            rows, columns = (np.arange(new) * old // new for new, old in ((size[1], height), (size[0], width)))
            confidence = confidence[np.ix_(rows, columns)]
        return Answer(resize_labels(answer.labels, size), confidence)

    def check(self) -> None:
        """Raise `DatasetError` if two photos of the set have one name, so that a prediction could be either's."""
        twice = [name for name, count in Counter(map(_last_part, self.dataset.keys)).items() if count > 1]
        if twice:
            raise DatasetError(
                f"{self.dataset.describe()} holds {len(twice)} names more than once, such as {twice[0]}: predictions are"
                " found by name, so score one split at a time."
            )

    def unmatched(self) -> Iterator[Path]:
        """Predictions for no photo of the set."""
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
    """Read (C, H, W) float32 probabilities of the classes of `space` from an npz file; nothing in it is executed.

    Raises:
        LabelError: it is damaged or too large, holds another number of arrays or classes, or no probabilities.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            sizes = {info.filename: info.file_size for info in archive.infolist()}
        if len(sizes) != 1 or sum(sizes.values()) > MAX_ARRAY:
            raise LabelError(
                f"{path} holds {len(sizes)} arrays of {sum(sizes.values()) / 2**20:.0f} MB; expected one, (C, H, W), of up"
                f" to {MAX_ARRAY / 2**20:.0f} MB"
            )
        with np.load(path, allow_pickle=False) as arrays:
            values = arrays[arrays.files[0]]
    except (OSError, ValueError, zipfile.BadZipFile, EOFError) as error:
        raise LabelError(f"{path} cannot be read as npz: {error}") from error
    if values.ndim != 3 or values.shape[0] != space.count or values.dtype.kind != "f" or 0 in values.shape:
        raise LabelError(
            f"{path} holds {values.dtype} of the shape {values.shape}; expected probabilities of the {space.count} classes"
            f" of {space.name}, ({space.count}, H, W)"
        )
    values = values.astype(np.float32)
    sums = values.sum(axis=0)
    if not (values.min() >= 0 and np.abs(sums - 1).max() <= SUMS):  # so written, NaN is refused too
        raise LabelError(
            f"{path} holds values from {values.min():.3g} to {values.max():.3g} whose sums over the classes reach"
            f" {sums.min():.3g} to {sums.max():.3g}; expected probabilities, which are at least 0 and sum to 1 (logits"
            " need a softmax first)"
        )
    return values


def _last_part(key: str) -> str:
    """Of a photo's key the name without folders and, where it has one, without its ending."""
    name = key.rpartition("/")[2]
    return Path(name).stem if Path(name).suffix.lower() in (*LABEL_SUFFIXES, ".jpg", ".jpeg") else name
