"""The Methods tab of the Gradio page: what each method does, from its registry entry, and a live demonstration."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import gradio as gr

from sim2street.app.content import method_explained
from sim2street.app.content.demonstrations import DEMONSTRATIONS, demonstrate
from sim2street.app.content.demonstrations.parts import Choice, Shown, Slider, Value, pictures_html
from sim2street.app.content.engine import Engine
from sim2street.app.demo_page import gradio_parts
from sim2street.models.errors import Sim2StreetError
from sim2street.models.storage.catalog import CatalogEntry
from sim2street.models.storage.checkpoint import Checkpoint
from sim2street.training.methods import METHODS

LATEX: Final = [{"left": "$$", "right": "$$", "display": True}, {"left": "$", "right": "$", "display": False}]
"""How formulas are marked in Markdown, as in Streamlit."""


def build_methods_tab(
    page: gr.Blocks, engine: Engine, entries: Callable[[], list[CatalogEntry]], *, demonstrates: bool = True
) -> None:
    """Lay out the tab within the current context and connect it.

    Args:
        page: the whole page.
        engine: gives demonstrations the device by turns.
        entries: returns the current catalog.
        demonstrates: whether this server may compute demonstrations.
    """
    gr.Markdown(method_explained.INTRODUCTION)
    titles = [(entry.title, name) for name, entry in METHODS.items()]
    chosen = gr.Radio(titles, value=titles[0][1], show_label=False, label="Method", elem_id="method")
    introduced = gr.HTML()

    def usable() -> list[Checkpoint]:
        return [entry.checkpoint for entry in entries() if entry.checkpoint is not None]

    # Laid out below the demonstration; what comes first here does not wait for it.
    losses = gr.Markdown(latex_delimiters=LATEX, elem_id="losses", render=False)
    detailed = gr.HTML(elem_id="explained", render=False)

    def explain(name: str) -> tuple[str, str, str]:
        loss = method_explained.losses(name)
        return (
            method_explained.introduced(name) + method_explained.illustrated(name),
            f"### Loss\n\n{loss}" if loss else "",
            method_explained.detailed(name, usable()),
        )

    gr.on(
        [page.load, chosen.change],
        explain,
        chosen,
        [introduced, losses, detailed],
        trigger_mode="always_last",
        api_visibility="private",
    )

    @gr.render(chosen, triggers=[chosen.change], trigger_mode="always_last")
    def draw_demonstration(method: str) -> None:
        if method in DEMONSTRATIONS and demonstrates:
            _draw(method, lambda values: demonstrate(method, values, usable(), engine))
        elif method in DEMONSTRATIONS:
            gr.Markdown(f"{_heading(method)}\n\n{gradio_parts.ELSEWHERE}")

    losses.render()
    detailed.render()


def _draw(method: str, compute: Callable[[dict[str, Value]], Shown]) -> None:
    """Lay out a demonstration's controls and what it shows at its defaults, and connect them."""
    demonstration = DEMONSTRATIONS[method]
    gr.Markdown(_heading(method))
    try:
        first = compute({control.name: control.default for control in demonstration.controls})
    except Sim2StreetError as error:
        gr.HTML(gradio_parts.problem(str(error)), elem_id="demonstration_said")
        return
    with gr.Row(elem_classes="choosers"):
        controls = [_control(control) for control in demonstration.controls]
    said = gr.Markdown(first.words, elem_id="demonstration_said")
    pictures = gr.HTML(pictures_html(first.pictures), elem_id="demonstration_pictures")
    with gr.Row():
        plots = [gr.Plot(figure, show_label=False, elem_classes="chart", min_width=320) for figure in first.charts]

    def follow(*values: Value) -> tuple[Any, ...]:
        names = (control.name for control in demonstration.controls)
        try:
            shown = compute(dict(zip(names, values, strict=True)))
        except Sim2StreetError as error:
            return gradio_parts.problem(str(error)), "", *[gr.skip() for _ in plots]
        return shown.words, pictures_html(shown.pictures), *shown.charts

    gr.on(
        [control.change for control in controls],
        follow,
        controls,
        [said, pictures, *plots],
        show_progress="hidden",
        trigger_mode="always_last",
        concurrency_limit=1,
        concurrency_id="demonstration",
        api_visibility="private",
    )


def _heading(method: str) -> str:
    return f"### Live: {DEMONSTRATIONS[method].title}"


def _control(control: Slider | Choice) -> gr.Slider | gr.Dropdown:
    # Within `gr.render`, Gradio does not find out that a component is an input.
    options: dict[str, Any] = {
        "value": control.default,
        "label": control.label,
        "elem_id": f"demonstration_{control.name}",
        "interactive": True,
    }
    if isinstance(control, Choice):
        return gr.Dropdown(list(control.options), **options)
    return gr.Slider(control.lowest, control.highest, step=control.step, **options)
