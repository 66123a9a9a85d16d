"""Plotly figures from plain figures: transparent, one colour per method, readable on a phone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import plotly.graph_objects as go

from sim2street.app.content import escape

GRID: Final = "rgba(128,128,128,0.18)"
BAR: Final = 9
"""Height in pixels of a bar while a class's bars fit into `GROUP`; more methods have thinner ones."""
GROUP: Final = 45
PATTERNS: Final = ("", "/", ".", "x")
"""Tell bars of one colour apart: two checkpoints of one method."""

CONFIG: Final[dict[str, Any]] = {"displayModeBar": False, "scrollZoom": False}
"""Options for whoever shows a figure."""


def class_bars(
    classes: Sequence[str],
    values: Mapping[str, Sequence[float | None]],
    colours: Mapping[str, str],
    *,
    unit: str,
    order: Sequence[int] | None = None,
) -> go.Figure:
    """Grouped horizontal bars: one group per class, one bar per method.

    Args:
        classes: class names.
        values: method title -> percent per class; None draws no bar and says so.
        colours: method title -> CSS colour.
        unit: what the numbers are, such as "IoU of this image, %".
        order: classes to show, from the top; default all in their order.
    """
    shown = list(range(len(classes)) if order is None else order)
    figure = go.Figure()
    seen: list[str] = []
    for title, row in values.items():
        numbers = [row[value] for value in shown]
        figure.add_bar(
            name=escape.chart(title),
            orientation="h",
            y=[escape.chart(classes[value]) for value in shown],
            x=numbers,
            marker={
                "color": colours[title],
                "line": {"width": 0},
                "pattern": {"shape": PATTERNS[seen.count(colours[title]) % len(PATTERNS)]},
            },
            hovertemplate=f"%{{y}}: <b>%{{x:.1f}}</b><extra>{escape.chart(title)}</extra>",
        )
        seen.append(colours[title])
    figure.update_layout(
        barmode="group",
        bargap=0.28,
        bargroupgap=0.05,
        height=70 + len(shown) * (10 + min(GROUP, BAR * max(1, len(values)))),
        margin={"l": 4, "r": 8, "t": 34, "b": 4},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        legend={"orientation": "h", "x": 0, "y": 1, "yanchor": "bottom", "xanchor": "left", "traceorder": "normal"},
        hoverlabel={"namelength": -1},
        dragmode=False,
    )
    figure.update_xaxes(
        title={"text": unit, "standoff": 8},
        rangemode="tozero",
        gridcolor=GRID,
        zeroline=True,
        zerolinecolor=GRID,
        fixedrange=True,
        automargin=True,
    )
    figure.update_yaxes(autorange="reversed", fixedrange=True, automargin=True, ticklabelstandoff=6, showgrid=False)
    return figure


def classes_in_use(values: Mapping[str, Sequence[float | None]]) -> list[int]:
    """Positions of the classes for which some method has a number; a class that is absent everywhere has none."""
    rows = list(values.values())
    return [value for value in range(len(rows[0]) if rows else 0) if any(row[value] is not None for row in rows)]
