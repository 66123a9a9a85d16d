"""Write street scenes to disk in Cityscapes' layout, so that any tool for Cityscapes can read them.

`leftImg8bit/<split>/<style>/<style>_<seed>_<index>_leftImg8bit.png` contains the photo and the corresponding file under
`gtFine` the label ids. Files appear when complete, so an interrupted call can be resumed.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sim2street.models.errors import DatasetError
from sim2street.models.labels import label_ids_from_train_ids
from sim2street.models.storage.files import visible, write_whole
from sim2street.training.datasets.base import Progress
from sim2street.training.datasets.cityscapes import LABEL_SUFFIX, PHOTO_SUFFIX
from sim2street.training.datasets.rendered import check_settings, renderer_version, scene_key
from sim2street.training.datasets.street_scenes import render
from sim2street.training.datasets.workers import map_in_order

MANIFEST: Final = "street_scenes.json"
END_OF_PNG: Final = b"IEND\xaeB`\x82"
COMPRESSION: Final = 3
"""zlib level of the PNGs: takes a third of the time of Pillow's default, for a tenth more bytes."""


def write_street_scenes(
    style: str,
    count: int,
    size: tuple[int, int],
    seed: int,
    out: str | Path,
    *,
    start: int = 0,
    split: str = "train",
    workers: int = 0,
    progress: Progress | None = None,
) -> int:
    """Render scenes `start` to `start + count - 1` into a folder that `Cityscapes(out, split)` reads.

    Args:
        style: one of the renderer's styles; becomes the "city".
        count: number of scenes.
        size: (width, height) in pixels.
        seed: random seed of the streets; becomes the "sequence".
        out: folder, created if missing. Existing scenes with the same settings are kept.
        start: index of the first scene; becomes the "frame".
        split: folder below leftImg8bit and gtFine.
        workers: number of processes that render.
        progress: called after each scene.

    Returns:
        The number of scenes rendered; the others were already there.

    Raises:
        ConfigError: a setting is out of range.
        DatasetError: the folder contains scenes with other settings or something else, or cannot be written.
    """
    check_settings(style, count, start, seed, size)
    out = Path(out)
    settings = {"style": style, "size": list(size), "seed": seed, "renderer": renderer_version()}
    try:
        _claim(out, settings)
        for kind in ("leftImg8bit", "gtFine"):
            (out / kind / split / style).mkdir(parents=True, exist_ok=True)
        write = partial(_write_scene, style, size, seed, out, split)
        rendered = 0
        for place, is_new in enumerate(map_in_order(write, range(start, start + count), workers)):
            rendered += is_new
            if progress:
                progress(place + 1, count)
    except OSError as error:
        raise DatasetError(f"Scenes cannot be written to {out.absolute()}: {error.strerror or error}.") from error
    return rendered


def _claim(out: Path, settings: dict[str, object]) -> None:
    """Record the settings in the folder, or raise `DatasetError` if it has other settings or other contents."""
    manifest = out / MANIFEST
    if manifest.exists():
        try:
            found = json.loads(manifest.read_text(encoding="utf-8"))
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise DatasetError(f"{manifest.absolute()} is damaged. Render into another folder, or delete this one.")
        differing = [name for name in settings if found.get(name) != settings[name]]
        if differing:
            shown = "; ".join(
                f"{name} {_show(found.get(name))} instead of {_show(settings[name])}" for name in differing
            )
            raise DatasetError(
                f"{out.absolute()} contains scenes with other settings ({shown}). Render into another folder, or delete this one."
            )
        return
    if out.exists() and visible(out):
        raise DatasetError(
            f"{out.absolute()} is not empty and has no {MANIFEST}, so it was not written by this command. Render into"
            " another folder."
        )
    out.mkdir(parents=True, exist_ok=True)
    write_whole(manifest, json.dumps(settings, indent=2).encode() + b"\n")


def _write_scene(style: str, size: tuple[int, int], seed: int, out: Path, split: str, index: int) -> bool:
    """Render one scene unless it exists; return whether it was rendered."""
    key = scene_key(style, seed, index)
    photo = out / "leftImg8bit" / split / style / f"{key}{PHOTO_SUFFIX}"
    labels = out / "gtFine" / split / style / f"{key}{LABEL_SUFFIX}"
    if is_whole_png(photo) and is_whole_png(labels):
        return False
    scene = render(style, index, seed=seed, size=size)
    write_whole(labels, to_png(label_ids_from_train_ids(scene.labels)))
    write_whole(photo, to_png(scene.photo))
    return True


def to_png(pixels: NDArray[np.uint8]) -> bytes:
    """Encode (H, W) or (H, W, 3) uint8."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=COMPRESSION)
    return buffer.getvalue()


def is_whole_png(path: Path) -> bool:
    """Whether a file exists and ends like a PNG, which a truncated file does not."""
    try:
        with path.open("rb") as file:
            file.seek(-len(END_OF_PNG), os.SEEK_END)
            return file.read() == END_OF_PNG
    except OSError:
        return False


def _show(value: object) -> str:
    return "×".join(map(str, value)) if isinstance(value, Iterable) and not isinstance(value, str) else str(value)
