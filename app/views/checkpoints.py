"""Checkpoints: what each method on the Compare page was trained on, how it scored, and under which licence."""

from __future__ import annotations

import html

import streamlit as st

from sim2street.app.content import figures, panes
from sim2street.app.views import session
from sim2street.models.storage.checkpoint import Checkpoint


def main() -> None:
    """One card per checkpoint, the broken ones with their reason."""
    st.markdown("# Checkpoints")
    st.markdown(
        "Every network here learnt from **labelled renderings**. Source-only stops there; the other methods also see"
        " pictures of the target **without labels** and learn to read both alike."
    )
    entries = session.checkpoints()
    if not entries:
        st.info("No checkpoint was found. Train one with `sim2street train`.", icon=":material/inventory_2:")
    usable = [entry.checkpoint for entry in entries if entry.checkpoint is not None]
    titles = figures.unique_titles(usable)
    for place, checkpoint in enumerate(usable):
        with st.container(border=True):
            show_checkpoint(checkpoint, titles[checkpoint.name], panes.method_colour(place))
    for entry in entries:
        if entry.checkpoint is None:
            with st.container(border=True):
                st.markdown(f"**{entry.name}** cannot be used")
                st.write(entry.error)


def show_checkpoint(checkpoint: Checkpoint, title: str, colour: str) -> None:
    """Facts on the left, data-set figures on the right."""
    left, right = st.columns([2, 3], gap="large")
    with left:
        st.html(f'<span style="color:{colour}">●</span> <strong>{html.escape(title)}</strong>')
        facts = figures.facts(checkpoint)
        lines = {**facts, "Name": f"`{facts['Name']}`"}
        st.markdown("  \n".join(f"**{name}** {value}" for name, value in lines.items()))
    with right:
        rows = figures.data_set_rows(checkpoint.metrics)
        if not rows:
            st.caption("Not scored on a data set yet; `sim2street evaluate` does.")
            return
        number = st.column_config.NumberColumn
        st.dataframe(
            rows,
            hide_index=True,
            placeholder="–",
            column_config={
                "Data set": st.column_config.TextColumn(pinned=True),
                "mIoU, %": number(format="%.1f"),
                "Calibration error": number(
                    format="%.3f", help="Expected gap between confidence and accuracy, 0 is best."
                ),
                "Seconds a photo": number(format="%.2f"),
            },
        )


main()
