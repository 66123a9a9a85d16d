"""Compare: the predictions of several methods for one photo, side by side.

The headline is drawn first: all else needs PyTorch, whose import takes seconds once after each start of the server.
"""

import sys
from contextlib import nullcontext

import streamlit as st

from sim2street.app.content.headline import HEADING
from sim2street.app.views import components


def main() -> None:
    """Draw the headline, then import and draw the rest."""
    components.use_the_screen()
    with st.container(horizontal=True, vertical_alignment="center", key="controls"):
        st.markdown(f"# {HEADING}", width="stretch")
        tools = st.container(horizontal=True, vertical_alignment="center", width="content", key="tools")
    with tools, nullcontext() if "torch" in sys.modules else st.spinner("Loading PyTorch …"):
        from sim2street.app.views.comparing import compare_photo
    compare_photo(tools)


main()
