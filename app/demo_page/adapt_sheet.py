"""Adapt to these photos, on the Gradio page: a method adapted to what the visitor uploaded, beside its original."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, Final

import gradio as gr

from sim2street.app.content import adapting, escape
from sim2street.app.content.adapting import Adapting
from sim2street.app.content.background import TaskState
from sim2street.app.content.byte_cache import ByteCache
from sim2street.app.content.engine import Engine
from sim2street.app.content.limits import RateLimit
from sim2street.app.demo_page import gradio_parts, uploads
from sim2street.models.errors import ConfigError, PhotoError, Sim2StreetError
from sim2street.models.storage.catalog import CatalogEntry
from sim2street.models.storage.checkpoint import Checkpoint
from sim2street.models.storage.files import WEIGHTS
from sim2street.training.adapt import AT_TEST_TIME, AdaptedCheckpoint
from sim2street.training.methods import METHODS

MOST_PHOTOS: Final = 6
"""Photos to adapt to, the first in the filmstrip; TENT takes one step for each."""
SECONDS: Final = 15.0
"""Time limit of the adaptation, after which no further photo is started."""
RATE: Final = (4, 600.0)
"""Number of adaptations allowed per client within a number of seconds."""
ADAPTED_BYTES: Final = 128 * 2**20
"""Weights of the adapted networks of all visitors together; the least recently used ones go first."""
IDLE_SECONDS: Final = 900.0
"""Time since the last use after which an adapted network is dropped."""
LOOK_SECONDS: Final = 0.5
# Of the methods on offer, those that are compared can be started from.
OFFER: Final = """
(methods, offers, before) => {
  const choices = offers.choices.filter(([, name]) => methods.includes(name));
  const stays = choices.some(([, name]) => name === before);
  return { __type__: "update", choices, value: stays ? before : choices[0]?.[1] ?? null };
}
"""


class AdaptSheet:
    """The sheet and what it has adapted, one network per visitor.

    Args:
        engine: predicts photos, and waits while a network is adapted.
        entries: returns the current catalog.
    """

    def __init__(self, engine: Engine, entries: Callable[[], list[CatalogEntry]]) -> None:
        self.engine = engine
        self.entries = entries
        self.rate = RateLimit(*RATE)
        self.kept: ByteCache[Adapting] = ByteCache(ADAPTED_BYTES, idle_seconds=IDLE_SECONDS)

    def build(self, page: gr.Blocks, arrived: gr.Number, methods: gr.CheckboxGroup, offers: gr.JSON) -> None:
        """Lay out the sheet within the current context and connect it.

        Args:
            page: the whole page.
            arrived: is set to another number when the comparison has to be drawn again.
            methods: the methods that are compared.
            offers: all methods, by title and name.
        """
        with gr.Row(elem_id="adapt"):
            with gr.Accordion("Adapt to these photos", open=False, elem_classes="sheet", elem_id="adapt_sheet"):
                # The server refuses a value that is not among the choices it knows, so it knows all; the browser shows fewer.
                original = gr.Dropdown(
                    [(str(title), str(name)) for title, name in methods.choices],
                    label="Start from",
                    elem_id="adapt_from",
                )
                method = gr.Radio([(METHODS[name].title, name) for name in AT_TEST_TIME], value="tent", label="Method")
                gr.HTML(_explained(), elem_classes="note")
                start = gr.Button("Adapt", variant="primary", elem_id="adapt_start")
            status = gr.HTML(elem_id="adapt_status")
            stop = gr.Button("Stop", size="sm", visible=False, elem_id="adapt_stop")
            undo = gr.Button("Undo", size="sm", visible=False, elem_id="adapt_undo")
        # Before the other, for whose end it would wait: the sheet covers what is said of the adaptation.
        start.click(None, js=gradio_parts.close_sheet("adapt_sheet"))
        start.click(
            self.adapt,
            [original, method],
            [status, stop, undo, arrived, start],
            show_progress="hidden",
            trigger_mode="once",
            concurrency_limit=2,
            concurrency_id="adapt",
            api_visibility="private",
        )
        stop.click(self.stop, None, None, queue=False, api_visibility="private")
        undo.click(self.undo, None, [status, undo, arrived], api_visibility="private")
        known = offers.change(
            lambda offers: gr.update(choices=offers["choices"]),
            offers,
            original,
            show_progress="hidden",
            queue=False,
            api_visibility="private",
        )
        compared = [methods, offers, original]
        known.then(None, compared, original, js=OFFER)
        gr.on([page.load, methods.change], None, compared, original, js=OFFER)

    def adapt(self, original: str | None, method: str, request: gr.Request) -> Iterator[tuple[Any, ...]]:
        """Adapt, and say how far it is; the adapted network then stands beside its original."""
        visitor = str(request.session_hash)
        try:
            self.rate.check(uploads.client_of(request))
            state = self._begin(original, method, visitor)
        except Sim2StreetError as error:
            yield gradio_parts.problem(str(error)), gr.skip(), gr.skip(), gr.skip(), gr.skip()
            return
        while state.task.under_way:
            waiting = state.task.state is TaskState.WAITING or not state.task.done
            words = "Waiting for its turn" if waiting else f"Adapting, step {state.task.done} of {state.task.total}"
            words = "Stopping" if state.task.stopping else words
            there, gone, closed = gr.update(visible=True), gr.update(visible=False), gr.update(interactive=False)
            yield gradio_parts.busy(f"{words} …"), there, gone, gr.skip(), closed
            time.sleep(LOOK_SECONDS)
        done = state.adapted is not None
        opened = gr.update(interactive=True)
        yield _said(state), gr.update(visible=False), gr.update(visible=done), gradio_parts.ticket(), opened

    def stop(self, request: gr.Request) -> None:
        """Stop the visitor's adaptation after its current photo."""
        state = self.kept.get(str(request.session_hash))
        if state is not None:
            state.task.stop()

    def undo(self, request: gr.Request) -> tuple[Any, ...]:
        """Remove the adapted network."""
        self.forget(str(request.session_hash))
        return "", gr.update(visible=False), gradio_parts.ticket()

    def forget(self, visitor: str) -> None:
        """Stop and drop what a visitor has adapted."""
        state = self.kept.get(visitor)
        if state is not None:
            state.task.stop()
        self.kept.forget(lambda key: key == visitor)

    def adapted(self, visitor: str) -> AdaptedCheckpoint | None:
        """What a visitor has adapted; None before and after."""
        state = self.kept.get(visitor)
        return None if state is None else state.adapted

    def _begin(self, original: str | None, method: str, visitor: str) -> Adapting:
        opened = {entry.checkpoint.name: entry.checkpoint for entry in self.entries() if entry.checkpoint is not None}
        if original not in opened:
            raise ConfigError("Choose the method to start from; methods are chosen above the photo.")
        photos = [own.scene.photo for own in self.engine.filmstrip(visitor)]
        if not photos:
            raise PhotoError("There is no photo yet to adapt to; upload one first.")
        self.forget(visitor)
        checkpoint = opened[original]
        state = adapting.begin(self.engine, visitor, checkpoint, photos, method, most=MOST_PHOTOS, seconds=SECONDS)
        self.kept.put(visitor, state, _weights_bytes(checkpoint))
        return state


def _weights_bytes(checkpoint: Checkpoint) -> int:
    """Memory of a checkpoint's weights, which are stored in half precision and used in single precision."""
    return 2 * (checkpoint.path / WEIGHTS).stat().st_size


def _explained() -> str:
    ideas = "".join(f"<p><b>{METHODS[name].title}.</b> {escape.html(METHODS[name].idea)}</p>" for name in AT_TEST_TIME)
    return (
        f"{ideas}<p>{escape.html(adapting.WARNING)} At most {MOST_PHOTOS} photos and {SECONDS:.0f} seconds, in which"
        " other visitors wait; nothing of it is kept after your visit.</p>"
    )


def _said(state: Adapting) -> str:
    """What an adaptation that has ended did, or why it did nothing."""
    title = f"{METHODS[state.method].title} from {state.original.config.title}"
    if state.task.state is TaskState.FAILED:
        return gradio_parts.problem(state.task.error)
    if state.adapted is None:
        return "Stopped; nothing was adapted."
    return escape.html(f"{title}. {state.said}")
