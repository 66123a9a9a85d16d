"""Pseudo-labels: photos × a checkpoint -> a labelled folder of what the checkpoint is sure of.

DIR/images/<photo>.png    the upright photo, without metadata
DIR/labels/<photo>.png    its classes as the label space stores them, 255 where the network is less sure than the threshold
DIR/data.toml             how to read them: `dataset = "folder"` of recipes and commands takes the folder as it is
DIR/classes.json          the classes, where they are none of the project's
DIR/pseudo_labels.json    what they were made of; a call that was cut off goes on

DAFormer weighs a whole picture by the share of its pixels above the threshold; a label image has no weights, so that the
threshold is applied pixel by pixel, as in Zou et al., ECCV 2018 (arXiv:1810.07911), without their balance of classes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sim2street.models.errors import ConfigError, DatasetError, Sim2StreetError, UnreadableError
from sim2street.models.label_space import IGNORE, LabelSpace
from sim2street.models.labels import LABEL_SPACES
from sim2street.models.photo import read_photo
from sim2street.models.predictor import Predictor
from sim2street.models.storage.checkpoint import Checkpoint
from sim2street.models.storage.files import read_json, visible, write_json, write_whole
from sim2street.training.datasets.labelled_folder import DATA_FILE
from sim2street.training.datasets.writer import is_whole_png, to_png
from sim2street.training.predict import free_names

MANIFEST: Final = "pseudo_labels.json"
CLASSES: Final = "classes.json"
THRESHOLD: Final = 0.968
"""DAFormer's, and that of the papers after it."""


@dataclass
class Exported:
    """What was written.

    Attributes:
        made: photos that were read now.
        kept: photos that were there.
        counts: (C,) pixels of each class in the photos read now.
        unsure: pixels of them below the threshold.
        unread: a sentence for each photo that could not be read.
    """

    made: int
    kept: int
    counts: NDArray[np.int64]
    unsure: int = 0
    unread: list[str] = field(default_factory=list)


def export_pseudo_labels(
    checkpoint: Checkpoint,
    predictor: Predictor,
    photos: Sequence[str],
    out: Path,
    *,
    threshold: float = THRESHOLD,
    progress: Callable[[int, int], None] | None = None,
) -> Exported:
    """Write a labelled folder of what a checkpoint is sure of.

    Args:
        checkpoint: whose network `predictor` has.
        predictor: reads the photos.
        photos: files.
        out: folder to fill.
        threshold: probability in [0,1] from which on the likeliest class is kept.
        progress: called with photos done and photos in all.

    Raises:
        ConfigError: the threshold is out of range.
        DatasetError: the folder was filled by another checkpoint or threshold, or holds something else.
    """
    if not 0 <= threshold <= 1:
        raise ConfigError(f"The threshold is {threshold:g}; expected a probability from 0 to 1.")
    space = predictor.segmenter.labels
    _claim(out, {"checkpoint": checkpoint.config.weights_sha256, "threshold": threshold, "flip": predictor.flip})
    _describe(out, space)
    exported = Exported(0, 0, np.zeros(space.count, np.int64))
    for number, (source, name) in enumerate(zip(photos, free_names(photos), strict=True), start=1):
        files = out / "images" / f"{name}.png", out / "labels" / f"{name}.png"
        if all(map(is_whole_png, files)):
            exported.kept += 1
        else:
            try:
                photo = read_photo(source).pixels
            except Sim2StreetError as error:
                exported.unread.append(str(error))
            else:
                labels = sure_labels(predictor, photo, threshold)
                exported.counts += np.bincount(labels.ravel(), minlength=IGNORE + 1)[: space.count]
                exported.unsure += int((labels == IGNORE).sum())
                for file, pixels in zip(files, (photo, space.to_values(labels)), strict=True):
                    file.parent.mkdir(parents=True, exist_ok=True)
                    write_whole(file, to_png(pixels))
                exported.made += 1
        if progress is not None:
            progress(number, len(photos))
    return exported


def sure_labels(predictor: Predictor, photo: NDArray[np.uint8], threshold: float) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 RGB -> (H, W) uint8 labels, 255 where the likeliest class is less probable than the threshold."""
    prediction = predictor(photo)
    return np.where(prediction.confidence >= threshold, prediction.labels, np.uint8(IGNORE)).astype(np.uint8)


def _describe(out: Path, space: LabelSpace) -> None:
    """Write `data.toml`, and the classes where the project does not know them."""
    named = space.name
    if LABEL_SPACES.get(space.name) != space:
        named = CLASSES
        write_json(out / CLASSES, space.to_json())
    text = (
        f"# Written by `sim2street export-pseudo-labels`; {MANIFEST} says of what.\nlabel_space = {json.dumps(named)}\n"
    )
    write_whole(out / DATA_FILE, f'{text}read_by = "value"\n'.encode())


def _claim(out: Path, settings: dict[str, Any]) -> None:
    """Bind the folder to what fills it."""
    manifest = out / MANIFEST
    if manifest.exists():
        try:
            found = read_json(manifest)
        except UnreadableError:
            found = None
        if found != settings:
            raise DatasetError(
                f"{out.absolute()} was filled by another checkpoint or with another threshold. Export into another folder,"
                " or delete this one."
            )
    elif out.exists() and (not out.is_dir() or visible(out)):
        raise DatasetError(f"{out.absolute()} holds something else. Export into a new or an empty folder.")
    out.mkdir(parents=True, exist_ok=True)
    write_json(manifest, settings)
