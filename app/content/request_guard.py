"""ASGI middleware of both servers: security headers on every response, and limits on the size of requests.

As middleware it also covers the routes of the UI framework itself. Imports no UI library.
"""

from __future__ import annotations

import os
import re
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from sim2street.app.content.limits import ByteBudget, LimitError, RateLimit, client_address

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

MAX_BODY: Final = 4 * 2**20
"""Largest body in bytes of a request other than an upload, such as a page's settings or the arguments of an API call."""
MULTIPART: Final = 64 * 2**10
"""Bytes of multipart overhead around an uploaded file."""
UPLOADS: Final = (240, 60.0)
"""Number of uploads allowed per client within a number of seconds."""
ARRIVING: Final = 512 * 2**20
"""Largest total size in bytes of all uploads in progress."""

HUB: Final = "https://huggingface.co"


def security_headers() -> dict[str, str]:
    """Headers of every response, by lower-case name.

    Scripts, styles and pictures may come only from the page's own server, whatever markup a text contains; the frameworks
    need inline scripts and `eval`. Only this server and the Hub, which shows a Space in a frame, may frame the page.
    """
    hub, frame_script = "", ""
    if os.environ.get("SPACE_ID"):
        # The Hub measures the framed page with this script, and shows avatars of signed-in users.
        hub, frame_script = f" {HUB}", " https://cdnjs.cloudflare.com"
    policy = {
        "default-src": "'self'",
        "script-src": f"'self' 'unsafe-inline' 'unsafe-eval' blob:{frame_script}",
        "style-src": "'self' 'unsafe-inline'",
        "img-src": f"'self' data: blob:{hub}",
        "font-src": "'self' data:",
        "connect-src": f"'self' data: blob:{hub}",
        "media-src": "'self' data: blob:",
        "worker-src": "'self' blob:",
        "frame-src": "'self' blob:",
        "object-src": "'none'",
        "base-uri": "'self'",
        "form-action": f"'self'{hub}",
        "frame-ancestors": f"'self' {HUB} https://*.hf.space",
    }
    return {
        "content-security-policy": "; ".join(f"{name} {value}" for name, value in policy.items()),
        "x-content-type-options": "nosniff",
        "referrer-policy": "strict-origin-when-cross-origin",
    }


class UploadObserver(Protocol):
    """Observer of uploads; its methods must be fast, because the server waits for them."""

    def admit(self, path: str, size: int) -> None:
        """Called before an upload of `size` bytes to this path starts.

        Raises:
            LimitError: the upload is not expected, or there is no space for it.
        """
        ...

    def arrived(self, path: str, answer: bytes) -> None:
        """Called after an upload has succeeded; `answer` is the framework's response."""
        ...

    def ended(self, path: str) -> None:
        """Called after an upload has ended, successfully or not."""
        ...


@dataclass(frozen=True)
class UploadRoute:
    """A framework's upload route.

    Attributes:
        path: regular expression that matches the start of its path.
        method: HTTP method of the request.
        most: largest body of a request in bytes.
        arrivals: observer of the uploads.
    """

    path: str
    method: str
    most: int
    arrivals: UploadObserver


class _Oversized(Exception):
    """A body that exceeds its limit."""


@dataclass
class RequestGuard:
    """ASGI middleware: sets headers, limits bodies, and guards the framework's upload route.

    Attributes:
        app: the wrapped server.
        uploads: its upload route.
        cookie: returns a `Set-Cookie` value for a request that should get one, otherwise None.
        admit: returns the request or WebSocket to pass on, possibly changed, or None to refuse a request.
        rate: limit on the number of uploads per client.
        budget: limit on the total size of uploads in progress.
    """

    app: App
    uploads: UploadRoute
    cookie: Callable[[Scope], str | None] = lambda scope: None
    admit: Callable[[Scope], Scope | None] = lambda scope: scope
    rate: RateLimit = field(default_factory=lambda: RateLimit(*UPLOADS))
    budget: ByteBudget = field(default_factory=lambda: ByteBudget(ARRIVING))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] == "websocket":
            scope = self.admit(scope) or scope
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        answer = _Answer(send, self.cookie(scope))
        if self.admit(scope) is None:
            await answer.refuse(403, "This address belongs to a page that is open in another browser.")
            return
        is_upload = scope["method"] == self.uploads.method and re.match(self.uploads.path, scope["path"])
        try:
            if is_upload:
                await self._take_upload(scope, receive, answer)
            else:
                await self.app(scope, _bounded(scope, receive, MAX_BODY), answer)
        except _Oversized:
            most = (self.uploads.most if is_upload else MAX_BODY) / 2**20
            await answer.refuse(413, f"This request is larger than the limit of {most:.0f} MB.")
        except LimitError as error:
            await answer.refuse(429, str(error))

    async def _take_upload(self, scope: Scope, receive: Receive, answer: _Answer) -> None:
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        size = headers.get("content-length", "")
        if not (size.isascii() and size.isdecimal() and len(size) < 16):
            # Memory is reserved before the first byte is read.
            await answer.refuse(411, "An upload must state its size (Content-Length).")
            return
        client = scope.get("client")
        self.rate.check(client_address(headers, client[0] if client else None))
        if int(size) > self.uploads.most:
            raise _Oversized
        arrivals, path = self.uploads.arrivals, scope["path"]
        with self.budget.holding(int(size)):
            arrivals.admit(path, int(size))
            try:
                answer.keep = True
                await self.app(scope, _bounded(scope, receive, self.uploads.most), answer)
                if answer.status in (200, 204):
                    arrivals.arrived(path, bytes(answer.body))
            finally:
                arrivals.ended(path)


class _Answer:
    """Sends a response with the security headers, and records its status and the start of its body."""

    def __init__(self, send: Send, cookie: str | None) -> None:
        self._send = send
        self._cookie = cookie
        self.status: int | None = None
        self.keep = False
        self.body = bytearray()
        self._headers = security_headers()

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            ours = {name.encode() for name in self._headers}
            kept = [(name, value) for name, value in message.get("headers", []) if name.lower() not in ours]
            added = [(name.encode(), value.encode()) for name, value in self._headers.items()]
            if self._cookie is not None:
                added.append((b"set-cookie", self._cookie.encode()))
            message = {**message, "headers": [*kept, *added]}
        elif message["type"] == "http.response.body" and self.keep and len(self.body) < MULTIPART:
            self.body += message.get("body", b"")
        await self._send(message)

    async def refuse(self, status: int, sentence: str) -> None:
        """Respond with a sentence, unless another response has started."""
        if self.status is not None:
            return
        body = sentence.encode()
        headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode())]
        # The rest of the body is not read, so the connection cannot be reused for another request.
        headers.append((b"connection", b"close"))
        await self({"type": "http.response.start", "status": status, "headers": headers})
        await self({"type": "http.response.body", "body": body})


def _bounded(scope: Scope, receive: Receive, most: int) -> Receive:
    """Wrap `receive` to raise `_Oversized` once the body exceeds `most` bytes, whatever its header says."""
    seen = 0

    async def bounded() -> Message:
        nonlocal seen
        message = await receive()
        if message["type"] == "http.request":
            seen += len(message.get("body", b""))
            if seen > most:
                raise _Oversized
        return message

    return bounded
