"""A running app and a real browser, both once per session and both ended with it."""

from __future__ import annotations

import importlib
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.app.conftest import save_tiny_pair

FITS = """() => {
  const page = document.querySelector('[data-testid=stMain]') ?? document.documentElement;
  return page.scrollWidth <= page.clientWidth;
}"""
"""Whether a page of the app or the hosted page is no wider than the screen."""
ARRANGED = """() => {
  const parts = [...document.querySelectorAll("button, input, img, canvas, svg, summary, [data-testid], [id]")];
  const now = parts.map((part) => Object.values(part.getBoundingClientRect().toJSON()).map(Math.round)).join();
  window.same = now === window.before ? (window.same ?? 0) + 1 : 0;
  window.before = now;
  return window.same >= 5;
}"""
"""Asked every 100 ms: whether nothing has moved for half a second."""
PATIENCE = 30.0
"""Seconds in which a page has to come to what is expected of it; it is busy for longer on a slow machine."""
CONTRAST = """element => {
  const pixel = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
  const above = [];
  for (let each = element; each; each = each.parentElement) above.unshift(getComputedStyle(each).backgroundColor);
  const drawn = (colours) => {
    for (const colour of ['white', ...colours]) { pixel.fillStyle = colour; pixel.fillRect(0, 0, 1, 1); }
    const linear = [...pixel.getImageData(0, 0, 1, 1).data].map((part) => part / 255)
      .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2] + 0.05;
  };
  const ground = drawn(above), text = drawn([...above, getComputedStyle(element).color]);
  return Math.max(ground, text) / Math.min(ground, text);
}"""
"""WCAG's contrast of an element's text with what lies below it."""
ROOT = Path(__file__).parents[2]
CHROMIUM = os.environ.get("SIM2STREET_CHROMIUM", "/usr/bin/chromium")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


def fits(page: Any) -> None:
    """The page is no wider than the screen, once it is arranged."""
    page.wait_for_function(FITS, timeout=1000 * PATIENCE)


def arrange(page: Any) -> None:
    """Wait until everything on the page has its place, before places and sizes are measured."""
    page.wait_for_function(ARRANGED, timeout=1000 * PATIENCE, polling=100)


def eventually(measured: Callable[[], bool], what: str = "") -> None:
    """Something that is measured holds, if not at once."""
    until = time.monotonic() + PATIENCE
    while not measured():
        assert time.monotonic() < until, what
        time.sleep(0.1)


@pytest.fixture(scope="session")
def browser() -> Iterator[object]:
    if os.environ.get("SIM2STREET_REQUIRE_BROWSER"):
        importlib.import_module("playwright.sync_api")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not Path(CHROMIUM).exists():
        missing = f"there is no browser at {CHROMIUM}; name one in SIM2STREET_CHROMIUM"
        if os.environ.get("SIM2STREET_REQUIRE_BROWSER"):  # CI: a skipped browser test is a failed one
            pytest.fail(missing)
        pytest.skip(missing)
    playwright.expect.set_options(timeout=1000 * PATIENCE)
    with playwright.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def app_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = save_tiny_pair(tmp_path_factory.mktemp("checkpoints"), prefix="Tiny ")
    with running_app(tmp_path_factory.mktemp("server"), SIM2STREET_CHECKPOINTS=str(folder)) as url:
        yield url


@pytest.fixture(params=[(1440, 900), (390, 844)], ids=["laptop", "phone"])
def any_screen(browser: Any, request: pytest.FixtureRequest) -> Iterator[Any]:
    """An empty page on a laptop and on a phone; a script that fails in it fails the test."""
    width, height = request.param
    context = browser.new_context(viewport={"width": width, "height": height})
    page = context.new_page()
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    yield page
    context.close()
    assert not problems


@contextmanager
def running_app(folder: Path, **variables: str) -> Iterator[str]:
    """Serve the app with these variables of ours and no others; jobs and log are kept in `folder`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SIM2STREET_")}
    log = (folder / "log.txt").open("w")
    server = subprocess.Popen(
        [
            *(sys.executable, "-m", "streamlit", "run", "app/main.py"),
            *("--server.port", str(port), "--server.address", "127.0.0.1"),
            *("--server.headless", "true", "--server.fileWatcherType", "none"),
        ],
        cwd=ROOT,
        env={**environment, "SIM2STREET_RUNS": str(folder / "runs"), **variables},
        stdout=log,
        stderr=subprocess.STDOUT,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(480):  # two minutes, for a machine that is busy with other things
            try:
                urllib.request.urlopen(f"{url}/_stcore/health", timeout=1).close()
                break
            except OSError:
                time.sleep(0.25)
        else:
            pytest.fail(f"the app did not start; see {log.name}")
        yield url
    finally:
        server.terminate()
        server.wait(timeout=60)
        log.close()


@contextmanager
def running_demo(engine: Any, entries: Any) -> Iterator[str]:
    """Serve the hosted page in this process; see `build_demo`."""
    from sim2street.app import demo
    from sim2street.app.demo_page import compare_tab

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compare_tab, "RATE", (10_000, 60.0))  # all tests of a minute are one client
        page = demo.build_demo(engine, entries)
    options = {**demo.launch_options(), "mcp_server": False}
    _, url, _ = page.launch(**options, prevent_thread_lock=True, quiet=True, server_name="127.0.0.1")
    try:
        yield url
    finally:
        page.close()
