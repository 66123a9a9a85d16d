"""The Benchmark page without a browser."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

import sim2street.models.storage.catalog
from sim2street.app.content import benchmark_data, error_analysis, labelled_sets
from sim2street.app.content.background import BACKGROUND, Task
from sim2street.app.content.method_display import display_of
from sim2street.app.views import choices
from sim2street.models.storage.checkpoint import Checkpoint
from tests.app.content.test_benchmark_data import sweep

COMPARED = ("source_only", "cycada", "cycada", "advent", "advent", "daformer", "hrda", "mic")
"""Methods of the rows that everybody quotes."""
PAGE = Path(__file__).parents[3] / "app" / "views" / "benchmark.py"


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tiny_checkpoints: Path) -> AppTest:
    monkeypatch.setattr(sim2street.models.storage.catalog, "SHIPPED", tmp_path / "none")
    monkeypatch.setenv("SIM2STREET_CHECKPOINTS", str(tiny_checkpoints))
    monkeypatch.setenv("SIM2STREET_RESULTS", str(tmp_path / "results"))
    monkeypatch.setattr(error_analysis, "_KEPT", type(error_analysis._KEPT)(2**20))  # not what another test predicted
    st.cache_resource.clear()
    return AppTest.from_file(str(PAGE), default_timeout=30).run()


@pytest.fixture
def measured(page: AppTest) -> AppTest:
    return page.segmented_control(key="show").set_value("Measured here").run()


def test_the_comparison_is_shown(page: AppTest) -> None:
    assert not page.exception
    rows = page.get("html")[0].proto.body
    assert re.findall(r'class="figure">([\d.–]+)', rows) == [
        "36.6",
        "39.5",
        "42.7",
        "43.8",
        "45.5",
        "68.3",
        "73.8",
        "75.9",
    ]
    assert "DRN-26" in rows
    colours = re.findall(r'class="row" role="listitem" style="--method:(#\w+)"', rows)
    assert colours == [display_of(name).colour for name in COMPARED]
    assert "Quoted: AdaptSegNet paper baseline" in rows
    words = " ".join(caption.value for caption in page.caption)
    assert "None of these was measured here" in words
    assert "per class: CyCADA pixel+feature, DAFormer, HRDA, MIC (HRDA)" in words


def test_all_rows_and_the_other_settings(page: AppTest) -> None:
    page.toggle(key="all_rows").set_value(True).run()
    assert len(page.dataframe[0].value) == sum(
        result.setting == benchmark_data.SETTINGS[0] for result in benchmark_data.published_results()
    )
    for setting in benchmark_data.SETTINGS[1:]:
        page.segmented_control(key="setting").set_value(setting).run()
        assert not page.exception
        assert len(page.dataframe[0].value)
    page.segmented_control(key="setting").set_value(benchmark_data.SETTINGS[1]).run()
    assert "13 classes" in page.dataframe[0].value.columns


def test_a_link_with_a_rooms_former_name_opens_it(page: AppTest) -> None:
    former = AppTest.from_file(str(PAGE), default_timeout=30)
    former.query_params["show"] = "Picture by picture"
    former.run()
    assert not former.exception
    assert former.segmented_control(key="show").value == "Image by image"
    assert not former.toast
    assert not former.warning
    assert former.run().segmented_control(key="show").value == "Image by image"
    assert former.selectbox[0].label == "Images"


def test_what_was_measured(measured: AppTest, tmp_path: Path) -> None:
    assert any("CamVid val" in table.value.columns for table in measured.dataframe)
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "broken.json").write_text("{")
    measured.run()
    assert "broken.json cannot be read" in measured.warning[0].value


def test_each_sweep_is_shown_as_bars(measured: AppTest, tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "mine.json").write_text(json.dumps(sweep(title="Mine <b>", about="My words.")))
    measured.run()
    tables = [table for table in benchmark_data.sweep_tables() if table.groups()]
    for place, table in enumerate(tables):
        measured.pills(key="pair").set_value(place).run()
        assert not measured.exception
        rows = measured.get("html")[0].proto.body
        assert rows.count('role="listitem"') == sum(map(len, table.groups().values()))
        widths = [float(width) for width in re.findall(r"<i style=\"width:([\d.]+)%", rows)]
        assert 90 < max(widths) < 100  # the best row's bar, of the scale that all share
    assert 'aria-label="Mine &lt;b&gt;"' in rows
    assert ">42.0 ± 2.0 <small>3 seeds</small>" in rows
    assert "62 % of the gap" in rows
    assert any("My words." in caption.value for caption in measured.caption)


def test_a_sweep_without_figures_says_so_and_may_vanish(measured: AppTest, tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    unscored = {"name": "b", "title": "Failed", "network": "drn", "group": "cnn", "role": "control", "figures": {}}
    file = tmp_path / "results" / "mine.json"
    file.write_text(json.dumps(sweep(title="Mine", rows=[unscored])))
    measured.run()
    measured.pills(key="pair").set_value(len(benchmark_data.sweep_tables()) - 1).run()
    assert not measured.exception
    assert "No row of this sweep has a figure yet" in measured.info[0].value
    assert measured.dataframe[0].value["Method"].tolist() == ["Failed"]
    file.unlink()
    measured.run()
    assert not measured.exception
    assert 'role="listitem"' in measured.get("html")[0].proto.body


def test_no_method_chosen_is_no_error(page: AppTest) -> None:
    page.multiselect[0].set_value([]).run()
    assert not page.exception


def test_a_set_is_read_and_a_picture_opens(page: AppTest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SIM2STREET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(labelled_sets, "STREET_COUNT", 2)
    page.segmented_control(key="show").set_value("Image by image").run()
    assert not page.exception
    assert [control.label for control in page.selectbox] == ["Images", "Checkpoint", "Compared with"]
    started: list[object] = []
    monkeypatch.setattr(BACKGROUND, "start", lambda *arguments: started.append(arguments[0]) or Task(2))
    page.button(key="begin_tiny_source_only").click().run()
    assert not page.exception
    assert started[0][0] == "street_scenes/fog"  # pyright: ignore[reportIndexIssue]


def test_the_address_says_what_is_compared(page: AppTest) -> None:
    shown = AppTest.from_file(str(PAGE), default_timeout=30)
    shown.query_params["show"], shown.query_params["against"] = "Image by image", "ADVENT"
    assert shown.run().selectbox(key="against").value == "tiny_advent"
    assert not shown.toast
    shown = AppTest.from_file(str(PAGE), default_timeout=30)
    shown.query_params["show"], shown.query_params["against"] = "Image by image", "Nobody"
    assert "asks for “Nobody”" in shown.run().toast[0].value


def test_a_set_that_is_gone_says_so(page: AppTest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SIM2STREET_CAMVID", str(tmp_path / "nowhere"))
    page.segmented_control(key="show").set_value("Image by image").run()
    page.selectbox(key="set").set_value("camvid/val").run()
    assert not page.exception
    assert "nowhere" in page.error[0].value


def test_a_picture_opens_with_every_checkpoint(
    page: AppTest, monkeypatch: pytest.MonkeyPatch, tiny_checkpoints: Path
) -> None:
    opened: list[dict[str, object]] = []
    monkeypatch.setattr(choices.st, "switch_page", lambda _page, query_params: opened.append(dict(query_params)))
    choices.open_in_compare({"street": "5"}, [], rendered=True)
    assert opened == [{"street": "5", "methods": ["Source only", "ADVENT"]}]
    readers = [Checkpoint.open(tiny_checkpoints / name) for name in ("tiny_source_only", "tiny_advent")]
    choices.open_in_compare({}, readers, rendered=True)
    assert (opened[1]["right"], opened[1]["left"]) == ("tiny_source_only", "tiny_advent"), "to be swiped between"
