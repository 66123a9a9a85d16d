"""The Methods tab of the Gradio page: what each method does, from its registry entry."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import gradio as gr

from sim2street.app.content import method_explained
from sim2street.models.storage.catalog import CatalogEntry
from sim2street.training.methods import METHODS

LATEX: Final = [{"left": "$$", "right": "$$", "display": True}, {"left": "$", "right": "$", "display": False}]
"""How formulas are marked in Markdown, as in Streamlit."""


def build_methods_tab(page: gr.Blocks, entries: Callable[[], list[CatalogEntry]]) -> None:
    """Lay out the tab within the current context and connect it."""
    gr.Markdown(method_explained.INTRODUCTION)
    titles = [(entry.title, name) for name, entry in METHODS.items()]
    chosen = gr.Radio(titles, value=titles[0][1], show_label=False, label="Method", elem_id="method")
    introduced = gr.HTML()
    losses = gr.Markdown(latex_delimiters=LATEX, elem_id="losses")
    detailed = gr.HTML(elem_id="explained")

    def explain(name: str) -> tuple[str, str, str]:
        checkpoints = [entry.checkpoint for entry in entries() if entry.checkpoint is not None]
        loss = method_explained.losses(name)
        return (
            method_explained.introduced(name),
            f"### Loss\n\n{loss}" if loss else "",
            method_explained.detailed(name, checkpoints),
        )

    gr.on(
        [page.load, chosen.change],
        explain,
        chosen,
        [introduced, losses, detailed],
        trigger_mode="always_last",
        api_visibility="private",
    )
