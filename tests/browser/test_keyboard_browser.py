"""Where the keyboard is can be seen, in the navigation as in the viewer."""

from __future__ import annotations

from typing import Any

import pytest

from tests.browser.conftest import eventually

pytestmark = pytest.mark.browser

RING = """element => {
  const { outlineStyle, outlineWidth } = getComputedStyle(element);
  return outlineStyle === "solid" ? parseFloat(outlineWidth) : 0;
}"""
"""Width of the line around an element, in pixels."""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_what_has_the_focus_is_outlined(browser: Any, app_url: str, scheme: str) -> None:
    context = browser.new_context(viewport={"width": 1440, "height": 900}, color_scheme=scheme)
    page = context.new_page()
    page.goto(app_url)
    page.locator(".answer:not(:empty)").wait_for(timeout=90_000)
    page.keyboard.press("Tab")  # from here on the browser shows the focus
    link, viewer = page.get_by_role("link", name="Benchmark"), page.locator(".viewer")
    for element in (link, viewer, page.locator(".viewer .card").first):
        eventually(lambda element=element: element.evaluate(RING) == 0)
        element.focus()
        eventually(lambda element=element: element.evaluate(RING) == 2)
    context.close()
