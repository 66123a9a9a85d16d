"""A person's own short clip: a slider chooses the frame that the methods predict."""

from __future__ import annotations

from typing import Any, Final

import streamlit as st

from sim2street.app.content import escape
from sim2street.app.content.clip import LONGEST, Clip, read_clip
from sim2street.app.content.gallery import Scene
from sim2street.app.viewer import VIEWER
from sim2street.app.views import uploads
from sim2street.app.views.components import DROPZONE, picture_row
from sim2street.models.errors import Sim2StreetError
from sim2street.training.video import VIDEO_SUFFIXES

SMALL: Final = VIEWER / "clip.css"
READ: Final = "clip_read"
"""Key of the session's state: the file read last, and its frames or why there are none."""


def choose_clip() -> Scene | None:
    """Let the person bring a clip and move through it; None while there is none, or it cannot be read."""
    times, tools = picture_row()
    file = tools.file_uploader(
        f"Drop a clip of a street, up to {LONGEST:.0f} seconds",
        type=[suffix.removeprefix(".") for suffix in VIDEO_SUFFIXES],
        key="clip",
        help="MP4, MOV, MKV, WebM and others, up to 64 MB. Two frames a second are taken.",
    )
    uploads.hold([] if file is None else [file])
    if file is None:
        st.session_state.pop(READ, None)
        st.html(DROPZONE)
        return None
    clip = _read(file)
    if isinstance(clip, str):
        st.html(DROPZONE)
        st.error(escape.markdown(clip), icon=":material/videocam_off:")
        return None
    if clip.remark:
        st.warning(escape.markdown(clip.remark), icon=":material/broken_image:")
    st.html(SMALL)
    number = 0
    if len(clip.frames) > 1:
        number = times.select_slider(
            "Time in the clip",
            range(len(clip.frames)),
            format_func=lambda number: f"{clip.seconds[number]:.1f} s",
            key=f"clip_frame/{file.file_id}",
            help="Each frame is predicted once; moving back to it is instant.",
        )
    return clip.scene(number)


def _read(file: Any) -> Clip | str:
    """The clip, decoded once however often the page is drawn, or why it cannot be read."""
    known = st.session_state.get(READ)
    if known is None or known[0] != file.file_id:
        try:
            with st.spinner("Taking frames from the clip"):
                read: Clip | str = read_clip(file.getvalue(), file.name)
        except Sim2StreetError as error:
            read = str(error)
        known = st.session_state[READ] = (file.file_id, read)
    return known[1]
