"""Checkpoints on their way from the Hub: the Streamlit page is there at once and says how far they have come."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import streamlit as st
import yaml
from streamlit.testing.v1 import AppTest

from sim2street.models.errors import CheckpointError
from sim2street.models.storage import catalog as catalogs
from sim2street.models.storage.checkpoint import Checkpoint
from sim2street.models.storage.downloads import Downloads
from sim2street.models.storage.hub import Progress
from tests.app.views.test_compare_page import ENTRY, bundle_of
from tests.models.storage.test_spacefile import DOCKER


@pytest.fixture
def line(tmp_path: Path, tiny_checkpoints: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Set, the download under way fails; until then it stands at 3 of 47 MB."""
    ends, began = threading.Event(), threading.Event()

    def fetch(source: str, progress: Progress) -> Checkpoint:
        progress(3_000_000, 47_000_000)
        began.set()
        ends.wait(30)
        raise CheckpointError("The Hub has gone to sleep.")

    spacefile = tmp_path / "Spacefile"
    models = [{"repository": "maker/late", "revision": "c" * 40}]
    spacefile.write_text(yaml.safe_dump({"schema": 1, "space": DOCKER, "models": models}))
    downloads = Downloads(fetch)
    monkeypatch.setattr(catalogs, "SPACEFILE", spacefile)
    monkeypatch.setattr(catalogs, "DOWNLOADS", downloads)
    monkeypatch.setattr(catalogs, "SHIPPED", tmp_path / "none")
    monkeypatch.setenv("SIM2STREET_CHECKPOINTS", str(tiny_checkpoints))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    st.cache_resource.clear()
    downloads.ask(f"maker/late@{'c' * 40}")
    assert began.wait(10)
    yield ends
    ends.set()
    st.cache_resource.clear()


def test_the_page_shows_the_others_and_the_progress(line: threading.Event) -> None:
    page = AppTest.from_file(str(ENTRY), default_timeout=60).run()
    assert not page.exception
    assert len(bundle_of(page)["methods"]) == 2
    assert any("late is on its way from the Hub. 3.0 MB of 47 MB" in caption.value for caption in page.caption)
    assert "**late**" not in [text.value for text in page.markdown], "not among those that cannot be used"


def test_one_that_fails_is_listed_with_its_reason(line: threading.Event) -> None:
    AppTest.from_file(str(ENTRY), default_timeout=60).run()
    line.set()
    for _ in range(100):
        if catalogs.DOWNLOADS.ask(f"maker/late@{'c' * 40}").failure:
            break
        threading.Event().wait(0.05)
    st.cache_resource.clear()
    page = AppTest.from_file(str(ENTRY), default_timeout=60).run()
    assert not page.exception
    assert any("gone to sleep" in text.value for text in page.markdown)
    assert not any("on its way" in caption.value for caption in page.caption)
