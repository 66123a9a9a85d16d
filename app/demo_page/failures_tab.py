"""The part "Image by image" of the Gradio page: a checkpoint's errors on labelled sets, with links to Compare."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, Final

import gradio as gr

from sim2street.app.content import charts, class_figures, escape, failures, html_tables
from sim2street.app.content.background import Task, TaskState
from sim2street.app.content.class_figures import Row
from sim2street.app.content.error_analysis import (
    ORDERS,
    Analysis,
    address_in_compare,
    analysis_of,
    begin,
    ranked,
    task_of,
)
from sim2street.app.content.gallery import RENDERED
from sim2street.app.content.labelled_sets import labelled_set, labelled_set_titles
from sim2street.app.demo_page import address, gradio_parts
from sim2street.app.demo_page.open_compare import turned
from sim2street.app.demo_page.set_tab import SetTab
from sim2street.models.errors import Sim2StreetError

AT_ONCE: Final = 12
"""Largest number of cards shown."""
NO_COMPARISON: Final = "none"
FIRST_SET: Final = "street_scenes/fog"
NOTHING: Final = (None, gr.update(visible=False), None, "", "", None)
"""Matrix, calibration and its diagram, classes, heading and cards of a set of which nothing has been predicted."""
# There is one order only where nothing is compared.
ORDERED: Final = f"""
(against) => ({{ __type__: "update", visible: against !== {json.dumps(NO_COMPARISON)} }})
"""


class FailuresTab(SetTab):
    """The components and event handlers."""

    def build(self, page: gr.Blocks) -> None:
        """Lay out the part within the current context and connect it."""
        self.introduce(failures.INTRODUCTION)
        # What the address asks for, by title; and the titles of all that can be chosen, with what the tab begins with.
        self.asked, self.titled = gr.JSON({}, visible="hidden"), gr.JSON({}, visible="hidden")
        self.gone = gr.HTML()
        with gr.Row(elem_id="analysis"):
            sets = [(title, key) for key, title in labelled_set_titles().items()]
            self.set = gr.Dropdown(sets, value=FIRST_SET, label="Images", elem_id="set")
            self.reader = gr.Dropdown([], label="Checkpoint", elem_id="reader")
            self.against = gr.Dropdown([], label="Compared with", elem_id="against")
            self.order = gr.Dropdown(list(ORDERS), value=ORDERS[0], label="Order", elem_id="order", visible=False)
        controls = self.controls("Predict this set", "set")
        self.said = gr.HTML(elem_id="failures_said")
        with gr.Row(elem_id="errors"):
            with gr.Column(scale=2, min_width=320):
                self.matrix = gradio_parts.confusion_matrix()
            with gr.Column(scale=1, min_width=320, visible=False) as self.calibration:
                gr.Markdown("### Confidence and accuracy")
                self.reliability = gr.Plot(show_label=False, elem_classes="chart", elem_id="reliability")
        self.cell = gr.Textbox("", visible="hidden")
        with gr.Accordion("Class by class, in percent", open=False, elem_id="by_class"):
            self.classes = gr.HTML(elem_id="class_figures")
            with gr.Row(elem_classes="downloads"):
                csv, latex = gr.Button("CSV", size="sm"), gr.Button("LaTeX", size="sm")
        file = gr.Textbox(visible="hidden")
        self.heading = gr.HTML(elem_id="failures_heading")
        self.cards = gradio_parts.cards()
        chosen = [self.set, self.reader, self.against, self.order, self.cell]
        results = [self.matrix, self.calibration, self.reliability, self.classes, self.heading, self.cards]
        shown = [self.said, *results, *controls]
        page.load(
            self.offer,
            self.asked,
            [self.set, self.reader, self.against, self.titled, self.gone],
            js=address.IMAGES,
            api_visibility="private",
        )
        self.against.change(None, self.against, self.order, js=ORDERED)
        self.connect(controls, chosen, shown)
        for button, make in ((csv, self.make_csv), (latex, self.make_latex)):
            made = button.click(make, chosen[:3], file, api_visibility="private")
            made.then(None, file, None, js=gradio_parts.SAVE)
        self.matrix.choose(None, self.matrix, self.cell, js=gradio_parts.CHOSEN)

    def offer(self, asked: dict[str, str]) -> tuple[Any, ...]:
        """Offer the available checkpoints, and choose what the address asks for, by title.

        Returns:
            Set, checkpoint, the one it is compared with, what `address.NAME_ROOM` needs to know of them, and a note on what is
            asked for and not here.
        """
        titles = self.titles()
        known = {"set": labelled_set_titles(), "reader": titles, "against": titles}
        first = {"set": FIRST_SET, "reader": next(iter(titles), None), "against": NO_COMPARISON}
        found = {
            name: next((key for key, title in known[name].items() if title == asked.get(name)), first[name])
            for name in known
        }
        gone = [asked[name] for name in known if asked.get(name) and asked[name] not in known[name].values()]
        choices = [(title, name) for name, title in titles.items()]
        return (
            gr.update(value=found["set"]),
            gr.update(choices=choices, value=found["reader"]),
            gr.update(choices=[(NO_COMPARISON, NO_COMPARISON), *choices], value=found["against"]),
            {**known, "first": first},
            "".join(gradio_parts.problem(f"The address asks for “{each[:80]}”, which is not here.") for each in gone),
        )

    def start(self, key: str, reader: str, against: str, order: str, choice: str) -> tuple[Any, ...]:
        """Start to predict the set with the checkpoints that have not predicted it completely."""
        try:
            for analysis in self._analyses(key, reader, against):
                if not analysis.complete and self.reads:
                    begin(self.engine, analysis)
        except Sim2StreetError as error:  # one of the two may be under way all the same
            said, *shown = self.show(key, reader, against, order, choice)
            problem = gradio_parts.problem(str(error))
            return problem + (said if isinstance(said, str) and said != problem else ""), *shown
        return self.show(key, reader, against, order, choice)

    def tasks(self, key: str, reader: str | None, against: str, *_: str) -> list[Task]:
        """The tasks that predict the set with the chosen checkpoints."""
        return [task for each in self._analyses(key, reader, against) if (task := task_of(each)) is not None]

    def show(self, key: str, reader: str | None, against: str, order: str, choice: str) -> tuple[Any, ...]:
        """Show the results so far: words, what `NOTHING` lists, and the controls."""
        try:
            found = self._analyses(key, reader, against)
        except Sim2StreetError as error:
            return gradio_parts.problem(str(error)), *NOTHING, *self.controlled([], missing=False)
        if not found:
            none = ("No checkpoint was found.", *NOTHING, *self.controlled([], missing=False))
            # While the chooser is still empty, say nothing: this answer can overtake the one to the whole choice.
            return (gr.skip(),) * len(none) if reader is None and self.usable() else none
        first, others = found[0], found[1].photos if len(found) > 1 else []
        tasks, titles = self.tasks(key, reader, against), self.titles()
        controls = self.controlled(tasks, missing=not all(each.complete for each in found))
        said = [
            gradio_parts.busy(f"{titles[each.checkpoint.name]}: {task.in_words('images')}") + "<br>"
            for each in found
            if (task := task_of(each)) is not None and task.under_way
        ]
        said += [gradio_parts.problem(task.error) for task in tasks if task.state is TaskState.FAILED]
        said += [
            gradio_parts.problem(problem) for analysis in found for problem in failures.problems_in_words(analysis)
        ]
        if not first.photos:
            return "".join(said), *NOTHING, *controls
        summary, space = first.summary(), first.labelled.space
        cell = failures.cell_of(choice, space)
        pictures = ranked(first.photos, order if others else ORDERS[0], cell, others)[:AT_ONCE]
        cards = failures.cards(first, pictures, cell)
        said.append(f"<p>{escape.html(' '.join(failures.figures_in_words(first, summary)))}</p>")
        none = "" if pictures else " No predicted image has any such pixels."
        heading = f"<p><b>Images: {escape.html(failures.in_words(cell, space))}.</b>{none}</p>"
        calibration = gr.update(visible=True), charts.reliability(summary.reliability)
        matrix = failures.matrix(summary, space, choice)
        classes = html_tables.table(self._rows(found), {"Difference": "+.1f"})
        return "".join(said), matrix, *calibration, classes, heading, cards, *controls

    def make_csv(self, key: str, reader: str | None, against: str) -> str:
        """The scores per class as a CSV file."""
        return self._made(key, reader, against, class_figures.as_csv, "classes.csv", "text/csv")

    def make_latex(self, key: str, reader: str | None, against: str) -> str:
        """The scores per class as a LaTeX table."""
        return self._made(key, reader, against, class_figures.as_latex, "classes.tex", "application/x-tex")

    def opened(
        self,
        key: str,
        reader: str | None,
        against: str,
        choice: str,
        chosen: dict[str, list[str]],
        offers: dict[str, Any],
        event: gr.EventData,
    ) -> tuple[Any, ...]:
        """Handle a click on a card: what Compare, which shows rendered streets only, is set to.

        Args:
            key: of the set.
            reader: the checkpoint.
            against: the checkpoint that it is compared with, if any.
            choice: the chosen cell of the matrix.
            chosen: the methods that the visitor has chosen in Compare, by source.
            offers: the methods preselected there.
            event: has the key of the card.

        Returns:
            Source, style and street, then what `open_compare.turned` returns.
        """
        nothing = (gr.skip(),) * 7
        try:
            found = self._analyses(key, reader, against)
        except Sim2StreetError:  # `show` says so
            return nothing
        index = int(event._data["key"])
        photo = next((each for each in (found[0].photos if found else ()) if each.index == index), None)
        if photo is None or not found[0].labelled.rendered:
            return nothing
        view = address_in_compare(found[0], photo, failures.cell_of(choice, found[0].labelled.space))
        place = view.pop("photo"), view.pop("style"), int(view.pop("street"))
        return *place, *turned(RENDERED, [each.checkpoint.name for each in found], view, chosen, offers)

    def _made(
        self,
        key: str,
        reader: str | None,
        against: str,
        write: Callable[[Sequence[Row]], str],
        name: str,
        kind: str,
    ) -> str:
        try:
            found = self._analyses(key, reader, against)
        except Sim2StreetError as error:
            raise gr.Error(escape.html(str(error)), print_exception=False) from error
        if not found or not found[0].photos:
            raise gr.Error(
                "No image of this set has been predicted yet; start the prediction first.", print_exception=False
            )
        return gradio_parts.file(name, kind, write(self._rows(found)).encode())

    def _rows(self, found: list[Analysis]) -> list[Row]:
        return class_figures.class_rows(found[0], found[1] if len(found) > 1 else None, self.titles())

    def _analyses(self, key: str, reader: str | None, against: str) -> list[Analysis]:
        """The analysis of the checkpoint, and that of the one it is compared with, if any."""
        known = self.usable()
        if key not in labelled_set_titles():
            raise Sim2StreetError(f"There is no set {key!r}; known are {', '.join(labelled_set_titles())}.")
        labelled = labelled_set(key)
        return [analysis_of(labelled, known[name]) for name in (reader, against) if name in known]
