"""Make the README's pictures: start the app, open it in Chromium, photograph it on rendered streets.

    python docs/screenshots.py [folder]

Laptop and phone, light and dark. Only rendered streets are shown, so no real photo is published.
The browser is /usr/bin/chromium unless SIM2STREET_CHROMIUM names another.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Locator, Page, sync_playwright

ROOT = Path(__file__).resolve().parent.parent
CHROMIUM = os.environ.get("SIM2STREET_CHROMIUM", "/usr/bin/chromium")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync", "--no-first-run"]
ADDRESS = "/?style=fog&street=3"
WAIT = 1_200_000
"""Milliseconds for what is computed on demand, on a slow processor."""

DEVICES: dict[str, dict[str, Any]] = {
    "laptop": {"viewport": {"width": 1440, "height": 900}},
    "phone": {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 2, "has_touch": True},
}


@contextmanager
def running_app() -> Iterator[str]:
    """Start the app on a free port and stop it afterwards; yields its URL."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "streamlit", "run", "app/main.py", "--server.port", str(port)]
    command += ["--server.headless", "true", "--server.address", "127.0.0.1", "--server.fileWatcherType", "none"]
    server = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    try:
        wait_for(f"http://127.0.0.1:{port}/_stcore/health")
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait()


def wait_for(address: str) -> None:
    """Return once the app answers, or raise TimeoutError after a minute."""
    for _ in range(240):
        try:
            urllib.request.urlopen(address, timeout=1).close()
            return
        except OSError:
            time.sleep(0.25)
    raise TimeoutError(f"The app did not answer at {address}.")


def wait_for_all_panes(page: Page) -> None:
    """Return once every selected method has segmented the photo."""
    page.locator(".viewer .pane canvas").first.wait_for(timeout=WAIT)
    page.locator(".pane.waiting").first.wait_for(state="detached", timeout=WAIT)
    page.locator("[data-testid=stStatusWidget]").wait_for(state="detached", timeout=WAIT)
    page.wait_for_timeout(800)


def photograph(page: Page, folder: Path, name: str) -> None:
    """Save the main views: classes with a pinned pixel, entropy, and swipe."""
    wait_for_all_panes(page)
    wide = name.startswith("laptop")
    if wide:
        box = page.locator(".pane .canvas").last.bounding_box()
        assert box is not None
        page.mouse.move(box["x"] + 0.62 * box["width"], box["y"] + 0.6 * box["height"])
    page.wait_for_timeout(300)
    page.screenshot(path=folder / f"{name}.png")
    if name == "laptop_light":
        page.mouse.move(1, 1)
        page.locator(".viewer").focus()
        page.keyboard.press("2")
        page.wait_for_timeout(300)
        page.locator(".viewer").screenshot(path=folder / "entropy.png")
        page.locator(".viewer").focus()  # scrolling may have moved the picture away from the pointer
        page.mouse.move(1, 1)  # a pointer over the legend would dim all other classes
        page.keyboard.press("1")
        page.keyboard.press("s")
        page.wait_for_timeout(300)
        page.locator(".viewer").screenshot(path=folder / "swipe.png")


def photograph_pages(page: Page, address: str, folder: Path, scheme: str) -> None:
    """Save the pages that compute on demand, and one method; what was computed before is taken from the cache."""
    page.goto(f"{address}/benchmark?show=Image+by+image")
    compute(
        page, page.get_by_role("button", name=re.compile(r"Predict (the other )?\d+")), page.locator(".cards img").first
    )
    page.locator('.matrix .cell[data-key="2,10"]').click()  # building predicted as sky
    page.get_by_role("heading", name="building predicted as sky").wait_for(timeout=WAIT)
    page.wait_for_timeout(2000)
    page.screenshot(path=folder / f"benchmark_{scheme}.png", full_page=False)
    page.goto(f"{address}/gap")
    compute(page, page.get_by_role("button", name="Compute both domains"), page.locator(".js-plotly-plot").nth(4))
    page.mouse.move(1, 1)
    page.wait_for_timeout(2000)
    page.screenshot(path=folder / f"gap_{scheme}.png")
    page.goto(f"{address}/methods?method=DAFormer")
    page.locator(".pictures img").last.wait_for(timeout=WAIT)
    page.set_viewport_size({"width": 1440, "height": 1200})
    page.wait_for_timeout(1000)
    page.screenshot(path=folder / f"methods_{scheme}.png")
    page.set_viewport_size(DEVICES["laptop"]["viewport"])


def compute(page: Page, begin: Locator, result: Locator) -> None:
    """Ask for a computation where its result is not known yet, and wait for it to end."""
    begin.or_(result).first.wait_for(timeout=WAIT)
    if begin.count():
        begin.click()
        page.get_by_role("button", name="Stop").wait_for(timeout=WAIT)
        page.get_by_role("button", name="Stop").wait_for(state="detached", timeout=WAIT)
    result.wait_for(timeout=WAIT)


def main() -> None:
    """Photograph every device in both colour schemes."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "images"
    folder.mkdir(parents=True, exist_ok=True)
    with running_app() as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        for device, options in DEVICES.items():
            for scheme in ("light", "dark"):
                context = browser.new_context(**options, color_scheme=scheme)
                page = context.new_page()
                page.goto(address + ADDRESS)
                photograph(page, folder, f"{device}_{scheme}")
                if device == "laptop":
                    photograph_pages(page, address, folder, scheme)
                context.close()
        browser.close()


if __name__ == "__main__":
    main()
