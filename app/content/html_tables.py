"""HTML tables and cards, for pages whose UI framework has no suitable table. Imports no UI library."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sim2street.app.content import escape, figures
from sim2street.app.content.identities import identity
from sim2street.models.storage.catalog import CatalogEntry
from sim2street.models.storage.checkpoint import Checkpoint


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
    """A card per checkpoint with its training data, scores and licence, or the reason why it cannot be used."""
    usable = [entry.checkpoint for entry in entries if entry.checkpoint is not None]
    titles = figures.unique_titles(usable)
    cards = [_card(checkpoint, titles[checkpoint.name]) for checkpoint in usable]
    cards += [problem(entry) for entry in entries if entry.checkpoint is None]
    return "".join(cards) or "<p>No checkpoint was found.</p>"


def problem(entry: CatalogEntry) -> str:
    """An entry that cannot be used (yet), with the reason."""
    amount = figures.downloaded(entry)
    said = f"{entry.error or ''} {amount}." if amount else entry.error or ""
    return f'<div class="problem"><b>{escape.html(entry.name)}</b> {escape.html(said)}</div>'


def _card(checkpoint: Checkpoint, title: str) -> str:
    facts = figures.facts(checkpoint).items()
    listed = "".join(f"<dt>{name}</dt><dd>{escape.html(value)}</dd>" for name, value in facts)
    rows = figures.data_set_rows(checkpoint.metrics)
    scores = (
        table(rows, {"Classes": "d", "Photos": "d", "Calibration error": ".3f", "Seconds a photo": ".2f"})
        or "<p>Not scored on a data set yet.</p>"
    )
    who = identity(checkpoint.config.method)
    dot = f'<span class="dot" style="color:{who.colour}">●</span>'
    idea = f"<p>{escape.html(who.idea)}</p>" if who.idea else ""
    return f'<div class="card"><div><h3>{dot} {escape.html(title)}</h3>{idea}<dl>{listed}</dl></div>{scores}</div>'


def _cell(value: Any, form: str) -> str:
    if value is None:
        return "–"
    return escape.html(value) if isinstance(value, str) else f"{value:{form}}"
