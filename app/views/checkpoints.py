"""Checkpoints: what each method on the Compare page was trained on, how it scored, and under which licence."""

from __future__ import annotations

import html
from typing import Any

import streamlit as st

from app import figures, panels, session
from app.names import reports_by_title
from models.checkpoint import Checkpoint
from models.labels import LABEL_SPACES

LICENCES = {"apache-2.0": "Apache 2.0", "mit": "MIT", "cc-by-nc-4.0": "CC BY-NC 4.0, not for commercial use"}


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
            show_checkpoint(checkpoint, titles[checkpoint.name], panels.method_colour(place))
    for entry in entries:
        if entry.checkpoint is None:
            with st.container(border=True):
                st.markdown(f"**{entry.name}** cannot be used")
                st.write(entry.error)


def show_checkpoint(checkpoint: Checkpoint, title: str, colour: str) -> None:
    """Facts on the left, data-set figures on the right."""
    config = checkpoint.config
    facts, scores = st.columns([2, 3], gap="large")
    with facts:
        st.html(f'<span style="color:{colour}">●</span> <strong>{html.escape(title)}</strong>')
        training = f"{config.step} steps, seed {config.seed}"
        if config.imported is not None:
            reported = config.imported.reported_miou
            said = "" if reported is None else f", who report an mIoU of {reported:g} (not measured here)"
            training = f"by its authors{said}"
        lines = {
            "Learnt from": figures.learnt_from(config),
            "Network": figures.network_of(config),
            "Training": training,
            "Licence": LICENCES.get(config.licence, config.licence)
            + (" (imported weights)" if config.origin == "imported" else ""),
            "Folder": f"`{checkpoint.name}`",
        }
        st.markdown("  \n".join(f"**{name}** {value}" for name, value in lines.items()))
    with scores:
        rows = data_set_rows(checkpoint.metrics)
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


def data_set_rows(metrics: dict[str, Any]) -> list[dict[str, Any]]:
    """One row per data set and split that the checkpoint was scored on."""
    return [
        {
            "Data set": title,
            "mIoU, %": None if found.get("miou") is None else 100 * found["miou"],
            "Classes": LABEL_SPACES[found["label_space"]].count if found.get("label_space") in LABEL_SPACES else None,
            "Photos": found.get("images"),
            "Calibration error": found.get("ece"),
            "Seconds a photo": found.get("seconds_per_image"),
        }
        for title, found in reports_by_title(metrics).items()
    ]


main()
