"""The Compare tab of the Gradio page: the predictions of several methods for one photo, side by side."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import gradio as gr

from sim2street.app.content import charts, escape, exports, figures, html_tables
from sim2street.app.content.byte_cache import ByteCache
from sim2street.app.content.comparison import Comparison, compare, current_results
from sim2street.app.content.engine import THREE_SCALES, Engine, Settings, device_name
from sim2street.app.content.first_street import FIRST_STREET, FIRST_STYLE
from sim2street.app.content.gallery import OWN, RENDERED, Scene
from sim2street.app.content.limits import LimitError, RateLimit
from sim2street.app.content.streets import STREETS, rendered_scene, style_strip
from sim2street.app.content.summary import MOST_CLASSES, most_different_classes
from sim2street.app.demo_page import address, gradio_parts, method_choice, uploads
from sim2street.app.demo_page.own_photos import OwnPhotos
from sim2street.app.viewer.report import html_report
from sim2street.models.errors import Sim2StreetError
from sim2street.models.storage.catalog import CatalogEntry
from sim2street.models.storage.checkpoint import Checkpoint
from sim2street.models.storage.files import in_units

MIRROR: Final = "Mirror image too"
SCALES: Final = "Three sizes"
RATE: Final = (60, 60.0)
"""Number of comparisons allowed per client within a number of seconds; every change of a control starts one."""
TIME_LIMIT: Final = 120.0
"""Seconds after which a comparison starts no further method, so that other visitors get their turn."""
MOST_PROBABILITIES: Final = 96 * 2**20
"""Largest size in bytes of the probabilities in one download, before compression; it passes through the page's memory."""
LOOK_SECONDS: Final = 2.0
"""Seconds between updates of the list of checkpoints while some are being downloaded."""
MOST_TURNS: Final = 10_000
"""Visitors whose latest turn is remembered."""
ANOTHER: Final = f"() => Math.floor(Math.random() * {STREETS})"
COUNT: Final = "(number) => number + 1"

# Everything that is asked for and every Stop is a turn of its own. A comparison ends as soon as its visitor has had a later one.
ASK: Final = "(turn) => [turn + 1, turn + 1]"
GO_ON: Final = (
    f"(turn) => [turn + 1, turn + 1, {json.dumps(gradio_parts.busy('Going on after the prediction under way …'))}]"
)

# A sheet covers the page, so a click outside it closes it.
CLOSE_SHEETS: Final = """
() => document.addEventListener("pointerdown", (event) => {
  for (const open of document.querySelectorAll(".sheet > button.open"))
    if (!open.parentElement.contains(event.target)) open.click();
})
"""


@dataclass(frozen=True)
class Choice:
    """The values of the controls, in their order on the page."""

    source: str
    style: str
    street: float | None
    methods: list[str]
    averages: list[str]
    view: dict[str, str] = field(default_factory=dict)

    @property
    def settings(self) -> Settings:
        """Settings of the prediction."""
        return Settings(MIRROR in self.averages, THREE_SCALES if SCALES in self.averages else (1.0,))


class CompareTab:
    """The tab's components and event handlers.

    Args:
        engine: predicts photos.
        entries: returns the current catalog.
        clock: returns the time in seconds.
        reads: whether this process may predict by itself; not on ZeroGPU, which lends a GPU for one prediction.
    """

    def __init__(
        self,
        engine: Engine,
        entries: Callable[[], list[CatalogEntry]],
        clock: Callable[[], float] = time.monotonic,
        *,
        reads: bool = True,
    ) -> None:
        self.engine = engine
        self.entries = entries
        self.clock = clock
        self.rate = RateLimit(*RATE)
        self.reads = reads
        self.own = OwnPhotos(engine, entries, self.rate, reads=reads)
        self._turns: ByteCache[int] = ByteCache(MOST_TURNS)  # visitor -> their latest turn

    def build(self, page: gr.Blocks) -> None:
        """Lay out the tab within the current context and connect it."""
        self._lay_out(page)
        controls = [self.source, self.style, self.street, self.methods, self.averages, self.view]
        shown = [self.viewer, self.status, self.summary, self.chart, self.classes, self.notes]
        changes = [control.change for control in (*controls[1:], self.own.arrived, self.turned)]
        page.load(None, js=CLOSE_SHEETS)
        page.load(
            None,
            self.offers,
            [self.style, self.street, self.methods, self.chosen],
            js=address.NAMED,
        )
        gr.on(
            [each.change for each in (self.source, self.style, self.street, self.chosen)],
            None,
            [self.source, self.style, self.street, self.chosen, self.offers],
            js=address.NAME,
        )
        looked = gr.on(
            [page.load, self.watch.tick],
            self.look,
            None,
            [self.offers, self.methods, self.problems, self.watch],
            show_progress="hidden",
            api_visibility="private",
        )
        looked.then(None, self.offers, self.gone, js=address.GONE)
        self.offers.change(
            None,
            [self.offers, self.known, self.source, self.methods, self.chosen],
            [self.methods, self.known, self.chosen],
            js=method_choice.OFFER,
        )
        # Of what follows the same change, Gradio does one after the other. So the strip follows a change of its own, and is
        # drawn while the photo is read.
        gr.on([self.street.change, self.style.change], None, self.drawn, self.drawn, js=COUNT)
        self.drawn.change(
            style_strip,
            [self.street, self.style],
            self.strip,
            trigger_mode="always_last",
            show_progress="hidden",
            api_visibility="private",
        )
        self.methods.change(
            lambda methods: gr.update(label=method_choice.counted(methods)),
            self.methods,
            self.sheet,
            show_progress="hidden",
            queue=False,
            api_visibility="private",
        )
        reading: dict[str, Any] = {
            "trigger_mode": "always_last",
            "show_progress": "minimal",
            "show_progress_on": [self.status],
            "concurrency_limit": 2,  # one visitor's result is encoded while another's photo is predicted
            "concurrency_id": "device",
            "api_visibility": "private",
        }
        page.load(self.begin, [*controls, self.offers], shown, js=address.BEGIN, **reading)
        # Not `cancels` for Stop: until the prediction under way is done, Gradio drops what else is asked for. What it defers until
        # then, it does with all that belongs to the same event, so a comparison begins with an event of its own.
        gr.on(changes, None, self.turn, [self.turn, self.asked], js=ASK)
        self.go_on.click(None, self.turn, [self.turn, self.asked, self.status], js=GO_ON)
        self.asked.change(self.take_turn, self.asked, None, queue=False, api_visibility="private")
        self.asked.change(self.read, [*controls, self.asked], shown, **reading)
        self.stop.click(None, self.turn, self.turn, js=COUNT)
        self.stop.click(self.stopped, [*controls, self.turn], shown, api_visibility="private")
        self.strip.choose(None, self.strip, self.style, js=gradio_parts.CHOSEN)
        self.another.click(None, None, self.street, js=ANOTHER)
        self.methods.input(None, [self.source, self.methods, self.chosen], self.chosen, js=method_choice.REMEMBER)
        self.source.change(
            None,
            [self.source, self.chosen, self.offers, self.turned],
            [self.streets, self.own.column, self.methods, self.turned],
            js=method_choice.TURN,
        )
        downloads = (self.report, self.make_report), (self.archive, self.make_archive), (self.npz, self.make_npz)
        for button, make in downloads:
            made = button.click(make, controls, self.file, api_visibility="private")
            made.then(None, self.file, None, js=gradio_parts.SAVE)
        page.unload(self.forget)

    def _lay_out(self, page: gr.Blocks) -> None:
        entries = self.entries()
        with gr.Row(elem_id="choices"):
            self.source = gr.Radio([RENDERED, OWN], value=RENDERED, show_label=False, elem_id="source")
            suited_now = method_choice.suited(entries, RENDERED)
            with gr.Accordion(
                method_choice.counted(suited_now), open=False, elem_classes="sheet", elem_id="sheet"
            ) as self.sheet:
                self.methods = gr.CheckboxGroup(
                    method_choice.titles(entries), value=suited_now, label="Methods to compare", elem_id="methods"
                )
            with gr.Accordion("Settings", open=False, elem_classes="sheet"):
                self.averages = gr.CheckboxGroup([MIRROR, SCALES], label="Average over (takes longer)")
            gradio_parts.take_photos(OWN, uploads.SUFFIXES)
            self.status = gr.HTML(gradio_parts.busy("Starting …"), elem_id="status")
            self.stop = gr.Button("Stop", size="sm", elem_id="stop")
            self.go_on = gr.Button("Go on", size="sm", elem_id="go_on")
        self.chosen = gr.JSON({}, visible="hidden")  # source -> methods, once the user has changed the choice
        self.offers = gr.JSON(method_choice.offers(entries), visible="hidden")
        # The names of the methods offered so far.
        self.known = gr.JSON([name for _, name in method_choice.titles(entries)], visible="hidden")
        self.turned = gr.Number(0, visible="hidden")
        self.drawn = gr.Number(0, visible="hidden")
        self.turn = gr.Number(0, precision=0, visible="hidden")
        self.asked = gr.Number(0, precision=0, visible="hidden")  # the turn of the comparison that was asked for last
        self.gone = gr.HTML()
        self.problems = gr.HTML()
        self.watch = gr.Timer(LOOK_SECONDS, active=False)
        self.style = gr.Textbox(FIRST_STYLE, visible="hidden")
        with gr.Row(elem_id="streets") as self.streets:
            self.strip = gradio_parts.picture_strip("styles", style_strip(FIRST_STREET, FIRST_STYLE))
            self.street = gr.Number(
                FIRST_STREET,
                label="Street",
                show_label=False,
                minimum=0,
                maximum=STREETS - 1,
                precision=0,
                elem_id="street",
            )
            self.another = gr.Button("Another street", elem_id="another")
        self.own.build(page, self.methods, self.offers)
        self.viewer = gradio_parts.compare_viewer()
        with gr.Column(elem_id="numbers"):
            gr.Markdown("## In numbers")
            self.summary = gr.HTML(elem_id="summary")
            self.notes = gr.HTML(elem_classes="note")
            with gr.Row(elem_id="details"):
                self.chart = gr.Plot(show_label=False, elem_id="chart")
                self.classes = gr.HTML(elem_id="classes")
            with gr.Row(elem_id="downloads"):
                self.report = gr.Button("Report, one HTML file", elem_id="report")
                self.archive = gr.Button("Labels, overlays and scores", elem_id="archive")
                self.npz = gr.Button("All probabilities", visible=self.reads, elem_id="probabilities")
        self.file = gr.Textbox(visible="hidden")
        self.view = gr.JSON({}, visible="hidden")  # with which another tab opens this one
        gr.HTML(uploads.PROMISE, elem_classes="note", elem_id="promise")

    def look(self) -> tuple[dict[str, Any], Any, str, Any]:
        """The checkpoints available now, those that cannot be used (yet), and the timer while some are downloaded.

        The server itself updates the choices: it refuses a method that is not among those it knows.
        """
        entries = self.entries()
        return (
            method_choice.offers(entries),
            gr.update(choices=method_choice.titles(entries)),
            method_choice.problems(entries),
            method_choice.watched(entries),
        )

    def begin(self, request: gr.Request, *controls: Any) -> Iterator[tuple[Any, ...]]:
        """`read` for what the page begins with; the last of the controls was for the browser only."""
        yield from self.read(request, *controls[:-1], 0)

    def read(self, request: gr.Request, *controls: Any) -> Iterator[tuple[Any, ...]]:
        """Show the predictions known already, then those of one method after the other, until a later turn of the visitor's.

        The last of the controls is the turn.
        """
        *chosen, turn = controls
        choice, visitor = Choice(*chosen), str(request.session_hash)
        nothing = (gr.skip(),) * 6  # Gradio sends what comes last once more, over what the later turn shows
        if self._is_over(visitor, turn):
            yield nothing
            return
        try:
            self.rate.check(uploads.client_of(request))
            scene = self.scene(choice, visitor)
            if scene is None:
                yield (gr.skip(), "Drop a photo taken from a car, a bicycle or the pavement.", *[gr.skip()] * 4)
                return
            checkpoints, everyone = self.checkpoints(choice, visitor)
            state, ends = None, self.clock() + TIME_LIMIT
            for state in compare(self.engine, scene, checkpoints, everyone, choice.settings, visitor):
                if self._is_over(visitor, turn):
                    yield nothing
                    return
                if state.waiting and self.clock() > ends:
                    why = f"Stopped at the limit of {TIME_LIMIT:.0f} s per comparison"
                    yield self.cut_short(state, everyone, choice, visitor, why)
                    return
                if state.waiting:
                    yield (state.bundle | {"view": choice.view}, self.progress(state, everyone), *[gr.skip()] * 4)
            assert state is not None
            yield (state.bundle | {"view": choice.view}, _said(state), *_numbers(state))
        except Sim2StreetError as error:
            yield (gr.skip(), gradio_parts.problem(str(error)), *[gr.skip()] * 4)

    def progress(self, state: Comparison, everyone: list[Checkpoint]) -> str:
        """Status: the method that is predicting, and the number of other photos before it."""
        done, title = len(state.entrants), figures.unique_titles(everyone)[state.waiting[0].name]
        others = len(self.engine.turns)
        queue = f" {others} other photo{'s are' if others > 1 else ' is'} waiting before it." if others else ""
        return gradio_parts.busy(f"Predicting with {title}, {done + 1} of {done + len(state.waiting)}.{queue}")

    def take_turn(self, request: gr.Request, turn: int | None) -> None:
        """Remember the visitor's latest turn, so that an earlier comparison ends after the prediction under way."""
        visitor = str(request.session_hash)
        self._turns.put(visitor, max(turn or 0, self._turns.get(visitor) or 0), 1)

    def stopped(self, request: gr.Request, *controls: Any) -> tuple[Any, ...]:
        """End the visitor's comparisons after the prediction under way, and show those made already.

        The last of the controls is the turn.
        """
        *chosen, turn = controls
        choice, visitor = Choice(*chosen), str(request.session_hash)
        self.take_turn(request, turn)
        try:
            scene = self.scene(choice, visitor)
        except Sim2StreetError as error:
            return gr.skip(), gradio_parts.problem(str(error)), *[gr.skip()] * 4
        if scene is None:
            return gr.skip(), "", *[gr.skip()] * 4
        checkpoints, everyone = self.checkpoints(choice, visitor)
        state = current_results(self.engine, scene, checkpoints, everyone, choice.settings, visitor)
        if not state.waiting:
            return state.bundle | {"view": choice.view}, _said(state), *_numbers(state)
        return self.cut_short(state, everyone, choice, visitor, "Stopped")

    def cut_short(
        self, state: Comparison, everyone: list[Checkpoint], choice: Choice, visitor: str, why: str
    ) -> tuple[Any, ...]:
        """The viewer and the figures without the missing predictions, and a sentence on why they are missing."""
        read = [entrant.checkpoint for entrant in state.entrants if entrant.checkpoint is not None]
        shown = current_results(self.engine, state.scene, read, everyone, choice.settings, visitor)
        left = len(state.waiting)
        said = f"{why}; {left} method{'s have' if left > 1 else ' has'} not predicted this photo."
        return shown.bundle, gradio_parts.unfinished(said), *_numbers(shown)

    def make_report(self, request: gr.Request, *controls: Any) -> str:
        """This comparison as one HTML file."""
        state = self._finished(Choice(*controls), request)
        return gradio_parts.file("sim2street_report.html", "text/html", html_report(state.bundle).encode())

    def make_archive(self, request: gr.Request, *controls: Any) -> str:
        """Label images, overlays and figures as a ZIP; PNG without metadata."""
        state = self._finished(Choice(*controls), request)
        return gradio_parts.file(
            "sim2street_images.zip", "application/zip", exports.archive(state.scene.photo, state.entrants)
        )

    def make_npz(self, request: gr.Request, *controls: Any) -> str:
        """All probabilities of each method as a ZIP; every method predicts the photo again."""
        choice = Choice(*controls)
        try:
            state = self._finished(choice, request)
            readers = [entrant.checkpoint for entrant in state.entrants if entrant.checkpoint is not None]
            values = sum(math.prod(state.scene.photo.size) * each.config.space.count for each in readers)
            if 2 * values > MOST_PROBABILITIES:
                fit = max(1, len(readers) * MOST_PROBABILITIES // (2 * values))
                raise LimitError(
                    f"The probabilities of {len(readers)} methods take {in_units(2 * values)}, the limit of this page is"
                    f" {in_units(MOST_PROBABILITIES)}; choose fewer methods, at most {fit}."
                )
            data = exports.probabilities(self.engine, state.scene, readers, choice.settings)
        except Sim2StreetError as error:
            raise gr.Error(escape.html(str(error)), print_exception=False) from error
        return gradio_parts.file("sim2street_probabilities.zip", "application/zip", data)

    def forget(self, request: gr.Request) -> None:
        """Handle a closed page: forget the visitor's data."""
        visitor = str(request.session_hash)
        self._turns.forget(lambda key: key == visitor)
        self.own.adapt.forget(visitor)
        self.engine.forget(visitor)

    def scene(self, choice: Choice, visitor: str) -> Scene | None:
        """The photo that the controls select; None if the user's own has not been uploaded yet."""
        if choice.source == OWN:
            own = self.engine.kept(visitor)
            return None if own is None else own.scene
        return rendered_scene(choice.style, choice.street)

    def checkpoints(self, choice: Choice, visitor: str) -> tuple[list[Checkpoint], list[Checkpoint]]:
        """The chosen checkpoints, each followed by what the visitor has adapted from it, and all that could be chosen."""
        everyone = [entry.checkpoint for entry in self.entries() if entry.checkpoint is not None]
        chosen = [checkpoint for checkpoint in everyone if checkpoint.name in choice.methods]
        adapted = self.own.adapt.adapted(visitor) if choice.source == OWN else None
        if adapted is not None and adapted.original.name in choice.methods:
            place = [checkpoint.name for checkpoint in chosen].index(adapted.original.name)
            chosen.insert(place + 1, adapted)
            everyone.append(adapted)
        return chosen, everyone

    def _is_over(self, visitor: str, turn: int | None) -> bool:
        return (turn or 0) < (self._turns.get(visitor) or 0)

    def _finished(self, choice: Choice, request: gr.Request) -> Comparison:
        """The comparison with all chosen methods; those that have not predicted the photo, after Stop, do it now."""
        visitor = str(request.session_hash)
        try:
            self.rate.check(uploads.client_of(request))
            scene = self.scene(choice, visitor)
        except Sim2StreetError as error:
            raise gr.Error(escape.html(str(error)), print_exception=False) from error
        if scene is None:
            raise gr.Error("There is no photo yet; upload one first.", print_exception=False)
        checkpoints, everyone = self.checkpoints(choice, visitor)
        with self.engine.awaited(visitor):
            *_, state = compare(self.engine, scene, checkpoints, everyone, choice.settings, visitor)
        return state


def _numbers(state: Comparison) -> tuple[str, Any, str, str]:
    """Summary, chart, table of classes and notes."""
    if not state.entrants:
        return "", None, "", ""
    found = figures.numbers(state.entrants)
    order = most_different_classes(state.entrants, state.scene.truth)[:MOST_CLASSES]
    formats = {"Mean entropy": ".3f", "Seconds": ".2f", figures.AGAINST: "+.1f"}
    return (
        html_tables.table(found.summary, formats, found.colours),
        charts.class_bars(found.names, found.values, found.colours, unit=found.unit, order=order),
        html_tables.table(found.classes, {}),
        escape.html(" ".join([*found.notes, figures.ABSENT])),
    )


def _said(state: Comparison) -> str:
    """The status of a complete comparison."""
    count, seconds = len(state.entrants), sum(entrant.reading.pane.seconds or 0 for entrant in state.entrants)
    words = [
        f"{count} method{'' if count == 1 else 's'}, {seconds:.1f} s on the {device_name()}",
        *state.scene.photo.remarks,
    ]
    return escape.html(". ".join(word[0].upper() + word[1:] for word in words) + ".")
