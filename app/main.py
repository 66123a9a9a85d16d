"""Entry of the web app, `streamlit run app/main.py`: navigation and nothing more."""

import sys
from pathlib import Path

import streamlit as st

HERE = Path(__file__).resolve().parent

# Streamlit puts this file's folder on the path; where the package is not installed, its parent has to be there too.
if str(HERE.parent) not in sys.path:
    sys.path.append(str(HERE.parent))

from sim2street.app.admin.admission import who_is_admin  # noqa: E402  # found only with the path above

st.set_page_config(page_title="Sim2Street", page_icon=str(HERE / "icon.svg"), layout="wide")
st.logo(str(HERE / "icon.svg"), size="large")
st.navigation(
    [
        st.Page("views/compare.py", title="Compare", icon=":material/compare:", default=True),
        st.Page("views/benchmark.py", title="Benchmark", icon=":material/leaderboard:"),
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
