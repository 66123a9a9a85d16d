"""`sim2street datasets check` on trees with holes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sim2street.models.errors import DatasetError
from sim2street.training.cli import main
from sim2street.training.datasets.inspection import inspect_dataset
from tests.training.datasets.test_readers import (
    TREES,
    build_acdc,
    build_cityscapes,
    build_gta5,
    save_labels,
    save_photo,
    stripes,
)


def test_parts_shares_and_sizes(tmp_path: Path) -> None:
    build_cityscapes(tmp_path)
    train, val, test = inspect_dataset("cityscapes", tmp_path)
    assert (train.photos, train.labelled, train.problem, train.inspected) == (3, True, None, 3)
    assert train.sizes == {"40x24": 3}
    # Five stripes in turn: road, car, none, bicycle, none.
    assert {name: share for name, share in train.shares.items() if share} == pytest.approx(
        {"road": 1 / 3, "car": 1 / 3, "bicycle": 1 / 3}
    )
    assert train.ignored == pytest.approx(0.4)
    assert val.photos == test.photos == 0
    assert val.problem is not None
    assert "leftImg8bit/val" in val.problem
    assert "Register" not in val.problem


def test_photos_without_labels_are_counted(tmp_path: Path) -> None:
    build_acdc(tmp_path)
    next((tmp_path / "gt" / "night").rglob("*.png")).unlink()
    (part,) = inspect_dataset("acdc", tmp_path, "train")
    assert (part.photos, part.labelled, part.shares) == (3, False, {})
    assert part.problem is not None
    assert "1 of 3 label images" in part.problem


def test_odd_and_damaged_files(tmp_path: Path) -> None:
    build_gta5(tmp_path)
    save_photo(tmp_path / "images" / "00001.png", 5, size=(80, 48))
    (tmp_path / "images" / "00003.png").write_bytes(b"no picture")
    save_labels(tmp_path / "labels" / "00002.png", stripes(7, 99))
    (part,) = inspect_dataset("gta5", tmp_path)
    assert part.resized == 1
    assert part.sizes == {"80x48": 1, "40x24": 1}
    assert len(part.unreadable) == part.unreadable_total == 2
    assert "99" in part.unreadable[0]
    assert "00003.png" in part.unreadable[1]


def test_only_some_pictures_are_opened(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    options = TREES["synthia"](tmp_path)
    (part,) = inspect_dataset("synthia", options["root"], images=2, progress=lambda *step: seen.append(step))
    assert (part.photos, part.inspected, seen) == (3, 2, [(1, 2), (2, 2)])
    assert inspect_dataset("synthia", options["root"], images=0)[0].inspected == 3


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    build_gta5(tmp_path)
    out = tmp_path / "findings" / "gta5.json"
    assert main(["datasets", "check", "gta5", "--root", str(tmp_path), "--json", str(out)]) == 0
    said = capsys.readouterr().out
    assert "all: 3 photos, labelled" in said
    assert "road 50.00, car 50.00; 50.0 carry no class" in said
    assert "in none of these pictures: sidewalk" in said
    assert json.loads(out.read_text())["all"]["photos"] == 3
    assert main(["datasets", "check", "cityscapes", "--root", str(tmp_path)]) == 2
    assert "No photo of cityscapes 'train'" in capsys.readouterr().out
    assert main(["datasets", "check", "gta5", "--root", str(tmp_path / "no")]) == 2
    assert "found nothing" in capsys.readouterr().err
    with pytest.raises(
        DatasetError, match="no data set 'street_scenes' that is stored as files; known are gta5, synthia"
    ):
        inspect_dataset("street_scenes")
