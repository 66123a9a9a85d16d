"""Gap: how far apart two domains are for a network before and after it was adapted."""

from __future__ import annotations

from typing import Final

import streamlit as st

from sim2street.app.content import charts, domain_gap, escape, figures
from sim2street.app.content.background import BACKGROUND, Task, TaskState
from sim2street.app.content.domain_gap import Gap
from sim2street.app.content.engine import ENGINE
from sim2street.app.content.gap_shown import gap_shown
from sim2street.app.content.labelled_sets import LabelledSet, labelled_set_titles
from sim2street.app.views import session
from sim2street.app.views.choices import say_what_is_gone
from sim2street.models.errors import Sim2StreetError
from sim2street.models.storage.checkpoint import Checkpoint

# Comments, for Streamlit would draw a text that stands alone in a page.
# Labels of the two domains, with their names in the address.
LABELS: Final = (("Source", "gap_source"), ("Target", "gap_target"))


def main() -> None:
    """Which domains and networks, then what the readings say."""
    st.markdown("# Gap")
    st.markdown(domain_gap.INTRODUCTION)
    usable = [entry.checkpoint for entry in session.checkpoints() if entry.checkpoint is not None]
    if not usable:
        st.info("No checkpoint was found. Train one with `sim2street train`.", icon=":material/inventory_2:")
        return
    titles = figures.unique_titles(usable)
    with st.container(horizontal=True, key="gap_choice"):
        names = [
            _choose_set(label, key, first) for (label, key), first in zip(LABELS, domain_gap.FIRST_PAIR, strict=True)
        ]
        before, after = _choose_networks(usable, titles)
    try:
        domains = [session.labelled(name) for name in names]
        first, second = _gap(domains, before), _gap(domains, after)
        if first is None or second is None:
            _reading(domains, [before, after])
        else:
            _show(domains, [(before, first), (after, second)], titles)
    except Sim2StreetError as error:
        st.error(escape.markdown(str(error)), icon=":material/error:")


def _choose_set(label: str, key: str, first: str) -> str:
    sets = labelled_set_titles()
    say_what_is_gone(key, sets.values())
    return st.selectbox(
        label,
        list(sets),
        index=list(sets).index(first),
        format_func=lambda name: escape.markdown(sets[name]),
        key=key,
        bind="query-params",
        width=230,
    )


def _choose_networks(usable: list[Checkpoint], titles: dict[str, str]) -> tuple[Checkpoint, Checkpoint]:
    """A network before adaptation and one after, which the person chooses."""
    first, adapted = domain_gap.first_networks(usable)
    names = {each.name: each for each in usable}
    chosen = []
    for label, key, default in (("Network before", "gap_before", first), ("Network after", "gap_after", adapted)):
        say_what_is_gone(key, titles.values())
        name = st.selectbox(
            label,
            list(names),
            index=list(names).index(default.name),
            format_func=lambda name: escape.markdown(titles[name]),
            key=key,
            bind="query-params",
            width=300,
        )
        chosen.append(names[name])
    return chosen[0], chosen[1]


def _gap(domains: list[LabelledSet], checkpoint: Checkpoint) -> Gap | None:
    """The gap for a network; None where a domain was not read yet."""
    readings = [domain_gap.stored_reading(labelled, checkpoint) for labelled in domains]
    if readings[0] is None or readings[1] is None:
        return None
    key = (*(labelled.fingerprint for labelled in domains), checkpoint.config.weights_sha256)
    return session.gap(key, readings[0], readings[1])


def _reading(domains: list[LabelledSet], checkpoints: list[Checkpoint]) -> None:
    """What starts the reading, and how far it is."""
    task = BACKGROUND.task(domain_gap.task_key(domains, checkpoints))
    if task is not None and task.under_way:
        st.fragment(_progress, run_every=1.0)(task)
        return
    if task is not None and task.state is TaskState.FAILED:
        st.error(escape.markdown(task.error), icon=":material/error:")
    st.caption(domain_gap.HOW)
    if st.button("Compute both domains with both networks", icon=":material/play_arrow:", type="primary", key="begin"):
        domain_gap.begin(ENGINE, domains, checkpoints)
        st.rerun()


def _progress(task: Task) -> None:
    if not task.under_way:
        st.rerun()
    with st.container(horizontal=True, vertical_alignment="center"):
        st.progress(task.share, task.in_words("images"))
        if st.button("Stop", icon=":material/stop:", key="stop"):
            task.stop()


def _show(domains: list[LabelledSet], pairs: list[tuple[Checkpoint, Gap]], titles: dict[str, str]) -> None:
    shown = gap_shown([labelled.title for labelled in domains], pairs, titles)
    st.markdown(shown.words)
    for place, (column, side) in enumerate(zip(st.columns(2, gap="large"), shown.sides, strict=True)):
        with column:
            st.markdown(f"## {side.heading}")
            st.caption(side.caption)
            st.plotly_chart(side.plane, config=charts.CONFIG, key=f"plane_{place}")
            st.plotly_chart(side.entropy, config=charts.CONFIG, key=f"entropy_{place}")
    st.markdown("## Batch norm")
    st.caption(shown.shift_words)
    if shown.shifts is not None:
        st.plotly_chart(shown.shifts, config=charts.CONFIG, key="shifts")
    st.caption(domain_gap.HOW)


main()
