"""The label spaces that come with the project, and how to load others.

Labels are always passed with the `LabelSpace` that says what they mean. A network with fine classes is scored on coarser
ones (CamVid) by *summing* the probabilities of the classes that each coarse one merges, and on a subset (SYNTHIA) by
averaging the IoU over that subset. Each space is a file in `label_spaces/`; users write theirs in the same format.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sim2street.models.errors import LabelError
from sim2street.models.label_space import IGNORE, LabelSpace, read_label_space

__all__ = ["IGNORE", "LABEL_SPACES", "LabelSpace", "label_space"]

LABEL_SPACES: Final = {
    path.stem: read_label_space(path) for path in sorted((Path(__file__).parent / "label_spaces").glob("*.toml"))
}
CITYSCAPES19: Final = LABEL_SPACES["cityscapes19"]
CITYSCAPES17: Final = LABEL_SPACES["cityscapes17"]
CAMVID11: Final = LABEL_SPACES["camvid11"]
IDD_LITE7: Final = LABEL_SPACES["idd_lite7"]
COMMA10K5: Final = LABEL_SPACES["comma10k5"]
SYNTHIA16: Final = LABEL_SPACES["synthia16"]
SYNTHIA13: Final = LABEL_SPACES["synthia13"]

# Cityscapes label id -> train id; GTA5's palette images store the same label ids as indices.
# fmt: off
TRAIN_ID_OF_LABEL_ID: Final = {
    7: 0, 8: 1, 11: 2, 12: 3, 13: 4, 17: 5, 19: 6, 20: 7, 21: 8, 22: 9, 23: 10, 24: 11, 25: 12, 26: 13, 27: 14,
    28: 15, 31: 16, 32: 17, 33: 18,
}
# fmt: on


def label_space(name: str | Path) -> LabelSpace:
    """Return the project's label space of this name, or read one from a TOML or JSON file.

    Raises:
        LabelError: there is no such space or file, or the file is invalid or uses the name of one of the project's own.
    """
    if str(name) in LABEL_SPACES:
        return LABEL_SPACES[str(name)]
    if Path(name).suffix.lower() not in (".toml", ".json"):
        raise LabelError(
            f"There is no label space {str(name)!r}. Name one of {', '.join(LABEL_SPACES)}, or a TOML or JSON file that"
            " defines classes."
        )
    return refuse_taken_name(read_label_space(name), where=str(name))


def refuse_taken_name(space: LabelSpace, *, where: str) -> LabelSpace:
    """Return the space, or raise `LabelError` if it differs from the project's own space of the same name."""
    if LABEL_SPACES.get(space.name, space) != space:
        raise LabelError(
            f"{where}: {space.name!r} is already the name of one of the project's own label spaces; choose another name."
        )
    return space


def common_space(spaces: Sequence[LabelSpace]) -> LabelSpace | None:
    """Find the space with the most classes in which all of `spaces` can be compared, or None.

    The candidates are `spaces` themselves and the project's own.
    """
    candidates = sorted({*spaces, *LABEL_SPACES.values()}, key=lambda space: (-space.count, space not in spaces))
    return next((space for space in candidates if all(_fits(other, space) for other in spaces)), None)


def _fits(finer: LabelSpace, space: LabelSpace) -> bool:
    """Whether every class of `finer` is part of a class of `space`."""
    members = space.members_in(finer)
    return members is not None and {label for group in members for label in group} == set(range(finer.count))


def train_ids_from_label_ids(label_ids: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Convert Cityscapes label ids (0..33, 255 for the licence plate's -1) to train ids; ids without one become 255."""
    table = np.full(256, IGNORE, np.uint8)
    for label_id, train_id in TRAIN_ID_OF_LABEL_ID.items():
        table[label_id] = train_id
    return table[label_ids]


def label_ids_from_train_ids(train_ids: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Convert train ids to Cityscapes label ids; ignored pixels become 0 ("unlabeled")."""
    table = np.zeros(256, np.uint8)
    for label_id, train_id in TRAIN_ID_OF_LABEL_ID.items():
        table[train_id] = label_id
    return table[train_ids]
