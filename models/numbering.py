"""How files of labels number their classes, and signs that a file is numbered otherwise than it is read.

The same value means other things in each numbering, and most values are legal in several: 7 is road as a label id,
traffic sign as a train id and fence in CamVid. A file says nowhere which it holds, so its values are the only evidence.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sim2street.models.errors import LabelError
from sim2street.models.labels import CAMVID11, CITYSCAPES19, IGNORE, TRAIN_ID_OF_LABEL_ID, LabelSpace

COMMON: Final = ("road", "sidewalk", "building", "vegetation", "sky", "car")
"""Classes that cover nine tenths of the labelled pixels of a street, in Cityscapes as in CamVid."""
CLEARLY: Final = 0.4
"""By how much more of the pixels the common classes must cover in another numbering, where nothing else speaks for it."""
SLIGHTLY: Final = 0.15
"""The same, where the values that nearly every file has are missing."""


@dataclass(frozen=True, eq=False)
class Numbering:
    """A way of numbering classes in a file.

    Attributes:
        title: as people choose it.
        space: of the classes.
        meaning: stored value -> label of `space`; values without a class become 255.
        stores_255: whether files mark pixels without a class by 255.
    """

    title: str
    space: LabelSpace
    meaning: dict[int, int] = field(repr=False)
    stores_255: bool = False

    def __reduce__(self) -> tuple[Callable[[str], Numbering], tuple[str]]:
        # In another process it is that process's own.
        return numbering_by_title, (self.title,)

    @property
    def highest(self) -> int:
        """Highest value of a file, 255 apart."""
        return max(self.meaning)

    def read(self, stored: NDArray[np.uint8], *, name: str) -> NDArray[np.uint8]:
        """Convert (H, W) stored values to labels of `space`, 255 for pixels without a class.

        Raises:
            MisnumberedError: a value does not occur in this numbering.
        """
        counts = np.bincount(stored.ravel(), minlength=256)
        foreign = [value for value in np.flatnonzero(counts).tolist() if value not in (*self.meaning, IGNORE)]
        if foreign:
            raise MisnumberedError(self, counts, foreign, name)
        table = np.full(256, IGNORE, np.uint8)
        for value, label in self.meaning.items():
            table[value] = label
        return table[stored]

    def could_hold(self, counts: NDArray[np.int64]) -> bool:
        """Whether a file with these (256,) pixels of each value could be numbered so."""
        return _highest(counts) <= self.highest and (self.stores_255 or not counts[IGNORE])

    def common_share(self, counts: NDArray[np.int64]) -> float:
        """Share of all pixels, [0,1], that the common classes of a street cover when (256,) counts are read so."""
        common = {CITYSCAPES19.names.index(name) for name in COMMON}
        members = self.space.members_or_refuse(CITYSCAPES19)
        values = [value for value, label in self.meaning.items() if label != IGNORE and common & set(members[label])]
        return float(counts[values].sum() / max(1, counts.sum()))


def _as_stored(space: LabelSpace) -> dict[int, int]:
    """What a space says itself of the values in its files; that 255 is no class goes without saying."""
    return {value: label for value, label in space.meaning.items() if value != IGNORE}


TRAIN_IDS: Final = Numbering("Cityscapes train ids (0–18)", CITYSCAPES19, _as_stored(CITYSCAPES19), stores_255=True)
LABEL_IDS: Final = Numbering(
    "Cityscapes label ids (0–33)",
    CITYSCAPES19,
    # 34 is GTA5's licence plate.
    {value: TRAIN_ID_OF_LABEL_ID.get(value, IGNORE) for value in range(35)},
)
CAMVID_CLASSES: Final = Numbering("CamVid classes (0–10)", CAMVID11, _as_stored(CAMVID11))
NUMBERINGS: Final = {each.title: each for each in (TRAIN_IDS, LABEL_IDS, CAMVID_CLASSES)}


def numbering_by_title(title: str) -> Numbering:
    """One of `NUMBERINGS`."""
    return NUMBERINGS[title]


class MisnumberedError(LabelError):
    """A file holds values that its numbering does not know.

    Attributes:
        fitting: numberings that know them all.
    """

    def __init__(self, assumed: Numbering, counts: NDArray[np.int64], foreign: list[int], name: str) -> None:
        self._made_of = (assumed, counts, foreign, name)
        self.fitting = tuple(each for each in NUMBERINGS.values() if each is not assumed and each.could_hold(counts))
        shown = ", ".join(map(str, foreign[:5]))
        hint = (
            f"{_either(self.fitting)} do. Read it as those."
            if self.fitting
            else "nor does any other numbering that is known. Is it coloured, or from another data set?"
        )
        super().__init__(f"Found the values {shown} in {name}; {assumed.title} do not have them, {hint}")

    def __reduce__(self) -> tuple[type[MisnumberedError], tuple[Numbering, NDArray[np.int64], list[int], str]]:
        return type(self), self._made_of


@dataclass(frozen=True)
class Doubt:
    """Signs that values were numbered otherwise than assumed.

    Attributes:
        others: numberings that fit better, the best first.
        evidence: what speaks for them, to be put after "holds": "no value above 18, and 255".
    """

    others: tuple[Numbering, ...]
    evidence: str

    @property
    def suspected(self) -> str:
        """The other numberings by title."""
        return _either(self.others)


def doubt(counts: NDArray[np.int64], assumed: Numbering) -> Doubt | None:
    """Look for signs that values are numbered otherwise than assumed.

    Args:
        counts: (256,) pixels of each stored value, of one label image or of many.
        assumed: how they are read.

    Returns:
        The evidence; None where nothing speaks against what is assumed.
    """
    others = [other for other in NUMBERINGS.values() if other is not assumed and _fits_better(counts, other, assumed)]
    if not others:
        return None
    others.sort(
        key=lambda other: (not _highest(counts) <= other.highest < assumed.highest, -other.common_share(counts))
    )
    best = others[0]
    signs = [f"no value above {_highest(counts)}"] if _highest(counts) <= best.highest < assumed.highest else []
    signs += ["255"] if counts[IGNORE] and not assumed.stores_255 else []
    signs += [f"no {IGNORE}"] if assumed.stores_255 and not counts[IGNORE] else []
    shares = best.common_share(counts), assumed.common_share(counts)
    signs.append(
        f"what would be road, buildings, plants, sky and cars on {100 * shares[0]:.0f} % of the pixels if it were"
        f" {best.title}, on {100 * shares[1]:.0f} % as it is read"
    )
    return Doubt(tuple(others), ", and ".join([", ".join(signs[:-1]), signs[-1]]) if signs[:-1] else signs[-1])


def _fits_better(counts: NDArray[np.int64], other: Numbering, assumed: Numbering) -> bool:
    if not counts.sum() or not other.could_hold(counts):
        return False
    if counts[IGNORE] and other.stores_255 and not assumed.stores_255:
        return True
    gain = other.common_share(counts) - assumed.common_share(counts)
    if _highest(counts) <= other.highest < assumed.highest:
        return gain > 0
    usual = (0, IGNORE) if assumed.stores_255 else ()
    return gain >= (SLIGHTLY if usual and not counts[list(usual)].any() else CLEARLY)


def _highest(counts: NDArray[np.int64]) -> int:
    values = np.flatnonzero(counts[:IGNORE])
    return int(values[-1]) if values.size else 0


def _either(numberings: tuple[Numbering, ...]) -> str:
    return " or ".join(each.title for each in numberings)
