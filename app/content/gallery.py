"""Photos to compare on: rendered streets, data sets on this machine, and uploads. Imports no UI library.

Each becomes a `Scene`: a photo at display size, with ground truth of the same size if there is any.
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

from sim2street.app.content.decode_workers import WORKERS_OF_SERVER
from sim2street.app.content.panes import LONG_SIDE, display_space, display_truth
from sim2street.models.errors import Sim2StreetError
from sim2street.models.labels import CITYSCAPES19, LabelSpace
from sim2street.models.numbering import NUMBERINGS
from sim2street.models.photo import Photo, read_photo
from sim2street.models.photo_labels import read_photo_labels
from sim2street.training.datasets import DATASETS, SegmentationDataset
from sim2street.training.datasets.base import FolderDataset
from sim2street.training.datasets.street_scenes import render
from sim2street.training.external_predictions import PredictionFolder

PREDICTIONS_VARIABLE: Final = "SIM2STREET_PREDICTIONS"
"""Environment variable with folders of predictions made elsewhere, separated as in PATH."""
RENDERED: Final = "Rendered streets"
OWN: Final = "Your photo"
"""Names of the two sources that are always available."""

FIRST_SCENE: Final = 2_000_000
"""Renderer index of the gallery's street 0, beyond all scenes used for training or scoring."""
SCENE_SIZE: Final = (512, 256)
"""(width, height) in pixels of a rendered scene, with the aspect ratio of Cityscapes photos."""
RENDER_LOCK: Final = threading.Lock()
"""Only one thread may render at a time, since OpenCV's thread count and the lazily drawn sprites are global to the process.
Of 240 scenes rendered in 50 threads at once, 2 differed from those rendered alone."""
THUMBNAIL: Final = (168, 84)
"""(width, height) in pixels of a thumbnail in the gallery."""


@dataclass(frozen=True, eq=False)
class Scene:
    """A photo ready to be shown and predicted.

    Attributes:
        photo: longest side at most `panes.LONG_SIDE`.
        space: classes of panes and legend; the ground truth's classes if those are coarser.
        truth: (H, W) uint8 in `space`, of the photo's size, or None.
        private: whether it is the user's own and must not be kept beyond the session.
        numberings: keys of `ENCODINGS` that fit the values of the ground truth better than the chosen one.
        key: key of a data set's photo, by which predictions made elsewhere are found; empty for other photos.
    """

    photo: Photo
    space: LabelSpace = CITYSCAPES19
    truth: NDArray[np.uint8] | None = None
    private: bool = False
    numberings: tuple[str, ...] = ()
    key: str = ""


ENCODINGS: Final = NUMBERINGS
"""Numberings that users can choose for an uploaded label image, by title."""


def rendered_scene(style: str, number: int) -> Scene:
    """Render street `number` of the gallery in a style, with its exact labels."""
    with RENDER_LOCK:
        rendered = render(style, FIRST_SCENE + number, size=SCENE_SIZE)
    return scene_of_street(style, number, rendered.photo, rendered.labels)


def scene_of_street(style: str, number: int, pixels: NDArray[np.uint8], labels: NDArray[np.uint8]) -> Scene:
    """The scene of a street that has been rendered."""
    photo = Photo(pixels, f"Rendered street {number}, {style}", hashlib.sha256(pixels.tobytes()).hexdigest())
    return Scene(photo, CITYSCAPES19, labels)


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
    """Usable folders of `PREDICTIONS_VARIABLE` with predictions for a data set, by name, and why others cannot be used."""
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
    """Read a photo that may be kept beyond the session.

    Raises:
        PhotoError: it cannot be read as a photo.
    """
    return Scene(_photo(data, name))


def with_label_image(scene_data: bytes, scene_name: str, label_data: bytes, label_name: str, encoding: str) -> Scene:
    """Read an uploaded photo and its label image, whose classes are numbered by `encoding`, a key of `ENCODINGS`.

    Raises:
        PhotoError: one of the two cannot be read as a picture.
        MisnumberedError: `encoding` does not have the values of the label image, or no class for any; lists the numberings that do.
        LabelError: the label image does not fit the photo.
    """
    photo, numbering = _photo(scene_data, scene_name), ENCODINGS[encoding]
    read = WORKERS_OF_SERVER.run(read_photo_labels, photo, label_data, numbering, name=label_name)
    remarks = list(photo.remarks)
    if photo.orientation != 1:
        remarks.append("the photo is turned by its EXIF orientation, and the ground truth was turned to match")
    # The values are valid in both numberings, so without this remark the wrong classes would be scored silently.
    found = read.mismatch
    if found is not None:
        remarks.append(
            f"{label_name} looks like {found.suspected} rather than {encoding}: it contains {found.evidence}"
        )
    scene = _scene(replace(photo, remarks=tuple(remarks)), read.labels, numbering.space)
    return replace(scene, private=True, numberings=tuple(other.title for other in found.others) if found else ())


def _photo(data: bytes, name: str) -> Photo:
    """Decode in a worker process, at display size."""
    return WORKERS_OF_SERVER.run(read_photo, data, name=name, long_side=LONG_SIDE)


def thumbnail(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Crop (H, W, 3) uint8 around its centre and shrink it to `THUMBNAIL`."""
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
