"""The subset SYNTHIA-RAND-CITYSCAPES of SYNTHIA (Ros et al., CVPR 2016): 9400 rendered photos with 16 of the 19 classes."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from sim2street.models.errors import LabelError, PhotoError
from sim2street.models.labels import CITYSCAPES19, IGNORE
from sim2street.training.datasets.base import label_table
from sim2street.training.datasets.gta5 import Gta5

TRAIN_ID_OF_SYNTHIA_ID: Final = {
    3: 0, 4: 1, 2: 2, 21: 3, 5: 4, 7: 5, 15: 6, 9: 7, 6: 8, 16: 9, 1: 10, 10: 11, 17: 12, 8: 13, 18: 14, 19: 15,
    20: 16, 12: 17, 11: 18,
}  # fmt: skip
"""SYNTHIA class -> train id, as in ADVENT and DAFormer. Terrain (16), truck (18) and train (20) are defined but occur in no
photo, so networks are scored in the space synthia16, or synthia13 without wall, fence and pole. Void (0), parking slot (13),
road works (14) and lane marking (22) are ignored."""
HIGHEST: Final = 22


class Synthia(Gta5):
    """All photos, or those listed in `<split>.txt`, with labels as the 19 train ids.

    Label images are PNGs with 16 bits per channel: the first channel is the class, the second the instance. Pillow reads
    such files as 8 bits and loses the class, so OpenCV reads them.
    """

    name = "synthia"
    title = "SYNTHIA"
    paper = "Ros et al., CVPR 2016"
    terms = "rendered images, for non-commercial research; its site says more."
    labels = CITYSCAPES19
    root_variable = "SIM2STREET_SYNTHIA"
    how_to_get = (
        "Download SYNTHIA-RAND-CITYSCAPES (CVPR16) from https://synthia-dataset.net/downloads and unpack it, so that the"
        " folder holds RGB/0000000.png ... and GT/LABELS/0000000.png ...; a split other than 'all' is a file"
        " <split>.txt beside them with one file name per line."
    )
    photo_folder = "RGB"
    label_folder = "GT/LABELS"
    numbering = None
    table = label_table({value: TRAIN_ID_OF_SYNTHIA_ID.get(value, IGNORE) for value in range(HIGHEST + 1)})

    def _stored_labels(self, path: Path) -> NDArray[np.uint8]:
        image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        if image is None:
            raise PhotoError(f"{path} is damaged, or not a picture. Unpack the data set again.")
        if image.ndim != 3 or image.dtype != np.uint16:
            raise LabelError(
                f"{path} has {image.dtype} values in {image.ndim} dimensions; SYNTHIA's labels are PNGs with three channels of 16 bits."
                " Check whether it is a coloured picture from GT/COLOR or a converted one, and use GT/LABELS."
            )
        classes = image[..., -1]  # OpenCV reverses the channels
        if classes.max(initial=0) > IGNORE:
            raise LabelError(f"{path} contains the class {classes.max()}; SYNTHIA has the classes 0 to {HIGHEST}.")
        return classes.astype(np.uint8)
