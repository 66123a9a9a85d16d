"""Strings from outside never become markup: every page is walked with hostile ones in every field."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

import sim2street.models.storage.catalog
from sim2street.app.admin import launch_form
from sim2street.app.content import charts, curves, escape, html_tables, result_rows
from sim2street.app.content.benchmark_data import RESULTS_VARIABLE, sweep_tables
from sim2street.app.demo_page import admin_tab
from sim2street.app.viewer.report import html_report
from sim2street.models.storage.catalog import catalog
from sim2street.models.storage.files import promoted_folder
from tests.app.hostile import ELEMENT, EVIL, IMAGE, LINK, WORDS, hostile_checkpoints, hostile_jobs, hostile_sweep
from tests.app.views.test_admin_page import open_page, room, runs, signed_in  # noqa: F401  # runs is a fixture
from tests.app.views.test_compare_page import bundle_of, png, upload

ROOT = Path(__file__).parents[2]
RAW = re.compile(
    rf"(?<!\\)\[[axr]\]|(?<!\\)\]\((?!https://github)|(?<!\\)<img|:material[/_]bomb|:bomb:|(?<!\\)\$x|\*\*b|\u202e|\n# H|www\.{EVIL}|:red\[|://{EVIL}"
)
"""What must not stand in a text that is read as Markdown."""
PLAIN = {
    "bidi_component": (),  # shown by scripts of ours, which set text, but for diagrams: see tests/app/content/test_method_diagram.py
    "dataframe": (),  # painted, not parsed
    "multiselect": ("options", "default"),
    "selectbox": ("options", "raw_value"),
    "text_input": ("default", "value"),
    "text_area": ("default", "value"),
    "page_link": ("query_string",),  # encoded
    "code": (),
    "json": (),
    "file_uploader": (),
}
"""Elements, and their fields, that show text as it is; none named: all of them."""


class Elements(HTMLParser):
    """The tags and attributes of a piece of HTML."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.found += [tag, *(name for name, _ in attributes)]
        self.found += [value for name, value in attributes if name in ("src", "href") and value]


def assert_harmless_html(text: str) -> None:
    found = set(Elements(text).found)
    assert not found & {"img", "script", "onerror"}, found
    assert not any(EVIL in item or item.startswith("javascript") for item in found), found
    assert "\u202e" not in text


def strings(message: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    """All texts of a protocol message with the names of their fields."""
    for field, value in message.ListFields():
        items = value if field.is_repeated else [value]
        for item in items:
            if field.type == field.TYPE_MESSAGE and hasattr(item, "ListFields"):
                yield from strings(item, (*path, field.name))
            elif isinstance(item, str):
                yield (*path, field.name), item


def nodes(block: Any) -> Iterator[Any]:
    for child in getattr(block, "children", {}).values():
        yield child
        yield from nodes(child)


def assert_harmless(page: AppTest) -> None:
    """No text of a page that Streamlit reads as Markdown or HTML does more than being shown."""
    assert not page.exception
    seen = 0
    for node in nodes(page._tree):
        if node.proto is None:
            continue
        for path, text in strings(node.proto):
            kind = node.type if node.type in PLAIN or len(path) < 2 else path[0]
            if kind in PLAIN and (not PLAIN[kind] or path[-1] in PLAIN[kind]):
                continue
            if path[-1] in ("id", "element_id", "key", "form_id", "user_key", "query_param_key"):
                continue
            seen += "evil" in text
            if node.type == "html" or "<p" in text or "<div" in text:
                assert_harmless_html(text)
            elif node.type == "plotly_chart":
                assert_harmless_figure(text)
            else:
                assert not RAW.search(re.sub(r"(`+)[^`].*?\1", "", text)), (node.type, path, text)
    assert seen, "nothing hostile is on this page, so that it shows nothing"


def assert_harmless_figure(text: str) -> None:
    assert "<img" not in text
    assert "<a" not in text


@pytest.fixture
def machine(runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:  # noqa: F811
    monkeypatch.setattr(sim2street.models.storage.catalog, "SHIPPED", tmp_path / "none")
    (tmp_path / "results").mkdir()
    monkeypatch.setenv("SIM2STREET_CHECKPOINTS", str(hostile_checkpoints(tmp_path / "own")))
    monkeypatch.setenv(RESULTS_VARIABLE, str(hostile_sweep(tmp_path / "results")))
    st.cache_resource.clear()
    return tmp_path


@pytest.mark.parametrize(
    ("view", "room"),
    [
        ("compare", ""),
        ("benchmark", "Measured here"),
        ("benchmark", "Image by image"),
        ("checkpoints", ""),
    ],
)
def test_pages_show_hostile_words_as_words(machine: Path, view: str, room: str) -> None:
    page = AppTest.from_file(str(ROOT / "app" / "main.py"), default_timeout=120)
    for name in ("checkpoint", "methods", "photo", "style"):
        page.query_params[name] = f"{IMAGE}{ELEMENT}"
    page.query_params["show"] = room or "Published"
    page.run()
    if view != "compare":
        page.switch_page(f"views/{view}.py").run()
    assert_harmless(page)


def test_file_names_and_reasons_are_shown_as_words(machine: Path, street: np.ndarray) -> None:
    page = AppTest.from_file(str(ROOT / "app" / "main.py"), default_timeout=120).run()
    upload(page, b"no picture", name=f"{IMAGE}.png")
    assert_harmless(page)
    upload(page, png(street), name=f"{IMAGE}{ELEMENT}.png")
    assert not page.exception
    assert_harmless_html(re.sub(r"<script.*?</script>", "", html_report(bundle_of(page)), flags=re.DOTALL))


@pytest.fixture
def street() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (48, 96, 3), np.uint8)


@pytest.mark.parametrize("name", ["Train", "Jobs", "Compare runs", "Storage"])
def test_rooms_of_the_admin_show_hostile_words_as_words(machine: Path, name: str) -> None:
    jobs = hostile_jobs()
    (promoted_folder() / f"{IMAGE} {ELEMENT}".replace("/", "|")).mkdir(parents=True)
    page = signed_in()
    room(page, name)
    if name == "Train":
        page.text_input(key="field/try_one_minute/title").set_value(f"{IMAGE}{ELEMENT}").run()
    assert_harmless(page)
    for job in jobs if name == "Jobs" else ():
        page.session_state[launch_form.CHOSEN] = job
        assert_harmless(page.run())


def test_the_hosted_page_shows_hostile_words_as_words(machine: Path) -> None:
    assert_harmless_html(html_tables.checkpoint_cards(catalog(wait=False)))
    tables = [table for table in sweep_tables() if table.title == IMAGE]
    assert_harmless_html(re.sub("<style>.*?</style>", "", result_rows.measured_rows(tables[0]), flags=re.DOTALL))


def test_the_hosted_admin_shows_hostile_words_as_words(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import gradio as gr

    def refuse() -> None:
        raise sim2street.models.errors.ConfigError(f"{IMAGE}{ELEMENT}")

    with pytest.raises(gr.Error) as caught:
        admin_tab.answer(refuse)
    assert_harmless_html(str(caught.value.message))


@pytest.mark.parametrize("words", WORDS)
def test_figures_show_hostile_words_as_words(words: str) -> None:
    report = {"miou": 0.5, "iou_per_class": {words: 0.5}}
    figures = [
        charts.class_bars([words], {words: [1.0]}, {words: "#123456"}, unit="%"),
        curves.loss_curves({words: ([1], [1.0])}),
        curves.iou_curves({words: ([1], [0.5])}),
        curves.loss_overlay({words: ([1], [1.0])}, words),
        curves.class_map([1], [report]),
    ]
    for figure in figures:
        assert_harmless_figure(json.dumps(figure.to_plotly_json(), default=str))


@pytest.mark.parametrize(
    "text",
    [
        *WORDS, "a\\", "1. a", "- a", "+ a", "===", "``", "` `", "a@b.c", "\ud800", "", "https://evil.invalid/x", "a|b", "[^1]: x",
    ],
)  # fmt: skip
def test_escaped_text_is_one_line_without_live_markup(text: str) -> None:
    shown = escape.markdown(text)
    assert not RAW.search(shown)
    assert re.sub(r"\\([^\w\s])", r"\1", shown).replace(escape.JOINER, "") == escape.line(text)
    shown.encode()
    assert "\n" not in escape.code(text)
    assert escape.line(text) in escape.code(text)


def test_links_lead_to_addresses_of_the_web_alone() -> None:
    assert escape.address("https://huggingface.co/a/b") == "https://huggingface.co/a/b"
    for bad in ("javascript:alert(1)", "https://a) ![b](http://c", "data:text/html,x", "", LINK):
        assert escape.address(bad) == "#"


def test_nothing_else_escapes_html() -> None:
    """What has one place stays there."""
    for path in (ROOT / "app").rglob("*.py"):
        imported = {
            alias.name
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Import)
            for alias in node.names
        }
        assert "html" not in imported or path.name == "escape.py", path
