"""On a phone's width every field has the room it needs, and the pictures keep theirs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.app.conftest import save_tiny_pair
from tests.browser.conftest import arrange, eventually, running_app
from tests.training.datasets.test_readers import build_camvid

pytestmark = pytest.mark.browser

WAIT = 90_000
ENDS = "all => all.map((each) => Math.round(each.getBoundingClientRect().right))"


@pytest.fixture
def phone(browser: Any) -> Iterator[Any]:
    context = browser.new_context(viewport={"width": 390, "height": 844})
    yield context.new_page()
    context.close()


@pytest.mark.parametrize(
    ("place", "fields"),
    [("gap", "stSelectbox"), ("benchmark?show=Image+by+image", "stSelectbox"), ("methods?method=DANN", "stSlider")],
)
def test_fields_end_at_the_same_place(phone: Any, app_url: str, place: str, fields: str) -> None:
    phone.goto(f"{app_url}/{place}")
    found = phone.locator(f'[data-testid="{fields}"]')
    found.nth(2).wait_for(timeout=WAIT)
    eventually(lambda: set(found.evaluate_all(ENDS)) == {375}, "they end at the edge of the page's margin")


def test_photos_of_a_data_set_are_seen_above_what_chooses_them(phone: Any, tmp_path: Path) -> None:
    build_camvid(tmp_path / "camvid")
    for kind in ("train", "trainannot", "train.txt"):  # Compare shows the val photos first
        (tmp_path / "camvid" / kind).rename(tmp_path / "camvid" / kind.replace("train", "val"))
    listed = tmp_path / "camvid" / "val.txt"
    listed.write_text(listed.read_text().replace("train", "val"))
    checkpoints = save_tiny_pair(tmp_path / "checkpoints")
    with running_app(
        tmp_path, SIM2STREET_CHECKPOINTS=str(checkpoints), SIM2STREET_CAMVID=str(tmp_path / "camvid")
    ) as url:
        phone.goto(f"{url}/?photo=CamVid")
        strip = phone.locator(".strip")
        strip.locator("button").nth(2).wait_for(timeout=WAIT)
        arrange(phone)
        assert strip.bounding_box()["width"] > 300
        assert phone.get_by_label("Photo").last.bounding_box()["y"] > strip.bounding_box()["y"] + 40


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_what_is_scrolled_sideways_goes_below_the_names(browser: Any, app_url: str, scheme: str) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844}, color_scheme=scheme)
    page = context.new_page()
    page.goto(f"{app_url}/benchmark?show=Measured+here")
    table = page.locator(".differences").first
    table.wait_for(timeout=WAIT)
    arrange(page)
    table.scroll_into_view_if_needed()
    table.evaluate("each => each.scrollTo(60, 0)")
    for name in (table.locator("thead th").first, table.locator("tbody th").first):
        assert name.evaluate("""each => {
          const { left, top, height } = each.getBoundingClientRect();
          return each.contains(document.elementFromPoint(left + 3, top + height / 2));
        }""")
        ground = name.evaluate("each => getComputedStyle(each).backgroundColor")
        assert ground == page.locator(".stApp").evaluate("app => getComputedStyle(app).backgroundColor")
    context.close()
