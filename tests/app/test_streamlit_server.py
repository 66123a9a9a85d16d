"""The Streamlit server over real HTTP: headers, the browser's key, uploads that are cut off, and sessions of others."""

from __future__ import annotations

import os
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.response import addinfourl

import pytest
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.proto.WidgetStates_pb2 import WidgetState
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from sim2street.app.admin import browser_key
from sim2street.training.jobs.access import AccessError, Gate, set_password
from tests.browser.conftest import running_app

PASSWORD = "correct horse battery"


@pytest.fixture(scope="module")
def temporary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("temporary")


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory, temporary: Path) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("server")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SIM2STREET_RUNS", str(folder / "runs"))
        set_password(PASSWORD)
    with running_app(folder, TMPDIR=str(temporary)) as address:
        yield address


def get(url: str, **headers: str) -> addinfourl:
    return urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=60)


class Tab:
    """A tab on the admin page as the server knows it: it sends events and receives what is drawn."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.session = ""
        self.widgets: dict[str, str] = {}

    def run(self, *states: WidgetState) -> str:
        """Run the page with these widgets changed, and return all that is drawn."""
        event = BackMsg()
        event.rerun_script.page_name = "admin"
        event.rerun_script.widget_states.widgets.extend(states)
        self.socket.send(event.SerializeToString())
        drawn: list[str] = []
        while True:
            data = self.socket.recv(120)
            assert isinstance(data, bytes)
            message = ForwardMsg.FromString(data)
            drawn.append(str(message))
            if message.WhichOneof("type") == "new_session":
                self.session = message.new_session.initialize.session_id
            element: Any = message.delta.new_element
            for kind in ("text_input", "button"):
                if element.WhichOneof("type") == kind:
                    self.widgets[getattr(element, kind).label] = getattr(element, kind).id
            # A page that asks to be run again ends its run early.
            if message.WhichOneof("type") == "script_finished" and message.script_finished in (0, 1):
                return "".join(drawn)

    def sign_in(self) -> str:
        self.run()
        password = WidgetState(id=self.widgets["Password"], string_value=PASSWORD)
        return self.run(password, WidgetState(id=self.widgets["Sign in"], trigger_value=True))


@contextmanager
def open_tab(url: str, cookie: str, session: str = "") -> Iterator[Tab]:
    """Connect as a browser that shows this cookie and, where one is given, names the id of the session to resume."""
    names = ["streamlit", "none", session] if session else ["streamlit", "none"]
    with connect(
        f"{url.replace('http', 'ws', 1)}/_stcore/stream",
        subprotocols=[Subprotocol(name) for name in names],
        additional_headers={"Cookie": cookie} if cookie else {},
        max_size=None,
    ) as socket:
        yield Tab(socket)


def key_of_a_browser(url: str) -> str:
    with get(url, Accept="text/html") as answer:
        return answer.headers["set-cookie"].partition(";")[0]


@pytest.fixture(scope="module")
def admin(url: str) -> Iterator[tuple[str, Tab]]:
    """The cookie of a browser, and its tab, in which an admin has signed in."""
    cookie = key_of_a_browser(url)
    with open_tab(url, cookie) as tab:
        assert "Sign out" in tab.sign_in()
        yield cookie, tab


@pytest.mark.slow
@pytest.mark.parametrize("shows", ["nothing", "its own key", "a forged key"])
def test_a_stranger_who_knows_the_id_of_a_live_session_gets_a_session_of_their_own(
    url: str, admin: tuple[str, Tab], shows: str
) -> None:
    cookie, tab = admin
    shown = {"nothing": "", "its own key": key_of_a_browser(url), "a forged key": f"{cookie[:-4]}AAAA"}[shows]
    with open_tab(url, shown, tab.session) as stranger:
        drawn = stranger.run()
    assert "Password" in drawn
    assert "Sign out" not in drawn
    assert stranger.session != tab.session
    assert "Sign out" in tab.run(), "the admin's connection goes on"


@pytest.mark.slow
def test_a_stranger_cannot_upload_to_a_live_session(url: str, admin: tuple[str, Tab]) -> None:
    cookie, tab = admin
    address = f"{url}/_stcore/upload_file/{tab.session}/file"

    def refusal(shown: str) -> str:
        request = urllib.request.Request(address, b"x", {"Cookie": shown}, method="PUT")
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(request, timeout=30)
        return caught.value.read().decode()

    assert "open in another browser" in refusal(key_of_a_browser(url))
    assert "open in another browser" in refusal("x=y")
    assert "open in another browser" not in refusal(cookie), "the admin's own, which lacks Streamlit's token"


@pytest.mark.slow
def test_the_same_browser_resumes_its_session(url: str) -> None:
    cookie = key_of_a_browser(url)
    with open_tab(url, cookie) as tab:
        assert "Sign out" in tab.sign_in()
    with open_tab(url, cookie, tab.session) as again:
        assert "Sign out" in again.run()
        assert again.session == tab.session


@pytest.mark.slow
@pytest.mark.parametrize("path", ["/", "/admin", "/_stcore/health", "/_stcore/host-config"])
def test_every_answer_has_our_headers(url: str, path: str) -> None:
    with get(url + path) as answer:
        policy = answer.headers["content-security-policy"]
        assert "img-src 'self' data: blob:;" in policy
        assert "frame-ancestors 'self' https://huggingface.co https://*.hf.space" in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "strict-origin-when-cross-origin"


@pytest.mark.slow
def test_a_page_gives_each_browser_a_key_once(url: str) -> None:
    with get(url, Accept="text/html") as answer:
        cookie = answer.headers["set-cookie"]
    assert cookie.startswith(f"{browser_key.COOKIE}=")
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    key = cookie.partition(";")[0]
    with get(url, Accept="text/html", Cookie=key) as answer:
        assert answer.headers["set-cookie"] is None
    with get(url, Accept="text/html", Cookie=f"{key[:-1]}x") as answer:
        assert answer.headers["set-cookie"], "one that this server has not signed is replaced"


@pytest.mark.slow
def test_an_upload_that_is_cut_off_or_of_nobody_leaves_nothing(url: str, temporary: Path) -> None:
    place = urlsplit(url)
    head = (
        "PUT /_stcore/upload_file/nobody/file HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\n"
    )
    for _ in range(10):
        # The server may refuse the upload, and close, before all of it has been sent.
        with socket.create_connection((place.hostname, place.port)) as connection, suppress(ConnectionError):
            connection.sendall(f"{head}Content-Length: 8000000\r\n\r\n--b\r\n".encode() + bytes(2_000_000))
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(
            urllib.request.Request(f"{url}/_stcore/upload_file/nobody/file", b"x" * 10, method="PUT"), timeout=30
        )
    assert caught.value.code in (400, 403)
    time.sleep(1)
    left = [path for path in temporary.rglob("*") if path.is_file() and os.path.getsize(path) >= 1_000_000]
    assert not left


def test_a_session_opens_for_the_browser_that_signed_in_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIM2STREET_RUNS", str(tmp_path))
    set_password(PASSWORD)
    gate, mine, theirs = Gate(), browser_key.new_key(), browser_key.new_key()
    token = gate.sign_in(PASSWORD, holder=mine)
    for holder in (theirs, "", mine[:-1]):
        with pytest.raises(AccessError, match="another browser"):
            gate.check(token, holder=holder)
    assert gate.check(token, holder=mine) == "password", "a stranger's try does not end it"


@pytest.mark.parametrize("key", ["", ".", "x", "x.", "x.y", "é.é"])
def test_a_key_that_was_made_elsewhere_is_none(key: str) -> None:
    assert not browser_key.is_ours(key)
    assert browser_key.is_ours(browser_key.new_key())


def scope_of(kind: str, path: str, cookie: str, protocols: str = "") -> dict[str, Any]:
    headers = [
        (b"cookie", f"a=b; {browser_key.COOKIE}={cookie}".encode()),
        (b"sec-websocket-protocol", protocols.encode()),
    ]
    return {"type": kind, "path": path, "headers": headers}


def test_a_session_stays_with_the_browser_that_it_began_in() -> None:
    owners, mine, theirs = browser_key.Owners(), browser_key.new_key(), browser_key.new_key()
    owners.note("s1", mine)
    owners.note("s1", theirs)  # whoever comes later is no owner

    def resumed(session: str, cookie: str) -> bytes:
        admitted = owners.admit(scope_of("websocket", "/_stcore/stream", cookie, f"streamlit, token, {session}"))
        assert admitted is not None
        return dict(admitted["headers"])[b"sec-websocket-protocol"]

    assert resumed("s1", mine) == b"streamlit, token, s1"
    for session, cookie in (("s1", theirs), ("s1", ""), ("s1", f"{mine[:-1]}x"), ("unknown", mine)):
        assert resumed(session, cookie) == b"streamlit, token"
    upload = "/base/_stcore/upload_file/s1/f"
    assert owners.admit(scope_of("http", upload, mine)) is not None
    assert owners.admit(scope_of("http", upload, theirs)) is None
    assert owners.admit(scope_of("http", "/admin", theirs)) is not None
