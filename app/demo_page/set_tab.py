"""What the tabs that predict whole sets in the background share: who predicts, what starts and stops it, and how far it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import gradio as gr

from sim2street.app.content import figures
from sim2street.app.content.background import Task
from sim2street.app.content.engine import Engine
from sim2street.app.demo_page.gradio_parts import ELSEWHERE
from sim2street.models.errors import Sim2StreetError
from sim2street.models.storage.catalog import CatalogEntry
from sim2street.models.storage.checkpoint import Checkpoint


class SetTab:
    """The base of such a tab.

    Args:
        engine: predicts images.
        entries: returns the current catalog.
        reads: whether this server may predict whole sets.

    Attributes:
        show: what is known so far of what is chosen, as values of all that is shown.
        start: the same, after starting to compute what is missing.
        tasks: the tasks that were started for what is chosen; raises Sim2StreetError if something chosen does not exist.
    """

    show: Callable[..., tuple[Any, ...]]
    start: Callable[..., tuple[Any, ...]]
    tasks: Callable[..., list[Task]]

    def __init__(self, engine: Engine, entries: Callable[[], list[CatalogEntry]], *, reads: bool = True) -> None:
        self.engine = engine
        self.entries = entries
        self.reads = reads

    def introduce(self, words: str) -> None:
        """Say what the tab shows, and where it is computed if not here."""
        gr.Markdown(words if self.reads else f"{words} {ELSEWHERE}")

    def controls(self, label: str, name: str) -> list[Any]:
        """Lay out what `controlled` updates: the button that starts, the one that stops, and the timer."""
        with gr.Row(elem_classes="begin"):
            begin = gr.Button(label, elem_id=f"{name}_begin", visible=self.reads)
            stop = gr.Button("Stop", size="sm", elem_id=f"{name}_stop", visible=False)
        return [begin, stop, gr.Timer(2.0, active=False)]

    def connect(self, controls: Sequence[Any], chosen: Sequence[Any], shown: Sequence[Any]) -> None:
        """Show the results again on every change of what is chosen, and every other second while a task is running."""
        begin, stop, watch = controls
        gr.on(
            [watch.tick, *[each.change for each in chosen]],
            self.show,
            chosen,
            shown,
            show_progress="hidden",
            trigger_mode="always_last",
            api_visibility="private",
        )
        begin.click(self.start, chosen, shown, show_progress="hidden", api_visibility="private")
        stop.click(self.stop, chosen, shown, show_progress="hidden", api_visibility="private")

    def controlled(self, tasks: Sequence[Task], *, missing: bool) -> tuple[Any, Any, Any]:
        """Updates of the controls, for the tasks that were started and whether something has not been computed yet."""
        moving = any(task.under_way for task in tasks)
        start = self.reads and missing and not moving
        return gr.update(visible=start), gr.update(visible=moving), gr.update(active=moving)

    def stop(self, *chosen: Any) -> tuple[Any, ...]:
        """Stop after the current image, and show the results so far."""
        try:
            for task in self.tasks(*chosen):
                task.stop()
        except Sim2StreetError:
            pass  # `show` says what is missing
        return self.show(*chosen)

    def usable(self) -> dict[str, Checkpoint]:
        """The checkpoints that can be loaded, by name."""
        return {entry.checkpoint.name: entry.checkpoint for entry in self.entries() if entry.checkpoint is not None}

    def titles(self) -> dict[str, str]:
        """Their unique titles, by name."""
        return figures.unique_titles(list(self.usable().values()))
