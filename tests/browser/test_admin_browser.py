"""The whole way in a real Chromium: sign in, launch, watch, cancel, resume, promote, and there it is on Compare."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from sim2street.training.jobs.access import set_password
from tests.browser.conftest import CONTRAST, eventually, running_app

pytestmark = [pytest.mark.browser, pytest.mark.slow]

PASSWORD = "correct horse battery"
PATIENCE = 300_000
"""Milliseconds for what a training does; for the page alone Playwright's own half minute is enough."""


@pytest.fixture(scope="module")
def admin_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("admin")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SIM2STREET_RUNS", str(folder / "runs"))
        set_password(PASSWORD)
    with running_app(folder, OMP_NUM_THREADS="1") as url:
        yield url


def settle(page: Any) -> None:
    """Wait until the server has nothing more to say."""
    page.wait_for_timeout(500)
    page.get_by_test_id("stStatusWidget").wait_for(state="detached", timeout=PATIENCE)


def steps_done(page: Any) -> int:
    text = page.get_by_text(re.compile(r"^\d+ of \d+$")).first.inner_text()
    return int(text.split()[0])


def test_a_training_from_launch_to_compare(browser: Any, admin_url: str, tmp_path: Path) -> None:
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    page.goto(f"{admin_url}/admin")
    page.get_by_test_id("stTextInputField").wait_for(timeout=PATIENCE)  # the server loads torch first
    page.get_by_test_id("stTextInputField").fill("not the password")
    page.get_by_role("button", name="Sign in").click()
    page.get_by_text("Wrong password.").wait_for()
    settle(page)  # the field is emptied by the server
    expect(page.get_by_role("link", name="Admin")).to_have_count(0)
    page.get_by_test_id("stTextInputField").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()

    page.get_by_role("button", name="Launch").wait_for(timeout=PATIENCE)
    settle(page)
    page.get_by_role("button", name="Launch").click()
    page.get_by_text("1 job, 1 active").wait_for()
    page.get_by_text(re.compile(r"^[1-9]\d* of 240$")).wait_for(timeout=PATIENCE)
    page.locator(".js-plotly-plot").first.wait_for(timeout=PATIENCE)
    term = page.locator(".js-plotly-plot .annotation-text").first
    eventually(
        lambda: term.evaluate("(e) => getComputedStyle(e).fill === getComputedStyle(e).color")
    )  # as its line has

    page.get_by_role("button", name="Cancel").click()
    page.get_by_role("button", name="Resume").wait_for(timeout=PATIENCE)
    page.get_by_text(re.compile("Stopped at step .* the state is saved")).first.wait_for()
    stopped_at = steps_done(page)
    assert 0 < stopped_at < 240

    page.get_by_role("button", name="Resume").click()
    page.get_by_role("button", name="Promote").wait_for(timeout=PATIENCE)
    assert steps_done(page) == 240
    page.get_by_text("attempt 2").first.wait_for()
    settle(page)
    samples = page.get_by_role("tab", name="Samples")
    expect(samples).to_have_count(1, timeout=PATIENCE)  # while a fragment redraws there are the old and the new one
    samples.click()
    page.get_by_test_id("stImage").first.wait_for()
    page.get_by_role("tab", name="Quality").click()
    page.get_by_text("IoU per class on game, %").wait_for()
    number = page.locator(".textpoint text").first
    number.wait_for()
    page_colour = page.get_by_test_id("stApp").evaluate("e => getComputedStyle(e).color")  # whose contrast is known
    eventually(lambda: number.evaluate("e => getComputedStyle(e).fill") == page_colour)

    for scheme in ("dark", "light"):
        page.emulate_media(color_scheme=scheme)
        page.wait_for_timeout(1000)
        eventually(lambda: page.get_by_role("button", name="Promote").evaluate(CONTRAST) >= 4.5)
    page.get_by_role("button", name="Promote").click()
    page.get_by_role("textbox", name="Name in the catalog").fill("no name/")
    page.get_by_role("textbox", name="Name in the catalog").press("Enter")
    page.get_by_role("button", name="Add to the catalog").click()
    page.get_by_text("found 'no name/'").wait_for()
    expect(page.get_by_role("tab", name="Quality")).to_have_attribute("aria-selected", "true")
    page.get_by_role("textbox", name="Name in the catalog").fill("one_minute")
    page.get_by_role("textbox", name="Name in the catalog").press("Enter")
    page.get_by_role("button", name="Add to the catalog").click()
    page.get_by_text("One minute is now available on Compare.").wait_for()
    page.get_by_role("link", name="Compare", exact=True).click()
    page.locator('.pane[data-key="one_minute"] canvas').wait_for(timeout=PATIENCE)

    page.get_by_role("link", name="Admin").click()
    page.get_by_role("button", name="Sign out").click()
    page.get_by_role("button", name="Sign in").wait_for()
    expect(page.get_by_role("link", name="Admin")).to_have_count(0)
    context.close()


def test_a_visitor_sees_nothing_of_it(browser: Any, admin_url: str) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844})
    page = context.new_page()
    page.goto(f"{admin_url}/admin")
    page.get_by_role("button", name="Sign in").wait_for(timeout=PATIENCE)
    for word in ("Launch", "Jobs", "Storage", "One minute"):
        expect(page.get_by_text(word, exact=True)).to_have_count(0)
    context.close()
