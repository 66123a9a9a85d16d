"""Predict photos with several checkpoints, and write label images, overlays, entropy maps and a summary.

DIR/<photo>/<checkpoint>/labels.png    train ids at the upright photo's size
DIR/<photo>/<checkpoint>/overlay.png   the labels in colour over the photo
DIR/<photo>/<checkpoint>/entropy.png   normalised entropy as a heatmap, from dark (0) to bright (1)
DIR/summary.json                       class shares, mean entropy and seconds for every photo and checkpoint

Running an interrupted command again continues it: complete pictures of the same photo, made with the same weights and
settings, are kept. The output contains no metadata of the photos.
"""

from __future__ import annotations

import glob
import logging
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from PIL import Image

from sim2street.models.drawing import heatmap, overlay
from sim2street.models.errors import PhotoError, Sim2StreetError, UnreadableError
from sim2street.models.photo import SUFFIXES, Photo, read_photo
from sim2street.models.prediction import Prediction
from sim2street.models.predictor import Predictor
from sim2street.models.storage.files import read_json, sha256_of, write_json, written_whole
from sim2street.training.datasets.listing import Listing, warn_once
from sim2street.training.datasets.writer import is_whole_png
from sim2street.training.video import is_video

LOGGER: Final = logging.getLogger(__name__)
PICTURES: Final = ("labels", "overlay", "entropy")
SUMMARY: Final = "summary.json"
SUMMARY_SECONDS: Final = 5.0
"""Seconds between two writes of the summary; for ten thousand photos, one write takes a second."""


def usual_batch(device: torch.device) -> int:
    """Photos that go through a network together where nobody says: a processor is busy with one."""
    return 1 if device.type == "cpu" else 8


def photos_of(sources: Sequence[str], suffixes: Sequence[str] = SUFFIXES) -> list[str]:
    """List the photos that the arguments name, each once: files, all photos below folders, and those that match patterns.

    `*`, `?` and `[...]` match parts of a name and `**` folders at any depth; an existing file whose name looks like a pattern
    is taken as a file. Skipped files of a folder are logged once.

    Args:
        sources: paths of files or folders, or patterns.
        suffixes: lower-case suffixes of the files to take from folders and patterns.

    Raises:
        PhotoError: a folder contains no photo, or a pattern matches none.
    """
    photos: list[str] = []
    for source in sources:
        folder = Path(source)
        if folder.is_dir():
            photos += _below(folder, suffixes)
        elif glob.has_magic(source) and not folder.exists():
            matched = sorted(path for path in glob.glob(source, recursive=True) if Path(path).is_file())
            found = [path for path in matched if Path(path).suffix.lower() in suffixes]
            if not found:
                raise PhotoError(
                    f"{source} matches {len(matched)} files, none of which is a photo. ** matches folders at any depth."
                )
            photos += found
        else:
            photos.append(source)
    return list(dict.fromkeys(photos))


def _below(folder: Path, suffixes: Sequence[str]) -> list[str]:
    listing = Listing()
    found: list[str] = []
    for path in listing.files(folder):
        if path.suffix.lower() in suffixes:
            found.append(str(path))
        else:
            suffix = path.suffix.lower()
            listing.leave_out(path, f"with the suffix {suffix}, not a photo's" if suffix else "without a suffix")
    remark = listing.remark(folder)
    if not found:
        raise PhotoError(f"{folder} contains no photo. {remark or 'It is empty.'}")
    if remark:
        warn_once(remark)
    return found


def predict_photos(
    photos: Sequence[str],
    predictors: Mapping[str, Predictor],
    out: Path,
    *,
    names: Mapping[str, str] | None = None,
    made_by: Mapping[str, str] | None = None,
    batch: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> list[str]:
    """Segment every photo with every predictor.

    Args:
        photos: paths of the photos.
        predictors: the checkpoint's name as given -> its predictor.
        out: folder, created if missing; files with the same names are replaced.
        names: the photo's path -> the unique name of its folder; by default from `free_names`.
        made_by: the same names -> an identifier of weights and settings; complete pictures of the same photo with the same
            identifier are kept. None replaces everything.
        batch: most photos of one size in a row that go through a network together.
        progress: called with photos done and photos in all.

    Returns:
        A sentence for each photo that could not be read; the others are still processed.

    Raises:
        OSError: the folder cannot be written.
    """
    failures: list[str] = []
    summary: dict[str, Any] = {}
    before = _summary_in(out)
    folders = checkpoint_folders(predictors)
    names = names or dict(zip(photos, free_names(photos), strict=True))
    out.mkdir(parents=True, exist_ok=True)
    written = time.monotonic()
    group: list[_Wanted] = []

    def finish_group() -> None:
        for wanted, entry in _predict_group(group, predictors, folders):
            summary[wanted.source] = entry
            failures.extend([entry["error"]] if "error" in entry else [])
        group.clear()

    for number, source in enumerate(photos):
        folder = names[source]
        marks = {"folder": folder, "made_by": dict(made_by or {})}
        summary[source] = {}  # in the order of the photos
        try:
            places = [out / folder / each for each in folders.values()]
            if made_by is not None and _is_done(before.get(source), source, marks, places):
                summary[source] = before[source]
            else:
                wanted = _Wanted(source, read_photo(source), out / folder, marks)
                if group and group[0].photo.size != wanted.photo.size:
                    finish_group()
                group.append(wanted)
        except Sim2StreetError as error:
            failures.append(str(error))
            summary[source] = {"error": str(error)}
        last = number + 1 == len(photos)
        if last or len(group) >= batch:
            finish_group()
        if last or time.monotonic() - written > SUMMARY_SECONDS:
            write_json(out / SUMMARY, {source: entry for source, entry in summary.items() if entry})
            written = time.monotonic()
        if progress is not None:
            progress(number + 1 - len(group), len(photos))
    return failures


def checkpoint_folders(names: Iterable[str]) -> dict[str, str]:
    """The checkpoint's name as given -> a unique folder name."""
    taken: set[str] = set()
    return {name: _free_name(_last_part(name), taken) for name in names}


def free_names(sources: Iterable[str]) -> list[str]:
    """A unique name for each photo and video, from its file name; later ones with the same name get a number.

    Videos keep their suffix.
    """
    taken = {SUMMARY}
    return [_free_name(Path(source).name if is_video(source) else Path(source).stem, taken) for source in sources]


@dataclass(frozen=True)
class _Wanted:
    """A photo to segment, the folder of its pictures, and what its entry in the summary says of this call."""

    source: str
    photo: Photo
    place: Path
    marks: Mapping[str, Any]


def _predict_group(
    group: Sequence[_Wanted], predictors: Mapping[str, Predictor], folders: Mapping[str, str]
) -> list[tuple[_Wanted, dict[str, Any]]]:
    """Segment photos of one size together; where they do not fit into memory together, one by one."""
    entries: list[dict[str, Any]] = []
    for wanted in group:
        described = {"photo_sha256": wanted.photo.digest, "size": wanted.photo.size, "remarks": wanted.photo.remarks}
        entries.append({**described, "checkpoints": {}, **wanted.marks})
        for remark in wanted.photo.remarks:
            LOGGER.warning("%s: %s.", wanted.source, remark)
    try:
        for name, predictor in predictors.items() if group else ():
            predictions = predictor.batch([wanted.photo for wanted in group])
            for wanted, entry, prediction in zip(group, entries, predictions, strict=True):
                _write_pictures(prediction, wanted.photo.pixels, wanted.place / folders[name])
                entry["checkpoints"][name] = {"folder": folders[name], **describe(prediction)}
    except (MemoryError, torch.OutOfMemoryError) as error:
        if len(group) > 1:
            LOGGER.warning("%d photos do not fit into memory together; they are segmented one by one.", len(group))
            return [one for wanted in group for one in _predict_group([wanted], predictors, folders)]
        said = f"{group[0].source} needs more memory than is available ({error}); shrink it, or use --device cpu."
        entries = [{"error": said}]
    except PhotoError as error:  # an exported network takes images of some sizes only
        entries = [{"error": f"{wanted.source}: {error}"} for wanted in group]
    return list(zip(group, entries, strict=True))


def _summary_in(out: Path) -> dict[str, Any]:
    """The summary of an earlier call; empty if there is none or it cannot be read."""
    try:
        found = read_json(out / SUMMARY) if (out / SUMMARY).is_file() else {}
    except UnreadableError:
        return {}
    return found if isinstance(found, dict) else {}


def _is_done(entry: Any, source: str, wanted: Mapping[str, Any], places: Sequence[Path]) -> bool:
    """Whether an earlier call wrote all pictures of this photo with the same weights and settings."""
    if not isinstance(entry, dict) or any(entry.get(key) != value for key, value in wanted.items()):
        return False
    whole = all(is_whole_png(place / f"{name}.png") for place in places for name in PICTURES)
    return whole and Path(source).is_file() and entry.get("photo_sha256") == sha256_of(Path(source))


def describe(prediction: Prediction) -> dict[str, Any]:
    """Summarise a prediction: class shares and mean entropy, all in [0,1], and seconds."""
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
    """A folder name for a photo or checkpoint; a number is added if the name is taken."""
    base = re.sub(r"[^\w.+-]", "_", stem).strip(".") or "unnamed"
    name, number = base, 2
    while name in taken:
        name, number = f"{base}-{number}", number + 1
    taken.add(name)
    return name
