"""A key of our own for each browser: a signed cookie that no script can read and that an admin's session is tied to.

Streamlit's session id stands in upload addresses, and so in the logs of proxies; whoever knows it can take the session
over. They do not have this cookie, without which the session's token opens nothing.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import MutableMapping
from typing import Any, Final

import streamlit as st

from sim2street.training.jobs.access import AccessError

COOKIE: Final = "sim2street_browser"
SECRET: Final = secrets.token_bytes(32)
"""Of this process: after a restart nobody is signed in, and browsers get a new key with the next page."""
NO_CONNECTION: Final = ""
"""Holder of a session that was opened without a browser, as a test of the page does."""


def cookie_for(scope: MutableMapping[str, Any]) -> str | None:
    """`Set-Cookie` for a page that is asked for without a key of ours, else None."""
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
    if scope["method"] != "GET" or "text/html" not in headers.get("accept", ""):
        return None
    if any(is_ours(found) for found in re.findall(rf"\b{COOKIE}=([^;\s]*)", headers.get("cookie", ""))):
        return None
    is_secure = "https" in (scope.get("scheme"), headers.get("x-forwarded-proto"))
    return f"{COOKIE}={new_key()}; Path=/; HttpOnly; SameSite=Lax{'; Secure' if is_secure else ''}"


def new_key() -> str:
    """A random part and its signature."""
    token = secrets.token_urlsafe(32)
    return f"{token}.{_signature(token)}"


def is_ours(key: str) -> bool:
    """Whether this process has signed a key."""
    token, _, signature = key.partition(".")
    return hmac.compare_digest(signature.encode(), _signature(token).encode())


def shown_key() -> str:
    """The key that the browser behind this run of the page has shown when it connected.

    Raises:
        AccessError: it has shown none of ours.
    """
    try:
        headers, cookies = dict(st.context.headers), dict(st.context.cookies)
    except TypeError:  # Streamlit's stand-in for a connection, where there is no server
        return NO_CONNECTION
    if not headers:
        return NO_CONNECTION
    key = cookies.get(COOKIE, "")
    if not is_ours(key):
        raise AccessError("This browser has shown no cookie of this server. Allow cookies for this page and reload it.")
    return key


def _signature(token: str) -> str:
    return hmac.new(SECRET, token.encode(), hashlib.sha256).hexdigest()
