"""Plotly charts of training runs: losses and IoU over the steps. Imports no UI library."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from sim2street.app.content import escape
from sim2street.app.content.charts import GRID

COLOURS: Final = ("#17a398", "#d1495b", "#4c78dd", "#c9a227", "#b35cb8", "#6b8f3a", "#e07b39", "#7a7f8c")
SMALL: Final = 11
POINTS: Final = 400
"""Largest number of points drawn per curve; more would not be visible and would slow the page down."""
IOU_SCALE: Final = [[0.0, "rgba(11,143,136,0.03)"], [1.0, "rgba(11,143,136,0.6)"]]
"""Translucent throughout, so that the page's text has a contrast of 4.5 on every cell in both themes."""


def loss_curves(losses: Mapping[str, tuple[Sequence[int], Sequence[float]]]) -> go.Figure:
    """One small chart per loss term, each with its own scale and all with the same steps.

    Args:
        losses: term -> steps and values.
    """
    terms = list(losses)
    figure = make_subplots(
        rows=max(1, len(terms)), cols=1, shared_xaxes=True, vertical_spacing=0.09 / max(1, len(terms))
    )
    for row, term in enumerate(terms, start=1):
        steps, values = thin(*losses[term])
        shown = escape.chart(term)
        colour = COLOURS[(row - 1) % len(COLOURS)]
        figure.add_scatter(
            x=steps,
            y=values,
            mode="lines" if len(steps) > 1 else "markers",
            line={"color": colour, "width": 2},
            name=shown,
            hovertemplate=f"%{{y:.4g}}<extra>{shown}</extra>",
            row=row,
            col=1,
        )
        place = "" if row == 1 else str(row)
        figure.add_annotation(
            text=f"<b>{shown}</b> {values[-1]:.3g}",
            xref=f"x{place} domain",
            yref=f"y{place} domain",
            x=1,
            y=1,
            xanchor="right",
            yanchor="top",
            showarrow=False,
            font={"color": colour, "size": SMALL + 1},
        )
    _style(figure, height=40 + max(190, 105 * len(terms)))
    figure.update_layout(showlegend=False, hovermode="x unified")
    figure.update_yaxes(nticks=4, tickformat="~g")
    figure.update_xaxes(title={"text": "step", "font": {"size": SMALL}, "standoff": 4}, row=max(1, len(terms)), col=1)
    return figure


def iou_curves(curves: Mapping[str, tuple[Sequence[int], Sequence[float | None]]]) -> go.Figure:
    """Mean IoU in percent over the steps, one line per data set or run.

    Args:
        curves: name -> steps and mIoU in [0,1].
    """
    figure = go.Figure()
    for place, (name, (steps, values)) in enumerate(curves.items()):
        figure.add_scatter(
            x=list(steps),
            y=[None if value is None else 100 * value for value in values],
            mode="lines+markers",
            line={"color": COLOURS[place % len(COLOURS)], "width": 2},
            marker={"size": 6},
            name=escape.chart(name),
            hovertemplate=f"%{{y:.1f}}<extra>{escape.chart(name)}</extra>",
        )
    _style(figure, height=230)
    figure.update_layout(hovermode="x unified", legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"})
    figure.update_yaxes(title={"text": "mIoU, %", "font": {"size": SMALL}}, rangemode="tozero")
    figure.update_xaxes(title={"text": "step", "font": {"size": SMALL}, "standoff": 4})
    return figure


def loss_overlay(lines: Mapping[str, tuple[Sequence[int], Sequence[float]]], term: str) -> go.Figure:
    """One loss term of several runs in one chart.

    Args:
        lines: run -> steps and values.
        term: name of the loss term.
    """
    figure = go.Figure()
    for place, (name, series) in enumerate(lines.items()):
        steps, values = thin(*series)
        colour = COLOURS[place % len(COLOURS)]
        figure.add_scatter(
            x=steps,
            y=values,
            mode="lines" if len(steps) > 1 else "markers",
            line={"color": colour, "width": 2},
            name=escape.chart(name),
            hovertemplate=f"%{{y:.4g}}<extra>{escape.chart(name)}</extra>",
        )
    _style(figure, height=260)
    figure.update_layout(hovermode="x unified", legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"})
    figure.update_yaxes(title={"text": escape.chart(term), "font": {"size": SMALL}})
    figure.update_xaxes(title={"text": "step", "font": {"size": SMALL}, "standoff": 4})
    return figure


def class_map(steps: Sequence[int], reports: Sequence[Mapping[str, Any]]) -> go.Figure:
    """Heat map of IoU on one data set: a row per class, a column per evaluation.

    Args:
        steps: step of each evaluation.
        reports: report of each evaluation; its `iou_per_class` is in [0,1] or None.
    """
    names = list(reports[-1].get("iou_per_class", {}))
    rows = [[report.get("iou_per_class", {}).get(name) for report in reports] for name in names]
    percent = [[None if value is None else 100 * value for value in row] for row in rows]
    figure = go.Figure(
        go.Heatmap(
            z=percent,
            x=[str(step) for step in steps],
            y=[escape.chart(name) for name in names],
            zmin=0,
            zmax=100,
            colorscale=IOU_SCALE,
            showscale=False,
            xgap=2,
            ygap=2,
            hovertemplate="%{y} at step %{x}: <b>%{z:.1f}</b><extra></extra>",
        )
    )
    if len(steps) <= 12:
        # A separate trace, because Plotly chooses the colour of a heat map's own text as if the page were white.
        cells = [(step, name, row[i]) for name, row in zip(names, percent, strict=True) for i, step in enumerate(steps)]
        known = [(str(step), name, f"{value:.0f}") for step, name, value in cells if value is not None]
        figure.add_scatter(
            x=[step for step, _, _ in known],
            y=[escape.chart(name) for _, name, _ in known],
            text=[said for _, _, said in known],
            mode="text",
            hoverinfo="skip",
            showlegend=False,
        )
    _style(figure, height=60 + 19 * len(names))
    # Ranges of their own: text would be given room of half a chart on every side.
    figure.update_yaxes(range=[len(names) - 0.5, -0.5], showgrid=False, ticklabelstandoff=6)
    figure.update_xaxes(
        type="category",
        range=[-0.5, len(steps) - 0.5],
        showgrid=False,
        title={"text": "step", "font": {"size": SMALL}, "standoff": 4},
    )
    return figure


def thin(steps: Sequence[int], values: Sequence[float]) -> tuple[list[int], list[float]]:
    """Reduce a curve to at most `POINTS` points, each the mean of its neighbours at their last step."""
    size = -(-len(steps) // POINTS)
    if size <= 1:
        return list(steps), list(values)
    starts = range(0, len(steps), size)
    groups = [values[start : start + size] for start in starts]
    return [steps[min(start + size, len(steps)) - 1] for start in starts], [sum(group) / len(group) for group in groups]


def _style(figure: go.Figure, *, height: int) -> None:
    figure.update_layout(
        height=height,
        margin={"l": 4, "r": 8, "t": 22, "b": 4},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        dragmode=False,
        hoverlabel={"namelength": -1},
    )
    figure.update_xaxes(gridcolor=GRID, zeroline=False, fixedrange=True, automargin=True, tickfont={"size": SMALL})
    figure.update_yaxes(gridcolor=GRID, zeroline=False, fixedrange=True, automargin=True, tickfont={"size": SMALL})
