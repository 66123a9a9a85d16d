"""The scores per class of an error analysis, as table rows, CSV and LaTeX. Imports no UI library."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sim2street.app.content.error_analysis import Analysis
from sim2street.app.content.figures import percent

MEAN: Final = "Mean"
LATEX: Final = str.maketrans(
    {**{sign: f"\\{sign}" for sign in "&%$#_{}"}, "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\^{}"}
)
"""Replacements for characters that have a meaning in LaTeX."""

Row = Mapping[str, str | float | None]


def class_rows(analysis: Analysis, other: Analysis | None, titles: Mapping[str, str]) -> list[Row]:
    """One row per class that occurs and one with the means, in percent; None for unknown values.

    Args:
        analysis: an analysis with at least one predicted picture.
        other: analysis of another checkpoint on the same set, or None; both are then scored on the pictures that both have
            predicted.
        titles: checkpoint name -> title.
    """
    both = set() if other is None else {p.index for p in analysis.photos} & {p.index for p in other.photos}
    summary = (_only(analysis, both) if both else analysis).summary()
    truth = summary.confusion.sum(axis=1)
    columns = {
        "Pixels": truth / max(1, truth.sum()),
        "IoU": summary.iou,
        "Boundary IoU": summary.boundary_iou,
    }
    if other is not None and both:
        theirs = _only(other, both).summary()
        title = titles.get(other.checkpoint.name, other.checkpoint.name)
        columns |= {f"IoU, {title}": theirs.iou, "Difference": summary.iou - theirs.iou}
    there = [value for value in range(len(truth)) if not np.isnan(summary.iou[value])]
    names = analysis.labelled.space.names
    rows: list[Row] = [
        {"Class": names[value]} | {name: percent(values[value]) for name, values in columns.items()} for value in there
    ]
    return [*rows, {"Class": MEAN} | {name: _mean(name, values) for name, values in columns.items()}]


def _only(analysis: Analysis, indices: set[int]) -> Analysis:
    """Restrict an analysis to some of its pictures."""
    photos = [photo for photo in analysis.photos if photo.index in indices]
    return Analysis(analysis.labelled, analysis.checkpoint, photos)


def _mean(name: str, values: NDArray[np.float64]) -> float | None:
    known = values[~np.isnan(values)]
    return None if name == "Pixels" or not len(known) else percent(float(known.mean()))


def as_csv(rows: Sequence[Row]) -> str:
    """Format rows as CSV with two decimals; unknown values are empty."""
    buffer = io.StringIO()
    lines = csv.writer(buffer, lineterminator="\n")
    lines.writerow(rows[0])
    for row in rows:
        lines.writerow([value if isinstance(value, str) else _decimal(value, 2, "") for value in row.values()])
    return buffer.getvalue()


def as_latex(rows: Sequence[Row]) -> str:
    """Format rows as a LaTeX table for the package booktabs, with one decimal."""
    columns = list(rows[0])
    lines = [
        f"\\begin{{tabular}}{{l{'r' * (len(columns) - 1)}}}",
        r"\toprule",
        " & ".join(column.translate(LATEX) for column in columns) + r" \\",
        r"\midrule",
    ]
    for row in rows:
        if row["Class"] == MEAN:
            lines.append(r"\midrule")
        cells = [
            value.translate(LATEX) if isinstance(value, str) else _decimal(value, 1, "--", minus="$-$")
            for value in row.values()
        ]
        lines.append(" & ".join(cells) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def _decimal(value: float | None, places: int, unknown: str, *, minus: str = "-") -> str:
    # Zero is added because a small negative number is rounded to -0.
    return unknown if value is None else f"{round(value, places) + 0.0:.{places}f}".replace("-", minus)
