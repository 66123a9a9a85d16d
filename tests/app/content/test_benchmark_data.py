"""Published figures as data, and tables that sweeps wrote."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sim2street.app.content import benchmark_data, result_rows
from sim2street.app.content.benchmark_data import (
    SETTINGS,
    MeasuredRow,
    SweepTable,
    class_row,
    comparison,
    measured_on_cityscapes,
    published_results,
    sweep_tables,
)
from sim2street.models.labels import CITYSCAPES19, SYNTHIA13, SYNTHIA16
from sim2street.models.storage.catalog import catalog
from sim2street.models.storage.checkpoint import CheckpointConfig


def test_every_row_has_a_source_and_known_classes() -> None:
    results = published_results()
    assert {result.setting for result in results} == set(SETTINGS)
    for result in results:
        assert result.source
        assert result.per_class.keys() <= set(CITYSCAPES19.names)


def test_means_of_the_classes_are_the_figures_reported() -> None:
    """A figure that was typed wrongly would show: each full row averages to its mIoU, to within rounding."""
    checked = 0
    for result in published_results():
        spaces = {16: (SYNTHIA16, result.miou16), 13: (SYNTHIA13, result.miou13), 19: (CITYSCAPES19, result.miou)}
        if result.per_class:
            space, reported = spaces[len(result.per_class)]
            assert set(result.per_class) == set(space.names)
            assert np.mean(list(result.per_class.values())) == pytest.approx(reported, abs=0.06), result
            checked += 1
    assert checked > 20


def test_the_comparison_everybody_quotes() -> None:
    rows = {(row.method, row.backbone): row.miou for row in comparison(published_results())}
    assert rows == {
        ("Source-only", "ResNet-101 (DeepLabV2)"): 36.6,
        ("CyCADA pixel+feature", "DRN-26"): 39.5,
        ("CyCADA (as re-reported)", "ResNet-101 (DeepLabV2)"): 42.7,
        ("ADVENT AdvEnt", "ResNet-101 (DeepLabV2)"): 43.8,
        ("ADVENT AdvEnt+MinEnt", "ResNet-101 (DeepLabV2)"): 45.5,
        ("DAFormer", "MiT-B5"): 68.3,
        ("HRDA", "MiT-B5"): 73.8,
        ("MIC (HRDA)", "MiT-B5"): 75.9,
    }
    remarks = {row.method: row.remark for row in comparison(published_results())}
    assert all(remarks.values())
    assert "averaged at test time" in remarks["ADVENT AdvEnt+MinEnt"]
    assert "Context-Aware High-Resolution" in remarks["HRDA"]


def test_classes_keep_their_order() -> None:
    source_only = comparison(published_results())[0]
    row = class_row(source_only)
    assert len(row) == 19
    assert (row[0], row[16], row[18]) == (75.8, 6.5, 36.0)


def sweep(**changes: Any) -> dict[str, Any]:
    figures = {"seeds": 3, "miou_per_seed": [0.4, 0.42, 0.44], "miou": 0.42, "deviation": 0.02, "gap_recovered": 0.615}
    row = {
        "name": "a",
        "title": "ADVENT",
        "network": "deeplab_v2",
        "group": "cnn",
        "role": "method",
        "figures": {"fog": {**figures, "iou_per_class": {}}},
    }
    tests = [{"name": "fog", "label": "street_scenes/fog", "dataset": "street_scenes"}]
    return {
        "format": 1,
        "name": "s",
        "title": "Game to fog",
        "about": "All seeds.",
        "tests": tests,
        "rows": [row],
    } | changes


def test_words_explain_only_what_a_table_has() -> None:
    def words(*rows: tuple[str, int]) -> str:
        given = sweep()["rows"][0]
        figures = given["figures"]["fog"]
        rows_ = [{**given, "role": role, "figures": {"fog": {**figures, "seeds": seeds}}} for role, seeds in rows]
        return SweepTable("", "All.", rows=tuple(MeasuredRow.parse(row, where="") for row in rows_)).words

    assert words(("method", 1)) == "All. mIoU in percent."
    assert words(("source_only", 3), ("control", 3)) == (
        "All. mIoU in percent, as mean ± deviation over seeds. Dotted lines mark source-only and the oracle, which also"
        " learns from the target's labels. A control is what a method has to beat: it does everything but adapt."
    )


def test_tables_of_sweeps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark_data, "RESULTS", tmp_path / "none")
    monkeypatch.setenv("SIM2STREET_RESULTS", str(tmp_path))
    (tmp_path / "a.json").write_text(json.dumps(sweep()))
    (tmp_path / "b.json").write_text("{")
    (tmp_path / "c.json").write_text(json.dumps(sweep(format=2)))
    unscored = {"name": "b", "title": "Failed", "network": "drn", "group": "cnn", "role": "control", "figures": {}}
    (tmp_path / "d.json").write_text(json.dumps(sweep(rows=[unscored])))
    good, broken, newer, empty = sweep_tables()
    assert (good.title, good.tests[0].label, good.error) == ("Game to fog", "street_scenes/fog", None)
    figures = "42.0 ± 2.0 (3 seeds) · 62 % of the gap"
    expected = {"Method": "ADVENT", "Role": "method", "Network": "deeplab_v2", "fog": figures}
    assert good.cells() == [expected]
    assert list(good.groups()) == ["cnn"]
    assert "b.json cannot be read" in str(broken.error)
    assert "format is 2" in str(newer.error)
    assert empty.cells()[0]["fog"] == "–"
    assert empty.groups() == {}


def three_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, title: str = "DANN") -> benchmark_data.SweepTable:
    """Source-only, a control and a method on one set with two classes."""
    monkeypatch.setattr(benchmark_data, "RESULTS", tmp_path / "none")
    monkeypatch.setenv("SIM2STREET_RESULTS", str(tmp_path))
    rows = []
    for name, role, share, per_class in (
        ("Source-only", "source_only", None, {"road": 0.5, title: 0.2}),
        ("Weight 0", "control", 0.46, {"road": 0.6, title: None}),
        (title, "method", 0.45, {"road": 0.3, title: 0.201}),
    ):
        figures = {"seeds": 1, "miou_per_seed": [0.4], "miou": 0.4, "deviation": None, "gap_recovered": share}
        row = {"name": name, "title": name, "network": "n", "group": "cnn", "role": role}
        rows.append(row | {"figures": {"fog": figures | {"iou_per_class": per_class}}})
    (tmp_path / "a.json").write_text(json.dumps(sweep(rows=rows)))
    return sweep_tables()[0]


def test_classes_are_compared_with_source_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = result_rows.class_differences(three_rows(tmp_path, monkeypatch))
    cells = re.findall(r"<td[^>]*>([^<]*)</td>", page)
    assert cells == ["0", "+10", "–", "0", "−20", "0"], "mean IoU first; the control has no figure for the second class"
    assert "rgba(209,73,91" in page
    assert "Source-only" not in re.sub("<style>.*?</style>", "", page, flags=re.DOTALL)
    hostile = result_rows.class_differences(three_rows(tmp_path, monkeypatch, "<img src=x>"))
    assert "<img" not in hostile
    assert "&lt;img" in hostile


def test_a_recovered_gap_stands_beside_the_best_controls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = result_rows.measured_rows(three_rows(tmp_path, monkeypatch)).split('role="listitem"')
    assert "45 % of the gap<br><small>best control 46 %" in rows[-1]
    assert "best control" not in rows[-2]


def test_imported_checkpoints_stand_beside_their_published_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sim2street.models.networks import build
    from sim2street.models.storage.checkpoint import Checkpoint
    from tests.models.test_networks import MIT

    config = CheckpointConfig(
        title="DAFormer", method="daformer", network="daformer", network_options=MIT, source="gta5", target="cityscapes"
    )
    metrics = {"cityscapes/val": {"miou": 0.5, "images": 500}}
    Checkpoint.save(tmp_path / "mine", build("daformer", options=MIT), config, metrics=metrics)
    monkeypatch.setenv("SIM2STREET_CHECKPOINTS", str(tmp_path))
    rows = measured_on_cityscapes(catalog(), SETTINGS[0])
    assert rows == [{"title": "DAFormer", "network": "daformer", "miou": 50.0, "reported": None}]
    assert not measured_on_cityscapes(catalog(), SETTINGS[1])
    assert not measured_on_cityscapes(catalog(), SETTINGS[2])
