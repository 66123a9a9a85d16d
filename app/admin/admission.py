"""Who is signed in, as checked by the server's gate each time; the browser's session holds only a token."""

from __future__ import annotations

import functools
import importlib.util
import logging
from collections.abc import Callable
from typing import Any, Final

import streamlit as st

from sim2street.app.admin.browser_key import shown_key
from sim2street.app.content import escape
from sim2street.models.errors import Sim2StreetError
from sim2street.training.jobs import access
from sim2street.training.jobs.access import HASH_VARIABLE, MEMBERS_VARIABLE, AccessError, Gate, members, stored_hash

LOGGER: Final = logging.getLogger(__name__)
TOKEN: Final = "admin_token"
NOTICE: Final = "admin_notice"
ATTEMPT: Final = "admin_password"


def gate() -> Gate:
    """The only gate of this server process, kept out of Streamlit's caches, which any visitor's browser can clear."""
    return access.GATE


def who_is_admin(*, touch: bool = True) -> str | None:
    """Name of the signed-in admin, or None; `touch` resets the idle time."""
    try:
        return gate().check(st.session_state.get(TOKEN), holder=shown_key(), touch=touch)
    except Sim2StreetError:  # also if the stored hash is damaged: then nobody is an admin
        return None


def require_admin(*, touch: bool = True) -> str:
    """Name of the signed-in admin.

    Raises:
        AccessError: nobody is signed in, or the session was idle for too long.
    """
    return gate().check(st.session_state.get(TOKEN), holder=shown_key(), touch=touch)


def for_admins(action: Callable[..., str | None]) -> Callable[..., None]:
    """Make a handler of `action(who, ...)` that checks access on the server and keeps the returned message for the page."""

    @functools.wraps(action)
    def handle(*arguments: Any, **named: Any) -> None:
        try:
            words = action(require_admin(), *arguments, **named)
            if words:
                st.session_state[NOTICE] = ("done", words)
        except Sim2StreetError as error:
            st.session_state[NOTICE] = ("error", str(error))
        except OSError as error:
            LOGGER.exception("an admin's action failed")
            st.session_state[NOTICE] = (
                "error",
                f"The server could not complete the action: {error.strerror or error}.",
            )

    return handle


def show_notice() -> None:
    """Show the last action's message once."""
    place = st.container()  # always there: what follows keeps its place, and with it the tab that was open
    kind, words = st.session_state.pop(NOTICE, (None, ""))
    if kind == "done":
        st.toast(escape.markdown(words), icon=":material/check_circle:")
    elif kind == "error":
        place.error(escape.markdown(words), icon=":material/error:")


def pass_on_notice() -> None:
    """Redraw the whole page if an action left a message, because the message is outside the fragment."""
    if NOTICE in st.session_state:
        st.rerun()


def sign_out() -> None:
    """End the session, and the provider's if there is one."""
    gate().sign_out(st.session_state.pop(TOKEN, None))
    if _vouched_for() is not None:
        st.logout()


def show_sign_in() -> None:
    """Offer the sign-in by password or provider, or explain how to set one up."""
    try:
        has_password = stored_hash() is not None
    except Sim2StreetError as error:
        show_notice()
        st.error(escape.markdown(str(error)), icon=":material/error:")
        return
    provider = _has_provider() and bool(members())
    _, middle, _ = st.columns([1, 1.4, 1])
    with middle:
        st.markdown("# Admin")
        show_notice()
        if not has_password and not provider:
            _explain()
            return
        with st.container(border=True):
            if has_password:
                with st.form("sign_in", border=False):
                    st.text_input("Password", type="password", key=ATTEMPT, max_chars=1024)
                    st.form_submit_button("Sign in", type="primary", width="stretch", on_click=_try_password)
            if provider:
                _offer_provider()
        st.caption("Admins start trainings here. Sessions end after half an hour without a click.")


def _try_password() -> None:
    password = str(st.session_state.get(ATTEMPT, ""))
    st.session_state[ATTEMPT] = ""
    try:
        st.session_state[TOKEN] = gate().sign_in(password, address=_address(), holder=shown_key())
    except Sim2StreetError as error:
        st.session_state[NOTICE] = ("error", str(error))


def _offer_provider() -> None:
    if importlib.util.find_spec("authlib") is None:
        st.caption('Signing in with an organisation needs Authlib: pip install -e ".[admin]"')
        return
    person = _vouched_for()
    if person is None:
        st.button("Sign in with your organisation", icon=":material/login:", width="stretch", on_click=st.login)
        return
    st.button(
        f"Continue as {escape.markdown(person)}",
        icon=":material/login:",
        width="stretch",
        on_click=_admit,
        args=(person,),
    )
    st.button("Sign in as someone else", type="tertiary", on_click=st.logout)


def _admit(_shown: str) -> None:
    person = _vouched_for()  # looked up again, because the button's argument comes from the browser
    try:
        if person is None:
            raise AccessError("The provider's session has ended; sign in again.")
        st.session_state[TOKEN] = gate().admit(person, address=_address(), holder=shown_key())
    except Sim2StreetError as error:
        st.session_state[NOTICE] = ("error", str(error))


def _address() -> str:
    """The visitor's IP address, for the audit log; Streamlit has none for local connections."""
    address = st.context.ip_address
    return address if isinstance(address, str) else "this machine"


def _has_provider() -> bool:
    try:
        return "auth" in st.secrets
    except FileNotFoundError:  # no secrets at all
        return False


def _vouched_for() -> str | None:
    """E-mail address from Streamlit's OpenID Connect cookie, if the provider has verified it."""
    if not _has_provider() or not st.user.get("is_logged_in"):
        return None
    email = st.user.get("email")
    return email if isinstance(email, str) and email and st.user.get("email_verified") is True else None


def _explain() -> None:
    st.info("The admin page is locked, because no password or admin has been set up yet.", icon=":material/lock:")
    st.markdown(
        "On the machine that runs this server, **set a password**:\n\n"
        "```sh\nsim2street admin set-password\n```\n\n"
        f"or pass its hash in `{HASH_VARIABLE}`. There is no default password.\n\n"
        f"To **sign in with your organisation** instead, fill `[auth]` in `app/.streamlit/secrets.toml` (OpenID Connect) and"
        f" list the admins' e-mail addresses in `{MEMBERS_VARIABLE}`."
    )
