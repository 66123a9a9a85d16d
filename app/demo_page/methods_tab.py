"""The Methods tab of the Gradio page: what each method does, from its registry entry."""

from __future__ import annotations

from collections.abc import Callable

import gradio as gr

from sim2street.app.content import method_explained
from sim2street.models.storage.catalog import CatalogEntry
from sim2street.training.methods import METHODS


def build_methods_tab(page: gr.Blocks, entries: Callable[[], list[CatalogEntry]]) -> None:
    """Lay out the tab within the current context and connect it."""
    gr.Markdown(method_explained.INTRODUCTION)
    titles = [(entry.title, name) for name, entry in METHODS.items()]
    chosen = gr.Radio(titles, value=titles[0][1], show_label=False, label="Method", elem_id="method")
    shown = gr.HTML(elem_id="explained")

    def explain(name: str) -> str:
        checkpoints = [entry.checkpoint for entry in entries() if entry.checkpoint is not None]
        return method_explained.explained(name, checkpoints)

    gr.on([page.load, chosen.change], explain, chosen, shown, api_visibility="private")
