"""Where photos come from: rendered streets, data sets on this machine, and uploads. No UI library in here.

Each ends as a `Scene`: a photo no larger than it is shown, with ground truth of the same size where there is one.
"""

from __future__ import annotations

import base64
import hashlib
import io
import os
import threading
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sim2street.app.content.isolation import WORKERS_OF_SERVER
from sim2street.app.content.panes import LONG_SIDE, display_space, display_truth
from sim2street.models.errors import LabelError, Sim2StreetError
from sim2street.models.labels import CITYSCAPES19, IGNORE, LabelSpace
from sim2street.models.numbering import NUMBERINGS
from sim2street.models.photo import Photo, read_photo
from sim2street.models.photo_labels import read_photo_labels
from sim2street.training.datasets import DATASETS, SegmentationDataset
from sim2street.training.datasets.base import FolderDataset
from sim2street.training.datasets.street_scenes import render
from sim2street.training.predictions import PredictionFolder

PREDICTIONS_VARIABLE: Final = "SIM2STREET_PREDICTIONS"
"""Folders of predictions that were made elsewhere, separated as in PATH."""
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
        numberings: how else the ground truth may have to be read, by its values; keys of `ENCODINGS`.
        key: of a photo of a data set, by which predictions of it are found; empty for others.
    """

    photo: Photo
    space: LabelSpace = CITYSCAPES19
    truth: NDArray[np.uint8] | None = None
    private: bool = False
    numberings: tuple[str, ...] = ()
    key: str = ""


ENCODINGS: Final = NUMBERINGS
"""How an uploaded label image may number its classes, by what people choose."""


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
    remarks = dataset.remarks if isinstance(dataset, FolderDataset) else ()
    photo = Photo(sample.photo, f"{dataset.title}, {sample.key}", digest, remarks)
    return replace(_scene(photo, sample.labels, dataset.labels), key=sample.key)


def prediction_folders(dataset: SegmentationDataset) -> tuple[dict[str, PredictionFolder], list[str]]:
    """Folders of predictions for a data set by name, of those that the environment names, and why others cannot be used."""
    found: dict[str, PredictionFolder] = {}
    problems: list[str] = []
    for part in os.environ.get(PREDICTIONS_VARIABLE, "").split(os.pathsep):
        if not part:
            continue
        try:
            folder = PredictionFolder(part, dataset)
            folder.check()
        except Sim2StreetError as error:
            problems.append(str(error))
            continue
        if any(folder.of(key) is not None for key in dataset.keys):
            found[folder.root.name if folder.root.name not in found else part] = folder
    return found, problems


def uploaded_scene(data: bytes, name: str) -> Scene:
    """Read an uploaded photo.

    Raises:
        PhotoError: it cannot be read as a photo.
    """
    return replace(public_scene(data, name), private=True)


def public_scene(data: bytes, name: str) -> Scene:
    """Read a photo that is nobody's own.

    Raises:
        PhotoError: it cannot be read as a photo.
    """
    return Scene(_photo(data, name))


def with_label_image(scene_data: bytes, scene_name: str, label_data: bytes, label_name: str, encoding: str) -> Scene:
    """Read an uploaded photo together with its label image, whose classes are numbered as `encoding` says.

    Raises:
        PhotoError: one of the two is no picture.
        MisnumberedError: the label image holds other values; it knows which numberings have them.
        LabelError: the label image does not fit the photo, or no pixel has a class.
    """
    photo, numbering = _photo(scene_data, scene_name), ENCODINGS[encoding]
    read = WORKERS_OF_SERVER.run(read_photo_labels, photo, label_data, numbering, name=label_name)
    if (read.labels == IGNORE).all():
        raise LabelError(f"No pixel of {label_name} carries a class when read as {encoding}. Choose another numbering.")
    remarks = list(photo.remarks)
    if photo.orientation != 1:
        remarks.append("its EXIF orientation turns the photo, and the ground truth was brought to fit it")
    # Such a file is read without complaint and scored against the wrong classes.
    found = read.doubt
    if found is not None:
        remarks.append(f"{label_name} looks like {found.suspected} rather than {encoding}: it holds {found.evidence}")
    scene = _scene(replace(photo, remarks=tuple(remarks)), read.labels, numbering.space)
    return replace(scene, private=True, numberings=tuple(other.title for other in found.others) if found else ())


def _photo(data: bytes, name: str) -> Photo:
    """Decode where it can be given up, no larger than it is shown."""
    return WORKERS_OF_SERVER.run(read_photo, data, name=name, long_side=LONG_SIDE)


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


def _scene(photo: Photo, labels: NDArray[np.uint8], labels_space: LabelSpace) -> Scene:
    shown = photo.limited(LONG_SIDE)
    space = display_space(labels_space)
    return Scene(shown, space, display_truth(labels, labels_space, shown.size))
