"""The methods to choose from in Compare: those on offer, those preselected for a source of photos, and those chosen for it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

import gradio as gr

from sim2street.app.content import figures, html_tables
from sim2street.app.content.comparison import preselected
from sim2street.app.content.gallery import OWN, RENDERED
from sim2street.app.demo_page import address
from sim2street.models.storage.catalog import CatalogEntry

# The source has changed: its controls, and the methods chosen for it earlier or its preselection.
TURN: Final = f"""
(source, chosen, offers, turned) => {{
  const own = source === {json.dumps(OWN)};
  const names = offers.choices.map(([, name]) => name);
  const methods = (chosen[source] ?? offers.suited[source]).filter((name) => names.includes(name));
  const visible = (yes) => ({{ __type__: "update", visible: yes }});
  return [visible(!own), visible(own), methods, turned + 1];
}}
"""
# The catalog has changed: what has gone leaves the choice; what has arrived joins it if the address asks for it, or if it suits the
# source and nobody has chosen yet. Methods that stand in for those of the address give way to them.
OFFER: Final = f"""
(offers, known, source, methods, chosen) => {{
  const names = offers.choices.map(([, name]) => name);
  const kept = methods.filter((name) => names.includes(name));
  const arrived = (some) => some.filter((name) => !known.includes(name) && !kept.includes(name));
  const asked = source === {json.dumps(RENDERED)} ? ({address.ASKED})(offers).methods ?? [] : [];
  const late = arrived(asked), same = {{ __type__: "update" }};
  if (late.length) {{
    const all = chosen[source] ? [...kept, ...late] : late;
    return [all, names, {{ ...chosen, [source]: all }}];
  }}
  const joined = chosen[source] ? [] : arrived(offers.suited[source]);
  const stays = !joined.length && kept.length === methods.length; // setting it again would start another comparison
  return [stays ? same : [...kept, ...joined], names, same];
}}
"""
# The visitor has chosen methods, which stay those of this source.
REMEMBER: Final = "(source, methods, chosen) => ({ ...chosen, [source]: methods })"


def titles(entries: list[CatalogEntry]) -> list[tuple[str, str]]:
    """The methods to choose from, as title and name."""
    unique = figures.unique_titles([entry.checkpoint for entry in entries if entry.checkpoint is not None])
    return [(title, name) for name, title in unique.items()]


def suited(entries: list[CatalogEntry], source: str) -> list[str]:
    """Names of the methods preselected for a source."""
    usable = [entry.checkpoint for entry in entries if entry.checkpoint is not None]
    return [checkpoint.name for checkpoint in preselected(usable, rendered=source == RENDERED)]


def offers(entries: list[CatalogEntry]) -> dict[str, Any]:
    """The methods to choose from, and the names of those preselected for each source."""
    return {"choices": titles(entries), "suited": {source: suited(entries, source) for source in (RENDERED, OWN)}}


def counted(methods: Sequence[str]) -> str:
    """Title of the sheet of methods."""
    return f"{len(methods)} method{'' if len(methods) == 1 else 's'}"


def problems(entries: list[CatalogEntry]) -> str:
    """The checkpoints that cannot be used (yet), with reasons."""
    if not entries:
        return '<div class="problem">No checkpoint was found.</div>'
    return "".join(html_tables.problem(entry) for entry in entries if entry.checkpoint is None)


def watched(entries: list[CatalogEntry]) -> Any:
    """Run the timer while checkpoints are being downloaded."""
    return gr.update(active=any(entry.download is not None for entry in entries))
