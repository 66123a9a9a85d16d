"""A key for each browser: a signed cookie that scripts cannot read and that an admin's session is tied to.

Streamlit's session id appears in upload URLs, and so in proxy logs, and Streamlit gives a session, even one that is in
use, to any client that presents its id. Such a client lacks this cookie, without which a session is not resumed, accepts
no files, and an admin's token is useless.
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
"""Signing key of this process: after a restart nobody is signed in, and browsers get a new key with the next page."""
NO_CONNECTION: Final = ""
"""Holder of a session that was opened without a browser, as in tests of the page."""
PROTOCOLS: Final = b"sec-websocket-protocol"
"""Header with which Streamlit's page sends the protocol's name, a token, and the id of the session to resume."""
UPLOAD: Final = re.compile(r"/_stcore/upload_file/(?P<session>[^/]+)/")
MOST_SESSIONS: Final = 20_000
"""Number of sessions whose browser is remembered; Streamlit drops a session two minutes after its page is closed."""


class Owners:
    """The browser that each Streamlit session began in; a browser that sends no cookie has an empty key."""

    def __init__(self) -> None:
        self._keys: OrderedDict[str, str] = OrderedDict()
        self._lock = threading.Lock()

    def note(self, session: str, key: str) -> None:
        """Record the browser of a session; the first one stays its owner."""
        with self._lock:
            self._keys.setdefault(session, key)
            self._keys.move_to_end(session)
            if len(self._keys) > MOST_SESSIONS:
                self._keys.popitem(last=False)

    def admit(self, scope: MutableMapping[str, Any]) -> MutableMapping[str, Any] | None:
        """Return the request or WebSocket to pass on, or None for a request that must be refused.

        If a WebSocket names another browser's session, the id is removed, so that Streamlit opens a new session.
        """
        key = _key_in(scope)
        if scope["type"] == "websocket":
            return {**scope, "headers": [(name, self._own(name, value, key)) for name, value in scope["headers"]]}
        upload = UPLOAD.search(scope["path"])
        return None if upload and not self._is_owner(upload["session"], key) else scope

    def _own(self, name: bytes, value: bytes, key: str) -> bytes:
        """The header's value without the id of another browser's session."""
        protocol, token, *rest = [*value.split(b","), b""][:3] if name.lower() == PROTOCOLS else (b"", b"")
        is_stranger = bool(rest) and not self._is_owner(rest[0].decode("latin-1").strip(), key)
        return b",".join((protocol, token)) if is_stranger else value

    def _is_owner(self, session: str, key: str) -> bool:
        with self._lock:
            return self._keys.get(session) == key


OWNERS: Final = Owners()
"""The owners of this process's sessions."""


def cookie_for(scope: MutableMapping[str, Any]) -> str | None:
    """`Set-Cookie` for a page request without a valid key, otherwise None."""
    headers = _headers(scope)
    if scope["method"] != "GET" or "text/html" not in headers.get("accept", "") or _key_in(scope):
        return None
    is_secure = "https" in (scope.get("scheme"), headers.get("x-forwarded-proto"))
    return f"{COOKIE}={new_key()}; Path=/; HttpOnly; SameSite=Lax{'; Secure' if is_secure else ''}"


def own_session() -> None:
    """Record the browser of this page run as the owner of its session."""
    context, key = get_script_run_ctx(), _sent_key()
    if context is not None and key is not None:
        OWNERS.note(context.session_id, key if is_ours(key) else "")


def new_key() -> str:
    """A new key: a random part and its signature."""
    token = secrets.token_urlsafe(32)
    return f"{token}.{_signature(token)}"


def is_ours(key: str) -> bool:
    """Whether this process signed the key."""
    token, _, signature = key.partition(".")
    return hmac.compare_digest(signature.encode(), _signature(token).encode())


def shown_key() -> str:
    """The key that the browser of this page run presented when it connected.

    Raises:
        AccessError: it presented no valid key.
    """
    key = _sent_key()
    if key is None:
        return NO_CONNECTION
    if not is_ours(key):
        raise AccessError(
            "This browser sent no valid cookie of this server. Allow cookies for this page and reload it."
        )
    return key


def _sent_key() -> str | None:
    """The cookie that the browser of this page run sent, unchecked; None if there is no browser."""
    try:
        headers, cookies = dict(st.context.headers), dict(st.context.cookies)
    except TypeError:  # Streamlit's stand-in for a connection, where there is no server
        return None
    return cookies.get(COOKIE, "") if headers else None


def _headers(scope: MutableMapping[str, Any]) -> dict[str, str]:
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}


def _key_in(scope: MutableMapping[str, Any]) -> str:
    """A valid key among the cookies of a request or connection, or an empty string."""
    sent = re.findall(rf"\b{COOKIE}=([^;\s]*)", _headers(scope).get("cookie", ""))
    return next((key for key in sent if is_ours(key)), "")


def _signature(token: str) -> str:
    return hmac.new(SECRET, token.encode(), hashlib.sha256).hexdigest()
