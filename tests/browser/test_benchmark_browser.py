"""The Benchmark page in a real Chromium: the quoted rows, all rows, another setting, and a phone's width."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

pytestmark = pytest.mark.browser


@pytest.fixture(params=[(1440, 900), (390, 844)], ids=["laptop", "phone"])
def page(browser: Any, app_url: str, request: pytest.FixtureRequest) -> Iterator[Any]:
    width, height = request.param
    context = browser.new_context(viewport={"width": width, "height": height})
    page = context.new_page()
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto(f"{app_url}/benchmark")
    page.locator(".published .row").first.wait_for(timeout=90_000)
    page.locator(".js-plotly-plot .legend").wait_for(timeout=60_000)
    yield page
    context.close()
    assert not problems


def test_benchmark(page: Any) -> None:
    assert page.locator(".published .figure").all_inner_texts()[-1].startswith("75.9")
    overflow = (
        "() => { const e = document.querySelector('[data-testid=stMain]'); return e.scrollWidth - e.clientWidth }"
    )
    assert page.evaluate(overflow) <= 0
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
    assert page.evaluate(overflow) <= 0

    # A pair of the measured sweeps: its own rows, the oracle's bar ends at the oracle's line.
    page.get_by_text("Measured here", exact=True).click()
    page.get_by_text("Clean look to night", exact=True).click()
    oracle = page.locator(".measured .row.oracle").filter(has_text="Oracle, night").first
    oracle.wait_for(timeout=30_000)
    ends = oracle.evaluate(
        "row => [row.querySelector('i').getBoundingClientRect().right,"
        " Math.max(...[...row.querySelectorAll('u')].map(line => line.getBoundingClientRect().left))]"
    )
    assert ends[0] == pytest.approx(ends[1], abs=2)
    assert page.evaluate(overflow) <= 0
    assert page.locator('[data-testid="stException"]').count() == 0
    assert page.evaluate(overflow) <= 0
