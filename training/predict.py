"""Predict: photos × predictors -> a folder of pictures and one summary.

DIR/<photo>/<checkpoint>/labels.png    train ids at the upright photo's size
DIR/<photo>/<checkpoint>/overlay.png   the same in colour, laid over the photo
DIR/<photo>/<checkpoint>/entropy.png   normalised entropy as a heatmap, dark 0 to bright 1
DIR/summary.json                       class shares, mean entropy and seconds of every pair
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from PIL import Image

from sim2street.models.drawing import heatmap, overlay
from sim2street.models.errors import PhotoError, Sim2StreetError
from sim2street.models.photo import read_photo
from sim2street.models.prediction import Prediction
from sim2street.models.predictor import Predictor
from sim2street.models.storage.files import write_json, written_whole
from sim2street.training.datasets.listing import Listing, say_once

LOGGER: Final = logging.getLogger(__name__)


def photos_of(sources: Sequence[str]) -> list[str]:
    """The photos that the arguments name: files themselves, and all photos below folders.

    Skipped files of a folder are logged once.

    Raises:
        PhotoError: a folder contains no photo.
    """
    photos: list[str] = []
    for source in sources:
        folder = Path(source)
        if not folder.is_dir():
            photos.append(source)
            continue
        listing = Listing()
        found = listing.photos(folder)
        remark = listing.remark(folder)
        if not found:
            raise PhotoError(f"{folder} contains no photo. {remark or 'It is empty.'}")
        if remark:
            say_once(remark)
        photos += map(str, found)
    return photos


def predict_photos(
    photos: Sequence[str],
    predictors: Mapping[str, Predictor],
    out: Path,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> list[str]:
    """Segment every photo with every predictor.

    Args:
        photos: files.
        predictors: by the checkpoint's name as given.
        out: folder, created if missing; files of earlier calls with the same names are replaced.
        progress: called with the photos done and the total.

    Returns:
        A sentence for each photo that could not be read; the others are still processed.

    Raises:
        OSError: the folder cannot be written.
    """
    failures: list[str] = []
    summary: dict[str, Any] = {}
    photo_folders: set[str] = set()
    checkpoint_folders: set[str] = set()
    folders = {name: _free_name(_last_part(name), checkpoint_folders) for name in predictors}
    out.mkdir(parents=True, exist_ok=True)
    for number, source in enumerate(photos):
        try:
            photo = read_photo(source)
            folder = _free_name(Path(source).stem, photo_folders)
            entry: dict[str, Any] = {"folder": folder, "size": photo.size, "remarks": photo.remarks, "checkpoints": {}}
            for name, predictor in predictors.items():
                prediction = predictor(photo)
                _write_pictures(prediction, photo.pixels, out / folder / folders[name])
                entry["checkpoints"][name] = {"folder": folders[name], **describe(prediction)}
            summary[source] = entry
            for remark in photo.remarks:
                LOGGER.warning("%s: %s.", source, remark)
        except Sim2StreetError as error:
            failures.append(str(error))
            summary[source] = {"error": str(error)}
        except (MemoryError, torch.OutOfMemoryError) as error:
            failures.append(f"{source} does not fit into memory ({error}); shrink it, or use --device cpu.")
            summary[source] = {"error": failures[-1]}
        write_json(out / "summary.json", summary)
        if progress is not None:
            progress(number + 1, len(photos))
    return failures


def describe(prediction: Prediction) -> dict[str, Any]:
    """Class shares in [0,1], mean entropy in [0,1] and seconds, as plain values."""
    counts = np.bincount(prediction.labels.ravel(), minlength=prediction.space.count)
    shares = counts / prediction.labels.size
    return {
        "class_shares": {
            name: round(float(share), 6) for name, share in zip(prediction.space.names, shares, strict=True)
        },
        "mean_entropy": round(float(prediction.entropy.mean(dtype=np.float64)), 6),
        "seconds": round(prediction.seconds, 3),
    }


def _write_pictures(prediction: Prediction, photo: np.ndarray[Any, Any], place: Path) -> None:
    place.mkdir(parents=True, exist_ok=True)
    colours = prediction.space.colourise(prediction.labels)
    pictures = {
        "labels": prediction.labels,
        "overlay": overlay(photo, colours, prediction.labels),
        "entropy": heatmap(prediction.entropy),
    }
    for name, pixels in pictures.items():
        with written_whole(place / f"{name}.png") as partial:
            Image.fromarray(pixels).save(partial, format="PNG")


def _last_part(name: str) -> str:
    """The last part of a checkpoint's path or repository id, or the one before `checkpoint`."""
    parts = [part for part in re.split(r"[/\\]+", name.strip("/\\")) if part not in ("", ".", "..")]
    if len(parts) > 1 and parts[-1] == "checkpoint":
        parts.pop()
    return parts[-1] if parts else "checkpoint"


def _free_name(stem: str, taken: set[str]) -> str:
    """A folder name for a photo or checkpoint; a name that is taken gets a number."""
    base = re.sub(r"[^\w.+-]", "_", stem).strip(".") or "unnamed"
    name, number = base, 2
    while name in taken:
        name, number = f"{base}-{number}", number + 1
    taken.add(name)
    return name
