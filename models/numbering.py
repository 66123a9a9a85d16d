"""How label images number their classes, and signs that a file uses a different numbering from the assumed one.

A value means something else in each numbering, and most values are valid in several: 7 is road as a label id, traffic
sign as a train id and fence in CamVid. Files do not say which numbering they use, so their values are the only evidence.
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
"""Classes that together cover about nine tenths of the labelled pixels of a street, in Cityscapes and in CamVid."""
CLEARLY: Final = 0.4
"""How much larger the common classes' share of all pixels must be in another numbering, if there is no other evidence."""
SLIGHTLY: Final = 0.15
"""The same, if values that nearly every file of the assumed numbering contains are missing."""


@dataclass(frozen=True, eq=False)
class Numbering:
    """A way of numbering classes in a file.

    Attributes:
        title: as shown to users.
        space: of the classes.
        meaning: stored value -> label of `space`; 255 for values without a class.
        stores_255: whether files mark pixels without a class by 255.
    """

    title: str
    space: LabelSpace
    meaning: dict[int, int] = field(repr=False)
    stores_255: bool = False

    def __reduce__(self) -> tuple[Callable[[str], Numbering], tuple[str]]:
        # Instances are compared by identity, so unpickling returns the receiving process's own.
        return numbering_by_title, (self.title,)

    @property
    def highest(self) -> int:
        """Highest value that files can contain, apart from 255."""
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
        """Whether a file with these (256,) pixel counts per value could use this numbering."""
        return _highest(counts) <= self.highest and (self.stores_255 or not counts[IGNORE])

    def names_a_class(self, counts: NDArray[np.int64]) -> bool:
        """Whether a file with these (256,) pixel counts per value has a pixel with a class in this numbering."""
        return any(counts[value] for value, label in self.meaning.items() if label != IGNORE)

    def common_share(self, counts: NDArray[np.int64]) -> float:
        """Share of pixels, in [0,1], that `COMMON` covers if (256,) pixel counts per value use this numbering."""
        common = {CITYSCAPES19.names.index(name) for name in COMMON}
        members = self.space.require_members(CITYSCAPES19)
        values = [value for value, label in self.meaning.items() if label != IGNORE and common & set(members[label])]
        return float(counts[values].sum() / max(1, counts.sum()))


def _as_stored(space: LabelSpace) -> dict[int, int]:
    """The space's own stored value -> label, without the ignore value 255."""
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
    """Return one of `NUMBERINGS` by its title."""
    return NUMBERINGS[title]


class MisnumberedError(LabelError):
    """A file contains values that the assumed numbering does not have, or only such as have no class in it.

    Attributes:
        fitting: numberings that have all of them, and a class for some.
    """

    def __init__(self, assumed: Numbering, counts: NDArray[np.int64], foreign: list[int], name: str) -> None:
        self._made_of = (assumed, counts, foreign, name)
        self.fitting = tuple(
            each
            for each in NUMBERINGS.values()
            if each is not assumed and each.could_hold(counts) and each.names_a_class(counts)
        )
        if foreign:
            shown = ", ".join(map(str, foreign[:5]))
            found, others = f"Found the values {shown} in {name}; {assumed.title} do not include them", "do"
        else:
            found, others = f"No pixel of {name} has a class when read as {assumed.title}", "would give it classes"
        hint = (
            f"but {_either(self.fitting)} {others}. Choose that numbering."
            if self.fitting
            else "and no other known numbering fits. Check whether it stores colours or is from another data set."
        )
        super().__init__(f"{found}, {hint}")

    def __reduce__(self) -> tuple[type[MisnumberedError], tuple[Numbering, NDArray[np.int64], list[int], str]]:
        return type(self), self._made_of


@dataclass(frozen=True)
class NumberingMismatch:
    """Signs that a file uses another numbering than the assumed one.

    Attributes:
        others: numberings that fit better, best first.
        evidence: the reasons, phrased to follow "holds": "no value above 18, and 255".
    """

    others: tuple[Numbering, ...]
    evidence: str

    @property
    def suspected(self) -> str:
        """Titles of the better-fitting numberings, joined by "or"."""
        return _either(self.others)


def find_mismatch(counts: NDArray[np.int64], assumed: Numbering) -> NumberingMismatch | None:
    """Look for signs that stored values use another numbering than the assumed one.

    Args:
        counts: (256,) pixels of each stored value, in one label image or many.
        assumed: the numbering by which they are read.

    Returns:
        The evidence; None if nothing contradicts the assumption.
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
        f"{100 * shares[0]:.0f} % road, buildings, plants, sky and cars if read as {best.title}, but"
        f" {100 * shares[1]:.0f} % as it is read"
    )
    return NumberingMismatch(
        tuple(others), ", and ".join([", ".join(signs[:-1]), signs[-1]]) if signs[:-1] else signs[-1]
    )


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
