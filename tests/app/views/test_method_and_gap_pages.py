"""The Methods and Gap pages without a browser."""

from __future__ import annotations

import html
from pathlib import Path

import numpy as np
import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

import sim2street.models.storage.catalog
from sim2street.app.content import domain_gap
from sim2street.app.content.background import BACKGROUND
from sim2street.app.content.labelled_sets import labelled_set
from sim2street.models.storage.checkpoint import Checkpoint
from sim2street.training.methods import METHODS
from tests.app.content.test_domain_gap import reading

VIEWS = Path(__file__).parents[3] / "app" / "views"


@pytest.fixture(autouse=True)
def _tiny(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tiny_checkpoints: Path) -> None:
    monkeypatch.setattr(sim2street.models.storage.catalog, "SHIPPED", tmp_path / "none")
    monkeypatch.setenv("SIM2STREET_CHECKPOINTS", str(tiny_checkpoints))
    monkeypatch.setenv("SIM2STREET_CACHE", str(tmp_path / "cache"))
    st.cache_resource.clear()


def test_each_method_has_a_page() -> None:
    page = AppTest.from_file(str(VIEWS / "methods.py"), default_timeout=30).run()
    for name, entry in METHODS.items():
        page.button_group(key="method").set_value(name).run()
        assert not page.exception
        assert html.escape(entry.idea) in page.get("html")[0].proto.body
    page.button_group(key="method").set_value("advent").run()
    assert any("checkpoints?checkpoint=tiny_advent" in each.proto.body for each in page.get("html"))


def test_a_demonstration_follows_its_controls() -> None:
    page = AppTest.from_file(str(VIEWS / "methods.py"), default_timeout=60).run()
    page.button_group(key="method").set_value("advent").run()
    assert not page.exception
    assert any("Entropy before" in each.proto.body for each in page.get("html"))
    before = [each.value for each in page.markdown]
    page.selectbox(key="advent_look").set_value("night").run()
    assert not page.exception
    assert [each.value for each in page.markdown] != before
    page.button_group(key="method").set_value("mic").run()
    assert "none is available" in page.info[0].value


def gap_page() -> AppTest:
    return AppTest.from_file(str(VIEWS / "gap.py"), default_timeout=30).run()


def test_a_gap_is_computed_when_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    page = gap_page()
    assert not page.exception
    assert page.markdown[0].value == "# Gap"
    assert [box.value for box in page.selectbox] == [
        "street_scenes/game",
        "street_scenes/fog",
        "tiny_source_only",
        "tiny_advent",
    ]
    asked: list[tuple[object, int]] = []
    monkeypatch.setattr(BACKGROUND, "start", lambda key, total, _work: asked.append((key, total)))
    page.button(key="begin").click().run()
    assert not page.exception
    assert asked[0][1] == 2 * 2 * domain_gap.PICTURES


def test_a_gap_that_is_known_is_shown(tiny_checkpoints: Path) -> None:
    random = np.random.default_rng(0)
    for name in ("tiny_source_only", "tiny_advent"):
        for key in ("street_scenes/game", "street_scenes/fog"):
            checkpoint = Checkpoint.open(tiny_checkpoints / name)
            apart = 20 * (key.endswith("fog") and name == "tiny_source_only")
            known = reading(random.normal(size=(384, 4)) + apart)
            domain_gap._store(domain_gap._path(labelled_set(key), checkpoint), known)
    page = gap_page()
    assert not page.exception
    assert "closer together" in " ".join(each.value for each in page.markdown)
    assert len(page.get("plotly_chart")) == 5


def test_a_set_that_is_gone_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SIM2STREET_CITYSCAPES", str(tmp_path / "nowhere"))
    page = gap_page()
    page.selectbox(key="gap_target").set_value("cityscapes/val").run()
    assert not page.exception
    assert "nowhere" in page.error[0].value
