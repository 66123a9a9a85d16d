"""Where a checkpoint errs on a labelled set: scores of every picture, the confusion matrix, and the pixels behind a cell.

A checkpoint predicts every picture once, at the size at which Compare shows it. The predicted labels, the ground truth and
a small copy of the picture are kept, so that any cell of the matrix opens without predicting or rendering again. They are
also stored in the cache and survive a restart. Scores may differ by tenths of a point from those of `sim2street evaluate`,
which scores photos at full size. Imports no UI library.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from sim2street.app.content.background import BACKGROUND, StoppedError, Task
from sim2street.app.content.boundary import boundary_counts, boundary_iou
from sim2street.app.content.byte_cache import ByteCache
from sim2street.app.content.engine import Engine, Failure, Settings
from sim2street.app.content.labelled_sets import LabelledSet
from sim2street.app.content.panes import PNG, Pane
from sim2street.models.errors import LabelError, Sim2StreetError
from sim2street.models.metrics import CALIBRATION_BINS, confusion_matrix, iou_per_class, mean_iou
from sim2street.models.storage.cache import ANALYSES, cache_folder, mark_used
from sim2street.models.storage.checkpoint import Checkpoint
from sim2street.models.storage.files import written_whole

FORMAT: Final = 3
KEPT_BYTES: Final = 96 * 2**20
"""Largest total size of the analyses in memory; one of 100 streets takes about 5 MB."""
CARD_WIDTH: Final = 480
"""Width in pixels of the small picture."""
JPEG: Final = (cv2.IMWRITE_JPEG_QUALITY, 85)
"""Encoding of the small picture, in storage and on pages."""
ARRAYS: Final = ("index", "confusion", "boundary", "entropy", "confidence")
FILES: Final = ("labels", "truth", "picture")
"""Fields of `PhotoFigures` in their order: `ARRAYS` are stored as arrays, `FILES` as encoded images."""
STORED_EVERY: Final = 25
"""Number of pictures after which the results so far are stored."""


@dataclass(frozen=True, eq=False)
class PhotoFigures:
    """One picture, predicted by one checkpoint.

    Attributes:
        index: index of the picture in its set.
        confusion: (C, C) int64 pixels; rows are true classes, columns predicted ones.
        boundary: (2, C) int64 result of `boundary_counts`.
        entropy: (2, 256) int64 scored pixels by entropy, where 255 is an entropy of 1: wrong pixels, then correct ones.
        confidence: (2, 256) int64, the same by the predicted class's probability.
        labels: PNG of the (H, W) uint8 predicted classes.
        truth: PNG of the (H, W) uint8 true classes.
        picture: JPEG of the photo, `CARD_WIDTH` wide.
    """

    index: int
    confusion: NDArray[np.int64]
    boundary: NDArray[np.int64]
    entropy: NDArray[np.int64]
    confidence: NDArray[np.int64]
    labels: bytes
    truth: bytes
    picture: bytes

    @property
    def nbytes(self) -> int:
        """Memory used, in bytes."""
        arrays = self.confusion.nbytes + self.boundary.nbytes + self.entropy.nbytes + self.confidence.nbytes
        return arrays + len(self.labels) + len(self.truth) + len(self.picture)

    @cached_property
    def iou(self) -> NDArray[np.float64]:
        """(C,) IoU of this picture in [0,1]; NaN for a class that is neither present nor predicted."""
        return iou_per_class(self.confusion)

    @property
    def mean_iou(self) -> float:
        """Mean IoU in [0,1] over the classes that are not NaN."""
        return mean_iou(self.iou)

    def predicted(self) -> NDArray[np.uint8]:
        """(H, W) uint8 predicted classes."""
        return _decoded(self.labels, cv2.IMREAD_GRAYSCALE)

    def true(self) -> NDArray[np.uint8]:
        """(H, W) uint8 true classes."""
        return _decoded(self.truth, cv2.IMREAD_GRAYSCALE)

    def photo(self) -> NDArray[np.uint8]:
        """(h, `CARD_WIDTH`, 3) uint8 RGB, the shrunk photo."""
        return _decoded(self.picture, cv2.IMREAD_COLOR)[..., ::-1].copy()


@dataclass(frozen=True, eq=False)
class Summary:
    """Scores over all predicted pictures.

    Attributes:
        confusion: (C, C) int64 pixels; rows are true classes, columns predicted ones.
        iou: (C,) IoU over all pictures in [0,1]; NaN for a class that is neither present nor predicted.
        boundary_iou: (C,) boundary IoU over all pictures in [0,1]; NaN likewise.
        detection: area under the ROC curve of the entropy as a detector of wrong pixels: 0.5 is chance, 1 is perfect;
            NaN if all pixels are correct, or all wrong.
        reliability: per confidence bin, mean confidence and accuracy in [0,1] and share of the pixels; bins without
            pixels are left out.
        sparsification: error in [0,1] of the pixels left when the 0, 10, ... 90 % with the highest entropy are removed.
    """

    confusion: NDArray[np.int64]
    iou: NDArray[np.float64]
    boundary_iou: NDArray[np.float64]
    detection: float
    reliability: list[tuple[float, float, float]]
    sparsification: list[float]


@dataclass(eq=False)
class Analysis:
    """The results of a checkpoint on a set so far; a background task adds to them while pages show them.

    Attributes:
        labelled: the set.
        checkpoint: the checkpoint that predicts.
        photos: the pictures predicted so far.
        problems: a sentence for each picture that failed.
    """

    labelled: LabelledSet
    checkpoint: Checkpoint
    photos: list[PhotoFigures] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def key(self) -> tuple[str, str, str]:
        """Key of the set, fingerprint of its pictures, and hash of the weights."""
        return _key(self.labelled, self.checkpoint)

    @property
    def complete(self) -> bool:
        """Whether every picture has been tried."""
        return len(self.photos) + len(self.problems) >= len(self.labelled)

    @property
    def nbytes(self) -> int:
        """Memory used, in bytes."""
        return sum(photo.nbytes for photo in self.photos)

    def summary(self) -> Summary:
        """Scores over the pictures predicted so far, of which there must be at least one."""
        photos = list(self.photos)
        confusion = sum((photo.confusion for photo in photos), np.zeros_like(photos[0].confusion))
        boundary = sum((photo.boundary for photo in photos), np.zeros_like(photos[0].boundary))
        entropy = sum((photo.entropy for photo in photos), np.zeros((2, 256), np.int64))
        confidence = sum((photo.confidence for photo in photos), np.zeros((2, 256), np.int64))
        return Summary(
            confusion,
            iou_per_class(confusion),
            boundary_iou(boundary),
            detection(*entropy),
            reliability(*confidence),
            sparsification(*entropy),
        )


_KEPT: Final[ByteCache[Analysis]] = ByteCache(KEPT_BYTES)
_LOOKING: Final = threading.Lock()


def analysis_of(labelled: LabelledSet, checkpoint: Checkpoint) -> Analysis:
    """The results of a checkpoint on a set so far: those in memory, otherwise those in the cache, otherwise none."""
    key = _key(labelled, checkpoint)
    with _LOOKING:  # simultaneous requests get the same object, which the task fills
        found = _KEPT.get(key)
        if found is None:
            photos = _stored(_path(labelled, checkpoint), len(labelled), labelled.space.count)
            found = Analysis(labelled, checkpoint, photos)
            _KEPT.put(key, found, found.nbytes)
    if found.checkpoint.name != checkpoint.name:  # the same weights under another name: the same figures
        return Analysis(labelled, checkpoint, found.photos, found.problems)
    return found


def begin(engine: Engine, analysis: Analysis) -> Task:
    """Start to predict the remaining pictures in the background.

    Raises:
        BusyError: too many computations are already waiting.
    """
    return BACKGROUND.start(analysis.key, len(analysis.labelled), lambda task: _read_all(engine, analysis, task))


def task_of(analysis: Analysis) -> Task | None:
    """The latest background task of an analysis, or None."""
    return BACKGROUND.task(analysis.key)


def _read_all(engine: Engine, analysis: Analysis, task: Task) -> None:
    labelled, checkpoint = analysis.labelled, analysis.checkpoint
    analysis.problems.clear()
    known = {photo.index for photo in analysis.photos}
    path = _path(labelled, checkpoint)
    try:
        task.report(len(known))
        for index in range(len(labelled)):
            if index in known:
                continue
            try:
                analysis.photos.append(_read(engine, labelled, index, checkpoint))
            except Sim2StreetError as error:
                analysis.problems.append(f"{labelled.name(index)}: {error}")
            if len(analysis.photos) % STORED_EVERY == 0:
                _store(path, analysis.photos)
            task.report(len(analysis.photos) + len(analysis.problems))
    except StoppedError:
        _store(path, analysis.photos)
        raise
    _store(path, analysis.photos)
    _KEPT.put(analysis.key, analysis, analysis.nbytes)


def _read(engine: Engine, labelled: LabelledSet, index: int, checkpoint: Checkpoint) -> PhotoFigures:
    scene = labelled.scene(index)
    if scene.truth is None:
        raise LabelError("it has no ground truth.")
    pane = engine.read_once(scene, checkpoint, Settings())
    if isinstance(pane, Failure):
        raise Sim2StreetError(pane.reason)
    return photo_figures(index, scene.photo.pixels, scene.truth, pane)


def photo_figures(index: int, pixels: NDArray[np.uint8], truth: NDArray[np.uint8], pane: Pane) -> PhotoFigures:
    """Score a network's prediction (pane) of an (H, W, 3) photo against (H, W) ground truth in the pane's space."""
    assert pane.entropy is not None
    assert pane.confidence is not None  # every network provides both
    scored = truth < pane.space.count
    right = pane.labels[scored] == truth[scored]

    def by_value(plane: NDArray[np.uint8]) -> NDArray[np.int64]:
        values = plane[scored]
        return np.stack([np.bincount(values[chosen], minlength=256) for chosen in (~right, right)])

    size = (CARD_WIDTH, max(1, round(CARD_WIDTH * pixels.shape[0] / pixels.shape[1])))
    small = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)
    return PhotoFigures(
        index,
        confusion_matrix(truth, pane.labels, pane.space.count),
        boundary_counts(truth, pane.labels, pane.space.count),
        by_value(pane.entropy),
        by_value(pane.confidence),
        _encoded(".png", pane.labels, PNG),
        _encoded(".png", truth, PNG),
        _encoded(".jpg", small[..., ::-1], JPEG),
    )


def _encoded(form: str, pixels: NDArray[np.uint8], options: tuple[int, ...]) -> bytes:
    done, data = cv2.imencode(form, pixels, options)
    assert done  # encoding a uint8 image in memory does not fail
    return data.tobytes()


def _decoded(data: bytes, mode: int) -> NDArray[np.uint8]:
    return np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), mode), np.uint8)


def detection(wrong: NDArray[np.int64], right: NDArray[np.int64]) -> float:
    """Area under the ROC curve in [0,1], from (256,) wrong and right pixels by score; ties count half."""
    pairs = float(wrong.sum()) * float(right.sum())
    if not pairs:
        return float("nan")
    below = np.cumsum(right) - right
    return float((wrong * (below + 0.5 * right)).sum() / pairs)


def reliability(wrong: NDArray[np.int64], right: NDArray[np.int64]) -> list[tuple[float, float, float]]:
    """Per bin, mean confidence, accuracy and share of the pixels, from (256,) wrong and right pixels by confidence."""
    confidence = np.arange(256) / 255
    place = np.clip(np.ceil(confidence * CALIBRATION_BINS) - 1, 0, CALIBRATION_BINS - 1).astype(np.int64)
    total = np.bincount(place, weights=wrong + right, minlength=CALIBRATION_BINS)
    mean = np.bincount(place, weights=(wrong + right) * confidence, minlength=CALIBRATION_BINS)
    hits = np.bincount(place, weights=right, minlength=CALIBRATION_BINS)
    return [
        (float(mean[i] / total[i]), float(hits[i] / total[i]), float(total[i] / total.sum()))
        for i in range(CALIBRATION_BINS)
        if total[i]
    ]


def sparsification(wrong: NDArray[np.int64], right: NDArray[np.int64]) -> list[float]:
    """Error in [0,1] of the pixels left when the 0, 10, ... 90 % with the highest entropy are removed.

    Among pixels of equal entropy, wrong and correct ones are removed in proportion (Ilg et al., ECCV 2018).
    """
    count = (wrong + right).astype(np.float64)
    total, errors = count.sum(), []
    rate = np.divide(wrong, count, out=np.zeros(256), where=count > 0)
    below = np.cumsum(count) - count
    for tenths in range(10):
        kept = total * (10 - tenths) / 10
        taken = np.clip(kept - below, 0, count)
        errors.append(float((taken * rate).sum() / kept) if kept else float("nan"))
    return errors


@dataclass(frozen=True)
class Cell:
    """A cell of the confusion matrix, or a whole class.

    Attributes:
        truth: the true class.
        predicted: the predicted class; None for the whole class.
    """

    truth: int
    predicted: int | None = None


@dataclass(frozen=True, eq=False)
class Ranked:
    """A picture in a sorted list.

    Attributes:
        photo: the picture with its scores.
        said: the value by which it is sorted, as text, such as "IoU 23.1" or "1,204 pixels".
    """

    photo: PhotoFigures
    said: str


ORDERS: Final = ("Lowest IoU", "Largest losses", "Largest gains", "Largest disagreement")
"""How pictures can be sorted; all but the first compare with another checkpoint."""


def ranked(
    photos: Sequence[PhotoFigures],
    order: str,
    cell: Cell | None = None,
    others: Sequence[PhotoFigures] = (),
) -> list[Ranked]:
    """Sort pictures, those with the largest errors or changes first; pictures to which the order does not apply are left out.

    Args:
        photos: pictures predicted by the checkpoint.
        order: one of `ORDERS`; ignored for a cell of two classes, which sorts by the number of its pixels.
        cell: the cell or class of interest; None for all classes.
        others: the pictures predicted by the checkpoint that it is compared with.
    """
    if cell is not None and cell.predicted is not None and cell.predicted != cell.truth:
        counts = [(int(photo.confusion[cell.truth, cell.predicted]), photo) for photo in photos]
        return [Ranked(photo, _pixels(count)) for count, photo in sorted(counts, key=_descending) if count]
    if order == ORDERS[0]:
        reached = [(-_iou(photo, cell), photo) for photo in photos]
        return [Ranked(photo, f"IoU {-100 * iou:.1f}") for iou, photo in sorted(reached, key=_descending) if iou == iou]
    partners = {photo.index: photo for photo in others}
    both = [(photo, partners[photo.index]) for photo in photos if photo.index in partners]
    if order == ORDERS[3]:
        shares = [(_disagreement(photo, other), photo) for photo, other in both]
        return [Ranked(photo, f"{100 * share:.0f} % differ") for share, photo in sorted(shares, key=_descending)]
    sign = -1 if order == ORDERS[1] else 1
    gains = [(sign * (_iou(photo, cell) - _iou(other, cell)), photo) for photo, other in both]
    return [
        Ranked(photo, f"{100 * sign * gain:+.1f} points") for gain, photo in sorted(gains, key=_descending) if gain > 0
    ]


def looked_for(photo: PhotoFigures, cell: Cell | None) -> NDArray[np.bool_]:
    """(H, W) mask of the pixels that a cell selects: those of the confusion, all errors of the class, or all errors."""
    predicted, truth = photo.predicted(), photo.true()
    wrong = (predicted != truth) & (truth < len(photo.confusion))
    if cell is None:
        return wrong
    if cell.predicted is None or cell.predicted == cell.truth:
        return wrong & ((truth == cell.truth) | (predicted == cell.truth))
    return (truth == cell.truth) & (predicted == cell.predicted)


def middle_of_largest(mask: NDArray[np.bool_]) -> tuple[int, int] | None:
    """(x, y) of the pixel farthest from the mask's border; None if the mask is empty."""
    if not mask.any():
        return None
    depth = cv2.distanceTransform(np.pad(mask.astype(np.uint8), 1), cv2.DIST_L2, 3)[1:-1, 1:-1]
    y, x = np.unravel_index(int(depth.argmax()), depth.shape)
    return int(x), int(y)


def address_in_compare(analysis: Analysis, photo: PhotoFigures, cell: Cell | None) -> dict[str, str]:
    """Query parameters with which Compare opens a picture, pointing at the pixels that a cell selects."""
    middle = middle_of_largest(looked_for(photo, cell))
    address = analysis.labelled.address(photo.index) | {"layer": "error"}
    return address if middle is None else address | {"pixel": f"{middle[0]},{middle[1]}"}


def _iou(photo: PhotoFigures, cell: Cell | None) -> float:
    return photo.mean_iou if cell is None else float(photo.iou[cell.truth])


def _disagreement(photo: PhotoFigures, other: PhotoFigures) -> float:
    return float((photo.predicted() != other.predicted()).mean())


def _descending(item: tuple[float, PhotoFigures]) -> float:
    return -item[0]


def _pixels(count: int) -> str:
    return f"{count:,} pixel{'' if count == 1 else 's'}"


def _key(labelled: LabelledSet, checkpoint: Checkpoint) -> tuple[str, str, str]:
    return (labelled.key, labelled.fingerprint, checkpoint.config.weights_sha256)


def _path(labelled: LabelledSet, checkpoint: Checkpoint) -> Path:
    name = f"{labelled.pictures.slug}_{labelled.fingerprint[:16]}_{checkpoint.config.weights_sha256[:16]}_{FORMAT}"
    return cache_folder() / ANALYSES / (re.sub(r"[^\w.+-]", "-", name) + ".npz")


def _store(path: Path, photos: Sequence[PhotoFigures]) -> None:
    """Store the results; if the cache cannot be written, they are kept in memory only."""
    if not photos:
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with written_whole(path) as partial, partial.open("wb") as file:  # to a name NumPy would add its own ending
            arrays: dict[str, Any] = {name: np.array([getattr(photo, name) for photo in photos]) for name in ARRAYS}
            for name in FILES:
                data = [getattr(photo, name) for photo in photos]
                arrays |= {
                    name: np.frombuffer(b"".join(data), np.uint8),
                    f"{name}_ends": np.cumsum([len(each) for each in data]),
                }
            np.savez(file, **arrays)  # not compressed: the images, its largest part, already are
    except OSError:
        return


def _stored(path: Path, count: int, classes: int) -> list[PhotoFigures]:
    """Load the stored results; none if the file is missing or damaged, in which case they are computed again."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            rows = zip(*(stored[name] for name in ARRAYS), *(_files(stored, name) for name in FILES), strict=True)
            photos = [PhotoFigures(int(index), *figures) for index, *figures in rows]
    except Exception:  # whatever a damaged file makes NumPy raise
        return []
    if any(not 0 <= photo.index < count or photo.confusion.shape != (classes, classes) for photo in photos):
        return []
    mark_used(path)
    return photos


def _files(stored: Mapping[str, NDArray[Any]], name: str) -> list[bytes]:
    """Split an array of concatenated files."""
    data, ends = stored[name].tobytes(), stored[f"{name}_ends"].tolist()
    return [data[start:end] for start, end in zip([0, *ends], ends, strict=False)]
