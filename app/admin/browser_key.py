"""A key of our own for each browser: a signed cookie that no script can read and that an admin's session is tied to.

Streamlit's session id stands in upload addresses, and so in the logs of proxies, and Streamlit hands a session, even one
that is in use, to whoever names its id. They do not have this cookie: without it a session is neither resumed nor sent
files, and the token of an admin's session opens nothing.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import threading
from collections import OrderedDict
from collections.abc import MutableMapping
from typing import Any, Final

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from sim2street.training.jobs.access import AccessError

COOKIE: Final = "sim2street_browser"
SECRET: Final = secrets.token_bytes(32)
"""Of this process: after a restart nobody is signed in, and browsers get a new key with the next page."""
NO_CONNECTION: Final = ""
"""Holder of a session that was opened without a browser, as a test of the page does."""
PROTOCOLS: Final = b"sec-websocket-protocol"
"""Header in which Streamlit's page sends the protocol's name, a token, and the id of the session to resume."""
UPLOAD: Final = re.compile(r"/_stcore/upload_file/(?P<session>[^/]+)/")
MOST_SESSIONS: Final = 20_000
"""Sessions whose browser is remembered; Streamlit drops a session two minutes after its page was closed."""


class Owners:
    """The browser that each Streamlit session began in; a browser that sends no cookie has an empty key."""

    def __init__(self) -> None:
        self._keys: OrderedDict[str, str] = OrderedDict()
        self._lock = threading.Lock()

    def note(self, session: str, key: str) -> None:
        """A session runs its page; its first browser stays its owner."""
        with self._lock:
            self._keys.setdefault(session, key)
            self._keys.move_to_end(session)
            if len(self._keys) > MOST_SESSIONS:
                self._keys.popitem(last=False)

    def admit(self, scope: MutableMapping[str, Any]) -> MutableMapping[str, Any] | None:
        """Return the request or WebSocket as it may go on, or None for a request that must be refused.

        A WebSocket that names somebody else's session goes on without naming it, so that Streamlit opens a new one.
        """
        key = _key_in(scope)
        if scope["type"] == "websocket":
            return {**scope, "headers": [(name, self._own(name, value, key)) for name, value in scope["headers"]]}
        upload = UPLOAD.search(scope["path"])
        return None if upload and not self._is_owner(upload["session"], key) else scope

    def _own(self, name: bytes, value: bytes, key: str) -> bytes:
        """A header without the id of a session of another browser."""
        protocol, token, *rest = [*value.split(b","), b""][:3] if name.lower() == PROTOCOLS else (b"", b"")
        is_stranger = bool(rest) and not self._is_owner(rest[0].decode("latin-1").strip(), key)
        return b",".join((protocol, token)) if is_stranger else value

    def _is_owner(self, session: str, key: str) -> bool:
        with self._lock:
            return self._keys.get(session) == key


OWNERS: Final = Owners()
"""Of this process."""


def cookie_for(scope: MutableMapping[str, Any]) -> str | None:
    """`Set-Cookie` for a page that is asked for without a key of ours, else None."""
    headers = _headers(scope)
    if scope["method"] != "GET" or "text/html" not in headers.get("accept", "") or _key_in(scope):
        return None
    is_secure = "https" in (scope.get("scheme"), headers.get("x-forwarded-proto"))
    return f"{COOKIE}={new_key()}; Path=/; HttpOnly; SameSite=Lax{'; Secure' if is_secure else ''}"


def own_session() -> None:
    """Note the browser behind this run of the page as the owner of its session."""
    context, key = get_script_run_ctx(), _sent_key()
    if context is not None and key is not None:
        OWNERS.note(context.session_id, key if is_ours(key) else "")


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
    key = _sent_key()
    if key is None:
        return NO_CONNECTION
    if not is_ours(key):
        raise AccessError("This browser has shown no cookie of this server. Allow cookies for this page and reload it.")
    return key


def _sent_key() -> str | None:
    """What the browser behind this run sent as its cookie, unchecked; None where there is no browser."""
    try:
        headers, cookies = dict(st.context.headers), dict(st.context.cookies)
    except TypeError:  # Streamlit's stand-in for a connection, where there is no server
        return None
    return cookies.get(COOKIE, "") if headers else None


def _headers(scope: MutableMapping[str, Any]) -> dict[str, str]:
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}


def _key_in(scope: MutableMapping[str, Any]) -> str:
    """A key of ours among the cookies of a request or connection, or an empty string."""
    sent = re.findall(rf"\b{COOKIE}=([^;\s]*)", _headers(scope).get("cookie", ""))
    return next((key for key in sent if is_ours(key)), "")


def _signature(token: str) -> str:
    return hmac.new(SECRET, token.encode(), hashlib.sha256).hexdigest()
