"""The Compare tab of the Gradio page: the predictions of several methods for one photo, side by side."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import gradio as gr

from sim2street.app.content import charts, escape, example_photos, exports, figures, html_tables
from sim2street.app.content.comparison import Comparison, compare, current_results, preselected
from sim2street.app.content.engine import THREE_SCALES, Engine, OwnPhoto, Settings, device_name
from sim2street.app.content.first_street import FIRST_STREET, FIRST_STYLE
from sim2street.app.content.gallery import ENCODINGS, OWN, RENDERED, Scene
from sim2street.app.content.limits import LimitError, RateLimit
from sim2street.app.content.streets import STREETS, rendered_scene, style_strip
from sim2street.app.content.summary import MOST_CLASSES, most_different_classes
from sim2street.app.demo_page import gradio_parts, uploads
from sim2street.app.demo_page.adapt_sheet import AdaptSheet
from sim2street.app.viewer.report import html_report
from sim2street.models.errors import Sim2StreetError
from sim2street.models.storage.catalog import CatalogEntry
from sim2street.models.storage.checkpoint import Checkpoint
from sim2street.models.storage.files import in_units
from sim2street.training.datasets.street_scenes import STYLES

COMPARE: Final = "compare"
"""Id of the tab."""
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

# What the address asks for, by the same parameters as in the Streamlit app; the view is the viewer's part. The page writes the
# address, so it is read once: what it asks for may be known only when the server has answered.
ASKED: Final = f"""
(offers) => {{
  const named = window.asked ??= new URLSearchParams(location.search), gone = [];
  const known = (name, here) => named.getAll(name).filter(Boolean).flatMap((each) => {{
    const found = here(each);
    if (found === undefined) gone.push(each);
    return found === undefined ? [] : [found];
  }});
  known("photo", (each) => ({json.dumps([RENDERED, OWN])}.includes(each) ? each : undefined)); // the app has data sets, too
  const [style] = known("style", (each) => ({json.dumps(list(STYLES))}.includes(each) ? each : undefined));
  const [street] = known("street", (each) => (/^\\d{{1,9}}$/.test(each) && +each < {STREETS} ? +each : undefined));
  const methods = known("methods", (each) => offers.choices.find(([title]) => title === each)?.[1]);
  return {{ style, street, methods: methods.length ? methods : undefined, gone }};
}}
"""
# The catalog has changed: what has gone leaves the choice; what has arrived joins it if the address asks for it, or if it suits the
# source and nobody has chosen yet. Methods that stand in for those of the address give way to them.
OFFER: Final = f"""
(offers, known, source, methods, chosen) => {{
  const names = offers.choices.map(([, name]) => name);
  const kept = methods.filter((name) => names.includes(name));
  const arrived = (some) => some.filter((name) => !known.includes(name) && !kept.includes(name));
  const asked = source === {json.dumps(RENDERED)} ? ({ASKED})(offers).methods ?? [] : [];
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
REMEMBER: Final = "(source, methods, chosen) => ({ ...chosen, [source]: methods })"
# The first comparison does not wait until the controls show what the address asks for.
BEGIN: Final = f"""
(source, style, street, methods, averages, view, offers) => {{
  const asked = ({ASKED})(offers);
  return [source, asked.style ?? style, asked.street ?? street, asked.methods ?? methods, averages, view, offers];
}}
"""
NAMED: Final = f"""
(offers) => {{
  const {{ style, street, methods }} = ({ASKED})(offers);
  const same = {{ __type__: "update" }};
  const chosen = methods && {{ {json.dumps(RENDERED)}: methods }};
  return [style ?? same, street ?? same, methods ?? same, chosen ?? same];
}}
"""
GONE: Final = f"""
(offers) => {{
  const {{ gone }} = ({ASKED})(offers);
  const quoted = gone.map((each) => `“${{each.slice(0, 80).replace(/[<>&]/g, (sign) => `&#${{sign.charCodeAt(0)}};`)}}”`);
  const words = `The address asks for ${{new Intl.ListFormat("en-GB").format(quoted)}}; the page shows what it has.`;
  return gone.length ? `<div class="problem" role="status">${{words}}</div>` : "";
}}
"""
NAME: Final = f"""
(source, style, street, chosen, offers) => {{
  const address = new URL(location.href), named = address.searchParams, own = source === {json.dumps(OWN)};
  for (const name of ["photo", "style", "street", "methods"]) named.delete(name);
  if (!own && style !== {json.dumps(FIRST_STYLE)}) named.set("style", style);
  if (!own && street !== null && street !== {FIRST_STREET}) named.set("street", street);
  for (const name of own ? [] : (chosen[source] ?? []))
    named.append("methods", offers.choices.find(([, each]) => each === name)?.[0] ?? name);
  if (address.href !== location.href) history.replaceState(history.state, "", address);
}}
"""
ANOTHER: Final = f"() => Math.floor(Math.random() * {STREETS})"

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
        self.adapt = AdaptSheet(engine, entries)

    def build(self, page: gr.Blocks) -> None:
        """Lay out the tab within the current context and connect it."""
        self._lay_out(page)
        controls = [self.source, self.style, self.street, self.methods, self.averages, self.view]
        shown = [self.viewer, self.status, self.summary, self.chart, self.classes, self.notes]
        changes = [control.change for control in (*controls[1:], self.arrived, self.turned)]
        page.load(None, js=CLOSE_SHEETS)
        page.load(
            None,
            self.offers,
            [self.style, self.street, self.methods, self.chosen],
            js=NAMED,
        )
        gr.on(
            [each.change for each in (self.source, self.style, self.street, self.chosen)],
            None,
            [self.source, self.style, self.street, self.chosen, self.offers],
            js=NAME,
        )
        looked = gr.on(
            [page.load, self.watch.tick],
            self.look,
            None,
            [self.offers, self.methods, self.problems, self.watch],
            show_progress="hidden",
            api_visibility="private",
        )
        looked.then(None, self.offers, self.gone, js=GONE)
        self.offers.change(
            None,
            [self.offers, self.known, self.source, self.methods, self.chosen],
            [self.methods, self.known, self.chosen],
            js=OFFER,
        )
        filmstrip = [self.film, self.picked, self.ask]
        # Before the reading: of what follows the same change, Gradio does one after the other.
        self.methods.change(
            lambda methods: gr.update(label=_counted(methods)),
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
        first = page.load(self.begin, [*controls, self.offers], shown, js=BEGIN, **reading)
        further = gr.on(changes, self.read, controls, shown, **reading)
        self.stop.click(
            self.stopped, controls, [self.viewer, self.status], cancels=[first, further], api_visibility="private"
        )
        self.film.choose(None, self.film, self.picked, js=gradio_parts.CHOSEN)
        described = [self.about, *self.others]
        self.picked.change(
            self.choose_own,
            self.picked,
            [self.film, self.arrived, *described],
            api_visibility="private",
        )
        self.film.removal(
            self.remove_own,
            None,
            [*filmstrip, self.arrived, *described],
            trigger_mode="multiple",
            api_visibility="private",
        )
        self.strip.choose(None, self.strip, self.style, js=gradio_parts.CHOSEN)
        gr.on(
            [self.street.change, self.style.change],
            style_strip,
            [self.street, self.style],
            self.strip,
            trigger_mode="always_last",
            show_progress="hidden",
            api_visibility="private",
        )
        self.another.click(None, None, self.street, js=ANOTHER)
        self.methods.input(None, [self.source, self.methods, self.chosen], self.chosen, js=REMEMBER)
        self.source.change(
            None,
            [self.source, self.chosen, self.offers, self.turned],
            [self.streets, self.own, self.methods, self.turned],
            js=TURN,
        )
        self.truth.upload(None, js=gradio_parts.close_sheet("truth_sheet"))  # it covers what is said of the image
        gr.on(
            [self.photo.upload, self.truth.upload, self.encoding.input],
            self.take_photo,
            [self.photo, self.truth, self.encoding],
            [self.photo, self.truth, self.arrived, *filmstrip, self.upload_note, *described],
            api_visibility="private",
        )
        self.ask.click(
            self.fetch_offer,
            None,
            [self.arrived, *filmstrip, self.upload_note],
            trigger_mode="once",
            show_progress="hidden",
            api_visibility="private",
        )
        for title, button in zip(ENCODINGS, self.others, strict=True):
            button.click(
                self.renumber,
                gr.State(title),
                [self.encoding, self.arrived, *filmstrip, self.upload_note, *described],
                api_visibility="private",
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
            suited_now = _suited(entries, RENDERED)
            with gr.Accordion(_counted(suited_now), open=False, elem_classes="sheet", elem_id="sheet") as self.sheet:
                self.methods = gr.CheckboxGroup(
                    _titles(entries), value=suited_now, label="Methods to compare", elem_id="methods"
                )
            with gr.Accordion("Settings", open=False, elem_classes="sheet"):
                self.averages = gr.CheckboxGroup([MIRROR, SCALES], label="Average over (takes longer)")
            gradio_parts.take_photos(OWN, uploads.SUFFIXES)
            self.status = gr.HTML(gradio_parts.busy("Starting …"), elem_id="status")
            self.stop = gr.Button("Stop", size="sm", elem_id="stop")
        self.chosen = gr.JSON({}, visible="hidden")  # source -> methods, once the user has changed the choice
        self.offers = gr.JSON(_offers(entries), visible="hidden")
        self.known = gr.JSON([name for _, name in _titles(entries)], visible="hidden")  # the methods offered so far
        self.turned = gr.Number(0, visible="hidden")
        self.gone = gr.HTML()
        self.arrived = gr.Number(0, visible="hidden")
        self.picked = gr.Textbox("", visible="hidden")  # the key of the visitor's photo that is shown
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
        with gr.Column(visible=False, elem_id="own") as self.own:
            with gr.Row():
                self.film = gradio_parts.picture_strip("film", visible=False)
                # Any file arrives, so that the page itself can say what to do with a HEIC; `take_photos` tells the file dialog.
                self.photo = gr.File(
                    label="Drop or paste street photos here, several at once",
                    file_count="multiple",
                    height=96,
                    elem_id="photo",
                )
                with gr.Accordion("Ground truth", open=False, elem_classes="sheet", elem_id="truth_sheet"):
                    self.truth = gr.File(
                        label="Optional: a PNG with one class number per pixel",
                        file_types=uploads.LABEL_SUFFIXES,
                        height=100,
                    )
                    self.encoding = gr.Dropdown(list(ENCODINGS), label="Numbering of its classes", elem_id="encoding")
            with gr.Row(elem_id="offer"):
                gr.Markdown(example_photos.offer().introduction)
                self.ask = gr.Button(example_photos.offer().button(), size="sm", elem_id="ask")
            self.about = gr.HTML(elem_classes="note", elem_id="about")
            self.upload_note = gr.HTML(uploads.SHORT, elem_classes="note", elem_id="upload_note")
            if self.reads:
                self.adapt.build(page, self.arrived, self.methods, self.offers)
            with gr.Row():
                self.others = [gr.Button(f"Read it as {title}", visible=False, size="sm") for title in ENCODINGS]
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
        return _offers(entries), gr.update(choices=_titles(entries)), _problems(entries), _watched(entries)

    def begin(self, request: gr.Request, *controls: Any) -> Iterator[tuple[Any, ...]]:
        """`read` for what the page begins with; the last of the controls was for the browser only."""
        yield from self.read(request, *controls[:-1])

    def read(self, request: gr.Request, *controls: Any) -> Iterator[tuple[Any, ...]]:
        """Show the predictions known already, then those of one method after the other."""
        choice, visitor = Choice(*controls), str(request.session_hash)
        try:
            self.rate.check(uploads.client_of(request))
            scene = self.scene(choice, visitor)
            if scene is None:
                yield (gr.skip(), "Drop a photo taken from a car, a bicycle or the pavement.", *[gr.skip()] * 4)
                return
            checkpoints, everyone = self.checkpoints(choice, visitor)
            state, ends = None, self.clock() + TIME_LIMIT
            for state in compare(self.engine, scene, checkpoints, everyone, choice.settings, visitor):
                if state.waiting and self.clock() > ends:
                    why = f"Stopped at the limit of {TIME_LIMIT:.0f} s per comparison; choose fewer methods"
                    yield (*self.cut_short(state, everyone, choice, visitor, why), *_numbers(state))
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

    def stopped(self, request: gr.Request, *controls: Any) -> tuple[Any, str]:
        """Show the predictions made before the user stopped the comparison."""
        choice, visitor = Choice(*controls), str(request.session_hash)
        try:
            scene = self.scene(choice, visitor)
        except Sim2StreetError as error:
            return gr.skip(), gradio_parts.problem(str(error))
        if scene is None:
            return gr.skip(), ""
        checkpoints, everyone = self.checkpoints(choice, visitor)
        state = current_results(self.engine, scene, checkpoints, everyone, choice.settings, visitor)
        if not state.waiting:
            return gr.skip(), _said(state)
        return self.cut_short(state, everyone, choice, visitor, "Stopped")

    def cut_short(
        self, state: Comparison, everyone: list[Checkpoint], choice: Choice, visitor: str, why: str
    ) -> tuple[Any, str]:
        """The viewer without the missing predictions, and a sentence on why they are missing."""
        read = [entrant.checkpoint for entrant in state.entrants if entrant.checkpoint is not None]
        shown = current_results(self.engine, state.scene, read, everyone, choice.settings, visitor)
        left = len(state.waiting)
        return shown.bundle, f"{why}; {left} method{'s have' if left > 1 else ' has'} not predicted this photo."

    def take_photo(
        self, photos: list[str] | None, truth: str | None, encoding: str, request: gr.Request
    ) -> tuple[Any, ...]:
        """Handle an upload: read photos or a ground truth into memory, and delete the files."""
        visitor = str(request.session_hash)
        with self.engine.awaited(visitor):
            try:
                self.rate.check(uploads.client_of(request))
            except Sim2StreetError as error:
                problem = gradio_parts.problem(str(error))
                return None, None, *[gr.skip()] * 4, problem + uploads.SHORT, *[gr.skip()] * (1 + len(self.others))
            read, problems = uploads.take_all(self.engine, visitor, photos or [], truth, encoding)
        note = "".join(map(gradio_parts.problem, problems)) + uploads.SHORT
        arrived = gradio_parts.ticket() if read else gr.skip()
        return None, None, arrived, *self.filmstrip(visitor), note, *_described(self.engine.kept(visitor))

    def fetch_offer(self, request: gr.Request) -> Iterator[tuple[Any, ...]]:
        """Add the photos on offer to the visitor's, the first of them as soon as it is there."""
        visitor, failed = str(request.session_hash), list[str]()
        nothing = [gr.skip()] * 4
        with self.engine.awaited(visitor):
            try:
                self.rate.check(uploads.client_of(request))
            except Sim2StreetError as error:
                yield *nothing, gradio_parts.problem(str(error)) + uploads.SHORT
                return
            offer = example_photos.offer()
            yield *nothing, gradio_parts.busy(offer.progress(0))
            for done, problem in enumerate(example_photos.fetch_offer(), 1):
                failed += [problem] if problem else []
                shown = self.engine.kept(visitor) is None and self._add_offered(visitor)
                yield *(shown or nothing), gradio_parts.busy(offer.progress(done))
            damaged = example_photos.offered()[1]
            note = "".join(map(gradio_parts.problem, [*failed, *damaged])) + uploads.SHORT
            yield *(self._add_offered(visitor) or nothing), note

    def _add_offered(self, visitor: str) -> tuple[Any, ...] | None:
        """Add what was fetched of the offer; updates of what then has to be drawn again, or None without such a photo."""
        found = example_photos.offered()[0]
        if not found:
            return None
        before = self.engine.kept(visitor)
        self.engine.add(visitor, found)
        return gradio_parts.ticket() if before is None else gr.skip(), *self.filmstrip(visitor)

    def filmstrip(self, visitor: str) -> tuple[Any, str, Any]:
        """Updates of the picture strip with the visitor's photos, and of the button for those on offer that it lacks.

        Between the two is the key of the photo that is shown.
        """
        shown, photos = self.engine.kept(visitor), self.engine.filmstrip(visitor)
        items = [
            {"key": own.scene.photo.digest, "label": own.name, "image": own.thumbnail, "removable": True}
            for own in photos
        ]
        chosen = "" if shown is None else shown.scene.photo.digest
        film = gr.update(value={"label": "Your photos", "items": items, "chosen": chosen}, visible=bool(items))
        there = {own.scene.photo.digest for own in photos}
        taken, offer = (
            sum(own.scene.photo.digest in there for own in example_photos.offered()[0]),
            example_photos.offer(),
        )
        return film, chosen, gr.update(value=offer.button(taken), visible=taken < len(offer.photos))

    def choose_own(self, picked: str, request: gr.Request) -> tuple[Any, ...]:
        """Show another photo of the filmstrip."""
        visitor = str(request.session_hash)
        shown = self.engine.kept(visitor)
        if shown is None or shown.scene.photo.digest == picked:  # as after an upload, which shows its photo itself
            return tuple(gr.skip() for _ in range(3 + len(self.others)))
        self.engine.choose(visitor, picked)
        return self.filmstrip(visitor)[0], gradio_parts.ticket(), *_described(self.engine.kept(visitor))

    def remove_own(self, request: gr.Request, event: gr.EventData) -> tuple[Any, ...]:
        """Handle a click on the cross of a picture of the filmstrip."""
        visitor = str(request.session_hash)
        self.engine.remove(visitor, str(event._data["key"]))
        return *self.filmstrip(visitor), gradio_parts.ticket(), *_described(self.engine.kept(visitor))

    def renumber(self, encoding: str, request: gr.Request) -> tuple[Any, ...]:
        """Read the visitor's ground truth in another numbering."""
        _, _, *shown = self.take_photo(None, None, encoding, request)
        return encoding, *shown

    def make_report(self, request: gr.Request, *controls: Any) -> str:
        """This comparison as one HTML file."""
        state = self._finished(Choice(*controls), str(request.session_hash))
        return gradio_parts.file("sim2street_report.html", "text/html", html_report(state.bundle).encode())

    def make_archive(self, request: gr.Request, *controls: Any) -> str:
        """Label images, overlays and figures as a ZIP; PNG without metadata."""
        state = self._finished(Choice(*controls), str(request.session_hash))
        return gradio_parts.file(
            "sim2street_images.zip", "application/zip", exports.archive(state.scene.photo, state.entrants)
        )

    def make_npz(self, request: gr.Request, *controls: Any) -> str:
        """All probabilities of each method as a ZIP; every method predicts the photo again."""
        choice, visitor = Choice(*controls), str(request.session_hash)
        try:
            self.rate.check(uploads.client_of(request))
            state = self._finished(choice, visitor)
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
        self.adapt.forget(str(request.session_hash))
        self.engine.forget(str(request.session_hash))

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
        adapted = self.adapt.adapted(visitor) if choice.source == OWN else None
        if adapted is not None and adapted.original.name in choice.methods:
            place = [checkpoint.name for checkpoint in chosen].index(adapted.original.name)
            chosen.insert(place + 1, adapted)
            everyone.append(adapted)
        return chosen, everyone

    def _finished(self, choice: Choice, visitor: str) -> Comparison:
        try:
            scene = self.scene(choice, visitor)
        except Sim2StreetError as error:
            raise gr.Error(escape.html(str(error)), print_exception=False) from error
        if scene is None:
            raise gr.Error("There is no photo yet; upload one first.", print_exception=False)
        checkpoints, everyone = self.checkpoints(choice, visitor)
        *_, state = compare(self.engine, scene, checkpoints, everyone, choice.settings, visitor)
        return state


def turned(
    source: str,
    readers: Sequence[str],
    view: dict[str, str],
    chosen: dict[str, list[str]],
    offers: dict[str, Any],
) -> tuple[Any, ...]:
    """Open the tab from another one, with some checkpoints beside those that are chosen.

    Args:
        source: where the photo comes from.
        readers: the first one at the right of a swipe, and the second, if any, at the left.
        view: further parameters of the viewer's address.
        chosen: the methods that the visitor has chosen, by source.
        offers: the methods preselected.

    Returns:
        Tab, the choice by source, the methods, and the view, which has the comparison drawn again even if it is the same.
    """
    before: list[str] = chosen.get(source) or offers["suited"][source]
    methods = [*before, *(name for name in readers if name not in before)]
    sides = dict(zip(("right", "left"), readers, strict=False))
    view = view | sides | {"ticket": str(gradio_parts.ticket())}
    return gr.update(selected=COMPARE), {**chosen, source: methods}, methods, view


def with_checkpoint(
    source: str, chosen: dict[str, list[str]], offers: dict[str, Any], event: gr.EventData
) -> tuple[Any, ...]:
    """Handle a click on the button of a checkpoint's card, whose key is the name; see `turned`."""
    name = str(event._data["key"])
    if name not in [known for _, known in offers["choices"]]:
        return (gr.skip(),) * 4
    return turned(source, [name], {}, chosen, offers)


def _titles(entries: list[CatalogEntry]) -> list[tuple[str, str]]:
    titles = figures.unique_titles([entry.checkpoint for entry in entries if entry.checkpoint is not None])
    return [(title, name) for name, title in titles.items()]


def _suited(entries: list[CatalogEntry], source: str) -> list[str]:
    """Names of the methods preselected for a source."""
    usable = [entry.checkpoint for entry in entries if entry.checkpoint is not None]
    return [checkpoint.name for checkpoint in preselected(usable, rendered=source == RENDERED)]


def _offers(entries: list[CatalogEntry]) -> dict[str, Any]:
    """The methods to choose from, as title and name, and the names preselected for each source."""
    return {"choices": _titles(entries), "suited": {source: _suited(entries, source) for source in (RENDERED, OWN)}}


def _counted(methods: Sequence[str]) -> str:
    """Title of the sheet of methods."""
    return f"{len(methods)} method{'' if len(methods) == 1 else 's'}"


def _problems(entries: list[CatalogEntry]) -> str:
    """The checkpoints that cannot be used (yet), with reasons."""
    if not entries:
        return '<div class="problem">No checkpoint was found.</div>'
    return "".join(html_tables.problem(entry) for entry in entries if entry.checkpoint is None)


def _watched(entries: list[CatalogEntry]) -> Any:
    """Run the timer while checkpoints are being downloaded."""
    return gr.update(active=any(entry.download is not None for entry in entries))


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


def _described(own: OwnPhoto | None) -> tuple[Any, ...]:
    """A note on the photo that is shown and its ground truth, and updates of the buttons for other numberings.

    Only the numberings in which its ground truth might be read instead have a button.
    """
    if own is None:
        return "", *(gr.update(visible=False) for _ in ENCODINGS)
    size = "×".join(map(str, own.scene.photo.size))
    scored = ", with ground truth" if own.scene.truth is not None else ""
    note, numberings = f"<p><b>{escape.html(own.name)}</b>, used at {size} pixels{scored}.</p>", own.scene.numberings
    if own.problem is not None:
        note += gradio_parts.problem(f"{own.problem} The photo is shown without ground truth.")
        numberings = tuple(other.title for other in own.problem.fitting)
    return note, *(gr.update(visible=title in numberings) for title in ENCODINGS)
