"""Checkpoints: what each method on the Compare page was trained on, how it scored, and under which licence."""

from __future__ import annotations

import streamlit as st

from sim2street.app.content import escape, figures, html_tables
from sim2street.app.content.comparison import preselected
from sim2street.app.views import session
from sim2street.models.storage.checkpoint import Checkpoint


def main() -> None:
    """One card per checkpoint, the broken ones with their reason."""
    st.markdown("# Checkpoints")
    st.markdown(
        "Every network here learnt from **labelled renderings**. Source-only stops there; the other methods also see"
        " pictures of the target **without labels** and learn to segment both."
    )
    entries = session.checkpoints()
    if not entries:
        st.info("No checkpoint was found. Train one with `sim2street train`.", icon=":material/inventory_2:")
    usable = [entry.checkpoint for entry in entries if entry.checkpoint is not None]
    titles = figures.unique_titles(usable)
    asked = st.query_params.get("checkpoint")
    if asked is not None and asked not in titles:
        st.warning(
            f"The address asks for the checkpoint “{escape.markdown(asked[:80])}”, which is not here.",
            icon=":material/link_off:",
        )
    st.html(f"<style>{html_tables.STYLE}</style>")
    # The one that was asked for comes first; the others keep their order.
    for checkpoint in sorted(usable, key=lambda each: each.name != asked):
        with st.container(border=True):
            st.html(html_tables.card(checkpoint, titles[checkpoint.name]))
            st.page_link(
                "views/compare.py",
                label="Compare with it",
                icon=":material/compare:",
                query_params=chosen_with(checkpoint, usable, titles),
            )
    for entry in entries:
        if entry.checkpoint is None:
            with st.container(border=True):
                st.markdown(f"**{escape.markdown(entry.name)}** cannot be used")
                st.markdown(escape.markdown(entry.error or ""))


def chosen_with(checkpoint: Checkpoint, usable: list[Checkpoint], titles: dict[str, str]) -> list[tuple[str, str]]:
    """Address of Compare where a checkpoint stands beside those that a page begins with."""
    return [
        (key, escape.markdown(titles[each.name]))
        for key, rendered in (("methods", True), ("photo_methods", False))
        for each in usable
        if each is checkpoint or each in preselected(usable, rendered=rendered)
    ]


main()
