"""The Gap tab of the Gradio page: how far apart two domains are for a network before and after adaptation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gradio as gr

from sim2street.app.content import domain_gap
from sim2street.app.content.background import BACKGROUND, Task, TaskState
from sim2street.app.content.domain_gap import Gap, gap_between, stored_reading
from sim2street.app.content.gap_shown import gap_shown
from sim2street.app.content.labelled_sets import LabelledSet, labelled_set, labelled_set_titles
from sim2street.app.demo_page import gradio_parts
from sim2street.app.demo_page.set_tab import SetTab
from sim2street.models.errors import ConfigError, Sim2StreetError
from sim2street.models.storage.checkpoint import Checkpoint


class GapTab(SetTab):
    """The components and event handlers."""

    def build(self, page: gr.Blocks) -> None:
        """Lay out the tab within the current context and connect it."""
        self.introduce(domain_gap.INTRODUCTION)
        sets = [(title, key) for key, title in labelled_set_titles().items()]
        with gr.Row(elem_id="gap_choice", elem_classes="choosers"):
            domains = [
                gr.Dropdown(sets, value=first, label=label, elem_id=f"gap_{label.lower()}")
                for label, first in zip(("Source", "Target"), domain_gap.FIRST_PAIR, strict=True)
            ]
            networks = [gr.Dropdown([], label=f"Network {when}", elem_id=f"gap_{when}") for when in ("before", "after")]
        controls = self.controls("Compute both domains with both networks", "gap")
        said = gr.Markdown(elem_id="gap_said")
        sides: list[Any] = []
        with gr.Row(elem_id="gap_sides", visible=False) as charts:
            for _ in domain_gap.FIRST_PAIR:
                with gr.Column(min_width=320):
                    sides.append(gr.Markdown())
                    sides += [gr.Plot(show_label=False, elem_classes="chart") for _ in range(2)]
        with gr.Column(visible=False) as norms:
            shift_words = gr.Markdown()
            shifts = gr.Plot(show_label=False, elem_classes="chart")
        gr.Markdown(domain_gap.HOW, elem_classes="note")
        chosen = [*domains, *networks]
        shown = [said, *controls, charts, *sides, norms, shift_words, shifts]
        page.load(self.offer, None, networks, api_visibility="private").then(
            self.show, chosen, shown, show_progress="hidden", api_visibility="private"
        )  # a tab that was never opened reports no change
        self.connect(controls, chosen, shown)

    def offer(self) -> tuple[Any, Any]:
        """Offer the available checkpoints."""
        usable, titles = list(self.usable().values()), self.titles()
        first = [each.name for each in domain_gap.first_networks(usable)] if usable else [None, None]
        before, after = (
            gr.update(choices=[(title, name) for name, title in titles.items()], value=name) for name in first
        )
        return before, after

    def start(self, *chosen: str | None) -> tuple[Any, ...]:
        """Start to compute what is not known yet."""
        try:
            domains, networks = self._chosen(*chosen)
            if self.reads:
                domain_gap.begin(self.engine, domains, networks)
        except Sim2StreetError as error:  # such as too many that are waiting: later it may work
            return self._only(gradio_parts.problem(str(error)), missing=None not in chosen)
        return self.show(*chosen)

    def tasks(self, *chosen: str | None) -> list[Task]:
        """The task that computes the chosen pair, if there is one."""
        task = BACKGROUND.task(domain_gap.task_key(*self._chosen(*chosen)))
        return [] if task is None else [task]

    def show(self, *chosen: str | None) -> tuple[Any, ...]:
        """Show both gaps where they are known, else how far their computation is."""
        if None in chosen:
            none = self._only("No checkpoint was found.")
            # While one of the choosers is still empty, say nothing: this answer can overtake the one to the whole choice.
            return (gr.skip(),) * len(none) if self.usable() else none
        try:
            domains, networks = self._chosen(*chosen)
        except Sim2StreetError as error:
            return self._only(gradio_parts.problem(str(error)))
        gaps = [_gap(domains, network) for network in networks]
        if gaps[0] is not None and gaps[1] is not None:
            pairs = [(networks[0], gaps[0]), (networks[1], gaps[1])]
            return self._both(domains, pairs)
        tasks = self.tasks(*chosen)
        said = [gradio_parts.busy(task.in_words("images")) for task in tasks if task.under_way]
        said += [gradio_parts.problem(task.error) for task in tasks if task.state is TaskState.FAILED]
        return self._only("".join(said), tasks, missing=True)

    def _both(self, domains: list[LabelledSet], pairs: list[tuple[Checkpoint, Gap]]) -> tuple[Any, ...]:
        found = gap_shown([labelled.title for labelled in domains], pairs, self.titles())
        sides = [
            part for side in found.sides for part in (f"### {side.heading}\n\n{side.caption}", side.plane, side.entropy)
        ]
        words = f"### Batch norm\n\n{found.shift_words}"
        there = gr.update(visible=True)
        return found.words, *self.controlled([], missing=False), there, *sides, there, words, found.shifts

    def _only(self, said: str, tasks: Sequence[Task] = (), *, missing: bool = False) -> tuple[Any, ...]:
        """Words without charts."""
        gone = gr.update(visible=False)
        sides = [gr.skip() for _ in range(6)]
        return said, *self.controlled(tasks, missing=missing), gone, *sides, gone, gr.skip(), gr.skip()

    def _chosen(self, *chosen: str | None) -> tuple[list[LabelledSet], list[Checkpoint]]:
        """The two domains and the two networks that are chosen.

        Raises:
            ConfigError: one of them does not exist.
        """
        known, sets = self.usable(), labelled_set_titles()
        for name, there in zip(chosen, (sets, sets, known, known), strict=True):
            if name not in there:
                raise ConfigError(f"There is no {str(name)[:80]!r} here; choose one of {', '.join(there)}.")
        names = [str(name) for name in chosen]
        return [labelled_set(name) for name in names[:2]], [known[name] for name in names[2:]]


def _gap(domains: list[LabelledSet], network: Checkpoint) -> Gap | None:
    """The gap for a network; None where a domain was not read yet."""
    source, target = (stored_reading(labelled, network) for labelled in domains)
    return None if source is None or target is None else gap_between(source, target)
