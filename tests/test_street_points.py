"""The points that a person named in photos, and how networks are scored on them."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from benchmarks.street_points import CONDITIONS, POINTS, find_photos, named, share
from sim2street.models.errors import DatasetError
from sim2street.models.labels import CITYSCAPES19


def test_points_are_classes_within_photos() -> None:
    for photo in json.loads(POINTS.read_text()).values():
        assert photo["condition"] in CONDITIONS
        assert len(photo["points"]) >= 20
        for x, y, name in photo["points"]:
            assert 0 < x < 1
            assert 0 < y < 1
            assert name in CITYSCAPES19.names


def test_a_point_counts_if_its_pixel_has_its_class() -> None:
    labels = np.zeros((4, 8), np.uint8)  # road
    labels[3, 7] = CITYSCAPES19.names.index("car")
    photo = {
        "condition": "fog",
        "points": [[0.9, 0.9, "car"], [0.8, 0.9, "car"], [0.1, 0.1, "road"], [0.1, 0.9, "sky"]],
    }
    tally = named(labels, photo)
    assert tally == Counter({("fog", True): 2, ("fog", False): 2})
    assert share(tally, ("fog", "snow")) == "50.0 (4)"
    assert share(tally, ("snow",)) == "–"


def test_photos_are_found_by_name(tmp_path: Path) -> None:
    known = {"a_frame": {}, "b_frame": {}}
    with pytest.raises(DatasetError, match=r"has none of the photos in street_points\.json, such as a_frame\.jpg"):
        find_photos(tmp_path, known)
    (tmp_path / "fog").mkdir()
    for name in ("fog/a_frame.png", "acdc__b_frame.JPG", "c_frame.png"):
        (tmp_path / name).write_bytes(b"")
    assert find_photos(tmp_path, known) == {
        "a_frame": tmp_path / "fog/a_frame.png",
        "b_frame": tmp_path / "acdc__b_frame.JPG",
    }
