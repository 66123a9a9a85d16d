"""Predict: photos × predictors -> a folder of pictures and one summary.

DIR/<photo>/<checkpoint>/labels.png    train ids at the upright photo's size
DIR/<photo>/<checkpoint>/overlay.png   the same in colour, laid over the photo
DIR/<photo>/<checkpoint>/entropy.png   normalised entropy as a heatmap, dark 0 to bright 1
DIR/summary.json                       class shares, mean entropy and seconds of every pair
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from models.checkpoint import write_json
from models.drawing import heatmap, overlay
from models.errors import Sim2StreetError
from models.photo import read_photo
from models.prediction import Prediction
from models.predictor import Predictor


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
        predictors: by the checkpoint's name as the person gave it.
        out: folder, made if missing; files of earlier calls with the same names are replaced.
        progress: called with photos done and photos in all.

    Returns:
        A sentence for each photo that could not be read; the others are done all the same.

    Raises:
        Sim2StreetError: the folder cannot be written.
    """
    failures: list[str] = []
    summary: dict[str, Any] = {}
    taken: set[str] = set()
    for number, source in enumerate(photos):
        try:
            photo = read_photo(source)
        except Sim2StreetError as error:
            failures.append(str(error))
            summary[source] = {"error": str(error)}
            continue
        finally:
            if progress is not None:
                progress(number + 1, len(photos))
        folder = _free_name(Path(source).stem, taken)
        entry: dict[str, Any] = {"folder": folder, "size": photo.size, "remarks": photo.remarks, "checkpoints": {}}
        for name, predictor in predictors.items():
            prediction = predictor(photo)
            place = out / folder / _folder_name(name)
            try:
                _write_pictures(prediction, photo.pixels, place)
            except OSError as error:
                raise Sim2StreetError(f"{place} cannot be written: {error.strerror or error}.") from error
            entry["checkpoints"][name] = describe(prediction)
        summary[source] = entry
        out.mkdir(parents=True, exist_ok=True)
        write_json(out / "summary.json", summary)
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / "summary.json", summary)
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
        partial = place / f".{name}.partial.png"
        Image.fromarray(pixels).save(partial)
        partial.replace(place / f"{name}.png")


def _folder_name(name: str) -> str:
    """A checkpoint's name as one folder name: of a path, its last part, or the one before `checkpoint`."""
    parts = [part for part in re.split(r"[/\\]+", name.strip("/\\")) if part not in ("", ".", "..")]
    if len(parts) > 1 and parts[-1] == "checkpoint":
        parts.pop()
    return re.sub(r"[^\w.+-]", "_", parts[-1]) if parts else "checkpoint"


def _free_name(stem: str, taken: set[str]) -> str:
    """A folder name for a photo; of two photos with one name the second gets a number."""
    base = re.sub(r"[^\w.+-]", "_", stem).strip(".") or "photo"
    name, number = base, 2
    while name in taken:
        name, number = f"{base}-{number}", number + 1
    taken.add(name)
    return name
