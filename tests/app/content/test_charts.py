"""Figures beside the pictures: rows, differences, and charts that say nothing about absent classes."""

from __future__ import annotations

import copy
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sim2street import ROOT
from sim2street.app.content import charts, curves, figures, panes
from sim2street.models.labels import CITYSCAPES19
from sim2street.models.storage.checkpoint import Checkpoint
from tests.app.conftest import save_tiny
from tests.app.content.test_panes import prediction_of

TRUTH = np.array([[0, 0, 10, 10]], np.uint8)


@pytest.fixture
def entrants(tiny_checkpoints: Path) -> list[figures.Entrant]:
    said = {"tiny_source_only": [[0, 10, 10, 10]], "tiny_advent": [[0, 0, 10, 10]]}
    made = []
    for name, labels in said.items():
        checkpoint = Checkpoint.open(tiny_checkpoints / name)
        pane = panes.pane(prediction_of(np.array(labels, np.uint8)))
        title, note = checkpoint.config.title, figures.trained_on(checkpoint.config)
        reading = panes.Reading(name, title, note, "#112233", pane, panes.score(pane, TRUTH))
        made.append(figures.Entrant(checkpoint, reading))
    return made


def without_score(entrants: list[figures.Entrant]) -> list[figures.Entrant]:
    return [replace(entrant, reading=replace(entrant.reading, score=None)) for entrant in entrants]


def test_summary_gives_this_image_the_difference_and_the_data_sets(entrants: list[figures.Entrant]) -> None:
    base, advent = figures.summary(entrants)
    assert base["Mean IoU, this image"] == pytest.approx(100 * (1 / 2 + 2 / 3) / 2)
    assert base["vs source-only"] is None
    assert advent["Mean IoU, this image"] == pytest.approx(100)
    assert advent["vs source-only"] == pytest.approx(100 - 100 * 7 / 12)
    assert advent["Trained on"] == "game → fog"
    assert advent["mIoU CamVid val"] == pytest.approx(40)


def test_absent_classes_have_no_number(entrants: list[figures.Entrant]) -> None:
    rows = figures.per_class(entrants)
    assert [row["Class"] for row in rows] == list(CITYSCAPES19.names)
    assert rows[13] == {"Class": "car", "Source only": None, "ADVENT": None}
    gains = figures.per_class(entrants, gains=True)
    assert gains[0] == {"Class": "road", "ADVENT": pytest.approx(50)}, "source-only is what is compared with"
    assert gains[13] == {"Class": "car", "ADVENT": None}


def test_without_ground_truth_rows_are_shares(entrants: list[figures.Entrant]) -> None:
    unscored = without_score(entrants)
    rows = figures.per_class(unscored)
    assert rows[0] == {"Class": "road", "Source only": 25, "ADVENT": 50}
    assert rows[13]["ADVENT"] is None
    assert not any("IoU, this" in column for column in figures.summary(unscored)[0])


def test_numbers_say_what_they_are_of(entrants: list[figures.Entrant]) -> None:
    scored = figures.numbers(entrants)
    assert scored.names == list(CITYSCAPES19.names)
    assert scored.values["ADVENT"] == [row["ADVENT"] for row in scored.classes]
    assert scored.colours == {"Source only": "#112233", "ADVENT": "#112233"}
    assert scored.unit == "IoU of this image, %"
    assert [row["ADVENT"] for row in scored.gains[:2]] == [pytest.approx(50), None]
    assert "Differences are in points to source-only on the same encoder: Source only." in scored.notes
    alone = figures.numbers(entrants[1:])
    assert alone.gains == []
    assert not any("Differences" in note for note in alone.notes), "nobody is there to be compared with"
    unscored = figures.numbers(without_score(entrants))
    assert unscored.unit == "share of the pixels, %"
    assert unscored.gains == []
    assert unscored.notes[0].startswith("Without ground truth")


def test_the_baseline_is_the_source_only_of_the_same_source(tmp_path: Path, entrants: list[figures.Entrant]) -> None:
    base, advent = entrants
    assert figures.baseline_of(advent, entrants) is base
    assert figures.baseline_of(base, entrants) is None
    assert figures.baseline_of(advent, [advent]) is None


def test_what_another_encoder_does_is_not_the_methods_doing(tmp_path: Path, entrants: list[figures.Entrant]) -> None:
    base, advent = entrants
    save_tiny(tmp_path, "wide", "source_only", "Wide", width=0.25)
    other = replace(base, checkpoint=Checkpoint.open(tmp_path / "wide"))
    assert figures.baseline_of(advent, [other, advent]) is None
    assert figures.baseline_of(advent, [other, base, advent]) is base
    assert figures.summary([other, advent])[1]["vs source-only"] is None


def test_who_has_seen_more_labels_is_no_baseline(tmp_path: Path, entrants: list[figures.Entrant]) -> None:
    base, advent = entrants
    save_tiny(tmp_path, "oracle", "source_only", "Oracle", source="street_scenes/game + street_scenes/fog")
    oracle = replace(base, checkpoint=Checkpoint.open(tmp_path / "oracle"))
    assert figures.baseline_of(advent, [oracle, advent]) is None
    assert figures.baseline_of(advent, [oracle, base, advent]) is base
    save_tiny(tmp_path, "both", "advent", "Both", source="street_scenes/fog + street_scenes/game")
    both = replace(advent, checkpoint=Checkpoint.open(tmp_path / "both"))
    assert figures.baseline_of(both, [base, oracle, both]) is oracle


def test_equal_titles_are_told_apart(tmp_path: Path) -> None:
    for target in ("fog", "night"):
        save_tiny(tmp_path, f"advent_{target}", "advent", "ADVENT", target=f"street_scenes/{target}")
    titles = figures.unique_titles([Checkpoint.open(path) for path in sorted(tmp_path.iterdir())])
    assert titles == {"advent_fog": "ADVENT, game → fog", "advent_night": "ADVENT, game → night"}


def test_class_bars_draw_one_colour_per_method_and_leave_gaps() -> None:
    values = {"A": [10.0, None, 0.0], "B": [20.0, None, None]}
    shown = charts.classes_in_use(values)
    assert shown == [0, 2]
    figure = charts.class_bars(["x", "y", "z"], values, {"A": "#aa0000", "B": "#00bb00"}, unit="IoU, %", order=shown)
    assert [bar.marker.color for bar in figure.data] == ["#aa0000", "#00bb00"]
    assert list(figure.data[1].x) == [20.0, None]
    assert list(figure.data[0].y) == ["x", "z"]
    assert figure.layout.paper_bgcolor == "rgba(0,0,0,0)"
    figure.to_json()


def test_the_heat_map_writes_what_is_known_in_the_themes_colour() -> None:
    figure = curves.class_map(
        [2, 4], [{"iou_per_class": {"road": 0.5}}, {"iou_per_class": {"road": 0.62, "sky": None}}]
    )
    cells, words = figure.data
    assert [list(row) for row in cells.z] == [[50, 62], [None, None]]
    assert (list(words.x), list(words.y), list(words.text)) == (["2", "4"], ["road", "road"], ["50", "62"])
    assert words.textfont.color is None
    assert (figure.layout.xaxis.range, figure.layout.yaxis.range) == ((-0.5, 1.5), (1.5, -0.5)), "no empty rows around"
    many = list(range(13))
    assert len(curves.class_map(many, [{"iou_per_class": {"road": 0.5}}] * 13).data) == 1, "no room for numbers"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_numbers_can_be_read_on_every_cell_of_the_heat_map(scheme: str) -> None:
    theme = tomllib.loads((ROOT / "app" / ".streamlit" / "config.toml").read_text())["theme"][scheme]
    text, ground = (bytes.fromhex(theme[key].removeprefix("#")) for key in ("textColor", "backgroundColor"))
    for _, cell in curves.IOU_SCALE:
        *colour, share = map(float, cell.removeprefix("rgba(").rstrip(")").split(","))
        blended = [share * part + (1 - share) * below for part, below in zip(colour, ground, strict=True)]
        assert _contrast([*map(float, text)], blended) > 4.5


def _contrast(one: list[float], other: list[float]) -> float:
    """WCAG's contrast of two colours."""

    def luminance(colour: list[float]) -> float:
        linear = [part / 255 / 12.92 if part <= 10 else ((part / 255 + 0.055) / 1.055) ** 2.4 for part in colour]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def test_no_method_is_no_class_in_use() -> None:
    assert charts.classes_in_use({}) == []


def test_the_entropy_of_a_mask_classifier_is_left_out_and_said_to_be(entrants: list[figures.Entrant]) -> None:
    checkpoint = copy.copy(entrants[1].checkpoint)
    checkpoint.config = checkpoint.config.model_copy(update={"network": "eomt", "network_options": {}})
    masks = replace(entrants[1], checkpoint=checkpoint)
    rows = figures.summary([entrants[0], masks])
    assert rows[0]["Mean entropy"] is not None
    assert rows[1]["Mean entropy"] is None
    said = "ADVENT: entropy of mask scores, which cannot be compared with the others' entropy."
    assert said in figures.numbers([entrants[0], masks]).notes
    assert said not in figures.numbers(entrants).notes
