"""Entry of the web app, `streamlit run app/main.py`: the server with what guards it, and the navigation of its pages.

Streamlit's command finds `app` in here and serves it; for each visitor it runs this file again, which draws the page.
"""

from pathlib import Path

import streamlit as st
from starlette.middleware import Middleware
from streamlit.runtime.scriptrunner import get_script_run_ctx

try:
    import sim2street  # noqa: F401
except (
    ModuleNotFoundError
):  # a bare checkout; not asked for elsewhere, as processes that pages start read this file too
    import checkout  # noqa: F401  # lies beside this file, whose folder Streamlit puts on the path

from sim2street.app.admin.admission import who_is_admin
from sim2street.app.admin.browser_key import OWNERS, cookie_for, own_session
from sim2street.app.content.request_guard import RequestGuard
from sim2street.app.views import uploads

HERE = Path(__file__).resolve().parent


def draw() -> None:
    """Navigation, and the page that was chosen."""
    st.set_page_config(page_title="Sim2Street", page_icon=str(HERE / "icon.svg"), layout="wide")
    st.logo(str(HERE / "icon.svg"), size="large")
    st.html(HERE / "viewer" / "contrast.css")
    st.html(HERE / "viewer" / "touch.css")
    st.html(HERE / "viewer" / "narrow.css")
    own_session()
    uploads.begin_run()
    st.navigation(
        [
            st.Page("views/compare.py", title="Compare", icon=":material/compare:", default=True),
            st.Page("views/benchmark.py", title="Benchmark", icon=":material/leaderboard:"),
            st.Page("views/methods.py", title="Methods", icon=":material/schema:"),
            st.Page("views/gap.py", title="Gap", icon=":material/compare_arrows:"),
            st.Page("views/checkpoints.py", title="Checkpoints", icon=":material/inventory_2:"),
            # Served to whoever knows the address, which shows the door alone; in the menu for admins only.
            st.Page(
                "views/admin.py",
                title="Admin",
                icon=":material/admin_panel_settings:",
                url_path="admin",
                visibility="hidden" if who_is_admin(touch=False) is None else "visible",
            ),
        ],
        position="top",
    ).run()
    uploads.end_run()


if get_script_run_ctx(suppress_warning=True) is None:
    app = st.App(
        __file__,
        middleware=[Middleware(RequestGuard, uploads=uploads.upload_route(), cookie=cookie_for, admit=OWNERS.admit)],
        lifespan=uploads.UPLOADS.swept,
    )
else:
    draw()
