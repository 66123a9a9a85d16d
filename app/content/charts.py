"""Plotly charts from plain numbers: transparent, one colour per method, readable on a phone."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

import plotly.graph_objects as go

from sim2street.app.content import escape

ACCENT: Final = "#12897f"
"""Colour of what a chart is about."""
GRID: Final = "rgba(128,128,128,0.18)"
BAR: Final = 9
"""Height in pixels of a bar; it shrinks if the bars of a class would exceed `GROUP` pixels."""
GROUP: Final = 45
PATTERNS: Final = ("", "/", ".", "x")
"""Fill patterns that tell bars of one colour apart, such as two checkpoints of one method."""

CONFIG: Final[dict[str, Any]] = {"displayModeBar": False, "scrollZoom": False}
"""Plotly's display options, for the code that shows a chart."""


def new_figure() -> go.Figure:
    """An empty figure.

    Plotly takes pandas from the loaded modules without importing it, and fails if another thread is importing it just then.
    """
    importlib.import_module("pandas")
    return go.Figure()


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
        values: method title -> percent per class; None draws no bar.
        colours: method title -> CSS colour.
        unit: title of the axis, such as "IoU of this image, %".
        order: positions of the classes to show, from the top; by default all in their order.
    """
    shown = list(range(len(classes)) if order is None else order)
    figure = new_figure()
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


def reliability(bins: Sequence[tuple[float, float, float]]) -> go.Figure:
    """Reliability diagram: accuracy over confidence, with the diagonal of a perfectly calibrated network.

    Args:
        bins: (mean confidence, accuracy, share of the pixels), all in [0,1].
    """
    figure = new_figure()
    figure.add_scatter(
        x=[0, 100], y=[0, 100], mode="lines", line={"color": GRID, "dash": "dot"}, hoverinfo="skip", showlegend=False
    )
    figure.add_scatter(
        x=[100 * confidence for confidence, _, _ in bins],
        y=[100 * accuracy for _, accuracy, _ in bins],
        mode="lines+markers",
        line={"color": ACCENT},
        marker={"size": [5 + 25 * share**0.5 for _, _, share in bins], "opacity": 0.75},
        customdata=[100 * share for _, _, share in bins],
        hovertemplate="confidence %{x:.0f} %: <b>%{y:.0f} % right</b>, %{customdata:.1f} % of the pixels<extra></extra>",
        showlegend=False,
        cliponaxis=False,  # the largest dot lies in the upper corner
    )
    _plain(figure, height=250)
    figure.update_xaxes(title={"text": "confidence, %", "standoff": 6}, range=[0, 103])
    figure.update_yaxes(title={"text": "pixels right, %", "standoff": 16}, range=[0, 103])
    return figure


DOMAINS: Final = ("#e07b39", "#4c78dd")
"""Colours of source and target in every chart of two domains."""


def plane(points: Sequence[Sequence[tuple[float, float]]], names: Sequence[str]) -> go.Figure:
    """Scatter plot of two domains' points; the axes have no unit.

    Args:
        points: (x, y) of the points of each domain.
        names: name of each domain.
    """
    figure = new_figure()
    for part, name, colour in zip(points, names, DOMAINS, strict=True):
        figure.add_scatter(
            x=[x for x, _ in part],
            y=[y for _, y in part],
            name=escape.chart(name),
            mode="markers",
            marker={"color": colour, "size": 5, "opacity": 0.55},
            hoverinfo="skip",
        )
    _plain(figure, height=300)
    figure.update_layout(margin={"t": 34})
    figure.update_xaxes(showticklabels=False)
    figure.update_yaxes(showticklabels=False)
    return figure


def curve(points: Sequence[tuple[float, float]], marked: tuple[float, float], *, across: str, up: str) -> go.Figure:
    """A line with one point marked.

    Args:
        points: (x, y) along the line.
        marked: (x, y) of the marked point.
        across: quantity on the horizontal axis.
        up: quantity on the vertical axis.
    """
    figure = new_figure()
    figure.add_scatter(
        x=[x for x, _ in points], y=[y for _, y in points], mode="lines", line={"color": ACCENT}, hoverinfo="skip"
    )
    figure.add_scatter(
        x=[marked[0]],
        y=[marked[1]],
        mode="markers",
        marker={"color": ACCENT, "size": 12},
        hovertemplate=f"{across} %{{x:.2f}}: <b>%{{y:.2f}}</b><extra></extra>",
    )
    _plain(figure, height=300)
    figure.update_layout(showlegend=False)
    figure.update_xaxes(title={"text": across, "standoff": 6})
    figure.update_yaxes(title={"text": up, "standoff": 16}, rangemode="tozero")
    return figure


def sampling(classes: Sequence[str], shares: Sequence[float], drawn: Mapping[int, float]) -> go.Figure:
    """Bars per class, rarest first: its share of the pixels, and the probability of drawing it.

    Args:
        classes: class names.
        shares: share of the pixels of each class, in [0,1].
        drawn: class -> probability in [0,1], of those that can be drawn.
    """
    order = sorted((value for value in range(len(classes)) if shares[value]), key=lambda value: shares[value])
    names = [escape.chart(classes[value]) for value in order]
    figure = new_figure()
    for title, values, colour in (
        ("share of the pixels", [shares[value] for value in order], "rgba(128,128,128,.6)"),
        ("probability of being drawn", [drawn.get(value, 0.0) for value in order], ACCENT),
    ):
        figure.add_bar(
            x=names,
            y=[100 * value for value in values],
            name=title,
            marker={"color": colour},
            hovertemplate=f"%{{x}}: <b>%{{y:.1f}} %</b><extra>{title}</extra>",
        )
    _plain(figure, height=260)
    figure.update_layout(margin={"t": 34}, bargap=0.25, bargroupgap=0.05)
    figure.update_yaxes(title={"text": "%", "standoff": 16})
    return figure


def distributions(
    shares: Sequence[Sequence[float]],
    names: Sequence[str],
    *,
    unit: str,
    most: float | None = None,
    colours: Sequence[str] = DOMAINS,
) -> go.Figure:
    """Two histograms over [0,1], of two domains or two methods.

    Args:
        shares: for each, share of the pixels in each of the equally wide bins.
        names: name of each.
        unit: quantity on the axis, such as "entropy".
        most: share at which the axis ends, for histograms that are compared; by default the largest one's.
        colours: CSS colour of each; by default those of source and target.
    """
    figure = new_figure()
    for part, name, colour in zip(shares, names, colours, strict=True):
        figure.add_scatter(
            x=[(place + 0.5) / len(part) for place in range(len(part))],
            y=[100 * share for share in part],
            name=escape.chart(name),
            mode="lines",
            line={"color": colour, "shape": "hvh"},
            fill="tozeroy",
            hovertemplate=f"{unit} %{{x:.2f}}: <b>%{{y:.1f}} %</b> of the pixels<extra>{escape.chart(name)}</extra>",
        )
    _plain(figure, height=220)
    figure.update_layout(margin={"t": 34})
    figure.update_xaxes(title={"text": unit, "standoff": 6}, range=[0, 1])
    figure.update_yaxes(title={"text": "pixels, %", "standoff": 16}, rangemode="tozero")
    if most is not None:
        figure.update_yaxes(range=[0, 105 * most])
    return figure


def by_layer(values: Mapping[str, Sequence[float]], colours: Mapping[str, str], *, unit: str) -> go.Figure:
    """One line per checkpoint over the layers of its network, from input to output.

    Args:
        values: checkpoint title -> a number per layer.
        colours: checkpoint title -> CSS colour.
        unit: title of the axis.
    """
    figure = new_figure()
    for title, row in values.items():
        figure.add_scatter(
            x=list(range(1, len(row) + 1)),
            y=list(row),
            name=escape.chart(title),
            mode="lines+markers",
            line={"color": colours[title]},
            marker={"size": 5},
            hovertemplate=f"layer %{{x}}: <b>%{{y:.2f}}</b><extra>{escape.chart(title)}</extra>",
        )
    _plain(figure, height=260)
    figure.update_layout(margin={"t": 34})
    figure.update_xaxes(title={"text": "batch-norm layer, from input to output", "standoff": 6})
    figure.update_yaxes(title={"text": unit, "standoff": 16}, rangemode="tozero")
    return figure


def _plain(figure: go.Figure, *, height: int) -> None:
    """Make a chart transparent, and switch off dragging, which would interfere with scrolling by touch."""
    figure.update_layout(
        height=height,
        margin={"l": 4, "r": 8, "t": 8, "b": 4},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        legend={"orientation": "h", "x": 0, "y": 1, "yanchor": "bottom", "xanchor": "left"},
        hoverlabel={"namelength": -1},
        dragmode=False,
    )
    figure.update_xaxes(gridcolor=GRID, zeroline=False, fixedrange=True, automargin=True)
    figure.update_yaxes(gridcolor=GRID, zeroline=False, fixedrange=True, automargin=True)


def classes_in_use(values: Mapping[str, Sequence[float | None]]) -> list[int]:
    """Positions of the classes for which at least one method has a number."""
    rows = list(values.values())
    return [value for value in range(len(rows[0]) if rows else 0) if any(row[value] is not None for row in rows)]
