"""The Streamlit server over real HTTP: headers, the browser's key, and uploads that are cut off or of nobody."""

from __future__ import annotations

import os
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from sim2street.app.admin import browser_key
from sim2street.training.jobs.access import AccessError, Gate, set_password
from tests.browser.conftest import running_app

PASSWORD = "correct horse battery"


@pytest.fixture(scope="module")
def temporary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("temporary")


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory, temporary: Path) -> Iterator[str]:
    with running_app(tmp_path_factory.mktemp("server"), TMPDIR=str(temporary)) as address:
        yield address


def get(url: str, **headers: str) -> urllib.request.addinfourl:
    return urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=60)


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
        with socket.create_connection((place.hostname, place.port)) as connection:
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
