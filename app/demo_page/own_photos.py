"""A visitor's own photos on the Gradio page: their uploader, filmstrip and ground truth, and the real photos on offer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import gradio as gr

from sim2street.app.content import escape, example_photos
from sim2street.app.content.engine import Engine, OwnPhoto
from sim2street.app.content.gallery import ENCODINGS
from sim2street.app.content.limits import RateLimit
from sim2street.app.demo_page import gradio_parts, uploads
from sim2street.app.demo_page.adapt_sheet import AdaptSheet
from sim2street.models.errors import Sim2StreetError
from sim2street.models.storage.catalog import CatalogEntry


class OwnPhotos:
    """The part of Compare that is visible while one's own photos are its source.

    Args:
        engine: keeps each visitor's photos.
        entries: returns the current catalog.
        rate: limits uploads together with comparisons.
        reads: whether this process may predict by itself, and so adapt.
    """

    def __init__(
        self, engine: Engine, entries: Callable[[], list[CatalogEntry]], rate: RateLimit, *, reads: bool
    ) -> None:
        self.engine = engine
        self.rate = rate
        self.reads = reads
        self.adapt = AdaptSheet(engine, entries)

    def build(self, page: gr.Blocks, methods: gr.CheckboxGroup, offers: gr.JSON) -> None:
        """Lay out the part within the current context and connect it.

        Args:
            page: the whole page.
            methods: the methods that are compared.
            offers: all methods, by title and name.
        """
        self._lay_out(page, methods, offers)
        filmstrip = [self.film, self.picked, self.ask]
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
        self.truth.upload(None, js=gradio_parts.close_sheet("truth_sheet"))  # it covers what is said of the image
        gr.on(
            [self.photo.upload, self.truth.upload, self.encoding.input],
            self.take_photo,
            [self.photo, self.truth, self.encoding],
            [self.photo, self.truth, self.arrived, *filmstrip, self.upload_note, *described],
            trigger_mode="multiple",  # what comes while another photo is read is not lost
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

    def _lay_out(self, page: gr.Blocks, methods: gr.CheckboxGroup, offers: gr.JSON) -> None:
        self.arrived = gr.Number(0, visible="hidden")  # another number has the comparison drawn again
        self.picked = gr.Textbox("", visible="hidden")  # the key of the visitor's photo that is shown
        with gr.Column(visible=False, elem_id="own") as self.column:
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
                self.adapt.build(page, self.arrived, methods, offers)
            with gr.Row():
                self.others = [gr.Button(f"Read it as {title}", visible=False, size="sm") for title in ENCODINGS]

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
            added: set[str] = set()
            for done, problem in enumerate(example_photos.fetch_offer(), 1):
                failed += [problem] if problem else []
                shown = self.engine.kept(visitor) is None and self._add_offered(visitor, added)
                yield *(shown or nothing), gradio_parts.busy(offer.progress(done))
            damaged = example_photos.offered()[1]
            note = "".join(map(gradio_parts.problem, [*failed, *damaged])) + uploads.SHORT
            yield *(self._add_offered(visitor, added) or nothing), note

    def _add_offered(self, visitor: str, added: set[str]) -> tuple[Any, ...] | None:
        """Add what was fetched of the offer; updates of what then has to be drawn again, or None without such a photo.

        What is in `added`, the digests of what came before, may have been removed since; the rest is put in.
        """
        there = example_photos.offered()[0]
        if not there:
            return None
        found = [own for own in there if own.scene.photo.digest not in added]
        added.update(own.scene.photo.digest for own in found)
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
