"""Export a comparison as files: label images in common numberings, overlays and scores. Imports no UI library."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sim2street.app.content.common_classes import scene_for
from sim2street.app.content.engine import Engine, Settings, predictor
from sim2street.app.content.figures import Entrant, percent
from sim2street.app.content.gallery import Scene
from sim2street.app.content.panes import Pane, label_image, overlay_image
from sim2street.models.errors import Sim2StreetError, is_out_of_memory
from sim2street.models.labels import CITYSCAPES19, label_ids_from_train_ids
from sim2street.models.photo import Photo
from sim2street.models.storage.checkpoint import Checkpoint

README: Final = """<method>_labels.png     class numbers as a palette image, for viewing
<method>_train_ids.png  class numbers as grey values: {space}
<method>_label_ids.png  Cityscapes label ids, as its evaluation server expects; for its 19 classes only
<method>_overlay.png    the photo with the classes' colours
<method>.npz            labels (H, W); entropy and confidence (H, W), uint8, where 255 is 1; the three most probable classes
                        of every `stride`-th pixel and their probabilities, (h, w, 3), uint8, where 255 is 1
figures.csv             per class: share of the pixels and, if there is ground truth, the IoU of this image
"""


def archive(photo: Photo, entrants: Sequence[Entrant]) -> bytes:
    """Return a ZIP with every method's label images, overlay and scores; the PNG files have no metadata."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as files:  # not compressed, since PNG already is
        for entrant in entrants:
            key, pane = entrant.reading.key, entrant.reading.pane
            files.writestr(f"{key}_labels.png", label_image(pane))
            files.writestr(f"{key}_train_ids.png", _grey(pane.labels))
            if pane.space == CITYSCAPES19:
                files.writestr(f"{key}_label_ids.png", _grey(label_ids_from_train_ids(pane.labels)))
            files.writestr(f"{key}_overlay.png", overlay_image(photo, pane))
            files.writestr(f"{key}.npz", arrays(pane))
        files.writestr("figures.csv", figures_csv(entrants))
        space = entrants[0].reading.pane.space if entrants else CITYSCAPES19
        numbered = ", ".join(f"{value} {name}" for value, name in enumerate(space.names))
        files.writestr("README.txt", README.format(space=numbered))
    return buffer.getvalue()


def arrays(pane: Pane) -> bytes:
    """Return labels, entropy, confidence and the most probable classes as an .npz file that needs no pickle."""
    planes = {
        "entropy": pane.entropy,
        "confidence": pane.confidence,
        "candidates": pane.candidates,
        "candidate_shares": pane.candidate_shares,
    }
    known: dict[str, Any] = {name: plane for name, plane in planes.items() if plane is not None}
    buffer = io.BytesIO()
    classes = np.array(pane.space.names)
    np.savez_compressed(buffer, labels=pane.labels, stride=np.array(pane.stride), classes=classes, **known)
    return buffer.getvalue()


def probabilities(engine: Engine, scene: Scene, checkpoints: Sequence[Checkpoint], settings: Settings) -> bytes:
    """Return a ZIP with all probabilities of every method, one npz each.

    Panes keep only the most probable classes, so every method predicts the photo again. `probabilities` is (C, H, W) float16
    over the network's own classes, which are named in `classes`. For a method that fails, the ZIP has a text file with the
    reason.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as files:
        for checkpoint in checkpoints:
            part = scene_for(scene, checkpoint.config.space)
            try:
                with engine.turns.turn():
                    files.writestr(f"{checkpoint.name}.npz", _probabilities(checkpoint, part.photo, settings))
            except Sim2StreetError as error:
                files.writestr(f"{checkpoint.name}.txt", f"{error}\n")
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
                files.writestr(f"{checkpoint.name}.txt", "There was not enough memory for this photo.\n")
    return buffer.getvalue()


def _probabilities(checkpoint: Checkpoint, photo: Photo, settings: Settings) -> bytes:
    values = predictor(checkpoint, settings)(photo).probabilities.astype(np.float16)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, probabilities=values, classes=np.array(checkpoint.config.space.names))
    return buffer.getvalue()


def figures_csv(entrants: Sequence[Entrant]) -> str:
    """One line per method and class, in percent; unknown values are empty."""
    buffer = io.StringIO()
    lines = csv.writer(buffer, lineterminator="\n")
    lines.writerow(["checkpoint", "method", "class", "share_percent", "iou_percent"])
    for entrant in entrants:
        pane = entrant.reading.pane
        for value, name in enumerate(pane.space.names):
            iou = None if entrant.score is None else percent(entrant.score.iou[value])
            share = f"{100 * pane.class_shares[value]:.3f}"
            row = [entrant.reading.key, entrant.reading.title, name, share, "" if iou is None else f"{iou:.2f}"]
            lines.writerow(row)
    return buffer.getvalue()


def _grey(values: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, "PNG")
    return buffer.getvalue()
