"""Methods: what each does, what it compares with what, and what it reached."""

from __future__ import annotations

import streamlit as st

from sim2street.app.content import method_explained
from sim2street.app.views import session
from sim2street.app.views.choices import say_what_is_gone
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
        bind="query-params",
        label_visibility="collapsed",
    )
    checkpoints = [entry.checkpoint for entry in session.checkpoints() if entry.checkpoint is not None]
    st.html(method_explained.explained(chosen, checkpoints, cards="checkpoints?checkpoint="))


main()
