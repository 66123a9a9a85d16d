"""The content of the error analysis page: confusion matrix, pictures behind a cell, and scores. Imports no UI library."""

from __future__ import annotations

import base64
import math
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from sim2street.app.content.error_analysis import JPEG, Analysis, Cell, Ranked, Summary, looked_for
from sim2street.models.labels import LabelSpace

OUTLINE: Final = (255, 0, 190)
"""RGB of the outline around the selected pixels, which occurs in neither streets nor label palettes."""

TINT: Final = 0.4
"""Opacity of that colour within the outline."""
MUCH: Final = 0.2
"""Share of the picture above which the tint is half as strong."""

INTRODUCTION: Final = (
    "A checkpoint predicts every image of a labelled set. A cell of the confusion matrix shows the images behind it, and each"
    " image opens in Compare."
)


def cell_of(choice: str, space: LabelSpace) -> Cell | None:
    """Parse the key of a matrix cell, "truth,predicted" or "truth" as class numbers; None for anything else."""
    parts = choice.split(",")
    if not 1 <= len(parts) <= 2 or not all(part.isdecimal() and int(part) < space.count for part in parts):
        return None
    return Cell(int(parts[0]), int(parts[1]) if len(parts) == 2 else None)


def in_words(cell: Cell | None, space: LabelSpace) -> str:
    """Title of a cell."""
    if cell is None:
        return "all classes"
    truth = space.names[cell.truth]
    return truth if cell.predicted is None else f"{truth} predicted as {space.names[cell.predicted]}"


def matrix(summary: Summary, space: LabelSpace, chosen: str) -> dict[str, Any]:
    """A confusion matrix for `viewer/matrix.js`; classes that are neither present nor predicted are left out."""
    truth = summary.confusion.sum(axis=1)
    rows = [value for value in range(space.count) if truth[value]]
    columns = [value for value in range(space.count) if truth[value] or summary.confusion[:, value].any()]
    return {
        "label": "Confusion matrix: share of each true class's pixels by predicted class",
        "classes": [
            {"name": name, "colour": "#{:02x}{:02x}{:02x}".format(*colour)}
            for name, colour in zip(space.names, space.palette.tolist(), strict=True)
        ],
        "columns": columns,
        "rows": [
            {"value": value, "share": [round(float(summary.confusion[value, to] / truth[value]), 5) for to in columns]}
            for value in rows
        ],
        "chosen": chosen,
    }


def cards(analysis: Analysis, pictures: Sequence[Ranked], cell: Cell | None) -> dict[str, Any]:
    """Pictures with the pixels that a cell selects outlined, for `viewer/cards.js`."""
    items = []
    for each in pictures:
        name = analysis.labelled.name(each.photo.index)
        image = outlined(each.photo.photo(), looked_for(each.photo, cell))
        title = name[0].upper() + name[1:]
        items.append({"key": str(each.photo.index), "image": image, "title": title, "said": each.said})
    return {"label": f"Images, {in_words(cell, analysis.labelled.space)}", "items": items}


def outlined(shown: NDArray[np.uint8], mask: NDArray[np.bool_]) -> str:
    """Tint and outline the pixels of an (H, W) mask in its shrunk photo, (h, w, 3) uint8 RGB; returns a base64 JPEG."""
    # A low threshold keeps parts of the mask that are smaller than a pixel of the card.
    size = (shown.shape[1], shown.shape[0])
    small = cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0.2
    tint = TINT if small.mean() < MUCH else TINT / 2  # keep a picture recognisable that is wrong nearly everywhere
    shown[small] = ((1 - tint) * shown[small] + tint * np.array(OUTLINE)).astype(np.uint8)
    edges, _ = cv2.findContours(small.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    large = [edge for edge in edges if cv2.contourArea(edge) >= 12]
    cv2.drawContours(shown, large, -1, OUTLINE, 1, cv2.LINE_AA)
    done, jpeg = cv2.imencode(".jpg", shown[..., ::-1], JPEG)
    assert done  # encoding a uint8 image in memory does not fail
    return base64.b64encode(jpeg.tobytes()).decode("ascii")


def figures_in_words(analysis: Analysis, summary: Summary) -> list[str]:
    """Sentences on the scores over all pictures."""
    known = summary.iou[~np.isnan(summary.iou)]
    count = len(analysis.photos)
    outlines = summary.boundary_iou[~np.isnan(summary.boundary_iou)]
    said = [
        f"Mean IoU {100 * known.mean():.1f} over {count} image{'' if count == 1 else 's'}; boundary IoU, which scores the"
        f" outlines alone, {100 * outlines.mean():.1f}."
    ]
    if not math.isnan(summary.detection):
        left = summary.sparsification
        said.append(
            f"Entropy detects its errors with an AUROC of {summary.detection:.2f} (0.5 is chance). Without its 20 % least"
            f" certain pixels, the error falls from {100 * left[0]:.1f} to {100 * left[2]:.1f} %."
        )
    gap = sum(share * abs(confidence - accuracy) for confidence, accuracy, share in summary.reliability)
    side = sum(share * (confidence - accuracy) for confidence, accuracy, share in summary.reliability)
    said.append(f"It is {'over' if side > 0 else 'under'}confident: expected calibration error {gap:.3f}.")
    return said


def problems_in_words(analysis: Analysis) -> list[str]:
    """Sentences on pictures that failed; each reason is given once, with the number of further pictures."""
    reasons = Counter(problem.partition(": ")[2] for problem in analysis.problems)
    first = {problem.partition(": ")[2]: problem for problem in reversed(analysis.problems)}
    return [
        first[reason] if number == 1 else f"{first[reason]} The same applies to {number - 1} more."
        for reason, number in reasons.items()
    ]
