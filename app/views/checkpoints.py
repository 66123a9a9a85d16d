"""Checkpoints: a line for each, which opens its card: training data, network, licence and scores."""

from __future__ import annotations

from typing import Final

import streamlit as st

from sim2street.app.content import checkpoint_list, escape, figures, html_tables
from sim2street.app.content.comparison import preselected
from sim2street.app.content.method_display import display_of
from sim2street.app.views import session
from sim2street.models.storage.checkpoint import Checkpoint

# Comments, for Streamlit would draw a text that stands alone in a page.
LINE: Final = "checkpoint_line_"  # what the keys of lines begin with, by which the style finds them
# A label holds five marked words and nothing else: title, data, network, licence, score.
STYLE: Final = f"""
[class*="st-key-{LINE}"] summary {{ padding-block: 6px; }}
[class*="st-key-{LINE}"] summary [data-testid="stMarkdownContainer"], [class*="st-key-{LINE}"] summary :has(> [data-testid="stMarkdownContainer"]) {{ flex: 1; }}
[class*="st-key-{LINE}"] summary p {{ display: grid; grid-template-columns: 10px minmax(0, 13fr) minmax(0, 13fr) minmax(0, 12fr) minmax(0, 6fr) 3rem; gap: 0 14px; align-items: baseline; line-height: 1.35; }}
[class*="st-key-{LINE}"] summary p::before {{ content: ""; width: 9px; height: 9px; border-radius: 50%; background: var(--method); }}
[class*="st-key-{LINE}"] summary p > :last-child {{ text-align: right; font-variant-numeric: tabular-nums; }}
@media (max-width: 720px) {{
  [class*="st-key-{LINE}"] summary p {{ grid-template-columns: 10px minmax(0, 1fr) auto; gap: 0 10px; }}
  [class*="st-key-{LINE}"] summary p > :nth-child(2) {{ grid-area: 2 / 2; font-size: 0.85rem; }}
  [class*="st-key-{LINE}"] summary p > :is(:nth-child(3), :nth-child(4)) {{ display: none; }}
  [class*="st-key-{LINE}"] summary p > :last-child {{ grid-area: 1 / 3; }}
}}
"""


def main() -> None:
    """What to look for, then a line per checkpoint, the broken ones last with their reason."""
    st.markdown("# Checkpoints")
    st.markdown(checkpoint_list.INTRODUCTION)
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
    st.html(f"<style>{html_tables.STYLE}{STYLE}</style>")
    if usable:
        show_lines(usable, titles, asked)
    for entry in entries:
        if entry.checkpoint is None:
            with st.container(border=True):
                st.markdown(f"**{escape.markdown(entry.name)}** cannot be used")
                st.markdown(escape.markdown(entry.error or ""))


def show_lines(usable: list[Checkpoint], titles: dict[str, str], asked: str | None) -> None:
    """Search, methods and order, then the lines; the one that the address asks for comes first and is open."""
    sets = checkpoint_list.scored_sets(usable)
    with st.container(horizontal=True, vertical_alignment="bottom", key="checkpoint_search"):
        words = st.text_input("Find", placeholder="Name, data, network", key="find", max_chars=80, width=190, live=True)
        by = st.selectbox(
            "mIoU in % on",
            sets,
            key="scored_on",
            width=150,
            disabled=not sets,
            help="Orders the lines. Only networks of the same size compare fairly.",
        )
        methods = st.pills(
            "Method",
            checkpoint_list.methods_of(usable),
            selection_mode="multi",
            format_func=escape.markdown,
            key="of_method",
            wrap=True,
            width="content",
        )
    shown = checkpoint_list.found(usable, titles, words=words or "", methods=methods, by=by)
    first = [each for each in usable if each.name == asked]
    if not shown and not first:
        st.info("No checkpoint fits. Remove a word or a method.", icon=":material/search_off:")
    colours = []
    with st.container(gap="xxsmall", key="checkpoint_lines"):
        for checkpoint in dict.fromkeys([*first, *shown]):
            key = f"{LINE}{usable.index(checkpoint)}"
            colours.append(f".st-key-{key} {{ --method: {display_of(checkpoint.config.method).colour}; }}")
            with st.expander(line(checkpoint, titles[checkpoint.name], by), expanded=checkpoint in first, key=key):
                st.html(html_tables.card(checkpoint))
                st.page_link(
                    "views/compare.py",
                    label="Compare with it",
                    icon=":material/compare:",
                    query_params=chosen_with(checkpoint, usable, titles),
                )
    st.html(f"<style>{' '.join(colours)}</style>")


def line(checkpoint: Checkpoint, title: str, by: str | None) -> str:
    """Title, data, network, licence and score as a label."""
    score = checkpoint_list.miou(checkpoint, by)
    brief = " ".join(f":gray[{escape.markdown(words)}]" for words in checkpoint_list.in_brief(checkpoint))
    return f"**{escape.markdown(title)}** {brief} **{'–' if score is None else f'{score:.1f}'}**"


def chosen_with(checkpoint: Checkpoint, usable: list[Checkpoint], titles: dict[str, str]) -> list[tuple[str, str]]:
    """Address of Compare where a checkpoint stands beside those that a page begins with, and on one side of a swipe."""
    return [
        ("right", checkpoint.name),
        *(
            (key, escape.markdown(titles[each.name]))
            for key, rendered in (("methods", True), ("photo_methods", False))
            for each in usable
            if each is checkpoint or each in preselected(usable, rendered=rendered)
        ),
    ]


main()
