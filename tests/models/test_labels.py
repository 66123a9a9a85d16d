from __future__ import annotations

import json
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sim2street.models.errors import LabelError
from sim2street.models.label_space import IGNORE, LabelSpace, read_label_space
from sim2street.models.labels import (
    CAMVID11,
    CITYSCAPES19,
    COMMA10K5,
    IDD_LITE7,
    LABEL_SPACES,
    SYNTHIA16,
    TRAIN_ID_OF_LABEL_ID,
    common_space,
    label_ids_from_train_ids,
    label_space,
    train_ids_from_label_ids,
)

THREE = {
    "name": "three",
    "ignore": [9],
    "ignore_colours": ["#ffffff"],
    "classes": [
        {"name": "ground", "colour": "#804080", "values": [7, 8], "members": {"cityscapes19": ["road", "sidewalk"]}},
        {"name": "vehicle", "colour": [0, 0, 142], "values": [26], "thing": True, "members": {"cityscapes19": ["car"]}},
        {"name": "rest"},
    ],
}


def three(**changes: Any) -> dict[str, Any]:
    return {**THREE, **changes}


def class_list(*changes: dict[str, Any]) -> list[dict[str, Any]]:
    return [{**entry, **change} for entry, change in zip(THREE["classes"], changes, strict=True)]


@pytest.mark.parametrize("space", LABEL_SPACES.values(), ids=LABEL_SPACES)
def test_every_space_is_consistent(space: LabelSpace) -> None:
    assert len(space.names) == len(set(space.names)) == space.count == len(space.palette) == len(set(space.colours))
    members = space.members_in(CITYSCAPES19)
    assert members is not None
    taken = [train_id for group in members for train_id in group]
    assert len(taken) == len(set(taken))
    assert label_space(space.name) is space
    assert LabelSpace.parse(json.loads(json.dumps(space.to_json())), where="") == space
    assert pickle.loads(pickle.dumps(space)) == space


def test_camvid_covers_all_nineteen() -> None:
    members = CAMVID11.members_in(CITYSCAPES19)
    assert sorted(train_id for group in members for train_id in group) == list(range(19))
    train_ids = np.array([[10, 2, 3, 13, 16, 12, 6, 255]], np.uint8)
    assert CAMVID11.relabel(train_ids, CITYSCAPES19).tolist() == [[0, 1, 1, 8, 8, 10, 6, 255]]


def test_spaces_are_compared_through_one_that_both_are_made_of() -> None:
    assert CAMVID11.members_in(IDD_LITE7) is None, "far objects are buildings and trees"
    with pytest.raises(LabelError, match=r"7 of idd_lite7\. Add members = \{ camvid11"):
        IDD_LITE7.require_members(CAMVID11)
    members = COMMA10K5.require_members(CAMVID11)
    named = {
        name: [CAMVID11.names[label] for label in group] for name, group in zip(COMMA10K5.names, members, strict=True)
    }
    assert named["movable"] == ["car", "pedestrian", "bicyclist"]
    assert named["lane markings"] == []
    assert common_space((CITYSCAPES19, CAMVID11)) == CAMVID11
    assert common_space((CAMVID11, IDD_LITE7)) == COMMA10K5
    assert common_space((SYNTHIA16, CITYSCAPES19)) == CITYSCAPES19
    assert common_space((CITYSCAPES19, LabelSpace.parse(THREE, where=""))) is None, "it has no place for the sky"


def test_a_part_of_the_classes_is_lifted_to_all_of_them() -> None:
    assert SYNTHIA16.is_part_of(CITYSCAPES19)
    lifted = CITYSCAPES19.relabel(np.array([9, 15, 255], np.uint8), SYNTHIA16)
    assert [CITYSCAPES19.names[label] for label in lifted[:2]] == [SYNTHIA16.names[9], SYNTHIA16.names[15]]
    assert lifted[2] == IGNORE
    assert SYNTHIA16.relabel(lifted, CITYSCAPES19).tolist() == [9, 15, 255]


def test_a_file_makes_a_space(tmp_path: Path) -> None:
    (tmp_path / "three.json").write_text(json.dumps(THREE), encoding="utf-8")
    space = read_label_space(tmp_path / "three.json")
    assert space == label_space(tmp_path / "three.json") == LabelSpace.parse(space.to_json(), where="")
    assert (space.names, space.things, space.ignored_values) == (("ground", "vehicle", "rest"), (1,), (9, 255))
    assert space.colours[:2] == ((128, 64, 128), (0, 0, 142))
    assert space.colours[2] not in {*space.colours[:2], (0, 0, 0), (255, 255, 255)}  # none was given
    assert space.members_in(CITYSCAPES19) == ((0, 1), (13,), ())
    assert space.relabel(np.array([1, 13, 10, 255], np.uint8), CITYSCAPES19).tolist() == [0, 1, 255, 255]
    assert not space.is_part_of(CITYSCAPES19)
    assert SYNTHIA16.is_part_of(CITYSCAPES19)


def test_stored_values_and_colours_become_labels() -> None:
    space = LabelSpace.parse(THREE, where="")
    assert space.from_values(np.array([[7, 8, 26, 2, 9, 255]], np.uint8), source="x").tolist() == [
        [0, 0, 1, 2, 255, 255]
    ]
    pixels = np.array([[[128, 64, 128], [0, 0, 142], [0, 0, 0], [255, 255, 255]]], np.uint8)
    assert space.from_colours(pixels, source="x").tolist() == [[0, 1, IGNORE, IGNORE]]
    with pytest.raises(
        LabelError, match=r"values 5 \(2 pixels\), 30 \(1 pixels\) in x.json; .* The nearest to 5 is 7, 'ground'"
    ):
        space.from_values(np.array([[5, 5, 30, 7]], np.uint8), source="x.json")
    pixels[0, :3] = (128, 64, 120)
    with pytest.raises(
        LabelError, match=r"1 colours in a.png .* 3 of 4 pixels: #804078 \(3 pixels, nearest is 'ground', #8"
    ):
        space.from_colours(pixels, source="a.png")


def test_there_may_be_255_classes_and_each_has_a_colour_of_its_own() -> None:
    space = LabelSpace.parse({"name": "many", "classes": [{"name": f"class {n}"} for n in range(255)]}, where="")
    assert len(set(space.colours)) == space.count == 255
    labels = np.arange(256, dtype=np.uint8)[None]
    assert (space.from_values(labels, source="") == labels).all()
    painted = space.colourise(labels)
    assert (space.from_colours(painted, source="") == labels).all()


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (three(classes=THREE["classes"][:1]), "classes is"),
        (three(classes=[{"name": f"{n}"} for n in range(256)]), "at most 255"),
        (three(classes=class_list({}, {"values": [8]}, {})), "more than one class has the value 8"),
        (three(classes=class_list({}, {"name": "ground"}, {})), "more than one class is called 'ground'"),
        (three(classes=class_list({}, {"colour": "#804080"}, {})), "more than one class has the colour #804080"),
        (three(classes=class_list({}, {"members": {"cityscapes19": ["road"]}}, {})), "made of cityscapes19's 'road'"),
        (three(ignore=[26]), "the value 26 belongs to a class and is also ignored"),
        (three(ignore_colours=["#804080"]), "the colour #804080 belongs to a class and is also ignored"),
        (three(name="Mine!"), "name is 'Mine!'"),
        (three(colours=3), "unknown key 'colours'"),
        (
            three(classes=class_list({"colour": "red"}, {}, {})),
            r"classes\.0\.colour is 'red': expected a colour such as",
        ),
    ],
)
def test_a_file_that_is_wrong_is_refused_in_a_sentence(values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(LabelError, match=f"mine.toml: .*{sentence}"):
        LabelSpace.parse(values, where="mine.toml")


def test_files_that_are_none_and_names_that_are_taken(tmp_path: Path) -> None:
    with pytest.raises(LabelError, match=r"no label space 'voc'\. Name one of camvid11"):
        label_space("voc")
    with pytest.raises(LabelError, match=r"missing\.toml cannot be read as TOML"):
        label_space(tmp_path / "missing.toml")
    (tmp_path / "broken.toml").write_text("name = ", encoding="utf-8")
    with pytest.raises(LabelError, match=r"broken\.toml cannot be read as TOML"):
        label_space(tmp_path / "broken.toml")
    (tmp_path / "list.json").write_text("[1]", encoding="utf-8")
    with pytest.raises(LabelError, match="contains a list"):
        label_space(tmp_path / "list.json")
    (tmp_path / "taken.json").write_text(json.dumps(three(name="camvid11")), encoding="utf-8")
    with pytest.raises(LabelError, match="'camvid11' is already the name of one"):
        label_space(tmp_path / "taken.json")
    strange = LabelSpace.parse(three(classes=class_list({"members": {"cityscapes19": ["street"]}}, {}, {})), where="")
    with pytest.raises(LabelError, match=re.escape("cityscapes19's class 'street', which cityscapes19 does not have")):
        strange.members_in(CITYSCAPES19)


def test_label_ids_round_trip() -> None:
    train_ids = np.arange(19, dtype=np.uint8)
    assert (train_ids_from_label_ids(label_ids_from_train_ids(train_ids)) == train_ids).all()
    unlabelled = np.array([0, 1, 6, 9, 10, 29, 30, 255], np.uint8)
    assert (train_ids_from_label_ids(unlabelled) == 255).all()
    assert len(TRAIN_ID_OF_LABEL_ID) == 19


def test_foreign_values_are_named() -> None:
    CITYSCAPES19.check(np.array([0, 18, 255], np.uint8))
    with pytest.raises(LabelError, match="values 19, 40 in truth"):
        CITYSCAPES19.check(np.array([40, 19], np.uint8), source="truth")
