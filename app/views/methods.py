"""Methods: what each does, a live demonstration, what it compares with what, and what it reached."""

from __future__ import annotations

import streamlit as st

from sim2street.app.content import charts, escape, method_explained
from sim2street.app.content.demonstrations import DEMONSTRATIONS, demonstrate
from sim2street.app.content.demonstrations.parts import Choice, Slider, Value, pictures_html
from sim2street.app.content.engine import ENGINE
from sim2street.app.views import components, session
from sim2street.app.views.choices import say_what_is_gone
from sim2street.models.errors import Sim2StreetError
from sim2street.models.storage.checkpoint import Checkpoint
from sim2street.training.methods import METHODS


def main() -> None:
    """One method at a time, as the person or the address chooses."""
    st.markdown("# Methods")
    st.markdown(method_explained.INTRODUCTION)
    titles = {name: entry.title for name, entry in METHODS.items()}
    say_what_is_gone("method", titles.values())
    chosen = st.pills(
        "Method",
        list(titles),
        default=next(iter(titles)),
        required=True,
        format_func=lambda name: titles[name],
        key="method",
        wrap=True,
        bind="query-params",
        label_visibility="collapsed",
    )
    checkpoints = [entry.checkpoint for entry in session.checkpoints() if entry.checkpoint is not None]
    st.html(method_explained.introduced(chosen))
    drawn = method_explained.illustrated(chosen)
    if drawn:
        components.drawing(drawn, key="diagram")
    place = st.container(key="demonstration")
    losses = method_explained.losses(chosen)
    if losses:
        st.markdown("### Loss")
        st.markdown(losses)
    st.html(method_explained.detailed(chosen, checkpoints, cards="checkpoints?checkpoint="))
    if chosen in DEMONSTRATIONS:
        with place:  # computed last, so that the page is there before it
            show_demonstration(chosen, checkpoints)


@st.fragment
def show_demonstration(method: str, checkpoints: list[Checkpoint]) -> None:
    """Its controls and what it computes for them."""
    demonstration = DEMONSTRATIONS[method]
    st.markdown(f"### Live: {demonstration.title}")
    with st.container(horizontal=True, vertical_alignment="bottom", key="demonstration_controls"):
        values = {control.name: choose(control, method) for control in demonstration.controls}
    with st.skeleton(height=300):
        try:
            shown = demonstrate(method, values, checkpoints, ENGINE)
        except Sim2StreetError as error:
            st.info(escape.markdown(str(error)), icon=":material/inventory_2:")
            return
    st.markdown(shown.words)
    if shown.pictures:
        st.html(pictures_html(shown.pictures))
    for place, (column, chart) in enumerate(zip(st.columns(len(shown.charts) or 1), shown.charts, strict=False)):
        column.plotly_chart(chart, config=charts.CONFIG, key=f"demonstration_chart_{place}")


def choose(control: Slider | Choice, method: str) -> Value:
    """Show a control; the value that the visitor chose."""
    key = f"{method}_{control.name}"
    if isinstance(control, Choice):
        place = control.options.index(control.default)
        return st.selectbox(control.label, control.options, index=place, key=key, width=180)
    whole = float(control.step).is_integer()
    numbers = [control.lowest, control.highest, control.default, control.step]
    lowest, highest, default, step = [int(number) for number in numbers] if whole else numbers
    return st.slider(control.label, lowest, highest, default, step, key=key, width=240)


main()
