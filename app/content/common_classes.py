"""Choose the classes in which methods of different label spaces are compared. Imports no UI library.

If the classes of all methods and of the ground truth can be merged into one space, everything is shown and scored in it.
Otherwise the classes of all spaces are listed one after the other, and methods whose classes cannot be merged are neither
scored nor included in the disagreement.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from sim2street.app.content.gallery import Scene
from sim2street.app.content.panes import Pane, Score
from sim2street.models.errors import LabelError
from sim2street.models.label_space import IGNORE, LabelSpace
from sim2street.models.labels import common_space


def in_common_classes(scene: Scene, spaces: Sequence[LabelSpace]) -> Scene:
    """Convert a scene to the finest classes into which the ground truth's and those of all `spaces` can be merged.

    The scene is returned unchanged if there are no such classes or `spaces` is empty.
    """
    truths = [] if scene.truth is None else [scene.space]
    if not spaces or all(can_be_shown(space, scene) for space in spaces):
        return scene
    common = common_space([*truths, *spaces])
    if common is None:
        return scene
    truth = None if scene.truth is None else common.relabel(scene.truth, scene.space)
    return replace(scene, space=common, truth=truth)


def can_be_shown(space: LabelSpace, scene: Scene) -> bool:
    """Whether predictions in `space` can be shown in the scene's classes without losing any class."""
    return common_space([space, scene.space]) == scene.space


def scene_for(scene: Scene, space: LabelSpace) -> Scene:
    """The scene for a method that predicts `space`; without ground truth and in `space` if the classes cannot be merged."""
    return scene if can_be_shown(space, scene) else replace(scene, space=space, truth=None)


def side_by_side(spaces: Sequence[LabelSpace]) -> LabelSpace:
    """Concatenate the classes of all spaces; each name includes its space's name.

    Raises:
        LabelError: there are more than 255 classes.
    """
    if len(spaces) == 1:
        return spaces[0]
    names = tuple(f"{name} ({space.name})" for space in spaces for name in space.names)
    if len(names) > IGNORE:
        raise LabelError(
            f"{' and '.join(space.name for space in spaces)} cannot be merged and have {len(names)} classes together; at"
            f" most {IGNORE} can be shown. Choose fewer methods."
        )
    return LabelSpace(
        name=" + ".join(space.name for space in spaces),
        names=names,
        colours=tuple(colour for space in spaces for colour in space.colours),
        values=tuple((value,) for value in range(len(names))),
    )


def moved(pane: Pane, spaces: Sequence[LabelSpace]) -> Pane:
    """Convert a pane in one of `spaces` to the classes of `side_by_side(spaces)`."""
    together = side_by_side(spaces)
    if together == pane.space:
        return pane
    first = _first_of(pane.space, spaces)
    return replace(
        pane,
        space=together,
        labels=_raised(pane.labels, first),
        candidates=None if pane.candidates is None else _raised(pane.candidates, first),
    )


def padded(score: Score, space: LabelSpace, spaces: Sequence[LabelSpace]) -> Score:
    """Extend a score in one of `spaces` to all classes of `side_by_side(spaces)`, with NaN for the other spaces' classes."""
    iou = np.full(side_by_side(spaces).count, np.nan)
    first = _first_of(space, spaces)
    iou[first : first + space.count] = score.iou
    return replace(score, iou=iou)


def remark(scene: Scene, spaces: Sequence[LabelSpace]) -> str:
    """A sentence that explains which classes are shown; empty if all methods are shown in their own."""
    alone = sorted({space.name for space in spaces if not can_be_shown(space, scene)})
    if alone:
        return (
            f"The classes of {' and '.join(alone)} cannot be merged with those of {scene.space.name}: each has its own"
            " legend, and neither IoU nor disagreement is computed between them."
        )
    merged = sorted({space.name for space in spaces if not space.is_part_of(scene.space)})
    if merged and len({space.name for space in spaces}) > 1:
        return f"Shown in the {scene.space.count} classes of {scene.space.name}, into which all others can be merged."
    return ""


def _first_of(space: LabelSpace, spaces: Sequence[LabelSpace]) -> int:
    """Label of the first class of `space` in `side_by_side(spaces)`."""
    place = list(spaces).index(space)
    return sum(other.count for other in spaces[:place])


def _raised(labels: NDArray[np.uint8], first: int) -> NDArray[np.uint8]:
    return np.where(labels == IGNORE, IGNORE, labels + np.uint8(first)).astype(np.uint8)
