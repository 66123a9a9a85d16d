"""Compare: the predictions of several methods for one photo, side by side.

The headline is drawn first: all else needs PyTorch, whose import takes seconds once after each start of the server.
"""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import streamlit as st

from sim2street.app.content.headline import HEADING
from sim2street.app.views import components


def main() -> None:
    """Draw the headline, then import and draw the rest."""
    components.use_the_screen()
    with st.container(horizontal=True, vertical_alignment="center", key="controls"):
        st.markdown(f"# {HEADING}", width="stretch")
        tools = st.container(horizontal=True, vertical_alignment="center", width="content", key="tools")
    with tools, nullcontext() if "torch" in sys.modules else _first_import():
        from sim2street.app.views.comparing import compare_photo
    compare_photo(tools)


@contextmanager
def _first_import() -> Iterator[None]:
    """Say what is imported, and collect no garbage meanwhile: there is next to none, and looking for it takes 0.4 s."""
    gc.disable()
    try:
        with st.spinner("Loading PyTorch …"):
            yield
    finally:
        gc.freeze()  # modules stay, so that no later collection need look at them
        gc.enable()


main()
