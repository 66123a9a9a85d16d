"""Names of data sets as people say them."""

from __future__ import annotations

from sim2street.app.content.names import data_set_title, reports_by_title, source_title


def test_titles_of_sets_splits_and_looks() -> None:
    assert data_set_title("camvid/val") == "CamVid val"
    assert data_set_title("cityscapes") == "Cityscapes"
    assert data_set_title("street_scenes/fog") == "fog"
    assert data_set_title("street_scenes/fog (20 scenes)") == "fog (20 scenes)"
    assert data_set_title("somebody's own") == "somebody's own"
    assert source_title("street_scenes/game + gta5/all") == "game + GTA5 all"


def test_a_part_stands_back_behind_its_whole() -> None:
    metrics = {
        "street_scenes/game": {"miou": 0.4},
        "street_scenes/game (8 scenes)": {},
        "street_scenes/fog (2 scenes)": {},
    }
    assert list(reports_by_title({**metrics, "note": "no report"})) == ["game", "fog (2 scenes)"]
