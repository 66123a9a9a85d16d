"""Label spaces and every conversion between them.

A mask never travels without its space: `LabelSpace` says what the numbers mean. All networks predict the 19
Cityscapes classes; a data set with coarser classes (CamVid) is scored by *summing* the probabilities of the classes
that it merges, one with fewer classes (SYNTHIA) by averaging over the classes that it has.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sim2street.models.errors import LabelError

IGNORE: Final = 255
"""Label of pixels that are neither trained on nor scored, in every space."""


@dataclass(frozen=True, eq=False)
class LabelSpace:
    """Names and colours of a set of classes, and how each is made of Cityscapes' 19.

    Attributes:
        name: key in `LABEL_SPACES`, as written in configs and reports.
        names: class names, in the order of their label values 0..count-1.
        palette: (count, 3) uint8 RGB.
        members: for each class the Cityscapes train ids that it consists of.
        ignore_index: label of unscored pixels.
    """

    name: str
    names: tuple[str, ...]
    palette: NDArray[np.uint8] = field(repr=False)
    members: tuple[tuple[int, ...], ...] = field(repr=False)
    ignore_index: int = IGNORE

    @property
    def count(self) -> int:
        """Number of classes."""
        return len(self.names)

    @property
    def is_merged(self) -> bool:
        """Whether some class sums several of the 19, so that scoring needs merged probabilities."""
        return any(len(group) > 1 for group in self.members)

    def colourise(self, labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Paint (H, W) labels as (H, W, 3) uint8 RGB; ignored and unknown pixels are black."""
        table = np.zeros((256, 3), np.uint8)
        table[: self.count] = self.palette
        return table[labels]

    def from_cityscapes19(self, labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Convert uint8 labels of any shape from the 19 train ids to this space; classes it lacks become ignored."""
        table = np.full(256, self.ignore_index, np.uint8)
        for value, group in enumerate(self.members):
            table[list(group)] = value
        return table[labels]

    def check_mergeable(self, classes: int) -> None:
        """Raise `LabelError` unless these are the 19 Cityscapes classes, of which every space is made."""
        if classes != CITYSCAPES19.count:
            raise LabelError(
                f"Probabilities of {classes} classes were given; merging into {self.name} needs the 19 Cityscapes classes."
            )

    def check(self, labels: NDArray[np.uint8], *, source: str = "the label image") -> None:
        """Raise `LabelError` if a value is neither a class of this space nor the ignore value."""
        found = np.unique(labels)
        foreign = found[(found >= self.count) & (found != self.ignore_index)]
        if foreign.size:
            shown = ", ".join(map(str, foreign[:5]))
            raise LabelError(
                f"Found the values {shown} in {source}; {self.name} has the classes 0 to {self.count - 1} and"
                f" {self.ignore_index} for unlabelled. Is the image in another label space, or coloured?"
            )


def _palette(*colours: tuple[int, int, int]) -> NDArray[np.uint8]:
    table = np.array(colours, np.uint8)
    table.flags.writeable = False
    return table


# fmt: off
CITYSCAPES19: Final = LabelSpace(
    name="cityscapes19",
    names=(
        "road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign", "vegetation",
        "terrain", "sky", "person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle",
    ),
    palette=_palette(
        (128, 64, 128), (244, 35, 232), (70, 70, 70), (102, 102, 156), (190, 153, 153), (153, 153, 153),
        (250, 170, 30), (220, 220, 0), (107, 142, 35), (152, 251, 152), (70, 130, 180), (220, 20, 60),
        (255, 0, 0), (0, 0, 142), (0, 0, 70), (0, 60, 100), (0, 80, 100), (0, 0, 230), (119, 11, 32),
    ),
    members=tuple((value,) for value in range(19)),
)

CAMVID11: Final = LabelSpace(
    name="camvid11",
    names=(
        "sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian", "bicyclist",
    ),
    palette=_palette(
        (70, 130, 180), (70, 70, 70), (153, 153, 153), (128, 64, 128), (244, 35, 232), (107, 142, 35),
        (220, 220, 0), (190, 153, 153), (0, 0, 142), (220, 20, 60), (119, 11, 32),
    ),
    members=((10,), (2, 3), (5,), (0,), (1,), (8, 9), (6, 7), (4,), (13, 14, 15, 16), (11,), (12, 17, 18)),
)
IDD_LITE7: Final = LabelSpace(
    name="idd_lite7",
    names=("drivable", "non-drivable", "living things", "vehicles", "roadside objects", "far objects", "sky"),
    palette=_palette(
        (128, 64, 128), (244, 35, 232), (220, 20, 60), (0, 0, 142), (220, 220, 0), (70, 70, 70), (70, 130, 180),
    ),
    members=((0,), (1, 9), (11, 12), (13, 14, 15, 16, 17, 18), (3, 4, 5, 6, 7), (2, 8), (10,)),
)
"""The coarse classes of IDD Lite (Mishra et al., NCVPRIPG 2019), as its level-1 hierarchy groups them."""
# fmt: on


def _subset(name: str, left_out: tuple[str, ...]) -> LabelSpace:
    kept = tuple(value for value, label in enumerate(CITYSCAPES19.names) if label not in left_out)
    return LabelSpace(
        name=name,
        names=tuple(CITYSCAPES19.names[value] for value in kept),
        palette=CITYSCAPES19.palette[list(kept)],
        members=tuple((value,) for value in kept),
    )


SYNTHIA16: Final = _subset("synthia16", ("terrain", "truck", "train"))
SYNTHIA13: Final = _subset("synthia13", ("terrain", "truck", "train", "wall", "fence", "pole"))
CITYSCAPES17: Final = _subset("cityscapes17", ("pole", "rider"))
"""Without what label images lose that were decoded from small pictures: the two classes that are thinnest."""

LABEL_SPACES: Final = {
    space.name: space for space in (CITYSCAPES19, CITYSCAPES17, CAMVID11, IDD_LITE7, SYNTHIA16, SYNTHIA13)
}

# Cityscapes label id -> train id; GTA5's palette images carry the same label ids as indices.
# fmt: off
TRAIN_ID_OF_LABEL_ID: Final = {
    7: 0, 8: 1, 11: 2, 12: 3, 13: 4, 17: 5, 19: 6, 20: 7, 21: 8, 22: 9, 23: 10, 24: 11, 25: 12, 26: 13, 27: 14,
    28: 15, 31: 16, 32: 17, 33: 18,
}
# fmt: on


def label_space(name: str) -> LabelSpace:
    """Return the label space of that name, or raise `LabelError` that lists the names."""
    try:
        return LABEL_SPACES[name]
    except KeyError:
        raise LabelError(f"There is no label space {name!r}; known are {', '.join(LABEL_SPACES)}.") from None


def train_ids_from_label_ids(label_ids: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Convert Cityscapes label ids (0..33, 255 for the licence plate's -1) to train ids; all others are ignored."""
    table = np.full(256, IGNORE, np.uint8)
    for label_id, train_id in TRAIN_ID_OF_LABEL_ID.items():
        table[label_id] = train_id
    return table[label_ids]


def label_ids_from_train_ids(train_ids: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Convert train ids to Cityscapes label ids; ignored pixels become 0, "unlabeled"."""
    table = np.zeros(256, np.uint8)
    for label_id, train_id in TRAIN_ID_OF_LABEL_ID.items():
        table[train_id] = label_id
    return table[train_ids]
