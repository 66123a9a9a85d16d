"""The Checkpoints page in a real Chromium: aligned lines that open, a search while typing, and the way to Compare."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import arrange, fits

pytestmark = pytest.mark.browser

ONE_COLUMN = """() => {
  const scores = [...document.querySelectorAll("details > summary p > :last-child")];
  const ends = scores.map((score) => score.getBoundingClientRect().right);
  return ends.length > 2 && Math.max(...ends) - Math.min(...ends) < 1;
}"""
"""Whether all scores end at the same place."""


@pytest.fixture
def page(any_screen: Any, app_url: str) -> Any:
    any_screen.goto(f"{app_url}/checkpoints?checkpoint=tiny_source_only")
    any_screen.locator("details").nth(1).wait_for(timeout=90_000)
    return any_screen


def test_checkpoints_are_found_and_opened(page: Any) -> None:
    lines, find = page.locator("details > summary"), page.get_by_role("textbox", name="Find")
    expect(lines.first).to_contain_text("Tiny Source only")  # which the address asks for
    expect(page.locator("details").first).to_have_attribute("open", "")
    page.wait_for_function(ONE_COLUMN)
    arrange(page)
    assert max(line.bounding_box()["height"] for line in lines.all()) < 70
    fits(page)

    find.fill("no such words")
    expect(lines).to_have_count(1, timeout=30_000)
    find.fill("tiny fog")
    expect(lines).to_have_count(2, timeout=30_000)
    expect(lines.nth(1)).to_contain_text("Tiny ADVENT")
    advent = page.locator("details").nth(1)
    lines.nth(1).click()
    expect(advent.locator(".card")).to_be_visible()
    fits(page)
    expect(page.get_by_test_id("stApp")).to_have_attribute("data-test-script-state", "notRunning", timeout=30_000)
    advent.get_by_role("link", name="Compare with it").click()
    page.wait_for_url(re.compile(r"methods=Tiny(\+|%20)ADVENT"), timeout=60_000)
    expect(page).to_have_url(re.compile("right=tiny_advent"))  # which a phone swipes to
