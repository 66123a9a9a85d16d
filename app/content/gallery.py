"""Where photos come from: rendered streets, data sets on this machine, and uploads. No UI library in here.

Each ends as a `Scene`: a photo no larger than it is shown, with ground truth of the same size where there is one.
"""

from __future__ import annotations

import base64
import hashlib
import io
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sim2street.app.content.panes import LONG_SIDE, display_space, display_truth
from sim2street.models.errors import LabelError
from sim2street.models.labels import CAMVID11, CITYSCAPES19, IGNORE, LabelSpace, train_ids_from_label_ids
from sim2street.models.photo import Photo, read_label_image, read_photo
from sim2street.training.datasets import DATASETS, SegmentationDataset
from sim2street.training.datasets.street_scenes import render

RENDERED: Final = "Rendered streets"
OWN: Final = "Your photo"
"""Both pages' words for the sources that are always there."""

FIRST_SCENE: Final = 2_000_000
"""Index of the gallery's street 0, beyond every scene that is trained on or scored."""
SCENE_SIZE: Final = (512, 256)
"""(width, height) in pixels of a rendered scene; the shape of Cityscapes' photos."""
ONE_PAINTER: Final = threading.Lock()
"""The renderer works for one thread at a time: OpenCV's number of threads and the sprites that are drawn when first needed
belong to the process. Of 240 scenes that 50 threads painted at once, 2 had other pixels than when painted alone."""
THUMBNAIL: Final = (168, 84)
"""(width, height) in pixels of a small picture in the gallery."""


@dataclass(frozen=True, eq=False)
class Scene:
    """A photo ready to be shown and read.

    Attributes:
        photo: longest side at most `panels.LONG_SIDE`.
        space: classes of panes and legend, the ground truth's where that merges classes.
        truth: (H, W) uint8 in `space`, of the photo's size, or None.
        private: whether it is a person's own and must not be kept beyond the session.
    """

    photo: Photo
    space: LabelSpace = CITYSCAPES19
    truth: NDArray[np.uint8] | None = None
    private: bool = False


def _from_camvid(values: NDArray[np.uint8]) -> NDArray[np.uint8]:
    # CamVid's eleven-class label images number "unlabelled" right after the classes.
    return np.where(values == CAMVID11.count, IGNORE, values).astype(np.uint8)


ENCODINGS: Final[dict[str, tuple[LabelSpace, Callable[[NDArray[np.uint8]], NDArray[np.uint8]]]]] = {
    "Cityscapes train ids (0–18)": (CITYSCAPES19, np.asarray),
    "Cityscapes label ids (0–33)": (CITYSCAPES19, train_ids_from_label_ids),
    "CamVid classes (0–10)": (CAMVID11, _from_camvid),
}
"""How an uploaded label image may number its classes."""


def rendered_scene(style: str, number: int) -> Scene:
    """Render street `number` in a style; the labels are exact."""
    with ONE_PAINTER:
        rendered = render(style, FIRST_SCENE + number, size=SCENE_SIZE)
    digest = hashlib.sha256(rendered.photo.tobytes()).hexdigest()
    photo = Photo(rendered.photo, f"Rendered street {number}, {style}", digest)
    return Scene(photo, CITYSCAPES19, rendered.labels)


def available_photo_sets() -> list[type[SegmentationDataset]]:
    """Data sets of real photos whose folder is configured."""
    return [kind for kind in DATASETS.values() if kind.gallery and kind.is_configured()]


def photo_set_scene(dataset: SegmentationDataset, index: int) -> Scene:
    """Read one labelled photo of a data set."""
    sample = dataset.read(index)
    digest = hashlib.sha256(sample.photo.tobytes()).hexdigest()
    photo = Photo(sample.photo, f"{dataset.title}, {sample.key}", digest)
    return _scene(photo, sample.labels, dataset.labels)


def uploaded_scene(data: bytes, name: str) -> Scene:
    """Read an uploaded photo.

    Raises:
        PhotoError: it cannot be read as a photo.
    """
    return replace(_scene(read_photo(data, name=name), None, CITYSCAPES19), private=True)


def with_label_image(scene_data: bytes, scene_name: str, label_data: bytes, label_name: str, encoding: str) -> Scene:
    """Read an uploaded photo together with its label image, whose classes are numbered as `encoding` says.

    Raises:
        PhotoError: one of the two is no picture.
        LabelError: the label image holds other values, or is of another size.
    """
    photo = read_photo(scene_data, name=scene_name)
    stored = read_label_image(label_data, name=label_name)
    if (stored.shape[1], stored.shape[0]) != photo.size:
        raise LabelError(
            f"{label_name} measures {stored.shape[1]}×{stored.shape[0]} pixels and the photo {photo.size[0]}×{photo.size[1]};"
            " a label image has the size of its photo."
        )
    space, convert = ENCODINGS[encoding]
    labels = convert(stored)
    space.check(labels, source=label_name)
    if (labels == IGNORE).all():
        raise LabelError(f"No pixel of {label_name} carries a class when read as {encoding}. Choose another numbering.")
    if space is not CAMVID11 and stored[stored != IGNORE].max(initial=0) <= CAMVID11.count:
        # Such a file is read without complaint and scored against the wrong classes.
        remark = (
            f"{label_name} holds no number above {CAMVID11.count}, like CamVid's; if it is one of those, say so above"
        )
        photo = replace(photo, remarks=(*photo.remarks, remark))
    return replace(_scene(photo, labels, space), private=True)


def thumbnail(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Crop (H, W, 3) uint8 around its middle to the gallery's shape and shrink it."""
    image = Image.fromarray(pixels)
    scale = max(THUMBNAIL[0] / image.width, THUMBNAIL[1] / image.height)
    image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.LANCZOS)
    left, top = (image.width - THUMBNAIL[0]) // 2, (image.height - THUMBNAIL[1]) // 2
    return np.asarray(image.crop((left, top, left + THUMBNAIL[0], top + THUMBNAIL[1])))


def thumbnail_jpeg(scene: Scene) -> str:
    """A scene's photo as a small base64 JPEG."""
    buffer = io.BytesIO()
    Image.fromarray(thumbnail(scene.photo.pixels)).save(buffer, "JPEG", quality=85)
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def _scene(photo: Photo, labels: NDArray[np.uint8] | None, labels_space: LabelSpace) -> Scene:
    shown = photo.limited(LONG_SIDE)
    if labels is None:
        return Scene(shown)
    space = display_space(labels_space)
    return Scene(shown, space, display_truth(labels, labels_space, shown.size))
