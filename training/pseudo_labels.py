"""Pseudo-labels: write a checkpoint's confident predictions on photos as a labelled folder.

DIR/images/<photo>.png    the upright photo, without metadata
DIR/labels/<photo>.png    its classes in the label space's stored values, 255 where the confidence is below the threshold
DIR/data.toml             describes the folder, so that recipes and commands can read it with `dataset = "folder"`
DIR/classes.json          the label space, if it is not one of the project's
DIR/pseudo_labels.json    checkpoint and threshold; running an interrupted command again continues it

DAFormer weights a whole picture by the share of its pixels above the threshold. Label images have no weights, so the
threshold is applied to each pixel, as in Zou et al., ECCV 2018 (arXiv:1810.07911), without their class balancing.
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
from sim2street.models.storage.files import read_json, visible, write_json, write_whole
from sim2street.training.datasets.labelled_folder import DATA_FILE
from sim2street.training.datasets.writer import is_whole_png, to_png
from sim2street.training.predict import free_names

MANIFEST: Final = "pseudo_labels.json"
CLASSES: Final = "classes.json"
THRESHOLD: Final = 0.968
"""The threshold of DAFormer and the papers that build on it."""


@dataclass
class Exported:
    """The result of an export.

    Attributes:
        made: number of photos exported now.
        kept: number of photos that were already there.
        counts: (C,) pixels of each class in the photos exported now.
        unsure: pixels below the threshold in the photos exported now.
        unread: a sentence for each photo that could not be read.
    """

    made: int
    kept: int
    counts: NDArray[np.int64]
    unsure: int = 0
    unread: list[str] = field(default_factory=list)


def export_pseudo_labels(
    weights_sha256: str,
    predictor: Predictor,
    photos: Sequence[str],
    out: Path,
    *,
    threshold: float = THRESHOLD,
    progress: Callable[[int, int], None] | None = None,
) -> Exported:
    """Write a network's confident predictions as a labelled folder.

    Args:
        weights_sha256: identifies the weights of `predictor`; all labels in a folder come from the same network.
        predictor: predicts the photos.
        photos: paths of the photos.
        out: folder to write to.
        threshold: smallest probability, in [0,1], at which a pixel's predicted class is kept.
        progress: called with photos done and photos in all.

    Raises:
        ConfigError: the threshold is out of range.
        DatasetError: the folder was written with another checkpoint or threshold, or contains something else.
    """
    if not 0 <= threshold <= 1:
        raise ConfigError(f"The threshold is {threshold:g}; expected a probability from 0 to 1.")
    space = predictor.segmenter.labels
    _claim(out, {"checkpoint": weights_sha256, "threshold": threshold, "flip": predictor.flip})
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
    """Predict (H, W, 3) uint8 RGB: (H, W) uint8 labels, 255 where the predicted class's probability is below the threshold."""
    prediction = predictor(photo)
    return np.where(prediction.confidence >= threshold, prediction.labels, np.uint8(IGNORE)).astype(np.uint8)


def _describe(out: Path, space: LabelSpace) -> None:
    """Write `data.toml`, and the label space if it is not one of the project's."""
    named = space.name
    if LABEL_SPACES.get(space.name) != space:
        named = CLASSES
        write_json(out / CLASSES, space.to_json())
    text = f"# Written by `sim2street export-pseudo-labels`; {MANIFEST} names the checkpoint.\nlabel_space = {json.dumps(named)}\n"
    write_whole(out / DATA_FILE, f'{text}read_by = "value"\n'.encode())


def _claim(out: Path, settings: dict[str, Any]) -> None:
    """Record the settings in the folder, or raise `DatasetError` if it has other settings or other contents."""
    manifest = out / MANIFEST
    if manifest.exists():
        try:
            found = read_json(manifest)
        except UnreadableError:
            found = None
        if found != settings:
            raise DatasetError(
                f"{out.absolute()} was written with another checkpoint or threshold. Export into another folder, or delete"
                " this one."
            )
    elif out.exists() and (not out.is_dir() or visible(out)):
        raise DatasetError(
            f"{out.absolute()} is not empty and was not written by this command. Export into a new or an empty folder."
        )
    out.mkdir(parents=True, exist_ok=True)
    write_json(manifest, settings)
