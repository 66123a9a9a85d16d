"""HTML tables and cards, for pages whose UI framework has no suitable table. Imports no UI library."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sim2street.app.content import checkpoint_list, escape, figures
from sim2street.app.content.method_display import display_of
from sim2street.models.storage.catalog import CatalogEntry
from sim2street.models.storage.checkpoint import Checkpoint

# Text colours are the theme's own with an opacity, so that they fit both themes.
STYLE: Final = """
.table { overflow-x: auto; }
.table table { border-collapse: collapse; width: 100%; font-size: 14px; border: 0 !important; margin: 0; }
.table :is(thead, tbody, tr) { border: 0 !important; background: none !important; }
.table :is(th, td) { padding: 5px 12px 5px 0 !important; text-align: right; border: 0 !important; border-bottom: 1px solid rgba(128,128,128,.25) !important; white-space: nowrap; background: none; color: inherit; }
.table :is(th, td).text { text-align: left; }
.table :is(th, td):last-child { padding-right: 0 !important; }
.table th { font-weight: 600; opacity: .68; white-space: normal !important; vertical-align: bottom; max-width: 116px; overflow-wrap: break-word; }
.table .dot { display: inline-block; width: 9px; height: 9px; border-radius: 50%; margin-right: 8px; }
.card { display: grid; grid-template-columns: minmax(230px, 2fr) minmax(0, 3fr); gap: 10px 28px; }
.folded { border: 1px solid rgba(128,128,128,.3); border-radius: 10px; margin: 0 0 6px; padding: 8px 14px; }
.folded summary { display: grid; grid-template-columns: 10px minmax(0, 4fr) minmax(0, 4fr) minmax(0, 4fr) minmax(0, 2fr) 3rem 1rem; gap: 0 14px; align-items: baseline; cursor: pointer; font-size: 14px; }
.folded summary::after { content: "›"; grid-column: -2; text-align: center; transition: rotate .15s; } .folded[open] summary::after { rotate: 90deg; }
.folded .score { text-align: right; font-weight: 600; font-variant-numeric: tabular-nums; }
.folded summary .dot { width: 9px; height: 9px; border-radius: 50%; } .folded summary span:not(.dot, .score) { opacity: .75; }
.folded[open] summary { margin-bottom: 12px; } .folded .card { border: 0; padding: 0; margin: 0; }
.folded > button { min-height: 40px; margin-top: 12px; padding: 0 14px; border: 1px solid rgba(128,128,128,.4); border-radius: 8px; background: none; color: inherit; font: inherit; font-size: 14px; font-weight: 600; cursor: pointer; }
.card p { margin: 0 0 8px; }
.card dl { margin: 0; padding: 0; display: grid; grid-template-columns: auto 1fr; gap: 2px 12px; font-size: 14px; }
.card dt { opacity: .68; padding: 0; margin: 0; } .card dd { margin: 0; padding: 0; overflow-wrap: anywhere; }
@media (max-width: 720px) { .table table { font-size: 12.5px; } .table :is(th, td) { padding-right: 8px !important; } .table td.text { min-width: 6.5rem; white-space: normal; } .card { grid-template-columns: minmax(0, 1fr); }
  .folded summary { grid-template-columns: 10px minmax(0, 1fr) auto 1rem; gap: 0 10px; } .folded summary .data { grid-area: 2 / 2; } .folded .score { grid-area: 1 / 3; } .folded summary::after { grid-row: 1 / 3; align-self: center; }
  .folded summary :is(.network, .licence) { display: none; } }
"""
"""Style of `table`, `card` and `checkpoint_cards`."""


def table(
    rows: Sequence[Mapping[str, Any]], formats: Mapping[str, str], colours: Mapping[str, str] | None = None
) -> str:
    """Format rows as an HTML table; None is shown as –.

    Args:
        rows: rows with the same columns.
        formats: column -> format of its numbers; by default ".1f".
        colours: text of the first column -> CSS colour of the dot before it.
    """
    if not rows:
        return ""
    texts = {name for name in rows[0] if any(isinstance(row[name], str) for row in rows)}
    classes = {name: ' class="text"' if name in texts else "" for name in rows[0]}
    head = "".join(f"<th{classes[name]}>{escape.html(name)}</th>" for name in rows[0])
    body = []
    for row in rows:
        cells = [_cell(value, formats.get(name, ".1f")) for name, value in row.items()]
        colour = (colours or {}).get(str(next(iter(row.values()))))
        if colour:
            cells[0] = f'<span class="dot" style="background:{colour}"></span>{cells[0]}'
        aligned = "".join(f"<td{classes[name]}>{cell}</td>" for name, cell in zip(row, cells, strict=True))
        body.append(f"<tr>{aligned}</tr>")
    return f'<div class="table"><table><thead><tr>{head}</tr></thead><tbody>{"".join(body)}</tbody></table></div>'


def checkpoint_cards(entries: Sequence[CatalogEntry]) -> str:
    """A line per checkpoint that opens its card, the best first, or the reason why it cannot be used."""
    usable = [entry.checkpoint for entry in entries if entry.checkpoint is not None]
    titles = figures.unique_titles(usable)
    by = next(iter(checkpoint_list.scored_sets(usable)), None)
    cards = [] if by is None else [f"<p>The best first, by mIoU in percent on {escape.html(by)}.</p>"]
    ordered = checkpoint_list.found(usable, titles, words="", methods=(), by=by)
    cards += [_folded(checkpoint, titles[checkpoint.name], by) for checkpoint in ordered]
    cards += [problem(entry) for entry in entries if entry.checkpoint is None]
    return "".join(cards) or "<p>No checkpoint was found.</p>"


def problem(entry: CatalogEntry) -> str:
    """An entry that cannot be used (yet), with the reason."""
    amount = figures.downloaded(entry)
    said = f"{entry.error or ''} {amount}." if amount else entry.error or ""
    return f'<div class="problem"><b>{escape.html(entry.name)}</b> {escape.html(said)}</div>'


def card(checkpoint: Checkpoint) -> str:
    """Idea, training data, network, licence and scores of a checkpoint."""
    facts = figures.facts(checkpoint).items()
    listed = "".join(f"<dt>{name}</dt><dd>{escape.html(value)}</dd>" for name, value in facts)
    rows = figures.data_set_rows(checkpoint.metrics)
    scores = (
        table(rows, {"Classes": "d", "Images": "d", "Calibration error": ".3f", "Seconds an image": ".2f"})
        or "<p>Not scored on a data set yet.</p>"
    )
    idea = display_of(checkpoint.config.method).idea
    said = f"<p>{escape.html(idea)}</p>" if idea else ""
    return f'<div class="card"><div>{said}<dl>{listed}</dl></div>{scores}</div>'


def _folded(checkpoint: Checkpoint, title: str, by: str | None) -> str:
    """A card behind a line with the checkpoint's title, data, network, licence and mIoU on a set."""
    dot = f'<span class="dot" style="background:{display_of(checkpoint.config.method).colour}"></span>'
    score = checkpoint_list.miou(checkpoint, by)
    brief = zip(("data", "network", "licence"), checkpoint_list.in_brief(checkpoint), strict=True)
    said = "".join(f'<span class="{name}">{escape.html(words)}</span>' for name, words in brief)
    scored = f'<span class="score">{_cell(score, ".1f")}</span>'
    line = f"<summary>{dot}<b>{escape.html(title)}</b>{said}{scored}</summary>"
    button = f'<button type="button" value="{escape.html(checkpoint.name)}">Compare with it</button>'
    return f'<details class="folded">{line}{card(checkpoint)}{button}</details>'


def _cell(value: Any, form: str) -> str:
    if value is None:
        return "–"
    return escape.html(value) if isinstance(value, str) else f"{value:{form}}"
