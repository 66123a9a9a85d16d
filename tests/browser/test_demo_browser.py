"""The Gradio page in a real Chromium: the same viewer, an upload, stopping, downloads, and nobody else is asked."""

from __future__ import annotations

import io
import json
import re
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

from sim2street.app.content import domain_gap, example_photos, labelled_sets
from sim2street.app.content.streets import rendered_scene
from sim2street.models.labels import label_ids_from_train_ids
from sim2street.models.storage.checkpoint import Checkpoint
from tests.app.conftest import offer_of, save_tiny_pair, serving
from tests.app.test_decode_workers import png
from tests.browser.conftest import arrange, eventually, fits, running_demo

pytestmark = pytest.mark.browser
gradio = pytest.importorskip("gradio")

WAIT = 90_000


class Page:
    """The open page, what it asked other hosts for, and what it complained about."""

    def __init__(self, page: Any, url: str, *, phone: bool = False) -> None:
        """Open it and wait for what it begins with: a pane of each method, or on a phone two of them in one swipe."""
        self.page = page
        self.foreign: list[str] = []
        self.problems: list[str] = []
        page.on("request", lambda request: self._note(request.url, url))
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.goto(url)
        if phone:
            page.locator('#viewer .pane[data-key="swipe"] canvas').first.wait_for(timeout=WAIT)
        else:
            self.wait(2)

    def _note(self, asked: str, url: str) -> None:
        if not asked.startswith((url, "data:", "blob:")):
            self.foreign.append(asked)

    def wait(self, methods: int) -> None:
        """Until so many methods have their pane."""
        self.page.locator("#viewer .pane[data-key^=tiny] canvas").nth(methods - 1).wait_for(timeout=WAIT)
        self.page.locator("#viewer .pane.waiting").first.wait_for(state="detached", timeout=WAIT)

    def status(self, text: str) -> None:
        self.page.locator("#status", has_text=re.compile(text)).wait_for(timeout=WAIT)


@pytest.fixture(scope="module")
def hold() -> threading.Event:
    """Cleared, readings wait."""
    event = threading.Event()
    event.set()
    return event


@pytest.fixture(scope="module")
def catalog_hold() -> threading.Event:
    """Cleared, whatever asks for the catalog waits."""
    event = threading.Event()
    event.set()
    return event


@pytest.fixture(scope="module")
def demo(
    tmp_path_factory: pytest.TempPathFactory, hold: threading.Event, catalog_hold: threading.Event
) -> Iterator[tuple[str, Any]]:
    from sim2street.app.content.engine import Engine, predict_pane
    from sim2street.models.storage.catalog import CatalogEntry

    def predict(*arguments: Any) -> Any:
        hold.wait(60)
        return predict_pane(*arguments)

    engine = Engine(predict)
    folder = save_tiny_pair(tmp_path_factory.mktemp("checkpoints"))
    names = ("tiny_source_only", "tiny_advent")
    entries = [CatalogEntry(name, Checkpoint.open(folder / name)) for name in names]

    def listed() -> list[CatalogEntry]:
        catalog_hold.wait(60)
        return entries

    with running_demo(engine, listed) as url:
        yield url, engine
        hold.set()


@pytest.fixture
def page(browser: Any, demo: tuple[str, Any]) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1440, "height": 900}, accept_downloads=True)
    opened = Page(context.new_page(), demo[0])
    yield opened
    context.close()
    assert opened.problems == []
    assert opened.foreign == [], "everything comes from the page's own server"


def test_the_viewer_the_figures_and_a_change_of_style(page: Page) -> None:
    inside = page.page
    expect(inside.locator("#viewer .pane")).to_have_count(4)  # photo, ground truth, two methods
    page.status("2 methods")
    inside.locator("#summary td", has_text="Source only").wait_for()
    inside.locator("#chart .js-plotly-plot").wait_for(timeout=WAIT)
    inside.locator("#classes td", has_text="traffic sign").wait_for()
    inside.locator("#styles button", has_text="Fog").click()
    inside.locator("#viewer .pane .note", has_text=re.compile("^Rendered street .*fog")).wait_for(timeout=WAIT)
    page.wait(2)
    inside.locator("#sheet > button", has_text="2 methods").click()
    inside.locator("#methods label", has_text="ADVENT").click()
    inside.locator('#viewer .pane[data-key="tiny_advent"]').wait_for(state="detached", timeout=WAIT)
    page.status("1 method,")
    inside.locator("#sheet > button", has_text=re.compile("^1 method")).wait_for(timeout=WAIT)
    inside.locator("h1").click()
    expect(inside.locator("#methods")).not_to_be_visible()


def test_an_upload_is_read_and_its_downloads_are_clean(page: Page, demo: tuple[str, Any], tmp_path: Path) -> None:
    inside = page.page
    path = tmp_path / "street.jpg"
    exif = Image.Exif()
    exif[0x010F] = "SECRETCAM"
    Image.fromarray(np.random.default_rng(3).integers(0, 255, (96, 160, 3), np.uint8)).save(path, exif=exif)
    inside.locator("#source label", has_text="Your photo").click()
    for part in ("#viewer", "#numbers", "#adapt"):
        expect(inside.locator(part)).to_be_hidden(timeout=WAIT)  # not the street of before
    inside.locator("#photo input[type=file]").set_input_files(path)
    inside.locator("#own", has_text="street.jpg, used at 160×96").wait_for(timeout=WAIT)
    expect(inside.locator("#adapt")).to_be_visible()
    inside.locator("#viewer .pane .note", has_text="street.jpg").wait_for(timeout=WAIT)
    page.wait(2)
    page.status("2 methods")
    expect(inside.locator('#viewer .pane[data-key="truth"]')).to_have_count(0)
    expect(inside.locator("#promise", has_text="photo is not kept")).to_be_visible()
    with inside.expect_download(timeout=WAIT) as download:
        inside.locator("#archive").click()
    with zipfile.ZipFile(download.value.path()) as archive:
        pictures = [name for name in archive.namelist() if name.endswith(".png")]
        assert len(pictures) == 8
        assert b"SECRETCAM" not in archive.read("figures.csv")
        for name in pictures:
            picture = Image.open(io.BytesIO(archive.read(name)))
            assert picture.size == (160, 96)
            assert b"SECRETCAM" not in archive.read(name)
            assert not picture.getexif()
    with inside.expect_download(timeout=WAIT) as download:
        inside.locator("#report").click()
    report = Path(download.value.path()).read_bytes()
    assert b"street.jpg" in report
    assert b"SECRETCAM" not in report
    engine = demo[1]
    assert len(engine.private) == 3
    inside.close()
    for _ in range(100):  # the server notices within a heartbeat that the page was closed
        if len(engine.private) == 0:
            break
        threading.Event().wait(0.3)
    assert len(engine.private) == 0, "what was kept goes with the page"


def test_a_link_leads_to_the_same_street_methods_and_pixel(browser: Any, demo: tuple[str, Any]) -> None:
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    inside = context.new_page()
    rendered = "style=night&street=12&street=&methods=ADVENT&methods=<b>Nobody"
    inside.goto(f"{demo[0]}?photo=CamVid&{rendered}&pixel=40,30&layer=unheard&left=someone")
    inside.locator("#status", has_text="1 method,").wait_for(timeout=WAIT)
    inside.locator("#viewer .pane .note", has_text="Rendered street 12, night").wait_for(timeout=WAIT)
    expect(inside.locator("#viewer .probe .where")).to_have_text("held at 40, 30")
    expect(inside.locator(".problem", has_text="asks for “CamVid” and “<b>Nobody”; the page")).to_be_visible()
    expect(inside.locator("#viewer .notice span")).to_have_text(
        "The address names layer “unheard” and “someone”; they are not shown here."
    )
    expect(inside.locator("#styles [aria-pressed=true]")).to_have_text("Night")
    inside.locator("#styles button", has_text="Rain").click()
    inside.locator("#viewer .pane .note", has_text="Rendered street 12, rain").wait_for(timeout=WAIT)
    inside.wait_for_function("new URLSearchParams(location.search).get('style') === 'rain'")
    assert inside.evaluate("new URLSearchParams(location.search).getAll('methods')") == ["ADVENT"]
    inside.locator("#source label", has_text="Your photo").click()
    inside.wait_for_function("!/style|street|methods/.test(location.search)")
    context.close()


def test_a_link_leads_to_the_same_room_of_benchmark(browser: Any, demo: tuple[str, Any]) -> None:
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    inside = context.new_page()
    shown = "new URLSearchParams(location.search).get('show')"
    inside.goto(f"{demo[0]}?show=Image+by+image&set=Rendered+streets,+night&reader=ADVENT&against=<b>Nobody")
    expect(inside.locator("#set input")).to_have_value("Rendered streets, night", timeout=WAIT)
    expect(inside.locator("#reader input")).to_have_value("ADVENT", timeout=WAIT)
    expect(inside.locator("#against input")).to_have_value("none")
    expect(inside.locator(".problem", has_text="asks for “<b>Nobody”, which is not here")).to_be_visible()
    inside.wait_for_function("!location.search.includes('Nobody')")
    inside.locator("#against input").click()
    inside.get_by_role("option", name="Source only").click()
    inside.wait_for_function("new URLSearchParams(location.search).get('against') === 'Source only'")
    expect(inside).to_have_url(re.compile(re.escape("set=Rendered+streets%2C+night&reader=ADVENT")))
    again = context.new_page()
    again.goto(inside.url)
    expect(again.locator("#against input")).to_have_value("Source only", timeout=WAIT)
    expect(again.locator("#order")).to_be_visible()
    again.get_by_role("tab", name="Measured here").click()
    again.wait_for_function(f"{shown} === 'Measured here' && !/set|reader|against/.test(location.search)")
    again.reload()
    expect(again.locator("#measured .differences").first).to_be_visible(timeout=WAIT)
    again.get_by_role("tab", name="Compare", exact=True).click()
    again.wait_for_function(f"{shown} === null")
    again.goto(f"{demo[0]}?show=Nowhere")
    expect(again.locator(".problem", has_text="asks for “Nowhere”")).to_be_visible(timeout=WAIT)
    again.wait_for_function(f"{shown} === null")
    context.close()


@pytest.mark.parametrize("width", [390, 1440])
def test_photos_to_try_are_fetched_when_asked_for(
    browser: Any, demo: tuple[str, Any], width: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SIM2STREET_CACHE", str(tmp_path / "cache"))
    noise = np.random.default_rng(9)
    photos = {f"{name}.png": png(noise.integers(0, 255, (96, 160, 3), np.uint8)) for name in ("one", "two", "three")}
    context = browser.new_context(viewport={"width": width, "height": 844})
    with serving(tmp_path, {**photos, "two.png": b"another"}) as address:
        monkeypatch.setattr(example_photos, "offer", lambda: offer_of(address, photos))
        opened = Page(context.new_page(), demo[0], phone=width < 600)
        inside = opened.page
        inside.locator("#source label", has_text="Your photo").click()
        expect(inside.locator("#offer")).to_contain_text("licence MIT")
        assert not (tmp_path / "cache").exists(), "nothing is fetched before it is asked for"
        inside.locator("#ask").click()
        inside.locator("#upload_note .problem", has_text="two.png is not the pinned file").wait_for(timeout=WAIT)
        expect(inside.locator("#film .strip > div")).to_have_count(2, timeout=WAIT)
        inside.locator("#chart .js-plotly-plot").wait_for(timeout=WAIT)
        expect(inside.locator("#film [aria-pressed=true]")).to_have_text("one.png")
        expect(inside.locator("#ask")).to_have_text("Add 1 real photo")
        fits(inside)
        (tmp_path / "www" / "two.png").write_bytes(photos["two.png"])
        inside.locator("#ask").click()
        expect(inside.locator("#film .strip > div")).to_have_count(3, timeout=WAIT)
        expect(inside.locator("#ask")).to_have_count(0)
        assert opened.foreign == [], "the server fetches, not the browser"
    context.close()


def test_a_picture_that_benchmark_opens_and_a_checkpoint_stand_in_compare(
    browser: Any, demo: tuple[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SIM2STREET_CACHE", str(tmp_path))
    monkeypatch.setattr(labelled_sets, "STREET_COUNT", 2)
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    inside = Page(context.new_page(), demo[0]).page
    inside.get_by_role("tab", name="Benchmark").click()
    inside.get_by_role("tab", name="Image by image").click()
    expect(inside.locator("#order")).to_be_hidden()
    inside.locator("#against input").click()
    inside.get_by_role("option", name="ADVENT").click()
    expect(inside.locator("#order")).to_be_visible()
    inside.locator("#set_begin").click()
    expect(inside.locator("#set_stop")).to_be_visible(timeout=WAIT)
    expect(inside.locator("#set_stop")).to_be_hidden(timeout=WAIT)
    expect(inside.locator("#cards button")).to_have_count(2, timeout=WAIT)
    expect(inside.locator("#reliability .js-plotly-plot")).to_be_visible(timeout=WAIT)
    corner = inside.locator("#matrix .corner")
    arrange(inside)
    assert corner.bounding_box()["height"] >= inside.locator("#matrix .head").last.bounding_box()["height"]
    assert corner.evaluate("each => getComputedStyle(each).opacity") == "1", "heads are scrolled below it"
    inside.locator("#cards button").last.click()
    named = "name => new URLSearchParams(location.search).get(name)"
    expect(inside.locator("#viewer .segment[aria-pressed=true]")).to_have_text("Errors", timeout=WAIT)
    expect(inside.locator("#viewer .probe .where")).to_contain_text("held at")
    sides = ["tiny_source_only", "tiny_advent"]
    eventually(lambda: [inside.evaluate(named, side) for side in ("right", "left")] == sides)
    eventually(lambda: inside.evaluate("scrollY") == 0, "the picture is seen, not what the cards were beside")
    inside.get_by_role("tab", name="Checkpoints").click()
    inside.locator(".folded summary", has_text="ADVENT").click()
    inside.locator(".folded[open] > button").click()
    expect(inside.locator("#viewer")).to_be_visible(timeout=WAIT)
    inside.wait_for_function("new URLSearchParams(location.search).get('right') === 'tiny_advent'", timeout=WAIT)
    expect(inside.locator("#viewer .notice")).to_be_hidden()
    context.close()


def test_a_ground_truth_of_another_numbering_is_read_by_one_button(page: Page, tmp_path: Path) -> None:
    inside = page.page
    street = rendered_scene("overcast", 7)
    assert street.truth is not None
    photo, labels = tmp_path / "street.png", tmp_path / "labels.png"
    Image.fromarray(street.photo.pixels).save(photo)
    Image.fromarray(label_ids_from_train_ids(street.truth)).save(labels)
    inside.locator("#source label", has_text="Your photo").click()
    inside.locator("#photo input[type=file]").set_input_files(photo)
    inside.locator("#about", has_text="street.png").wait_for(timeout=WAIT)
    inside.locator("#truth_sheet > button").click()
    inside.locator("#truth_sheet input[type=file]").set_input_files(labels)
    inside.locator("#about .problem", has_text="Found the values").wait_for(timeout=WAIT)
    expect(inside.locator("#encoding")).to_be_hidden()  # the sheet would cover what was said
    button = inside.get_by_role("button", name="Read it as Cityscapes label ids")
    eventually(lambda: button.bounding_box()["width"] < 400, "a button, not a bar")
    button.click()
    inside.locator('#viewer .pane[data-key="truth"]').wait_for(timeout=WAIT)


def test_a_heic_dropped_anywhere_is_answered_by_what_to_do(page: Page, tmp_path: Path) -> None:
    inside = page.page
    dropped = "new File([new Uint8Array(99)], 'IMG_1.HEIC')"  # without a type, as systems have it that do not know it
    carried = inside.evaluate_handle(
        f"() => {{ const all = new DataTransfer(); all.items.add({dropped}); return all; }}"
    )
    inside.dispatch_event("h1", "drop", {"dataTransfer": carried})
    inside.locator("#own .problem", has_text="HEIC or RAW photo must be exported as JPEG").wait_for(timeout=WAIT)
    with inside.expect_file_chooser() as chooser:
        inside.locator("#photo button").click()
    assert ".heic" not in str(chooser.value.element.get_attribute("accept")), "a phone then turns its photos into JPEG"
    photo, heic = tmp_path / "street.png", tmp_path / "other.heic"
    Image.fromarray(np.random.default_rng(2).integers(0, 255, (96, 160, 3), np.uint8)).save(photo)
    heic.write_bytes(bytes(99))
    chooser.value.set_files([photo, heic])
    inside.locator("#own .problem", has_text="other.heic is not a picture").wait_for(timeout=WAIT)
    expect(inside.locator("#film .strip > div")).to_have_count(1, timeout=WAIT)
    expect(inside.locator(".toast-body")).to_have_count(0)


def test_a_link_to_a_checkpoint_that_came_after_the_start_finds_it(browser: Any, tmp_path: Path) -> None:
    from sim2street.app.content.engine import Engine
    from sim2street.models.storage.catalog import CatalogEntry

    folder = save_tiny_pair(tmp_path / "checkpoints")
    first, late = (CatalogEntry(name, Checkpoint.open(folder / name)) for name in ("tiny_source_only", "tiny_advent"))
    entries = [first]
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    with running_demo(Engine(), lambda: list(entries)) as url:
        entries.append(late)
        inside = context.new_page()
        for asked, panes in (("ADVENT", ["tiny_advent"]), ("Source only", ["tiny_source_only"])):
            inside.goto(f"{url}?methods={asked}")
            shown = inside.locator("#viewer .pane[data-key^=tiny]")
            expect(inside.locator(f'#viewer .pane[data-key="{panes[0]}"] canvas').first).to_be_visible(timeout=WAIT)
            expect(shown).to_have_count(1, timeout=WAIT)
            expect(inside.locator("#status")).to_contain_text("1 method,", timeout=WAIT)
            expect(inside.locator(".problem")).to_have_count(0)
            assert inside.evaluate("new URLSearchParams(location.search).getAll('methods')") == [asked]
        context.close()


def test_a_click_outlines_no_viewer_and_a_key_does(page: Page) -> None:
    inside, viewer = page.page, page.page.locator("#viewer .viewer")
    inside.locator("#viewer .pane canvas").first.click()
    assert viewer.evaluate("each => each.getRootNode().activeElement === each")
    assert not viewer.evaluate("each => each.matches(':focus-visible')")
    inside.keyboard.press("Tab")
    inside.keyboard.press("Shift+Tab")
    assert viewer.evaluate("each => each.matches(':focus-visible')")


def test_a_bad_upload_is_a_sentence_and_the_page_goes_on(page: Page, tmp_path: Path) -> None:
    inside = page.page
    path = tmp_path / "street.png"
    path.write_bytes(b"no picture")
    inside.locator("#source label", has_text="Your photo").click()
    inside.locator("#photo input[type=file]").set_input_files(path)
    inside.locator("#own .problem", has_text="not a picture").wait_for(timeout=WAIT)
    inside.locator("#source label", has_text="Rendered streets").click()
    page.wait(2)
    page.status("2 methods")


def test_what_is_chosen_before_the_server_has_answered_stays(
    browser: Any, demo: tuple[str, Any], catalog_hold: threading.Event, tmp_path: Path
) -> None:
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    inside = context.new_page()
    catalog_hold.clear()
    try:
        inside.goto(demo[0])
        inside.locator("#source label", has_text="Your photo").click()
        inside.locator("#photo").wait_for(timeout=WAIT)
        inside.locator("#sheet > button", has_text="2 methods").click()
        inside.locator("#methods label", has_text="ADVENT").click()
        for style in ("Night", "Rain"):  # unseen now, and the last click counts
            inside.locator("#source label", has_text="Rendered streets").click()
            inside.locator("#styles button", has_text=style).click()
        inside.locator("#source label", has_text="Your photo").click()
    finally:
        catalog_hold.set()
    path = tmp_path / "street.png"
    Image.fromarray(np.random.default_rng(4).integers(0, 255, (96, 160, 3), np.uint8)).save(path)
    inside.locator("#photo input[type=file]").set_input_files(path)
    inside.locator("#status", has_text="1 method,").wait_for(timeout=WAIT)
    inside.locator("#viewer .pane .note", has_text="street.png").wait_for(timeout=WAIT)
    expect(inside.locator('#viewer .pane[data-key="tiny_advent"]')).to_have_count(0)
    inside.locator("#source label", has_text="Rendered streets").click()
    inside.locator("#status", has_text="2 methods,").wait_for(timeout=WAIT)
    inside.locator("#viewer .pane .note", has_text=re.compile("^Rendered street .*rain")).wait_for(timeout=WAIT)
    expect(inside.locator("#styles [aria-pressed=true]")).to_have_text("Rain")
    context.close()


def test_a_filmstrip_is_browsed_adapted_to_and_taken_along(page: Page, tmp_path: Path) -> None:
    inside, noise, files = page.page, np.random.default_rng(6), []
    for name in ("one", "two", "three"):
        files.append(tmp_path / f"{name}.png")
        Image.fromarray(noise.integers(0, 255, (96, 160, 3), np.uint8)).save(files[-1])
    files.insert(1, tmp_path / "broken.png")
    files[1].write_bytes(b"no picture")
    inside.locator("#source label", has_text="Your photo").click()
    inside.locator("#photo input[type=file]").set_input_files(files)
    inside.locator("#own .problem", has_text="broken.png").wait_for(timeout=WAIT)
    note, film = inside.locator("#viewer .pane .note"), inside.locator("#film .strip > div")
    note.filter(has_text="three.png").first.wait_for(timeout=WAIT)
    expect(film).to_have_count(3)
    for name in ("one", "two", "one"):  # faster than the server answers
        film.filter(has_text=name).locator("button").first.click()
    note.filter(has_text="one.png").first.wait_for(timeout=WAIT)
    expect(inside.locator("#film [aria-pressed=true]")).to_have_text("one.png", timeout=WAIT)
    expect(inside.locator("#about")).to_contain_text("one.png, used at")
    for name in ("two", "one"):
        film.filter(has_text=name).hover()
        film.filter(has_text=name).locator(".cross").click()
    note.filter(has_text="three.png").first.wait_for(timeout=WAIT)
    expect(film).to_have_count(1, timeout=WAIT)
    page.wait(2)

    inside.locator("#adapt_sheet > button").click()
    inside.locator("#adapt_sheet label", has_text="AdaBN").click()
    inside.locator("#adapt_start").click()
    inside.locator('#viewer .pane[data-key="tiny_source_only_adabn"] canvas').first.wait_for(timeout=WAIT)
    inside.locator("#adapt_status", has_text=re.compile("Mean entropy .* before and .* after")).wait_for(timeout=WAIT)
    page.status("3 methods,")
    with inside.expect_download(timeout=WAIT) as download:
        inside.locator("#probabilities").click()
    with zipfile.ZipFile(download.value.path()) as archive:
        names = [f"{name}.npz" for name in ("tiny_source_only", "tiny_source_only_adabn", "tiny_advent")]
        assert archive.namelist() == names
        values = [np.load(io.BytesIO(archive.read(name)))["probabilities"] for name in names]
    assert {value.shape for value in values} == {(19, 96, 160)}
    assert not np.array_equal(values[0], values[1]), "the adapted network predicts something else"
    inside.locator("#adapt_undo").click()
    inside.locator('#viewer .pane[data-key="tiny_source_only_adabn"]').wait_for(state="detached", timeout=WAIT)
    page.status("2 methods,")
    inside.locator("#adapt_sheet > button").click()
    inside.locator("#adapt_sheet label", has_text="TENT").click()
    inside.locator("#adapt_start").click()
    inside.locator('#viewer .pane[data-key="tiny_source_only_tent"] canvas').first.wait_for(timeout=WAIT)
    expect(inside.locator("#adapt_status")).to_contain_text("TENT from Source only", timeout=WAIT)


def test_a_checkpoint_that_came_after_the_start_predicts_and_is_adapted(browser: Any, tmp_path: Path) -> None:
    """The server refuses what is not among the choices that it knows; those of the start are not all."""
    from sim2street.app.content.engine import Engine
    from sim2street.models.storage.catalog import CatalogEntry

    folder = save_tiny_pair(tmp_path / "checkpoints")
    first, late = (CatalogEntry(name, Checkpoint.open(folder / name)) for name in ("tiny_source_only", "tiny_advent"))
    entries, path = [first], tmp_path / "street.png"
    Image.fromarray(np.random.default_rng(8).integers(0, 255, (96, 160, 3), np.uint8)).save(path)
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    with running_demo(Engine(), lambda: list(entries)) as url:
        entries.append(late)
        inside = Page(context.new_page(), url).page
        inside.locator("#status", has_text="2 methods,").wait_for(timeout=WAIT)
        inside.locator("#source label", has_text="Your photo").click()
        inside.locator("#photo input[type=file]").set_input_files(path)
        inside.locator("#own", has_text="street.png, used at").wait_for(timeout=WAIT)
        inside.locator("#adapt_sheet > button").click()
        inside.locator("#adapt_from input").click()
        inside.get_by_role("option", name="ADVENT").click()
        inside.locator("#adapt_start").click()
        inside.locator('#viewer .pane[data-key="tiny_advent_tent"] canvas').first.wait_for(timeout=WAIT)
        context.close()


def test_reading_can_be_stopped(page: Page, demo: tuple[str, Any], hold: threading.Event) -> None:
    inside, engine = page.page, demo[1]
    hold.clear()
    try:
        inside.locator("#street input").fill("41")
        inside.locator("#street input").press("Enter")
        page.status("Predicting with Source only, 1 of 2")
        spinner = inside.locator("#status .busy").evaluate("busy => getComputedStyle(busy, '::before').borderTopWidth")
        assert spinner == "2px"
        expect(inside.locator("#viewer .pane.waiting")).to_have_count(2)
        inside.locator("#stop").click()
        page.status("Stopped; 2 methods have not predicted this photo")
        expect(inside.locator("#stop")).to_be_hidden()
        expect(inside.locator("#viewer .pane.waiting")).to_have_count(0)
        inside.set_viewport_size({"width": 390, "height": 844})
        expect(inside.locator("#status")).to_be_visible()
        inside.set_viewport_size({"width": 1440, "height": 900})
        inside.locator("#go_on").click()  # while the prediction that was stopped is still under way
        page.status("Going on after the prediction under way")
        inside.locator("#stop").click()
        page.status("Stopped; 2 methods have not predicted this photo")
    finally:
        hold.set()
    inside.wait_for_timeout(2000)  # the prediction ends, and what waited for it
    page.status("Stopped; 2 methods have not predicted this photo")
    expect(inside.locator("#summary td")).to_have_count(0)
    assert not engine.turns
    inside.locator("#go_on").click()
    page.status("2 methods,")
    page.wait(2)
    expect(inside.locator("#go_on")).to_be_hidden()
    inside.locator("#styles button", has_text="Night").click()
    page.status("2 methods,")


def test_another_photo_may_be_asked_for_while_the_stopped_prediction_ends(page: Page, hold: threading.Event) -> None:
    inside = page.page
    before = inside.locator("#styles img").first.get_attribute("src")
    hold.clear()
    try:
        inside.locator("#street input").fill("42")
        inside.locator("#street input").press("Enter")
        page.status("Predicting with Source only, 1 of 2")
        expect(inside.locator("#styles img").first).not_to_have_attribute("src", before)  # in every style, meanwhile
        inside.locator("#stop").click()
        page.status("Stopped; 2 methods")
        inside.locator("#styles button", has_text="Rain").click()
        inside.wait_for_timeout(300)
    finally:
        hold.set()
    page.status("2 methods,")
    page.wait(2)


def test_another_photo_does_not_wait_for_all_methods_of_the_one_before(
    page: Page, demo: tuple[str, Any], hold: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside, engine, read = page.page, demo[1], list[str]()

    def predict(*arguments: Any) -> Any:
        read.append(arguments[1].digest)
        hold.wait(60)
        return before(*arguments)

    before = engine.predict
    monkeypatch.setattr(engine, "predict", predict)
    hold.clear()
    try:
        for street in ("61", "62"):
            inside.locator("#street input").fill(street)
            inside.locator("#street input").press("Enter")
            page.status("Predicting with Source only, 1 of 2")
            inside.wait_for_timeout(500)
    finally:
        hold.set()
    page.status("2 methods,")
    page.wait(2)
    assert len(read) == 3, "one method of the first street, two of the second"
    assert read[1] == read[2] != read[0]


def test_a_phone_begins_with_the_picture_and_takes_a_photo(browser: Any, demo: tuple[str, Any]) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    inside = Page(context.new_page(), demo[0], phone=True).page
    arrange(inside)
    picture = inside.locator("#viewer .pane .canvas").bounding_box()
    assert picture["y"] + picture["height"] < 844 * 0.6
    inside.locator("#viewer .more").click()
    expect(inside.get_by_role("button", name="Full screen")).to_be_visible()
    expect(inside.locator("#viewer .beside")).to_be_hidden()  # nothing is beside the panes
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(5).integers(0, 255, (96, 160, 3), np.uint8)).save(buffer, "JPEG")
    taken = {"name": "image.jpg", "mimeType": "image/jpeg", "buffer": buffer.getvalue()}
    assert inside.locator("#camera .camera").bounding_box()["height"] >= 40
    inside.locator("#camera [capture=environment]").set_input_files(taken)
    inside.locator("#own", has_text="image.jpg, used at 160×96").wait_for(timeout=WAIT)
    inside.locator("#adapt_sheet > button").click()
    inside.locator("#adapt_start").wait_for()
    arrange(inside)
    sheet = inside.locator("#adapt_start").bounding_box()
    assert sheet["x"] + sheet["width"] <= 390
    fits(inside)
    context.close()


def test_what_is_quick_does_not_wait_for_what_is_slow(
    page: Page,
    hold: threading.Event,
    catalog_hold: threading.Event,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    from sim2street.app.demo_page import methods_tab

    inside, path = page.page, tmp_path / "street.png"
    Image.fromarray(np.random.default_rng(7).integers(0, 255, (96, 160, 3), np.uint8)).save(path)
    page.status("2 methods,")
    inside.locator("#sheet > button").click()
    inside.locator("#methods label", has_text="ADVENT").click()
    page.status("1 method,")
    inside.locator("#street input").fill("43")
    inside.locator("#street input").press("Enter")
    inside.locator("#viewer .pane .note", has_text="Rendered street 43").wait_for(timeout=WAIT)
    page.status("1 method,")
    hold.clear()
    try:
        inside.locator("#methods label", has_text="ADVENT").click()
        expect(inside.locator("#sheet > button")).to_contain_text("2 methods", timeout=10_000)
    finally:
        hold.set()
    inside.locator("#source label", has_text="Your photo").click()
    inside.locator("#photo input[type=file]").set_input_files(path)
    page.status("2 methods,")
    inside.locator("#adapt_sheet > button").click()
    catalog_hold.clear()
    try:
        inside.locator("#adapt_start").click()
        expect(inside.locator("#adapt_start")).to_be_hidden(timeout=10_000)
    finally:
        catalog_hold.set()
    free, demonstrate = threading.Event(), methods_tab.demonstrate
    monkeypatch.setattr(methods_tab, "demonstrate", lambda *asked: free.wait(60) and demonstrate(*asked))
    inside.get_by_role("tab", name="Methods").click()
    try:
        inside.locator("#method label", has_text="DAFormer").click()
        expect(inside.locator("#explained")).to_contain_text("training/methods/daformer.py", timeout=10_000)
    finally:
        free.set()


@pytest.mark.parametrize("width", [390, 1440])
def test_the_rooms_of_results_and_methods_answer_their_controls(
    browser: Any, demo: tuple[str, Any], width: int
) -> None:
    context = browser.new_context(viewport={"width": width, "height": 844}, color_scheme="dark")
    inside = Page(context.new_page(), demo[0], phone=width < 600).page
    inside.get_by_role("tab", name="Benchmark").click()
    for title in ("SYNTHIA", "Labels of Cityscapes"):
        setting = inside.locator("#setting label", has_text=title)
        setting.click()
        box = setting.bounding_box()
        assert box["x"] + box["width"] <= width, "none of them is cut off"
    inside.get_by_role("tab", name="Measured here").click()
    inside.locator("#sweep input").click()
    inside.get_by_role("option", name="Clean look to night").click()
    inside.locator("#measured", has_text="night").wait_for(timeout=WAIT)
    inside.get_by_role("tab", name="Methods").click()
    for name in ("CyCADA", "HRDA", "DAFormer"):  # faster than the server answers: the last one counts
        inside.locator("#method label", has_text=name).click()
    inside.locator("#losses .katex").first.wait_for(timeout=WAIT)
    inside.locator("#explained", has_text="training/methods/daformer.py").wait_for(timeout=WAIT)
    padding = "link => getComputedStyle(link).padding"
    eventually(lambda: inside.locator(".paper a").evaluate(padding) == "0px")
    fits(inside)
    context.close()


@pytest.mark.parametrize("width", [390, 1440])
def test_a_demonstration_and_a_gap_are_computed(
    browser: Any, demo: tuple[str, Any], width: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SIM2STREET_CACHE", str(tmp_path))
    monkeypatch.setattr(domain_gap, "PICTURES", 2)
    context = browser.new_context(viewport={"width": width, "height": 844}, color_scheme="dark")
    inside = Page(context.new_page(), demo[0], phone=width < 600).page
    inside.get_by_role("tab", name="Methods").click()
    inside.locator("#method label", has_text="ADVENT").click()
    pictures, said = inside.locator("#demonstration_pictures img"), inside.locator("#demonstration_said")
    expect(pictures.first).to_be_visible(timeout=WAIT)
    before = str(pictures.first.get_attribute("src"))
    inside.locator("#demonstration_street input[type=number]").fill("4")
    inside.locator("#demonstration_street input[type=number]").press("Enter")
    expect(pictures.first).not_to_have_attribute("src", before, timeout=WAIT)
    fits(inside)
    inside.locator("#method label", has_text="MIC").click()
    expect(said).to_contain_text("none is available", timeout=WAIT)
    inside.locator("#method label", has_text="TENT").click()
    expect(said).to_have_count(0, timeout=WAIT)

    inside.get_by_role("tab", name="Gap").click()
    for domain in ("#gap_source", "#gap_target"):
        choice = inside.locator(f"{domain} input")
        choice.wait_for()
        arrange(inside)
        assert choice.evaluate("input => input.scrollWidth <= input.clientWidth"), "all of its name can be read"
    expect(inside.locator("#gap_stop")).to_be_hidden()
    inside.locator("#gap_begin").click(timeout=WAIT)
    expect(inside.locator("#gap_said")).to_contain_text("proxy A-distance", timeout=WAIT)
    expect(inside.locator("#gap_sides .js-plotly-plot")).to_have_count(4, timeout=WAIT)
    expect(inside.locator("#gap_stop")).to_be_hidden()
    expect(inside.locator("#gap_sides h3")).to_have_text(["Before: Source only", "After: ADVENT"])
    fits(inside)
    context.close()


@pytest.mark.parametrize("width", [390, 1440])
def test_nothing_is_wider_than_the_window(browser: Any, demo: tuple[str, Any], width: int) -> None:
    context = browser.new_context(viewport={"width": width, "height": 844}, color_scheme="dark")
    opened = Page(context.new_page(), demo[0], phone=width < 600)
    fits(opened.page)
    arrange(opened.page)
    box = opened.page.locator("#viewer .viewer").bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= width
    assert json.loads(opened.page.evaluate("JSON.stringify(document.body.classList.contains('dark'))"))
    context.close()
