"""The Checkpoints page: its lines, what a search leaves of them, and the card that an address opens."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

import sim2street.models.storage.catalog
from sim2street.app.content import checkpoint_list
from sim2street.app.content.figures import unique_titles
from sim2street.app.content.method_display import display_of
from sim2street.models.storage.checkpoint import Checkpoint
from tests.app.views.test_compare_page import ENTRY


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tiny_checkpoints: Path) -> AppTest:
    monkeypatch.setattr(sim2street.models.storage.catalog, "SHIPPED", tmp_path / "none")
    monkeypatch.setenv("SIM2STREET_CHECKPOINTS", str(tiny_checkpoints))
    st.cache_resource.clear()
    return AppTest.from_file(str(ENTRY), default_timeout=60).switch_page("views/checkpoints.py")


def lines(page: AppTest) -> list[str]:
    return [re.findall(r"\*\*(.*?)\*\*", expander.label)[0] for expander in page.expander]


def test_lines_open_facts_and_figures(page: AppTest) -> None:
    page.run()
    assert not page.exception
    assert lines(page) == ["ADVENT", "Source only"], "the better mIoU first"
    assert page.expander[0].label.endswith("**40.0**")
    cards = " ".join(element.proto.body for element in page.get("html"))
    assert "labels of game" in cards
    assert "DeepLab-v2 on ResNet-18 × 0.125" in cards
    assert re.search(r"<td[^>]*>30(\.0+)?</td>", cards), "mIoU in percent"
    assert display_of("advent").idea in cards


def test_words_and_methods_narrow_the_list(page: AppTest) -> None:
    page.run().text_input(key="find").set_value("DEEPLAB fog").run()
    assert lines(page) == ["ADVENT"]
    page.text_input(key="find").set_value("![](x) nothing").run()
    assert not page.exception
    assert lines(page) == []
    assert "No checkpoint fits" in page.info[0].value
    page.session_state["of_method"] = ["Source-only"]
    page.text_input(key="find").set_value("").run()
    assert lines(page) == ["Source only"]


def test_an_address_opens_its_card_first(page: AppTest) -> None:
    page.query_params["checkpoint"] = "tiny_source_only"
    page.run()
    assert lines(page) == ["Source only", "ADVENT"]
    assert [expander.proto.expanded for expander in page.expander] == [True, False]
    page.text_input(key="find").set_value("advent").run()
    assert lines(page) == ["Source only", "ADVENT"], "a search does not hide what the address asks for"


def test_a_gone_checkpoint_is_said(page: AppTest) -> None:
    page.query_params["checkpoint"] = "![](http://evil.example)"
    page.run()
    assert not page.exception
    assert "which is not here" in page.warning[0].value
    assert len(page.expander) == 2


def test_those_without_a_score_come_last_in_their_order(tiny_checkpoints: Path) -> None:
    both = [Checkpoint.open(tiny_checkpoints / name) for name in ("tiny_source_only", "tiny_advent")]
    titles = unique_titles(both)
    assert checkpoint_list.scored_sets(both) == ["CamVid val"]
    assert checkpoint_list.found(both, titles, words="", methods=[], by="CamVid val") == both[::-1]
    assert checkpoint_list.found(both, titles, words="", methods=[], by="fog") == both
    assert checkpoint_list.found(both, titles, words="", methods=[], by=None) == both
