"""On a phone, what is to be pressed can be pressed with a thumb, on both pages."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.app.conftest import save_tiny_pair
from tests.browser.conftest import arrange, running_demo

pytestmark = pytest.mark.browser

WAIT = 90_000
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
LOW = """() => {
  const roots = [document];
  for (const root of roots) for (const e of root.querySelectorAll("*")) if (e.shadowRoot) roots.push(e.shadowRoot);
  const pressed = "button, summary, label:has(input[type=radio], input[type=checkbox]), a[data-testid], [role=tab], .viewer select";
  // A logo, what only a keyboard reaches, a name that is a caption, a sign for help whose tap is larger, and Plotly's own.
  const others = "[data-testid=stLogoLink], .visually-hidden *, figcaption button, [data-testid=stTooltipIcon] *, .strip button, .js-plotly-plot *";
  return roots.flatMap((root) => [...root.querySelectorAll(pressed)])
    .filter((e) => e.checkVisibility({ visibilityProperty: true, opacityProperty: true }) && !e.matches(others))
    .map((e) => [e.getBoundingClientRect(), e])
    .filter(([box]) => box.width > 1 && box.height > 1 && box.right > 0 && box.height < 39.5)
    .map(([box, e]) => `${e.tagName} ${e.innerText || e.ariaLabel}: ${box.height}`);
}"""
"""Controls that are less than 40 pixels high."""


@pytest.fixture
def phone(browser: Any) -> Iterator[Any]:
    context = browser.new_context(**PHONE)
    yield context.new_page()
    context.close()


@pytest.mark.parametrize(
    ("room", "there"),
    [
        ("", ".answer:not(:empty)"),
        ("benchmark", ".js-plotly-plot .legend"),
        ("methods", ".method summary"),
        ("gap", "[data-testid=stSelectbox]"),
        ("checkpoints", "details summary"),
    ],
)
def test_controls_of_the_app_are_large_enough(phone: Any, app_url: str, room: str, there: str) -> None:
    phone.goto(f"{app_url}/{room}")
    phone.locator(there).first.wait_for(timeout=WAIT)
    arrange(phone)  # the button of the navigation is drawn before its height is known
    assert phone.evaluate(LOW) == []


def test_a_sign_for_help_makes_no_label_taller(phone: Any, app_url: str) -> None:
    phone.goto(f"{app_url}/checkpoints")
    phone.locator('[data-testid="stWidgetLabel"] [data-testid="stTooltipIcon"]').first.wait_for(timeout=WAIT)
    arrange(phone)
    labels = phone.locator('[data-testid="stMain"] [data-testid="stWidgetLabel"]')
    assert max(labels.evaluate_all("all => all.map((each) => each.getBoundingClientRect().height)")) < 30


def test_controls_of_the_hosted_page_are_large_enough(phone: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    pytest.importorskip("gradio")
    from sim2street.app.content.engine import Engine, predict_pane
    from sim2street.models.storage.catalog import CatalogEntry
    from sim2street.models.storage.checkpoint import Checkpoint

    folder = save_tiny_pair(tmp_path_factory.mktemp("checkpoints"))
    entries = [CatalogEntry(name, Checkpoint.open(folder / name)) for name in ("tiny_source_only", "tiny_advent")]
    with running_demo(Engine(predict_pane), lambda: entries) as url:
        phone.goto(url)
        phone.locator("#chart .js-plotly-plot").wait_for(timeout=WAIT)
        for room in ("Compare", "Benchmark", "Methods", "Gap", "Checkpoints"):
            phone.get_by_role("tab", name=room).click()
            arrange(phone)
            assert phone.evaluate(LOW) == [], room
