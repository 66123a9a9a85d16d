"""Admin: trainings from the browser. Who has not signed in sees the door and nothing behind it."""

from __future__ import annotations

import streamlit as st

from sim2street.app.admin import admission
from sim2street.app.admin.job_list import show_comparison, show_jobs
from sim2street.app.admin.launch_form import ROOM, keep_form, show_launch_form
from sim2street.app.admin.storage_room import show_storage
from sim2street.app.content import escape
from sim2street.models.errors import Sim2StreetError
from sim2street.training.jobs.access import BY_PASSWORD
from sim2street.training.jobs.store import JobStore

ROOMS = {
    "Train": show_launch_form,
    "Jobs": show_jobs,
    "Compare runs": show_comparison,
    "Storage": show_storage,
}


def main() -> None:
    """Draw the door, or the room that was chosen."""
    who = admission.who_is_admin()
    if who is None:
        admission.show_sign_in()
        return
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.markdown("# Admin", width="content")
        # Launching leads to the jobs: that is set in the state, beside which a widget must have no default of its own.
        st.session_state.setdefault(ROOM, "Train")
        room = st.segmented_control("Room", list(ROOMS), required=True, key=ROOM, label_visibility="collapsed")
        with st.container(horizontal=True, horizontal_alignment="right"):
            label = "Sign out" if who == BY_PASSWORD else f"Sign out {escape.markdown(who)}"
            st.button(label, icon=":material/logout:", type="tertiary", on_click=admission.sign_out)
    admission.show_notice()
    keep_form()
    try:
        ROOMS[room or "Train"](JobStore())
    except Sim2StreetError as error:
        st.error(escape.markdown(str(error)), icon=":material/error:")


main()
