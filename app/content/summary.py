"""Summarise a comparison in a sentence or two, and pick the classes on which the methods differ most. Imports no UI library."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sim2street.app.content.figures import Entrant, baseline_of

SHARE_THERE: Final = 0.005
"""Smallest predicted share of the pixels for a class to count as present in a photo without ground truth."""
MOST_CLASSES: Final = 8
"""Classes whose bars are shown at first; the others are folded."""


def answer(entrants: Sequence[Entrant], truth: NDArray[np.uint8] | None) -> str:
    """Say which method predicts the photo best and where the methods differ, as plain text.

    Args:
        entrants: at least one; those in classes of their own are left out.
        truth: (H, W) uint8 in the panes' space, or None.
    """
    entrants = [entrant for entrant in entrants if entrant.reading.shared]
    if not entrants:
        return ""
    first = _best(entrants) if truth is not None else _sure(entrants)
    return " ".join(part for part in (first, _disagreement(entrants, truth)) if part)


def most_different_classes(entrants: Sequence[Entrant], truth: NDArray[np.uint8] | None) -> list[int]:
    """List the classes present in the photo, those on which the methods differ most first.

    With ground truth, these are its classes, sorted by the spread of their IoU; otherwise those that some method predicts
    on at least `SHARE_THERE` of the pixels, sorted by the spread of their shares.
    """
    if not entrants:
        return []
    count = entrants[0].reading.pane.space.count
    if truth is not None:
        there = np.bincount(truth.ravel(), minlength=256)[:count] > 0
        scored = [entrant.score.iou for entrant in entrants if entrant.score is not None]
        rows = np.nan_to_num(np.array(scored).reshape(-1, count))
    else:
        rows = np.array([entrant.reading.pane.class_shares for entrant in entrants])
        there = rows.max(axis=0) >= SHARE_THERE
    if not len(rows):
        return []
    spread = rows.max(axis=0) - rows.min(axis=0)
    return [int(value) for value in np.lexsort((-rows.max(axis=0), -spread)) if there[value]]


def _best(entrants: Sequence[Entrant]) -> str:
    """Compare the method with the highest mean IoU to source-only or, if that is not shown, to the second best."""
    scored = [entrant for entrant in entrants if entrant.score is not None]
    ranked = sorted(scored, key=lambda entrant: -np.nan_to_num(_iou(entrant)))
    if not ranked:
        return ""
    best = ranked[0]
    if np.isnan(_iou(best)):
        return ""
    title, reached = best.reading.title, f"mean IoU of {100 * _iou(best):.1f} on this image"
    if len(ranked) == 1:
        return f"{title} reaches a {reached}."
    base = baseline_of(best, entrants)
    if base is None and best.checkpoint is not None and best.checkpoint.config.method == "source_only":
        return f"No method does better on this image than {title}, which reaches a {reached}."
    other = base or ranked[1]
    gain = 100 * (_iou(best) - _iou(other))
    if not gain > 0:
        return f"{title} and {other.reading.title} do equally well, with a {reached}."
    assert best.score is not None
    assert other.score is not None
    differences = np.nan_to_num(best.score.iou - other.score.iou)
    where = int(differences.argmax())
    name = best.reading.pane.space.names[where]
    return (
        f"{title} does best on this image: {gain:+.1f} points of mean IoU over {other.reading.title}, most of all on"
        f" {name} ({100 * differences[where]:+.0f})."
    )


def _sure(entrants: Sequence[Entrant]) -> str:
    """Without ground truth: say which method is most certain, which does not mean most accurate."""
    known = [
        (pane.mean_entropy, entrant) for entrant in entrants if (pane := entrant.reading.pane).mean_entropy is not None
    ]
    if not known:
        return ""
    ranked = [entrant for _, entrant in sorted(known, key=lambda pair: pair[0])]
    surest = ranked[0].reading
    largest = int(np.argmax(surest.pane.class_shares))
    if len(ranked) == 1:
        share = 100 * surest.pane.class_shares[largest]
        return f"{surest.title} sees {surest.pane.space.names[largest]} on {share:.0f} % of the image."
    last = ranked[-1].reading
    return (
        f"{surest.title} is the most certain (entropy {surest.pane.mean_entropy:.2f}), {last.title} the least"
        f" ({last.pane.mean_entropy:.2f}); certain does not mean correct."
    )


def _disagreement(entrants: Sequence[Entrant], truth: NDArray[np.uint8] | None) -> str:
    """Say on how many pixels the methods disagree, and of which class most of those pixels are, by ground truth or else by most methods."""
    if len(entrants) < 2:
        return ""
    labels = [entrant.reading.pane.labels for entrant in entrants]
    differing = np.zeros(labels[0].shape, bool)
    for other in labels[1:]:
        differing |= other != labels[0]
    share = 100 * differing.mean()
    who = "The two methods" if len(entrants) == 2 else f"The {len(entrants)} methods"
    if share < 0.5:
        return f"{who} agree on nearly every pixel."
    space = entrants[0].reading.pane.space
    named_there = [truth] if truth is not None else labels
    named = np.concatenate([each[differing] for each in named_there])
    counts = np.bincount(named, minlength=256)[: space.count]
    if not counts.any():
        return f"{who} disagree on {share:.0f} % of the pixels."
    where = "most of them on" if truth is not None else "most often about"
    return f"{who} disagree on {share:.0f} % of the pixels, {where} {space.names[int(counts.argmax())]}."


def _iou(entrant: Entrant) -> float:
    return float("nan") if entrant.score is None else entrant.score.mean_iou
