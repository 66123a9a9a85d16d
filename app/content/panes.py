"""Prediction -> what is shown of it: one bundle of JSON and PNG planes that every surface draws.

A prediction of one megapixel holds 76 MB of probabilities. `pane` keeps what a person can look at (labels, entropy,
confidence and the three likeliest classes, a byte each), `bundle` packs the panes of several methods with the photo
and the ground truth. The viewer colours, toggles and compares them without asking again. No UI library in here.
"""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sim2street.models.drawing import overlay
from sim2street.models.errors import LabelError
from sim2street.models.label_space import IGNORE, LabelSpace, hex_colour
from sim2street.models.labels import CITYSCAPES19
from sim2street.models.metrics import confusion_matrix, iou_per_class, mean_iou, pixel_accuracy
from sim2street.models.photo import Photo

if TYPE_CHECKING:  # it imports PyTorch, which the first paint does without
    from sim2street.models.prediction import Prediction

LONG_SIDE: Final = 1024
"""Longest side, in pixels, at which a photo is read and shown: it bounds time on a CPU and the bundle's size."""
PROBE_SIDE: Final = 640
"""Longest side of the grid on which the three likeliest classes are kept and the entropy is shown; every pixel up to this size."""
CANDIDATES: Final = 3
"""Classes listed under the pointer."""

PNG: Final = (
    *(cv2.IMWRITE_PNG_COMPRESSION, 1),
    *(cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE),
    *(cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_UP),
)
"""Planes are flat areas: run lengths serve them as well as a search does. Trying all filters on every row instead of one
takes twice the time for an eighth fewer bytes."""

BUNDLE_FORMAT: Final = 1
IMAGES: Final = ("image", "labels", "entropy", "candidates", "candidateShares", "error", "translated")
"""What a part of a bundle holds as base64."""

# Hues that red-green blindness keeps apart (after Okabe and Ito), one family per kind of thing, told apart inside
# a family by lightness: greys are ground, ochres walls, yellows signals, oranges people, blues vehicles.
# fmt: off
SAFE_COLOURS: Final = {
    "road": "#474747", "sidewalk": "#a9a9a9", "pavement": "#a9a9a9", "building": "#7d6428", "wall": "#a58a4c",
    "fence": "#cbb682", "pole": "#efe4c3", "traffic light": "#ffd21f", "traffic sign": "#fff07a", "sign": "#fff07a",
    "vegetation": "#007f5f", "tree": "#007f5f", "terrain": "#86d3b8", "sky": "#d4ecff", "person": "#d55e00",
    "pedestrian": "#d55e00", "rider": "#ff9d5c", "bicyclist": "#ff9d5c", "car": "#0072b2", "truck": "#003a63",
    "bus": "#56b4e9", "train": "#2f5fd0", "motorcycle": "#cc79a7", "bicycle": "#7d3a5c",
}
# fmt: on


@dataclass(frozen=True, eq=False)
class Pane:
    """What one method says of one photo, a byte a value.

    Attributes:
        space: what the labels are; the ground truth's space where that is coarser, else the network's.
        labels: (H, W) uint8, most probable class of `space`.
        entropy: (H, W) uint8, 255 for an entropy of 1; always of the network's own classes. None, as all that follows,
            where nothing but labels is known.
        confidence: (H, W) uint8, 255 for a probability of 1 of the predicted class.
        candidates: (h, w, 3) uint8 classes, most probable first, of every `stride`-th pixel.
        candidate_shares: (h, w, 3) uint8, their probabilities, 255 for 1.
        stride: step of the candidates' grid, in pixels.
        mean_entropy: over all pixels, in [0,1].
        seconds: wall-clock time of the prediction.
    """

    space: LabelSpace
    labels: NDArray[np.uint8]
    entropy: NDArray[np.uint8] | None = None
    confidence: NDArray[np.uint8] | None = None
    candidates: NDArray[np.uint8] | None = None
    candidate_shares: NDArray[np.uint8] | None = None
    stride: int = 1
    mean_entropy: float | None = None
    seconds: float | None = None

    @cached_property
    def class_shares(self) -> list[float]:
        """Share of the pixels that carry each class, summing to one."""
        return _class_shares(self.labels, self.space)

    @property
    def shown(self) -> dict[str, NDArray[np.uint8]]:
        """What the viewer gets: the labels of every pixel, the rest on the candidates' grid.

        Most networks make maps a quarter as wide as the photo or less, so a grid of every second pixel loses hardly any detail
        of probabilities. The first share is the confidence.
        """
        arrays = {
            "labels": self.labels,
            "entropy": None if self.entropy is None else _on_grid(self.entropy, self.stride),
            "candidates": self.candidates,
            "candidateShares": self.candidate_shares,
        }
        return {name: values for name, values in arrays.items() if values is not None}

    @cached_property
    def planes(self) -> dict[str, Any]:
        """`shown` as base64 PNG, encoded once however often the page is drawn."""
        return {**{name: encode_plane(values) for name, values in self.shown.items()}, "stride": self.stride}


@dataclass(frozen=True, eq=False)
class Score:
    """One pane against ground truth, on this one image.

    Attributes:
        iou: (C,) float64 in [0,1], NaN for classes in neither truth nor prediction.
        mean_iou: mean over the classes that are not NaN.
        accuracy: share of scored pixels that are right.
        error: (H, W) uint8: 0 right, 1 wrong, 255 not scored.
    """

    iou: NDArray[np.float64]
    mean_iou: float
    accuracy: float
    error: NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Reading:
    """A pane with the name and colour of the method it is of, and how right it is.

    Attributes:
        key: the checkpoint's name, unique on the page.
        title: short name for people, such as "ADVENT".
        note: what it was trained on, such as "game → camvid".
        colour: CSS hex colour of the method.
        pane: what it says of the photo.
        score: against the photo's ground truth, or None without one.
        shared: whether its classes are those of the ground truth and of the other methods; else it stands for itself.
    """

    key: str
    title: str
    note: str
    colour: str
    pane: Pane
    score: Score | None = None
    shared: bool = True


def display_space(truth_space: LabelSpace | None) -> LabelSpace:
    """The space in which methods and ground truth are shown and scored.

    A ground truth with other classes (CamVid) sets it; one that only lacks some (SYNTHIA) is shown among the 19.
    """
    return CITYSCAPES19 if truth_space is None or truth_space.is_part_of(CITYSCAPES19) else truth_space


def display_truth(labels: NDArray[np.uint8], space: LabelSpace, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Bring (H, W) ground truth of `space` to its display space and to `size`, (width, height) in pixels."""
    space.check(labels, source="the ground truth")
    labels = display_space(space).relabel(labels, space)
    if (labels.shape[1], labels.shape[0]) != size:
        labels = np.asarray(Image.fromarray(labels).resize(size, Image.Resampling.NEAREST))
    return labels


def pane(prediction: Prediction) -> Pane:
    """Quantise a prediction for display in its space."""
    stride = -(-max(prediction.labels.shape) // PROBE_SIDE)
    classes, shares = prediction.candidates(CANDIDATES, stride)
    return Pane(
        space=prediction.space,
        labels=prediction.labels,
        entropy=_byte(prediction.entropy),
        confidence=_byte(prediction.confidence),
        # Views: in memory they stay planes, as `encode_plane` reads them.
        candidates=np.moveaxis(classes, 0, -1),
        candidate_shares=np.moveaxis(_byte(shares), 0, -1),
        stride=stride,
        mean_entropy=float(prediction.entropy.mean()),
        seconds=prediction.seconds,
    )


def score(shown: Pane, truth: NDArray[np.uint8]) -> Score:
    """Compare a pane with (H, W) ground truth in the pane's space.

    Raises:
        LabelError: the two differ in size.
    """
    if truth.shape != shown.labels.shape:
        raise LabelError(
            f"The ground truth measures {truth.shape[1]}×{truth.shape[0]} pixels and the photo"
            f" {shown.labels.shape[1]}×{shown.labels.shape[0]}; they must be of one size."
        )
    count = shown.space.count
    predicted = np.where(shown.labels == IGNORE, np.uint8(count), shown.labels)  # nothing was predicted there
    confusion = confusion_matrix(truth, predicted, count + 1)[:count]
    iou = iou_per_class(confusion)
    error = np.where(truth >= shown.space.count, IGNORE, truth != shown.labels).astype(np.uint8)
    return Score(iou, mean_iou(iou), pixel_accuracy(confusion), error)


def disagreement(labels: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
    """Share of the methods that differ from the most common label of a pixel.

    Args:
        labels: one (H, W) uint8 per method.

    Returns:
        (H, W) float32 in [0,1): 0 where all agree, 1 - 1/n where n methods name n classes.
    """
    stack = np.stack(labels)
    votes = np.zeros(stack.shape[1:], np.uint8)
    for candidate in stack:
        np.maximum(votes, (stack == candidate).sum(axis=0, dtype=np.uint8), out=votes)
    return 1 - votes.astype(np.float32) / np.float32(len(stack))


def bundle(
    photo: Photo,
    readings: Sequence[Reading],
    *,
    space: LabelSpace = CITYSCAPES19,
    truth: NDArray[np.uint8] | None = None,
    waiting: Sequence[Mapping[str, str]] = (),
    failed: Sequence[Mapping[str, str]] = (),
) -> dict[str, Any]:
    """Pack all that the viewer draws.

    Args:
        photo: already limited to the size of the panes.
        readings: all in `space` and at the photo's size; those that share its classes scored where there is a `truth`.
        space: the classes of the panes and of the legend.
        truth: (H, W) uint8 ground truth in `space`.
        waiting: `title`, `note` and `colour` of methods that are still to come, shown as empty panes.
        failed: the same with a `reason`, of methods that could not read the photo.

    Returns:
        A dict fit for `json.dumps`. Images are base64 PNG (the photo: JPEG); class values are indices, 255 none.
    """
    width, height = photo.size
    alike = [reading.pane.labels for reading in readings if reading.shared]
    return {
        "format": BUNDLE_FORMAT,
        "photo": {"name": photo.name, "digest": photo.digest, "image": _jpeg(photo.pixels)},
        "width": width,
        "height": height,
        "space": space.name,
        "classes": _legend(space),
        "truth": None if truth is None else {"labels": encode_plane(truth), "shares": _class_shares(truth, space)},
        "methods": [_packed(reading) for reading in readings],
        "waiting": [dict(method) for method in waiting],
        "failed": [dict(method) for method in failed],
        "disagreement": encode_plane(_byte(disagreement(alike))) if len(alike) > 1 else None,
    }


def images_apart(bundle: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, dict[str, str]]]:
    """Take the images out of a bundle's photo, ground truth and methods, which are the same in all states of a page.

    Returns:
        The bundle whose parts say `images`, a digest, in their place; and the images by that digest.
    """
    images: dict[str, dict[str, str]] = {}

    def without(part: Mapping[str, Any]) -> dict[str, Any]:
        taken = {name: part[name] for name in IMAGES if name in part}
        digest = hashlib.sha256("\n".join(f"{name} {image}" for name, image in taken.items()).encode()).hexdigest()
        images[digest] = taken
        return {name: value for name, value in part.items() if name not in taken} | {"images": digest}

    truth = bundle["truth"]
    state = {
        **bundle,
        "photo": without(bundle["photo"]),
        "truth": None if truth is None else without(truth),
        "methods": [without(method) for method in bundle["methods"]],
    }
    return state, images


def label_image(shown: Pane) -> bytes:
    """The labels as a palette PNG: indices are the class values, colours the space's; nothing else is stored."""
    height, width = shown.labels.shape
    image = Image.frombytes("P", (width, height), shown.labels.tobytes())
    table = np.zeros((256, 3), np.uint8)
    table[: shown.space.count] = shown.space.palette
    image.putpalette(table.ravel().tolist())
    return _bytes(image, "PNG")


def overlay_image(photo: Photo, shown: Pane, opacity: float = 0.6) -> bytes:
    """The photo with the labels' colours laid over it, as PNG without any metadata."""
    mixed = overlay(photo.pixels, shown.space.colourise(shown.labels), shown.labels, opacity)
    return _bytes(Image.fromarray(mixed), "PNG")


def _packed(reading: Reading) -> dict[str, Any]:
    """A reading as the viewer draws it."""
    method = {
        "key": reading.key,
        "title": reading.title,
        "note": reading.note,
        "colour": reading.colour,
        "seconds": reading.pane.seconds,
        "meanEntropy": reading.pane.mean_entropy,
        "shares": reading.pane.class_shares,
        **reading.pane.planes,
    }
    if reading.score is not None:
        method["error"] = encode_plane(reading.score.error)
        method["iou"] = [_known(value) for value in reading.score.iou]
        method["meanIou"] = _known(reading.score.mean_iou)
        method["accuracy"] = _known(reading.score.accuracy)
    return method


def _legend(space: LabelSpace) -> list[dict[str, str]]:
    """Names and colours of the classes."""
    return [
        {"name": name, "colour": hex_colour(colour), "safe": SAFE_COLOURS.get(name, hex_colour(colour))}
        for name, colour in zip(space.names, space.colours, strict=True)
    ]


def _known(value: float) -> float | None:
    """A number that JSON knows; None for NaN."""
    return None if np.isnan(value) else float(value)


def _byte(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Shares in [0,1] as bytes, rounded to the nearest, of halves the even one."""
    flat = np.ascontiguousarray(values).reshape(len(values), -1)  # of two axes, as OpenCV takes the third for colours
    return np.asarray(cv2.convertScaleAbs(flat, alpha=255), np.uint8).reshape(values.shape)


def _class_shares(labels: NDArray[np.uint8], space: LabelSpace) -> list[float]:
    """Share of the pixels that carry each class; counted by OpenCV, in a third of NumPy's time."""
    counts = cv2.calcHist([np.ascontiguousarray(labels)], [0], None, [256], [0, 256])
    return (counts.ravel()[: space.count].astype(np.float64) / labels.size).tolist()


def _on_grid(values: NDArray[np.uint8], stride: int) -> NDArray[np.uint8]:
    """(H, W) values at the pixels for which `Prediction.candidates` has classes."""
    first, left = (min(stride // 2, side - 1) for side in values.shape)
    return values[first::stride, left::stride]


def encode_plane(values: NDArray[np.uint8]) -> str:
    """(H, W) or RGB (H, W, 3) as base64 PNG, by OpenCV, which takes a third of Pillow's time at the same size."""
    # OpenCV expects BGR; its `merge` reorders in a tenth of NumPy's time.
    stored = values if values.ndim == 2 else cv2.merge([values[..., channel] for channel in (2, 1, 0)])
    done, png = cv2.imencode(".png", np.ascontiguousarray(stored), PNG)
    assert done  # of a byte image in memory
    return base64.b64encode(png.tobytes()).decode("ascii")


def _jpeg(pixels: NDArray[np.uint8]) -> str:
    return base64.b64encode(_bytes(Image.fromarray(pixels), "JPEG", quality=92, subsampling=0)).decode("ascii")


def _bytes(image: Image.Image, form: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()
