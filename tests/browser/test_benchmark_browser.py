"""The Benchmark page in a real Chromium: the quoted rows, all rows, another setting, and a phone's width."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import CONTRAST, arrange, eventually, fits

pytestmark = pytest.mark.browser


@pytest.fixture
def page(any_screen: Any, app_url: str) -> Any:
    any_screen.goto(f"{app_url}/benchmark")
    any_screen.locator(".published .row").first.wait_for(timeout=90_000)
    any_screen.locator(".js-plotly-plot .legend").wait_for(timeout=60_000)
    return any_screen


def test_benchmark(page: Any) -> None:
    assert page.locator(".published .figure").all_inner_texts()[-1].startswith("75.9")
    fits(page)
    arrange(page)
    # A bar is as long as its figure says.
    bar = page.locator(".published .bar").last.bounding_box()
    filled = page.locator(".published .bar i").last.bounding_box()
    assert filled["width"] / bar["width"] == pytest.approx(0.759, abs=0.01)
    assert filled["height"] > 2

    every = re.compile(r"All \d+ published rows")
    page.get_by_text(every).click()
    page.locator(".published").wait_for(state="detached", timeout=30_000)
    page.locator('[data-testid="stDataFrame"]').first.wait_for()
    page.get_by_text("SYNTHIA → Cityscapes", exact=True).click()
    page.get_by_text(every).wait_for(state="detached", timeout=30_000)
    fits(page)

    # A pair of the measured sweeps: its own rows, the oracle's bar ends at the oracle's line.
    page.get_by_text("Measured here", exact=True).click()
    page.get_by_text("Clean look to night", exact=True).click()
    oracle = page.locator(".measured .row.oracle").filter(has_text="Oracle, night").first
    oracle.wait_for(timeout=30_000)
    arrange(page)
    ends = oracle.evaluate(
        "row => [row.querySelector('i').getBoundingClientRect().right,"
        " Math.max(...[...row.querySelectorAll('u')].map(line => line.getBoundingClientRect().left))]"
    )
    assert ends[0] == pytest.approx(ends[1], abs=2)
    fits(page)
    expect(page.locator('[data-testid="stException"]')).to_have_count(0)
    fits(page)


def test_pictures_of_a_set_open(page: Any, app_url: str) -> None:
    page.goto(f"{app_url}/benchmark?show=Image+by+image")
    known = page.locator(".matrix")
    begin = page.get_by_role("button", name=re.compile(r"Predict \d+ images"))
    known.or_(begin).first.wait_for(timeout=60_000)
    if begin.count():
        begin.first.click()
        known.wait_for(timeout=90_000)
        page.get_by_role("button", name="Stop").click()  # some images are enough
        page.get_by_role("button", name="Stop").wait_for(state="detached", timeout=60_000)
    fits(page)
    page.get_by_text("Class by class").click()
    for kind in ("CSV", "LaTeX"):
        page.get_by_role("button", name=kind, exact=True).wait_for(timeout=30_000)
    fits(page)
    cell = page.locator(".matrix .cell:not(:disabled)").first
    truth, predicted = cell.get_attribute("aria-label").partition(":")[0].split(" predicted as ")
    cell.click()
    page.get_by_role("heading", name=f"Images: {truth} predicted as {predicted}").wait_for(timeout=30_000)
    first = page.locator(".cards button").first
    expect(first.locator("small")).to_have_text(re.compile(r"^[\d,]+ pixels?$"))
    street = re.search(r"\d+", first.locator("b").inner_text())
    first.click()
    page.locator(".viewer .pane canvas").first.wait_for(timeout=90_000)
    expect(page).to_have_url(re.compile("style=fog"))
    assert street is not None
    assert f"street={street[0]}" in page.url or street[0] == "3"  # the first street is left out of the address
    expect(page).to_have_url(re.compile("layer=error"))
    page.get_by_text(re.compile(r"^[2-9] methods$")).first.wait_for()  # all of the page's, not the last alone
    expect(page).to_have_url(re.compile("pixel="))


@pytest.mark.parametrize("place", ["methods?method=DAFormer", "gap"])
def test_other_pages_fit_the_screen(page: Any, app_url: str, place: str) -> None:
    page.goto(f"{app_url}/{place}")
    begin = page.get_by_role("button", name="Compute both domains")  # or what an earlier run left in the cache
    page.locator(".method .term").or_(begin).or_(page.locator(".js-plotly-plot")).first.wait_for(timeout=60_000)
    for closed in page.locator(".method summary").all():
        closed.click()
    fits(page)
    expect(page.locator('[data-testid="stException"]')).to_have_count(0)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_what_is_chosen_can_be_read(browser: Any, app_url: str, scheme: str) -> None:
    context = browser.new_context(color_scheme=scheme, reduced_motion="reduce")
    page = context.new_page()
    page.goto(f"{app_url}/benchmark")
    tag = page.locator('[data-testid="stMultiSelect"] [data-tag] span').first
    tag.wait_for(timeout=90_000)
    eventually(lambda: tag.evaluate(CONTRAST) >= 4.5)
    code = page.locator('[data-testid="stCaptionContainer"] code').first
    paler = "e => getComputedStyle(e).color !== getComputedStyle(e.parentElement).color"
    eventually(lambda: not code.evaluate(paler))
    chosen = page.locator(".st-key-show button[aria-checked=true]")
    chosen.hover()
    expect(chosen).to_have_attribute("data-hovered", "true")
    page.wait_for_timeout(500)  # Streamlit fades from colour to colour
    eventually(lambda: chosen.evaluate(CONTRAST) >= 4.5)
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_what_begins_something_can_be_read(browser: Any, app_url: str, scheme: str) -> None:
    context = browser.new_context(color_scheme=scheme, reduced_motion="reduce")
    page = context.new_page()
    page.goto(f"{app_url}/gap")
    target = page.get_by_label("Target")
    target.wait_for(timeout=90_000)
    target.click()
    page.get_by_role("option").last.click()  # a pair that nobody has asked for
    begin = page.get_by_role("button", name="Compute both domains")
    begin.wait_for(timeout=60_000)
    for gesture in (page.mouse.move, lambda *_: begin.hover()):
        gesture(0, 0)
        page.wait_for_timeout(500)
        eventually(lambda: begin.evaluate(CONTRAST) >= 4.5)
    context.close()


def test_all_methods_stand_within_a_phones_screen(browser: Any, app_url: str) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844})
    page = context.new_page()
    page.goto(f"{app_url}/methods")
    page.locator(".st-key-method button").first.wait_for(timeout=90_000)
    arrange(page)
    ends = page.locator(".st-key-method button").evaluate_all(
        "all => all.map(each => each.getBoundingClientRect().right)"
    )
    assert len(ends) > 5
    assert max(ends) <= 390
    context.close()
