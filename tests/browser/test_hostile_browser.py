"""Hostile words on every page of a real browser: nothing foreign is asked for, nothing runs, nothing is drawn from them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import sim2street.models.storage.catalog
from sim2street.app.content.benchmark_data import RESULTS_VARIABLE
from sim2street.training.jobs.access import set_password
from tests.app.hostile import ELEMENT, EVIL, IMAGE, hostile_checkpoints, hostile_jobs, hostile_sweep
from tests.browser.conftest import running_app, running_demo

pytestmark = [pytest.mark.browser, pytest.mark.slow]

PASSWORD = "correct horse battery"
LIVE = f"""() => [...document.querySelectorAll(
  'img[src*="{EVIL}"], a[href^="http"][href*="{EVIL}"], a[href^="mailto"], a[href^="javascript"], [onerror],'
  + '.katex:not(#losses .katex)')].map((found) => found.outerHTML)"""
"""What markup out of hostile words would have left in a page; the formulas of the losses are the project's own."""


class Watched:
    """A page of a browser: which other hosts it asked, and what it would have run."""

    def __init__(self, page: Any, url: str) -> None:
        self.page, self.url = page, url
        self.foreign: list[str] = []
        page.on("request", self._note)
        page.on("dialog", lambda dialog: (self.foreign.append(f"alert {dialog.message}"), dialog.dismiss()))

    def _note(self, request: Any) -> None:
        if not request.url.startswith((self.url, "data:", "blob:")):
            self.foreign.append(request.url)

    def open(self, path: str) -> None:
        self.page.goto(f"{self.url}{path}")
        self.page.get_by_test_id("stMarkdown").first.wait_for(timeout=120_000)
        self.settle()

    def settle(self) -> None:
        self.page.wait_for_timeout(700)
        self.page.get_by_test_id("stStatusWidget").wait_for(state="detached", timeout=120_000)

    def check(self) -> None:
        assert not self.foreign
        assert not self.page.evaluate(LIVE)


@pytest.fixture(scope="module")
def hostile_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("hostile")
    (folder / "results").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SIM2STREET_RUNS", str(folder / "runs"))
        set_password(PASSWORD)
        hostile_jobs()
    variables = {
        "SIM2STREET_CHECKPOINTS": str(hostile_checkpoints(folder / "own")),
        RESULTS_VARIABLE: str(hostile_sweep(folder / "results")),
    }
    with running_app(folder, OMP_NUM_THREADS="1", **variables) as url:
        yield url


def test_no_page_does_what_hostile_words_say(browser: Any, hostile_url: str, tmp_path: Path) -> None:
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    watched = Watched(context.new_page(), hostile_url)
    page = watched.page
    watched.open(f"/?methods=![a](http://{EVIL}/3)&style=<img src=http://{EVIL}/4>")
    page.get_by_test_id("stPopoverButton").first.click()
    watched.check()
    for path in ("/checkpoints", "/benchmark?show=Measured here"):
        watched.open(path)
        page.get_by_text(EVIL).first.wait_for(state="attached")
        watched.check()
    watched.open("/admin")
    page.get_by_test_id("stTextInputField").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("button", name="Launch").wait_for(timeout=60_000)
    for room in ("Jobs", "Compare runs", "Storage"):
        page.get_by_role("button", name=room, exact=True).or_(page.get_by_role("radio", name=room)).first.click()
        watched.settle()
        watched.check()
        page.screenshot(path=tmp_path / f"{room}.png")
    context.close()


@pytest.fixture
def hostile_demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    pytest.importorskip("gradio")
    from sim2street.app.content.engine import Engine

    (tmp_path / "results").mkdir()
    monkeypatch.setattr(sim2street.models.storage.catalog, "SHIPPED", tmp_path / "none")
    monkeypatch.setenv("SIM2STREET_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("SIM2STREET_CHECKPOINTS", str(hostile_checkpoints(tmp_path / "own")))
    monkeypatch.setenv(RESULTS_VARIABLE, str(hostile_sweep(tmp_path / "results")))
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    entries = sim2street.models.storage.catalog.catalog(wait=False)
    with running_demo(Engine(), lambda: entries) as url:
        yield url


def test_no_tab_of_the_hosted_page_does_what_hostile_words_say(browser: Any, hostile_demo: str, tmp_path: Path) -> None:
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    watched = Watched(context.new_page(), hostile_demo)
    page = watched.page
    page.goto(f"{hostile_demo}?methods={IMAGE}&style={ELEMENT}")

    page.locator("#viewer .pane canvas").nth(2).wait_for(timeout=120_000)  # photo, ground truth, a checkpoint
    watched.check()
    photo = tmp_path / f"{ELEMENT} {IMAGE}.png".replace("/", "|")
    Image.new("RGB", (64, 48), (90, 120, 150)).save(photo)
    page.locator("#source label", has_text="Your photo").click()
    page.locator("#photo input[type=file]").set_input_files(photo)
    page.locator("#own", has_text="used at 64×48").wait_for(timeout=120_000)
    watched.check()
    for tab, shown in (
        *(("Benchmark", "#published"), ("Measured here", "#measured"), ("Image by image", "#measured")),
        *(("Methods", "body"), ("Checkpoints", "body")),
    ):
        page.get_by_role("tab", name=tab, exact=True).click()
        page.locator(shown).first.wait_for(state="attached", timeout=60_000)
        page.wait_for_timeout(500)
        watched.check()
    assert page.locator(f"text={EVIL}").count(), "the words are shown"
    context.close()
