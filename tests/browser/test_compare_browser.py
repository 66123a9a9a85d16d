"""The Compare page in a real Chromium: what is seen changes, and the server is not asked."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import expect

from sim2street.app.views import components
from sim2street.models.labels import CITYSCAPES19
from tests.app.content.test_clip import film
from tests.browser.conftest import arrange, eventually

pytestmark = pytest.mark.browser

# Checkpoints that come with the project would only make the page slower here.
QUERY = "/?methods=Tiny+Source+only&methods=Tiny+ADVENT&photo_methods=Tiny+Source+only&photo_methods=Tiny+ADVENT"
METHODS = ("tiny_source_only", "tiny_advent")

PIXELS = """
(canvas) => Array.from(canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data.filter((_, i) => i % 97 === 0))
"""


HAND_OVER = """
([gesture, name, bytes]) => {
  const transfer = new DataTransfer();
  transfer.items.add(new File([new Uint8Array(bytes)], name, { type: "image/png" }));
  const options = { bubbles: true, cancelable: true };
  const event = gesture === "drop"
    ? new DragEvent("drop", { ...options, dataTransfer: transfer })
    : new ClipboardEvent("paste", { ...options, clipboardData: transfer });
  document.querySelector("h1").dispatchEvent(event);
}
"""


UPLOADER = "stFileUploaderDropzoneInput"


def as_png(pixels: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


class ComparePage:
    """The open page: its canvases as digests, and what went over the wire."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.frames_sent = 0
        self.received: list[bytes] = []
        self.problems: list[str] = []
        page.on("websocket", lambda socket: socket.on("framesent", self._count))
        page.on(
            "websocket", lambda socket: socket.on("framereceived", lambda frame: self.received.append(bytes(frame)))
        )
        page.on("console", lambda message: message.type == "error" and self.problems.append(message.text))
        page.on("pageerror", lambda error: self.problems.append(str(error)))

    def _count(self, _: object) -> None:
        self.frames_sent += 1

    def open(self, address: str) -> ComparePage:
        self.page.goto(address)
        self.wait_for_methods()
        return self

    def wait_for_methods(self) -> None:
        self.page.locator(".answer:not(:empty)").wait_for(timeout=90_000)
        self.page.locator(".viewer:not([aria-busy])").wait_for()
        self.page.locator('[data-testid="stStatusWidget"]').wait_for(state="detached", timeout=60_000)
        self.settle()

    def settle(self) -> None:
        self.page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def picture(self, key: str) -> str:
        """Digest of a pane's canvas."""
        self.settle()
        values = self.page.locator(f'.pane[data-key="{key}"] canvas').evaluate(PIXELS)
        return hashlib.sha256(bytes(values)).hexdigest()

    def pictures(self) -> dict[str, str]:
        return {key: self.picture(key) for key in ("photo", "truth", *METHODS)}

    def middle(self, key: str) -> tuple[float, float]:
        box = self.page.locator(f'.pane[data-key="{key}"] .canvas').bounding_box()
        return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2

    def zoom(self) -> float:
        self.settle()
        return float(self.page.locator(".viewer").get_attribute("data-zoom"))


@pytest.fixture
def open_page(browser: Any, app_url: str) -> Iterator[Callable[..., ComparePage]]:
    contexts = []

    def opened(address: str = app_url + QUERY, **options: Any) -> ComparePage:
        context = browser.new_context(**{"viewport": {"width": 1440, "height": 900}, **options})
        contexts.append(context)
        return ComparePage(context.new_page()).open(address)

    yield opened
    for context in contexts:
        context.close()


@pytest.fixture(scope="module")
def shared(browser: Any, app_url: str) -> Iterator[ComparePage]:
    context = browser.new_context(viewport={"width": 1440, "height": 900}, accept_downloads=True)
    yield ComparePage(context.new_page()).open(app_url + QUERY)
    context.close()


@pytest.fixture
def compare(shared: ComparePage) -> Iterator[ComparePage]:
    """The one page, brought back to how it opens; no test may leave an error in the console."""
    page = shared.page
    page.locator(".viewer").focus()
    for key in ("Escape", "1", "0", "a", "g"):
        page.keyboard.press(key)
    page.mouse.move(5, 5)
    shared.settle()
    yield shared
    assert shared.problems == []


def test_the_page_opens_with_a_comparison(compare: ComparePage) -> None:
    pictures = compare.pictures()
    assert len(set(pictures.values())) == 4
    expect(compare.page.locator(".legend .entry")).to_have_count(19)
    expect(compare.page.get_by_role("heading", name="Trained on rendered streets")).to_be_visible()


def test_zoom_and_pan_move_every_pane_without_the_server(compare: ComparePage) -> None:
    before, sent = compare.pictures(), compare.frames_sent
    compare.page.mouse.dblclick(*compare.middle("tiny_advent"))
    assert compare.zoom() == 2
    zoomed = compare.pictures()
    assert all(zoomed[key] != before[key] for key in before)
    x, y = compare.middle("photo")
    compare.page.mouse.move(x, y)
    compare.page.mouse.wheel(0, -200)
    assert compare.zoom() > 2
    wheeled = compare.pictures()
    compare.page.mouse.down()
    compare.page.mouse.move(x + 40, y + 15, steps=4)
    compare.page.mouse.up()
    panned = compare.pictures()
    assert all(panned[key] != wheeled[key] for key in panned)
    compare.page.keyboard.press("0")
    compare.page.mouse.move(5, 5)
    assert compare.pictures() == before
    assert compare.frames_sent == sent


def test_the_wheel_scrolls_the_page_until_the_viewer_is_in_use(compare: ComparePage) -> None:
    page = compare.page
    page.locator(".viewer").evaluate("(viewer) => viewer.blur()")
    page.mouse.move(*compare.middle("photo"))
    page.mouse.wheel(0, 200)
    page.wait_for_timeout(200)
    assert compare.zoom() == 1
    main = page.locator('[data-testid="stMain"]')
    assert main.evaluate("(main) => main.scrollTop") > 0
    main.evaluate("(main) => main.scrollTo(0, 0)")


def test_toggling_a_class_changes_pixels_without_the_server(compare: ComparePage) -> None:
    before, sent = compare.pictures(), compare.frames_sent
    road = compare.page.locator('.entry[data-class="road"]')
    road.locator(".toggle").click()
    compare.page.mouse.move(5, 5)
    expect(road.locator(".toggle")).to_have_attribute("aria-pressed", "false")
    without = compare.pictures()
    assert without["truth"] != before["truth"]
    assert without["photo"] == before["photo"]
    road.locator(".toggle").click(modifiers=["Alt"])
    compare.page.mouse.move(5, 5)
    expect(compare.page.locator('.toggle[aria-pressed="true"]')).to_have_count(1)
    assert compare.pictures()["truth"] not in (before["truth"], without["truth"])
    compare.page.get_by_role("button", name="All", exact=True).click()
    compare.page.mouse.move(5, 5)
    assert compare.pictures() == before
    assert compare.frames_sent == sent


def test_pointing_at_the_legend_dims_the_other_classes(compare: ComparePage) -> None:
    before = compare.picture("truth")
    compare.page.locator('.entry[data-class="sky"]').hover()
    assert compare.picture("truth") != before


def test_opacity_layers_palette_and_hiding_never_ask_the_server(compare: ComparePage) -> None:
    page, before, sent = compare.page, compare.pictures(), compare.frames_sent
    seen = {before["tiny_advent"]}
    for key in ("2", "3", "4", "5", "6", "1", "["):
        page.keyboard.press(key)
        picture = compare.picture("tiny_advent")
        assert key == "1" or picture not in seen
        seen.add(picture)
    page.get_by_role("slider", name="Opacity").fill("0")
    bare = compare.pictures()
    assert bare["tiny_advent"] == bare["tiny_source_only"] == bare["truth"] == before["photo"]
    page.get_by_role("slider", name="Opacity").fill("0.7")
    page.keyboard.press("p")
    assert compare.picture("truth") != before["truth"]
    page.keyboard.press("p")
    page.keyboard.press("h")
    assert compare.picture("truth") == before["photo"]
    page.keyboard.press("h")
    page.keyboard.down(" ")
    assert compare.picture("truth") == before["photo"]
    page.keyboard.up(" ")
    assert compare.pictures() == before
    assert compare.frames_sent == sent


def test_the_probe_reads_every_method_at_the_pointer(compare: ComparePage) -> None:
    page, sent = compare.page, compare.frames_sent
    page.mouse.move(*compare.middle("photo"))
    compare.settle()
    expect(page.locator(".probe .where")).to_have_text("at 256, 128")
    rows = page.locator(".probe .row")
    expect(rows).to_have_count(3)
    for row in (1, 2):
        expect(rows.nth(row).locator(".candidate")).to_have_count(3)
        assert "entropy" in rows.nth(row).inner_text()
        assert "%" in rows.nth(row).inner_text()
    badge = page.locator('.pane[data-key="tiny_advent"] .badge')
    expect(badge).to_be_visible()
    named = badge.inner_text().strip()
    assert any(named.startswith(name) for name in CITYSCAPES19.names)
    assert named.split(" %")[0] in rows.nth(2).inner_text().replace("\n", " ")
    page.mouse.click(*compare.middle("photo"))
    page.mouse.move(5, 5)
    expect(page.locator(".probe .where")).to_have_text("held at 256, 128")
    page.keyboard.press("Escape")
    assert "Whole photo" in page.locator(".probe").inner_text()
    assert compare.frames_sent == sent


def test_swipe_shows_two_subjects_and_its_line_moves(compare: ComparePage) -> None:
    page = compare.page
    page.get_by_role("button", name="Swipe between two (S)").click()
    page.mouse.move(5, 5)
    before = compare.picture("swipe")
    page.get_by_label("Left layer").select_option("entropy")
    assert compare.picture("swipe") != before, "two layers on the two sides"
    page.get_by_label("Left layer").select_option("")
    assert compare.picture("swipe") == before
    handle = page.get_by_role("slider", name="Swipe position")
    expect(handle).to_have_attribute("aria-valuenow", "50")
    x, y = compare.middle("swipe")
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x - 120, y, steps=5)
    page.mouse.up()
    page.keyboard.press("Escape")
    page.mouse.move(5, 5)
    assert int(handle.get_attribute("aria-valuenow")) < 45
    moved = compare.picture("swipe")
    assert moved != before
    page.get_by_label("Right side").select_option("photo")
    assert compare.picture("swipe") != moved
    page.get_by_label("Right side").select_option(METHODS[0])
    assert page.get_by_label("Left side").input_value() != METHODS[0], "nothing is compared with itself"
    page.locator(".viewer").focus()
    page.keyboard.press("s")
    expect(page.locator('.pane[data-key="photo"]')).to_be_visible()


def test_a_pane_is_saved_as_a_picture_of_the_photos_size(compare: ComparePage, tmp_path: Path) -> None:
    with compare.page.expect_download() as waiting:
        compare.page.get_by_role("button", name="Save Ground truth as PNG").click()
    waiting.value.save_as(tmp_path / "pane.png")
    assert Image.open(tmp_path / "pane.png").size == (512, 256)


def test_the_report_works_without_the_server(compare: ComparePage, browser: Any, tmp_path: Path) -> None:
    with compare.page.expect_download() as waiting:
        compare.page.get_by_role("button", name="Report").click()
    waiting.value.save_as(tmp_path / "report.html")
    context = browser.new_context(viewport={"width": 1200, "height": 800}, offline=True)
    report = ComparePage(context.new_page())
    report.page.goto((tmp_path / "report.html").as_uri())
    report.page.locator('.pane[data-key="tiny_advent"]').wait_for()
    before = report.pictures()
    report.page.keyboard.press("Tab")
    report.page.locator(".viewer").focus()
    report.page.keyboard.press("+")
    assert report.zoom() == 1.5
    assert all(report.pictures()[key] != before[key] for key in before)
    assert report.problems == []
    context.close()


def test_another_photo_keeps_the_settings(open_page: Callable[..., ComparePage], tmp_path: Path) -> None:
    compare = open_page()
    page = compare.page
    page.locator(".viewer").focus()
    page.keyboard.press("+")
    for layer in ("2", "1"):
        page.keyboard.press(layer)
        assert compare.zoom() == 1.5
    page.get_by_role("slider", name="Opacity").fill("0.3")
    page.locator('.entry[data-class="sky"] .toggle').click()
    page.keyboard.press("s")
    page.get_by_label("Right side").select_option("truth")
    page.wait_for_function("location.search.includes('right=truth')")
    swiped = page.evaluate("location.search")
    page.locator(".viewer").focus()
    page.keyboard.press("g")
    page.wait_for_function("location.search.includes('mode=grid')")
    # Streamlit writes the whole address back, as it was when a run began: the viewer must not take it for a request.
    page.evaluate("(search) => history.replaceState(history.state, '', search)", swiped)
    page.get_by_role("radio", name="Your photo").click()
    street = as_png(np.random.default_rng(0).integers(0, 255, (180, 320, 3), np.uint8))
    files = page.get_by_test_id(UPLOADER)
    files.wait_for(state="attached")
    files.set_input_files({"name": "street.png", "mimeType": "image/png", "buffer": street})
    page.locator('.pane[data-key="photo"] .note', has_text="street.png").wait_for()
    compare.wait_for_methods()
    expect(page.locator(".notice")).to_be_hidden()  # that this photo has no ground truth is no fault of an address
    expect(page.locator('.pane[data-key="truth"]')).to_have_count(0)
    assert page.locator('.segment[data-layer="error"]').is_disabled()
    assert compare.zoom() == 1.5
    expect(page.get_by_role("slider", name="Opacity")).to_have_value("0.3")
    expect(page.locator('.entry[data-class="sky"] .toggle')).to_have_attribute("aria-pressed", "false")
    files.set_input_files({"name": "notes.png", "mimeType": "image/png", "buffer": b"no picture"})
    page.get_by_text("not a picture that can be read here").wait_for()
    page.get_by_role("button", name="Dismiss").click()
    page.get_by_text("not a picture that can be read here").wait_for(state="detached")
    strip = page.locator('[aria-label="Your photos"]')
    for name, gesture in (("dropped.png", "drop"), ("pasted.png", "paste")):
        page.evaluate(HAND_OVER, [gesture, name, list(street)])
        strip.locator("button", has_text=name).wait_for(timeout=60_000)
    strip.get_by_role("button", name="Remove street.png").dispatch_event("click")
    strip.locator("button", has_text="street.png").wait_for(state="detached")
    expect(strip.locator("button[aria-pressed]")).to_have_count(2)
    assert compare.problems == []


def test_ground_truth_and_its_numbering_stay_with_their_photo(open_page: Callable[..., ComparePage]) -> None:
    compare = open_page()
    page = compare.page
    page.get_by_role("radio", name="Your photo").click()
    random = np.random.default_rng(1)
    photos = {name: random.integers(0, 255, (180, 320, 3), np.uint8) for name in ("first.png", "second.png")}
    label_ids = random.choice(np.array([7, 8, 11, 21, 23, 24, 26], np.uint8), (180, 320))
    upload = [{"name": name, "mimeType": "image/png", "buffer": as_png(pixels)} for name, pixels in photos.items()]
    page.get_by_test_id(UPLOADER).set_input_files(upload)
    strip = page.locator('[aria-label="Your photos"]')
    strip.locator("button", has_text="first.png").first.click()
    expect(strip.locator("button", has_text="first.png").first).to_have_attribute("aria-pressed", "true")
    compare.wait_for_methods()
    page.get_by_test_id("stPopoverButton").filter(has_text="Ground truth").click()
    labels = page.get_by_test_id("stPopoverBody").get_by_test_id(UPLOADER)
    labels.set_input_files({"name": "labels.png", "mimeType": "image/png", "buffer": as_png(label_ids)})
    page.get_by_role("button", name="Read it as Cityscapes label ids").wait_for()
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Read it as Cityscapes label ids").click()
    truth = page.locator('.pane[data-key="truth"]')
    truth.wait_for()
    for _ in range(3):
        strip.locator("button", has_text="second.png").first.click()
        truth.wait_for(state="detached")
        strip.locator("button", has_text="first.png").first.click()
        truth.wait_for()


def test_images_stay_until_their_last_carrier_goes(browser: Any) -> None:
    """Where a carrier moves, React mounts a second one with the very same data and ends it afterwards."""
    post, carrier = ((components.VIEWER / name).read_text("utf-8") for name in ("post.js", "carrier.js"))
    script = post + carrier.replace("export default", "return")
    page = browser.new_page()
    kept = page.evaluate(
        """(script) => {
          const carry = new Function(script)();
          const data = [{ viewer: "viewer", digest: "d", images: {} }];
          const ends = [1, 2].map(() => carry({ data, parentElement: document.createElement("div") }));
          const { images } = globalThis.sim2streetPost.get("viewer");
          return ends.map((end) => (end(), images.size));
        }""",
        script,
    )
    page.close()
    assert kept == [1, 0]


def test_the_panes_get_the_screen(compare: ComparePage) -> None:
    page = compare.page
    page.locator('[data-testid="stMain"]').evaluate("(main) => main.scrollTo(0, 0)")  # focus may have scrolled it
    arrange(page)
    navigation = page.locator('[data-testid="stHeader"]').bounding_box()
    controls = page.locator(".st-key-photo button, .st-key-methods_sheet button, .st-key-settings button").all()
    assert min(each.bounding_box()["y"] for each in controls) >= navigation["height"], "none is under the navigation"
    assert all(pane.bounding_box()["width"] >= 300 for pane in page.locator(".pane").all())
    grid = page.locator(".grid").bounding_box()
    assert grid["y"] - navigation["height"] <= 160, "headline, picker, settings and the bar of layers"
    assert grid["y"] + grid["height"] <= 900


def test_one_stands_large_and_the_others_are_a_tap_away(compare: ComparePage) -> None:
    page, sent = compare.page, compare.frames_sent
    page.keyboard.press("o")
    large = page.locator(".pane.large")
    expect(large).to_have_attribute("data-key", "tiny_advent")
    page.locator('.pane.small[data-key="truth"] .canvas').click()
    expect(large).to_have_attribute("data-key", "truth")
    arrange(page)
    assert large.bounding_box()["width"] > 2 * page.locator(".pane.small").first.bounding_box()["width"]
    page.keyboard.press("ArrowRight")
    expect(large).to_have_attribute("data-key", "tiny_source_only")
    large.locator("button.title").click()
    expect(page.locator(".pane.large")).to_have_count(0)
    assert compare.frames_sent == sent


def test_all_panes_fit_into_the_full_screen(compare: ComparePage) -> None:
    page = compare.page
    page.set_viewport_size({"width": 1440, "height": 600})
    page.keyboard.press("f")
    page.locator(".viewer.full").wait_for()
    compare.settle()
    arrange(page)
    lowest = max(box["y"] + box["height"] for box in (pane.bounding_box() for pane in page.locator(".pane").all()))
    page.keyboard.press("f")
    page.locator(".viewer:not(.full)").wait_for()
    page.set_viewport_size({"width": 1440, "height": 900})
    assert lowest <= 600


def test_two_blink_in_turn_until_they_are_paused(compare: ComparePage) -> None:
    page = compare.page
    page.keyboard.press("b")
    viewer = page.locator(".viewer")
    for side in ("right", "left"):
        page.locator(f'.viewer[data-blinked="{side}"]').wait_for(timeout=5000)
    page.get_by_role("button", name="Pause").click()
    held = viewer.get_attribute("data-blinked")
    page.wait_for_timeout(1500)
    expect(viewer).to_have_attribute("data-blinked", held)
    page.get_by_role("button", name="Go on blinking").click()


def test_the_address_carries_the_view(compare: ComparePage, open_page: Callable[..., ComparePage]) -> None:
    page = compare.page
    page.mouse.click(*compare.middle("truth"))
    page.keyboard.press("2")
    for key in ("+", "o", "[", "p"):
        page.keyboard.press(key)
    for name in ("sky", "traffic sign"):
        page.locator(f'.entry[data-class="{name}"] .toggle').click()
    page.wait_for_timeout(600)
    address = page.url
    assert "layer=entropy" in address
    other = open_page(address=address + "&left=gone&hide=unicorn&methods=Gone")
    assert other.zoom() == 1.5
    expect(other.page.locator(".viewer")).to_have_attribute("data-mode", "focus")
    expect(other.page.locator('.segment[data-layer="entropy"]')).to_have_attribute("aria-pressed", "true")
    assert other.page.locator(".probe .where").inner_text() == page.locator(".probe .where").inner_text()
    said = "The address names class “unicorn” and “gone”; they are not shown here."
    expect(other.page.locator(".notice")).to_have_text(said)
    hidden = other.page.locator('.toggle[aria-pressed="false"] .name').all_inner_texts()
    assert sorted(hidden) == ["sky", "traffic sign"]
    other.page.wait_for_timeout(600)
    expect(other.page).to_have_url(re.compile("hide=sky"))
    assert not re.search("unicorn|[Gg]one", other.page.url), "what does not exist was named once, and goes"
    expect(other.page.get_by_role("slider", name="Opacity")).to_have_value("0.6")
    palette = page.get_by_role("button", name="Colour-blind palette (P)")
    expect(other.page.get_by_role("button", name="Colour-blind palette (P)")).to_have_attribute("aria-pressed", "true")
    for key in ("]", "p"):
        page.keyboard.press(key)
    expect(palette).to_have_attribute("aria-pressed", "false")  # as it was, for the other tests
    assert other.problems == []


def test_values_of_an_address_that_do_not_exist_are_named(app_url: str, open_page: Callable[..., ComparePage]) -> None:
    other = open_page(
        address=app_url + QUERY + "&zoom=abc&opacity=-4&certainty=&split=0.3&at=0.5&pixel=3,x&palette=grey"
    )
    said = "The address names zoom “abc”, opacity “-4”, certainty “”, palette “grey”, at “0.5” and pixel “3,x”; they are not shown here."
    expect(other.page.locator(".notice")).to_have_text(said)
    assert other.zoom() == 1
    expect(other.page.get_by_role("slider", name="Opacity")).to_have_value("0.7")
    other.page.wait_for_timeout(600)
    expect(other.page).to_have_url(re.compile(re.escape("split=0.30")))
    assert other.problems == []


def test_the_comparison_is_saved_as_one_picture(compare: ComparePage, tmp_path: Path) -> None:
    with compare.page.expect_download() as waiting:
        compare.page.get_by_role("button", name="Save the comparison as one PNG").click()
    waiting.value.save_as(tmp_path / "all.png")
    width, height = Image.open(tmp_path / "all.png").size
    assert width > 512
    assert height > 2 * 256


def test_a_phone_at_night_begins_with_a_picture_to_swipe(open_page: Callable[..., ComparePage]) -> None:
    compare = open_page(
        viewport={"width": 390, "height": 844},
        has_touch=True,
        is_mobile=True,
        device_scale_factor=2,
        color_scheme="dark",
    )
    page = compare.page
    arrange(page)
    colour = page.locator(".viewer").evaluate("(viewer) => getComputedStyle(viewer).backgroundColor")
    assert sum(int(part) for part in colour.removeprefix("rgb(").removesuffix(")").split(",")) < 150
    widths = page.evaluate(
        "() => [document.documentElement, document.querySelector('[data-testid=stMain]')].map((e) => e.scrollWidth - e.clientWidth)"
    )
    assert widths == [0, 0]
    controls = [page.locator(f".st-key-{name} button").first for name in ("photo", "methods_sheet", "settings")]
    assert len({round(each.bounding_box()["y"]) for each in controls}) == 1, "all in one row"
    picture = page.locator('.pane[data-key="swipe"] .canvas').bounding_box()
    assert picture["y"] < 260
    bar = page.locator(".bar").bounding_box()
    assert picture["y"] + picture["height"] <= bar["y"]
    assert bar["y"] + bar["height"] <= 844
    page.get_by_role("button", name="2 methods").tap()
    page.get_by_role("button", name="Tiny ADVENT").wait_for()
    arrange(page)
    sheet = page.get_by_role("button", name="Tiny ADVENT").bounding_box()
    assert sheet["y"] + sheet["height"] <= 844
    page.keyboard.press("Escape")
    page.locator('[data-testid="stMain"]').evaluate("(main) => main.scrollTo(0, 300)")
    page.get_by_role("button", name="More controls").click()
    arrange(page)
    for name in ("Zoom in (+)", "Swipe between two (S)", "Keys (?)"):
        box = page.get_by_role("button", name=name).bounding_box()
        assert 0 <= box["x"] <= 390 - box["width"]
        assert box["y"] + box["height"] <= 844
    page.get_by_role("button", name="All side by side (G)").click()
    page.locator('.pane[data-key="tiny_advent"] .canvas').tap()
    expect(page.locator(".probe .where")).to_contain_text("held at")
    assert compare.problems == []


def test_each_pane_is_sent_once_while_they_arrive(open_page: Callable[..., ComparePage], app_url: str) -> None:
    def sent(name: str) -> int:
        return len(re.findall(rb'"%s": ?"(iVBOR|/9j/)' % name.encode(), b"".join(compare.received)))

    # A street that no other test opens, so that both methods still have to read it.
    compare = open_page(app_url + QUERY + "&street=7&style=rain")
    assert (sent("candidates"), sent("error"), sent("disagreement")) == (len(METHODS), len(METHODS), 1)
    compare.received.clear()
    compare.page.get_by_role("button", name="Settings").click()
    compare.page.get_by_text("Average with the mirrored photo").click()
    for _ in range(600):  # a pane may wait for less time than a browser needs to draw it
        if sent("disagreement"):
            break
        compare.page.wait_for_timeout(100)
    compare.wait_for_methods()
    assert (sent("candidates"), sent("error"), sent("disagreement")) == (len(METHODS), len(METHODS), 1)


@pytest.mark.parametrize(("width", "street"), [(1440, 19), (390, 20)])
def test_a_reading_is_stopped_and_goes_on(browser: Any, app_url: str, width: int, street: int) -> None:
    def is_on_the_screen(what: Any) -> bool:
        box = what.bounding_box()
        return 0 <= box["x"] <= width - box["width"] and 0 <= box["y"] <= 844 - box["height"]

    context = browser.new_context(viewport={"width": width, "height": 844})
    page = context.new_page()
    page.goto(
        f"{app_url}/?street={street}&style=rain"
    )  # with the methods that come with the project, which take their time
    page.locator(".answer:not(:empty)").wait_for(timeout=90_000)
    page.get_by_role("button", name="Settings").click()
    page.get_by_text("Average over three sizes").click()
    page.keyboard.press("Escape")
    stop, go_on = (page.get_by_role("button", name=name, exact=True) for name in ("Stop", "Go on"))
    stop.wait_for(timeout=60_000)
    assert width > 640 or is_on_the_screen(stop)
    stop.click()
    page.get_by_text(re.compile(r"^Stopped; \d methods? ha(s|ve) not predicted this photo")).wait_for(timeout=60_000)
    waiting = page.locator(".pane.waiting")
    expect(waiting).to_have_count(0)
    eventually(lambda: width > 640 or is_on_the_screen(go_on))
    go_on.click()
    if width > 640:  # a swipe has no panes that wait
        waiting.first.wait_for(timeout=30_000)
    page.get_by_text("Stopped;").wait_for(state="detached", timeout=90_000)
    page.locator(".answer", has_text="methods").wait_for(timeout=90_000)
    expect(waiting).to_have_count(0)
    context.close()


def test_an_upright_photo_stands_in_the_middle_of_a_phone(open_page: Callable[..., ComparePage]) -> None:
    compare = open_page(viewport={"width": 390, "height": 844})
    page = compare.page
    page.get_by_text("Your photo", exact=True).click()
    noise = np.random.default_rng(5).integers(0, 255, (300, 120, 3), np.uint8)
    page.get_by_test_id(UPLOADER).first.set_input_files(
        {"name": "upright.png", "mimeType": "image/png", "buffer": as_png(noise)}
    )
    page.locator(".answer", has_text="certain").wait_for(timeout=90_000)
    for mode, key in (("swipe", "swipe"), ("blink", "blink"), ("focus", "tiny_advent")):
        page.locator(f'.modes [data-mode="{mode}"]').click()
        arrange(page)
        picture = page.locator(f'.pane[data-key="{key}"] .canvas').bounding_box()
        assert picture["width"] < 340
        assert picture["x"] + picture["width"] / 2 == pytest.approx(195, abs=2)
        if mode != "focus":
            chooser = page.get_by_label("Right side").bounding_box()
            assert chooser["x"] + chooser["width"] > 370, "what is chosen keeps the whole width"
    page.locator('.modes [data-mode="grid"]').click()
    arrange(page)
    first, second = (page.locator(f'.pane[data-key="{key}"] .canvas').bounding_box() for key in ("photo", METHODS[0]))
    assert (first["x"] + second["x"] + second["width"]) / 2 == pytest.approx(195, abs=2)
    assert compare.problems == []


def test_a_phone_takes_a_photo(open_page: Callable[..., ComparePage]) -> None:
    compare = open_page(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    page = compare.page
    page.get_by_role("radio", name="Your photo").click()
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(3).integers(0, 255, (96, 128, 3), np.uint8)).save(buffer, "JPEG")
    taken = {"name": "image.jpg", "mimeType": "image/jpeg", "buffer": buffer.getvalue()}
    page.get_by_label("Take a photo").and_(page.locator("[capture=environment]")).set_input_files(taken)
    page.locator('[aria-label="Your photos"] button', has_text="image.jpg").wait_for(timeout=60_000)
    compare.wait_for_methods()
    arrange(page)
    strip, picture = (page.locator(each).bounding_box() for each in ('[aria-label="Your photos"]', ".pane .canvas"))
    assert strip["width"] > 300
    assert picture["y"] < 844 / 2, "the picture comes before the words about photos"
    assert compare.problems == []


def test_a_clip_is_moved_through(open_page: Callable[..., ComparePage]) -> None:
    compare = open_page()
    page = compare.page
    page.get_by_role("radio", name="Your clip").click()
    clip = {"name": "drive.mp4", "mimeType": "video/mp4", "buffer": film(20)}
    page.get_by_test_id(UPLOADER).set_input_files(clip)
    note = page.locator('.pane[data-key="photo"] .note')
    note.filter(has_text="drive.mp4 at 0.0 s").wait_for(timeout=60_000)
    compare.wait_for_methods()
    before = compare.picture(METHODS[0])
    page.get_by_role("slider", name="Time in the clip").press("End")
    note.filter(has_text="drive.mp4 at 1.5 s").wait_for(timeout=60_000)
    compare.wait_for_methods()
    assert compare.picture(METHODS[0]) != before
    page.get_by_test_id(UPLOADER).set_input_files({**clip, "name": "notes.mp4", "buffer": b"no film"})
    page.get_by_role("alert").filter(has_text="notes.mp4").wait_for(timeout=60_000)
    assert compare.problems == []


def test_a_method_is_adapted_to_a_photo_and_back(open_page: Callable[..., ComparePage]) -> None:
    compare = open_page()
    page = compare.page
    page.get_by_role("radio", name="Your photo").click()
    pixels = np.random.default_rng(4).integers(0, 255, (96, 128, 3), np.uint8)
    photo = {"name": "street.png", "mimeType": "image/png", "buffer": as_png(pixels)}
    page.get_by_test_id(UPLOADER).set_input_files(photo)
    page.locator('.pane[data-key="photo"] .note', has_text="street.png").wait_for(timeout=60_000)
    compare.wait_for_methods()
    panes = page.locator(".pane canvas").count()
    page.get_by_role("button", name="Adapt to these photos").click()
    page.get_by_role("button", name="Adapt to this photo").click()
    page.get_by_text(re.compile("Mean entropy .* before and .* after")).last.wait_for(timeout=90_000)
    undo = page.get_by_role("button", name="Undo")
    undo.wait_for(timeout=90_000)
    compare.wait_for_methods()
    expect(page.locator(".pane canvas")).to_have_count(panes + 1)
    undo.click()
    undo.wait_for(state="detached", timeout=60_000)
    compare.wait_for_methods()
    expect(page.locator(".pane canvas")).to_have_count(panes)
    assert compare.problems == []
