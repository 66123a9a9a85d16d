"""Results as HTML lists that also fit phones. Imports no UI library.

Published results are shown with what their source says, measured ones on a scale with source-only and the oracle.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from sim2street.app.content import escape
from sim2street.app.content.benchmark_data import GROUPS, ROLES, Figures, MeasuredRow, PublishedResult, SweepTable
from sim2street.app.content.method_display import display_of, display_of_title

STRONG: Final = 25.0
"""Points of IoU at which a difference has its full colour."""
READ: Final = {"primary": "From its authors", "secondary": "Quoted", "none": "Not found"}

# Text colours are the theme's own with an opacity, so that they fit both themes.
STYLE: Final = """
<style>
.published { border-bottom: 1px solid rgba(128,128,128,.25); }
.published .row { display: grid; grid-template-columns: minmax(12rem, 1fr) minmax(9rem, .8fr) 2.6fr; gap: .2rem 2rem;
  padding: .85rem 0; border-top: 1px solid rgba(128,128,128,.25); align-items: start; }
.published b { display: block; font-weight: 600; }
.published small { display: block; font-size: .82rem; line-height: 1.4; opacity: .68; }
.published .figure { font-size: 1.35rem; font-weight: 600; line-height: 1.2; font-variant-numeric: tabular-nums; }
.published .figure small { display: inline; font-weight: 400; }
.published .bar { height: 5px; margin-top: .4rem; border-radius: 3px; background: rgba(128,128,128,.22); }
.published .bar i { display: block; height: 100%; border-radius: 3px; background: var(--method); }
.published p { margin: 0 0 .15rem; font-size: .95rem; line-height: 1.45; }
.measured h4 { margin: 1.1rem 0 .3rem; font-size: .82rem; font-weight: 600; opacity: .68; padding: 0; }
.measured .row { display: grid; grid-template-columns: minmax(15rem, 1.1fr) 8.5rem 2fr 9rem; gap: .1rem 1.2rem;
  padding: .42rem 0; border-top: 1px solid rgba(128,128,128,.2); align-items: center; font-size: .95rem; }
.measured small { font-size: .82rem; opacity: .68; }
.measured b { font-weight: 400; }
.measured .row.method b { font-weight: 600; }
.measured .figure, .measured .share { font-variant-numeric: tabular-nums; }
.measured .share { font-size: .82rem; opacity: .8; }
.measured .track { position: relative; height: 7px; border-radius: 4px; background: rgba(128,128,128,.16); }
.measured .track i { position: absolute; inset: 0 auto 0 0; border-radius: 4px; background: rgba(128,128,128,.6); }
.measured .row.method .track i { background: var(--method); }
.measured .track u { position: absolute; top: -5px; bottom: -5px; width: 0; border-left: 2px dotted rgba(128,128,128,.9); }
.differences { overflow-x: auto; }
.differences table { border-collapse: separate; border-spacing: 2px; font-size: .82rem; font-variant-numeric: tabular-nums; }
.differences :is(table, thead, tbody, tr, th, td) { border: 0 !important; } /* Gradio rules tables */
.differences :is(th, td) { padding: .3rem .35rem; font-weight: 400; text-align: center; white-space: nowrap; }
.differences td { min-width: 2.3rem; border-radius: 3px; }
.differences thead th { vertical-align: bottom; }
.differences thead th span { writing-mode: vertical-rl; transform: rotate(180deg); }
.differences th:first-child { text-align: left; position: sticky; left: 0; z-index: 1; background: var(--st-background-color, var(--body-background-fill, light-dark(#ffffff, #0f1318))); padding-right: .9rem; min-width: 21rem; }
.differences .method th { font-weight: 600; }
.differences .whole { font-weight: 600; }
@media (max-width: 700px) {
  .differences th:first-child { min-width: 0; max-width: 9.5rem; white-space: normal; line-height: 1.25; padding-right: .4rem; }
  .published .row { grid-template-columns: 1fr 7rem; gap: .35rem 1rem; }
  .published .says { grid-column: 1 / -1; }
  .measured .row { grid-template-columns: 1fr 8.4rem; gap: .25rem 1rem; }
  .measured .figure, .measured .share { text-align: right; }
}
</style>
"""


def published_rows(results: Sequence[PublishedResult]) -> str:
    """Results with an mIoU over 19 classes, as one HTML list with its style."""
    return (
        f'{STYLE}<div class="published" role="list" aria-label="Published results">{"".join(map(_row, results))}</div>'
    )


def _row(result: PublishedResult) -> str:
    miou = 0.0 if result.miou is None else result.miou
    figure = "–" if result.miou is None else f"{miou:.1f}"
    says = escape.html(result.remark or result.note or result.evaluation)
    source = escape.html(f"{READ[result.directness]}: {result.source}.")
    return (
        f'<div class="row" role="listitem" style="--method:{display_of_title(result.method).colour}">'
        f"<div><b>{escape.html(result.method)}</b><small>{escape.html(result.backbone)}</small></div>"
        f'<div><div class="figure">{figure} <small>mIoU, %</small></div>'
        f'<div class="bar"><i style="width:{miou:.1f}%"></i></div></div>'
        f'<div class="says"><p>{says}</p><small>{source}</small></div></div>'
    )


def measured_rows(table: SweepTable) -> str:
    """A sweep's results on its first test, by group: a bar per row, dotted lines at the group's source-only and oracle.

    All bars of a table share one scale, from 0 to a little above its best row. Rows without results are left out.
    """
    groups = table.groups()
    scale = 1.08 * max((_miou(table, row) for rows in groups.values() for row in rows), default=1.0) or 1.0
    lists = "".join(_group(table, group, rows, scale) for group, rows in groups.items())
    return f'{STYLE}<div class="measured" role="list" aria-label="{escape.html(table.title)}">{lists}</div>'


def _group(table: SweepTable, group: str, rows: Sequence[MeasuredRow], scale: float) -> str:
    ends = [_miou(table, row) for row in rows if row.role in ("source_only", "oracle")]
    lines = "".join(f'<u style="left:{100 * end / scale:.1f}%"></u>' for end in ends)
    control = best_control(table, rows)
    listed = "".join(_measured(row, table, lines, scale, control) for row in rows)
    return f"<h4>{escape.html(GROUPS.get(group, group))}</h4>{listed}"


def best_control(table: SweepTable, rows: Sequence[MeasuredRow]) -> float | None:
    """Largest share of the gap that a control of a group recovers, which a method has to beat; None if it is unknown."""
    shares = [
        figures.gap_recovered
        for row in rows
        if row.role == "control" and (figures := table.figures(row)) is not None and figures.gap_recovered is not None
    ]
    return max(shares, default=None)


def _measured(row: MeasuredRow, table: SweepTable, lines: str, scale: float, control: float | None) -> str:
    figures = table.figures(row)
    assert figures is not None  # groups() returns only rows with results
    title = escape.html(row.title)
    share = figures.share
    if share and row.role == "method" and control is not None:
        share += f"<br><small>best control {100 * control:.0f} %</small>"
    return (
        f'<div class="row {row.role}" role="listitem" style="--method:{display_of(row.method).colour}"><div><b>{title}</b> <small>{ROLES[row.role]}</small></div>'
        f'<div class="figure">{figures.percent} <small>{figures.counted}</small></div>'
        f'<div class="track"><i style="width:{100 * _miou(table, row) / scale:.1f}%"></i>{lines}</div>'
        f'<div class="share">{share}</div></div>'
    )


def class_differences(table: SweepTable) -> str:
    """IoU per class on a sweep's first test as differences to source-only in points, an HTML table with its style.

    Rows are compared with the source-only row of their group; groups without one are left out. Empty without any.
    """
    blocks = []
    for group, rows in table.groups().items():
        base = next((table.figures(row) for row in rows if row.role == "source_only"), None)
        compared = [row for row in rows if row.role != "source_only"]
        if base is not None and compared:
            classes = list(base.iou_per_class)
            listed = "".join(_differences(row, table.figures(row), base) for row in compared)
            blocks.append(f"{_class_head(GROUPS.get(group, group), classes)}<tbody>{listed}</tbody>")
    tables = "".join(f'<div class="differences"><table>{block}</table></div>' for block in blocks)
    return f"{STYLE}{tables}" if blocks else ""


def _class_head(title: str, classes: Sequence[str]) -> str:
    cells = "".join(f"<th><span>{escape.html(name)}</span></th>" for name in ("mean IoU", *classes))
    return f"<thead><tr><th>{escape.html(title)}</th>{cells}</tr></thead>"


def _differences(row: MeasuredRow, figures: Figures | None, base: Figures) -> str:
    assert figures is not None  # groups() returns only rows with results
    whole = _difference(figures.miou, base.miou, "whole")
    cells = "".join(_difference(figures.iou_per_class.get(name), share) for name, share in base.iou_per_class.items())
    return f'<tr class="{row.role}"><th>{escape.html(row.title)}</th>{whole}{cells}</tr>'


def _difference(share: float | None, base: float | None, kind: str = "") -> str:
    """A cell whose colour is teal for a gain and red for a loss, full at `STRONG` points."""
    if share is None or base is None:
        return "<td>–</td>"
    points = 100 * (share - base)
    strength = min(1.0, abs(points) / STRONG) * 0.65
    colour = f"rgba(11,143,136,{strength:.2f})" if points > 0 else f"rgba(209,73,91,{strength:.2f})"
    said = f"{points:+.0f}".replace("-", "−") if round(points) else "0"
    return f'<td class="{kind}" style="background:{colour}">{said}</td>'


def _miou(table: SweepTable, row: MeasuredRow) -> float:
    """Mean IoU on the first test, clipped to [0,1], since files may contain anything."""
    figures = table.figures(row)
    miou = 0.0 if figures is None or figures.miou is None else figures.miou
    return min(1.0, max(0.0, miou)) if math.isfinite(miou) else 0.0
