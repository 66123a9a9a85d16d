"""What the pages say of a checkpoint: the same on both, for one that was trained here and one of other people's."""

from __future__ import annotations

import html
import json
import os
import re
from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

import sim2street.models.storage.catalog
from sim2street.app.content.html_tables import checkpoint_cards
from sim2street.models.storage.catalog import CatalogEntry
from sim2street.models.storage.checkpoint import Checkpoint
from tests.app.conftest import save_tiny
from tests.app.views.test_compare_page import ENTRY

TRAINED = sim2street.models.storage.catalog.SHIPPED / "daformer_game_and_randomised_to_fog_mit"


@pytest.fixture
def imported(tmp_path: Path) -> Path:
    """Other people's weights: no steps of ours but their figure, under a licence by its short name."""
    path = save_tiny(tmp_path / "own", "theirs", "mic", "Theirs", source="gta5", target="cityscapes")
    config = json.loads((path / "config.json").read_text())
    protocol = {"size": None, "normalisation": "none", "align_corners": True, "inference": "whole", "weights": "last"}
    files = [{"name": "theirs.pth", "sha256": "0" * 64}]
    record = {"family": "hrda", "files": files, "reported_miou": 43.8, "protocol": protocol}
    config |= {"step": 0, "origin": "imported", "licence": "cc-by-nc-4.0", "imported": record}
    (path / "config.json").write_text(json.dumps(config))
    return path


def test_both_pages_say_the_same_of_a_checkpoint(
    imported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sim2street.models.storage.catalog, "SHIPPED", tmp_path / "none")
    monkeypatch.setenv("SIM2STREET_CHECKPOINTS", os.pathsep.join(map(str, (TRAINED, imported))))
    st.cache_resource.clear()
    page = AppTest.from_file(str(ENTRY), default_timeout=60).run().switch_page("views/checkpoints.py").run()
    assert not page.exception
    entries = [CatalogEntry(path.name, Checkpoint.open(path)) for path in (TRAINED, imported)]
    cards = [element.proto.body for element in page.get("html") if "<dl>" in element.proto.body]
    hosted = checkpoint_cards(entries[::-1])
    assert all(card in hosted for card in cards)
    assert hosted.count('<div class="card">') == len(cards) == len(page.expander) == 2
    assert page.expander[0].label.endswith("**46.7**"), "scores best on the set that both share"
    assert re.findall('class="score">(.*?)<', hosted) == ["46.7", "30.0"], "in the same order"
    facts = [re.findall("<dt>(.*?)</dt><dd>(.*?)</dd>", card) for card in cards]
    trained, theirs = ({name: html.unescape(value) for name, value in each} for each in facts)
    assert trained["Training"] == "3000 steps, seed 0"
    assert trained["Licence"] == "Apache 2.0"
    assert theirs["Training"] == "by its authors, who report an mIoU of 43.8 (not measured here)"
    assert theirs["Licence"] == "CC BY-NC 4.0, not for commercial use (imported weights)"
    assert "<td>11</td>" in cards[1], "CamVid's classes"
