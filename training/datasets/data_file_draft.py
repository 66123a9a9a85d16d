"""Draft a `data.toml` for a folder of photos and label images from their names, sizes, values and colours."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sim2street.models.errors import DatasetError, LabelError, Sim2StreetError
from sim2street.models.label_space import IGNORE, hex_colour
from sim2street.models.labels import LABEL_SPACES
from sim2street.models.photo import SUFFIXES, read_label_picture
from sim2street.training.datasets.base import Progress
from sim2street.training.datasets.labelled_folder import DATA_FILE, LABEL_SUFFIXES, LabelledFolder, shared_part
from sim2street.training.datasets.listing import Listing

MATCHED: Final = 50
"""Number of photos whose names are searched for among those of the label images."""
PHOTO_FOLDERS: Final = ("images", "imgs", "image", "photos", "leftImg8bit", "rgb", "rgb_anon", "JPEGImages")
LABEL_FOLDERS: Final = ("labels", "masks", "label", "mask", "gtFine", "gt", "annotations", "SegmentationClass")
Value = int | tuple[int, int, int]


@dataclass(frozen=True)
class DataFileDraft:
    """The draft for a folder.

    Attributes:
        text: content of the `data.toml`.
        findings: sentences to show to the user.
    """

    text: str
    findings: tuple[str, ...]


def look_at(root: str | Path | None, *, images: int = 200, progress: Progress | None = None) -> DataFileDraft:
    """Inspect a folder and draft its `data.toml`.

    Args:
        root: the folder. None takes SIM2STREET_FOLDER.
        images: largest number of label images to open, evenly spread; 0 = all.
        progress: called with label images opened and to open.

    Raises:
        DatasetError: there is no such folder, or it contains no photos or label images.
        LabelError: the label images contain more than 255 colours or values, or fewer than two classes.
    """
    folder = LabelledFolder.find_root(root)
    files = Listing().files(folder)
    photos, photo_files = _folder_named(folder, files, PHOTO_FOLDERS, SUFFIXES, "photos")
    labels, label_files = _folder_named(folder, files, LABEL_FOLDERS, LABEL_SUFFIXES, "label images")
    findings: list[str] = []
    stems = [path.stem for path in photo_files], [path.stem for path in label_files]
    patterns = _patterns(stems[0], stems[1], findings)
    shared = [{shared_part(stem, pattern) for stem in each} for each, pattern in zip(stems, patterns, strict=True)]
    both = len(shared[0] & shared[1] - {None})
    findings.insert(
        0,
        f"{len(photo_files)} photos in {photos}/, {len(label_files)} label images in {labels}/, {both} with matching names",
    )
    chosen = [path for path in label_files if shared_part(path.stem, patterns[1]) is not None]
    counts, unread = _count(chosen, images, progress)
    findings += unread
    settings = {
        "images": photos,
        "labels": labels,
        "photo_names": patterns[0],
        "label_names": patterns[1],
        "partly_labelled": both < len(shared[0] - {None}),
    }
    lines = ["# Written by `sim2street datasets check folder --write`; replace the names of the classes.", ""]
    lines += [f"{key} = {json.dumps(value)}" for key, value in settings.items()]
    return DataFileDraft("\n".join([*lines, *_space(folder, counts, findings)]) + "\n", tuple(findings))


def _folder_named(
    root: Path, files: list[Path], known: tuple[str, ...], endings: tuple[str, ...], what: str
) -> tuple[str, list[Path]]:
    """The first of the known folder names below which there are files with these suffixes, and those files."""
    fitting = [path for path in files if path.suffix.lower() in endings]
    for name in known:
        found = [path for path in fitting if name in path.relative_to(root).parts[:-1]]
        if found:
            return name, found
    raise DatasetError(
        f"{root} contains no folder of {what}: looked for {', '.join(known)} with {', '.join(endings)} at any depth."
        f" Rename yours, or write its name into {DATA_FILE}."
    )


def _patterns(photos: list[str], labels: list[str], findings: list[str]) -> tuple[str, str]:
    """Name patterns of photos and label images, in which * is the part that both share."""
    if set(photos) & set(labels):
        return "*", "*"
    chosen = photos[:: max(1, len(photos) // MATCHED)][:MATCHED]
    for pattern in dict.fromkeys((_common_pattern(photos), "*")):
        names = [name for stem in chosen if (name := shared_part(stem, pattern))]
        found = Counter(stem.replace(name, "*", 1) for name in names for stem in labels if name in stem)
        fitting = sorted((each for each, count in found.items() if 2 * count > len(names)), key=_likeliest_label)
        if fitting:
            if fitting[1:]:
                findings.append(f"label_names could also be {' or '.join(fitting[1:])}: choose the one to read")
            return pattern, fitting[0]
    return "*", "*"


def _likeliest_label(pattern: str) -> tuple[bool, bool, str]:
    """Sort key that prefers label images of classes to those of instances and to coloured ones for viewing."""
    lower = pattern.lower()
    return "instance" in lower or "color" in lower, "label" not in lower, pattern


def _common_pattern(stems: list[str]) -> str:
    """Common beginning and end of all names, up to a separator, around a *."""
    before, after = _common_beginning(stems), _common_beginning([stem[::-1] for stem in stems])[::-1]
    before = before[: max(before.rfind("_"), before.rfind("-")) + 1]
    start = min((place for mark in "_-" if (place := after.find(mark)) >= 0), default=len(after))
    return f"{before}*{after[start:]}"


def _common_beginning(names: list[str]) -> str:
    pairs = zip(min(names), max(names), strict=False)  # what the first and last in sorted order share, all share
    return "".join(one for one, _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))


def _count(
    paths: list[Path], images: int, progress: Progress | None
) -> tuple[dict[str, Counter[Value]], tuple[str, ...]]:
    """Pixels by colour and by value in some label images, and why others could not be read."""
    counts: dict[str, Counter[Value]] = {"colour": Counter(), "value": Counter()}
    places = np.unique(np.linspace(0, len(paths) - 1, min(images, len(paths))).astype(int))
    chosen = [paths[place] for place in places] if images else paths
    unread: list[str] = []
    for done, path in enumerate(chosen, start=1):
        try:
            pixels = read_label_picture(path, name=str(path))
        except Sim2StreetError as error:
            unread.append(str(error))
            continue
        kind = "colour" if pixels.ndim == 3 else "value"
        counts[kind].update(_pixels_of(pixels))
        if len(counts[kind]) > 4096:
            break
        if progress is not None:
            progress(done, len(chosen))
    if not counts["colour"] and not counts["value"]:
        raise DatasetError(f"None of {len(chosen)} label images could be read: {unread[0]}")
    return counts, tuple(unread[:10])


def _pixels_of(pixels: NDArray[np.uint8]) -> dict[Value, int]:
    if pixels.ndim == 2:
        values, numbers = np.unique(pixels, return_counts=True)
        return dict(zip(values.tolist(), numbers.tolist(), strict=True))
    colours, numbers = np.unique(pixels.reshape(-1, 3), axis=0, return_counts=True)
    return {
        (red, green, blue): count for (red, green, blue), count in zip(colours.tolist(), numbers.tolist(), strict=True)
    }


def _space(folder: Path, counts: dict[str, Counter[Value]], findings: list[str]) -> list[str]:
    """The lines of `data.toml` that define the classes."""
    if counts["colour"] and counts["value"]:
        findings.append("some label images are coloured and others are not; only the kind with more pixels was used")
    kind = max(counts, key=lambda each: sum(counts[each].values()))
    found = counts[kind]
    if len(found) > IGNORE:
        raise LabelError(
            f"The label images of {folder} contain more than {IGNORE} {kind}s: they were saved in a lossy format, resized"
            " with smoothing, or are not label images. Export them again as PNG."
        )
    findings.append(f"{len(found)} {kind}s: {', '.join(_named(value) for value, _ in found.most_common(20))}")
    for space in sorted(LABEL_SPACES.values(), key=lambda space: -space.count):
        if kind == "colour" and {*found} - {(0, 0, 0)} <= {*space.colours}:
            findings.append(f"all colours belong to {space.name}")
            return [f'label_space = "{space.name}"', 'read_by = "colour"']
        if kind == "value" and {*found} - {IGNORE} == {*space.meaning} - {*space.ignored_values}:
            findings.append(
                f'the values match those of {space.name}: if the classes do too, set label_space = "{space.name}"'
            )
    return [f'read_by = "{kind}"', *_own_classes(folder, kind, found)]


def _own_classes(folder: Path, kind: str, found: Counter[Value]) -> list[str]:
    nothing: Value = IGNORE if kind == "value" else (0, 0, 0)
    classes = sorted((value for value in found if value != nothing), key=str if kind == "colour" else None)
    if len(classes) < 2:
        raise LabelError(
            f"The label images of {folder} contain {len(classes)} {kind}s besides {_named(nothing)}; at least 2 classes are"
            " needed."
        )
    slug = "".join(letter if letter.isalnum() and letter.isascii() else "_" for letter in folder.resolve().name.lower())
    lines = ["", "[label_space]", f'name = "{slug[:40]}"']
    total = sum(found.values())
    for place, value in enumerate(classes):
        share = f"  # {100 * found[value] / total:.2f} % of the pixels"
        stored = f'colour = "{_named(value)}"' if kind == "colour" else f"values = [{value}]"
        lines += ["", "[[label_space.classes]]", f'name = "class {place}"', f"{stored}{share}"]
    return lines


def _named(value: Value) -> str:
    return hex_colour(value) if isinstance(value, tuple) else str(value)
