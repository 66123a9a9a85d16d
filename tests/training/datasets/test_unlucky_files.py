"""Data sets as unlucky people have them: turned photos, linked folders, odd names, what systems leave beside files."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sim2street.models.errors import DatasetError, LabelError
from sim2street.models.labels import CAMVID11, CITYSCAPES19, label_ids_from_train_ids
from sim2street.models.photo import UPRIGHT_TRANSPOSITION
from sim2street.models.storage.catalog import FOLDERS_VARIABLE, catalog
from sim2street.training.cli import main
from sim2street.training.datasets import open_dataset
from sim2street.training.datasets.inspection import inspect_dataset
from sim2street.training.datasets.listing import warn_once
from sim2street.training.datasets.street_scenes import render
from sim2street.training.predict import photos_of
from tests.training.datasets.test_readers import TREES, build_gta5, build_photos, save_labels, save_photo

APPLE = b"\0\5\x16\7\0\2\0\0Mac OS X        " + bytes(82)
FOLDERS = [name for name in TREES if name != "street_scenes"]


@pytest.fixture(autouse=True)
def unsaid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sim2street.training.datasets.listing._SAID", set())


def litter(root: Path) -> None:
    """What macOS, Windows, Synology and Jupyter leave in and below a folder."""
    for folder in [root, *(path for path in root.rglob("*") if path.is_dir())]:
        for path in list(folder.iterdir()):
            if path.is_file():
                (folder / f"._{path.name}").write_bytes(APPLE)
                for hidden in ("__MACOSX", ".ipynb_checkpoints", "@eaDir"):
                    (folder / hidden).mkdir(exist_ok=True)
                    (folder / hidden / path.name).write_bytes(APPLE)
        for name in ("Thumbs.db", ".DS_Store", "desktop.ini", "ehthumbs.db"):
            (folder / name).write_bytes(APPLE)


@pytest.mark.parametrize("name", FOLDERS)
def test_what_systems_leave_beside_files_is_no_data(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    options = TREES[name](tmp_path)
    keys = open_dataset(name, **options).keys
    said = caplog.text
    litter(tmp_path)
    dataset = open_dataset(name, **options)
    assert dataset.keys == keys
    assert caplog.text == said
    for index in range(len(dataset)):
        dataset.read_photo(index)


@pytest.mark.parametrize("name", [name for name in FOLDERS if name not in ("camvid", "photos", "folder")])
def test_suffixes_in_capitals_are_known(name: str, tmp_path: Path) -> None:
    options = TREES[name](tmp_path)
    before = open_dataset(name, **options)
    keys, labels = before.keys, before.read(0).labels
    for path in [path for path in tmp_path.rglob("*") if path.suffix in (".png", ".jpg")]:
        path.rename(path.with_suffix(path.suffix.upper()))
    after = open_dataset(name, **options)
    assert sorted(after.keys) == sorted(keys)
    assert (after.read(after.keys.index(keys[0])).labels == labels).all()


@pytest.mark.parametrize("name", ["cityscapes", "idd", "acdc", "foggy_cityscapes", "photos", "folder"])
def test_linked_folders_are_followed(name: str, tmp_path: Path) -> None:
    options = TREES[name](tmp_path / "tree")
    keys = open_dataset(name, **options).keys
    inner = [
        path for path in (tmp_path / "tree").rglob("*") if path.is_dir() and not any(p.is_dir() for p in path.iterdir())
    ]
    for number, folder in enumerate(inner):
        folder.rename(tmp_path / f"disk{number}")
        folder.symlink_to(tmp_path / f"disk{number}")
    assert open_dataset(name, **options).keys == keys


def test_links_in_circles_end_and_each_folder_counts_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folders = [tmp_path / "root" / f"f{number}" for number in range(8)]
    for number, folder in enumerate(folders):
        save_photo(folder / "x.png", number)
    for folder in folders:
        for other in folders:
            (folder / f"to_{other.name}").symlink_to(other)
        (folder / "up").symlink_to(tmp_path / "root")
    assert len(open_dataset("photos", tmp_path / "root")) == 8
    assert "a link to a folder that is already listed" in caplog.text


def test_what_is_left_out_is_counted_and_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    build_photos(tmp_path)
    count = len(open_dataset("photos", tmp_path))
    caplog.clear()
    for name in ("a.heic", "b.heic", "notes.txt", ".hidden.jpg"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "gone.jpg").symlink_to(tmp_path / "nowhere.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "new.jfif").write_bytes((tmp_path / "a.JPG").read_bytes())
    for _ in range(3):
        assert len(open_dataset("photos", tmp_path)) == count + 1
    (said,) = [record.message for record in caplog.records]
    assert "6 below" in said
    for words in (
        "2 with the suffix .heic",
        "1 with the suffix .txt",
        "1 hidden",
        "a broken link",
        "neither a file nor a folder",
    ):
        assert words in said
    (part,) = inspect_dataset("photos", tmp_path)
    assert any("2 with the suffix .heic" in remark for remark in part.remarks)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may open every folder")
def test_a_folder_that_cannot_be_opened_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    build_photos(tmp_path)
    (tmp_path / "locked").mkdir(mode=0)
    open_dataset("photos", tmp_path)
    assert "cannot be opened (Permission denied)" in caplog.text


def test_pictures_that_a_layout_does_not_know_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    build_gta5(tmp_path)
    save_photo(tmp_path / "images" / "00009.jpg", 1)
    save_photo(tmp_path / "images" / "more" / "00010.png", 1)
    assert len(open_dataset("gta5", tmp_path)) == 3
    assert "2 not named *.png like this data set's photos" in caplog.text
    for path in (tmp_path / "images").glob("*.png"):
        path.unlink()
    with pytest.raises(DatasetError, match=r"2 not named .*00009\.jpg"):
        open_dataset("gta5", tmp_path)


def test_every_unreadable_file_is_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    build_photos(tmp_path)
    for number in range(12):
        (tmp_path / f"broken{number:02d}.jpg").write_bytes(b"no picture")
    assert main(["datasets", "check", "photos", "--root", str(tmp_path)]) == 2
    assert "12 of them cannot be used" in capsys.readouterr().out


def turn(photo: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    with Image.open(photo) as image:
        image.load()
    image.save(photo, exif=exif.tobytes())


@pytest.mark.parametrize("name", ["cityscapes", "gta5", "acdc", "idd", "camvid", "synthia", "folder"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_labels_turn_with_their_photo_in_every_reader(name: str, orientation: int, tmp_path: Path) -> None:
    options = TREES[name](tmp_path)
    before = open_dataset(name, **options)
    labels = before.read(0).labels
    turn(before.photos[0], orientation)  # type: ignore[attr-defined]
    dataset = open_dataset(name, **options)
    if orientation in (2, 3, 4):
        with pytest.raises(LabelError, match="unclear on which"):
            dataset.read(0)
        return
    turned = (
        np.asarray(Image.fromarray(labels).transpose(UPRIGHT_TRANSPOSITION[orientation]))
        if orientation != 1
        else labels
    )
    sample = dataset.read(0)
    assert sample.photo.shape[:2] == sample.labels.shape
    assert (sample.labels == turned).all()
    part = inspect_dataset(name, options["root"], options.get("split") or dataset.split)[0]  # type: ignore[attr-defined]
    assert part.turned == (orientation != 1)


@pytest.mark.parametrize("shape", [(48, 40), (24, 24), (40, 24)])
def test_labels_of_another_shape_are_refused(shape: tuple[int, int], tmp_path: Path) -> None:
    build_gta5(tmp_path)
    save_labels(tmp_path / "labels" / "00002.png", np.full(shape, 7), palette=True)
    with pytest.raises(LabelError, match=r"labels/00002\.png measures"):
        open_dataset("gta5", tmp_path).read(1)
    (part,) = inspect_dataset("gta5", tmp_path)
    assert part.unreadable_total == 1


TRUTH = render("game", 5, size=(128, 64)).labels


def as_label_ids(labels: np.ndarray) -> np.ndarray:
    return label_ids_from_train_ids(labels)


def as_train_ids(labels: np.ndarray) -> np.ndarray:
    return labels


def as_camvid(labels: np.ndarray) -> np.ndarray:
    merged = CAMVID11.relabel(labels, CITYSCAPES19)
    return np.where(merged == 255, 11, merged)


def few_label_ids(labels: np.ndarray) -> np.ndarray:
    """Label ids of road, sidewalk and building alone, all of which are train ids too."""
    return np.resize(np.array([7, 7, 8, 11], np.uint8), labels.shape)


@pytest.mark.parametrize(
    ("name", "stored", "suspected"),
    [
        ("cityscapes", as_label_ids, None),
        ("cityscapes", as_train_ids, "train ids"),
        ("cityscapes", as_camvid, "CamVid"),
        ("gta5", as_label_ids, None),
        ("gta5", as_train_ids, "train ids"),
        ("folder", as_train_ids, None),
        ("folder", few_label_ids, "label ids"),
        ("folder", as_camvid, "CamVid"),
        ("idd", as_camvid, "CamVid"),
        ("camvid", as_camvid, None),
    ],
)
def test_another_numbering_is_suspected_and_said(
    name: str,
    stored: Callable[[np.ndarray], np.ndarray],
    suspected: str | None,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    options = TREES[name](tmp_path)
    for index, label_image in enumerate(open_dataset(name, **options).label_images):  # type: ignore[attr-defined]
        labels = (
            np.asarray(render("game", index, size=(40, 24 + 8)).labels)[:24]
            if stored is not few_label_ids
            else TRUTH[:24, :40]
        )
        save_labels(label_image, stored(labels))
    caplog.clear()
    open_dataset(name, **options)
    main(
        [
            "datasets",
            "check",
            name,
            "--root",
            str(options["root"]),
            "--split",
            options.get("split", ".") if name != "gta5" else "all",
        ]
    )
    checked = capsys.readouterr().out
    if suspected is None:
        assert "look like" not in caplog.text + checked
    else:
        for said in (caplog.text, checked):
            assert "look like" in said
            assert suspected in said.partition("look like")[2]


def test_values_of_another_numbering_are_refused_with_the_way_out(tmp_path: Path) -> None:
    options = TREES["folder"](tmp_path)
    save_labels(tmp_path / "labels" / "a.png", np.full((24, 40), 26))
    with pytest.raises(LabelError, match=r"values 26 .*They fit Cityscapes label ids"):
        open_dataset("folder", **options).read(0)
    assert CITYSCAPES19.count == 19


def test_predict_takes_folders(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    build_photos(tmp_path / "photos")
    litter(tmp_path / "photos")
    (tmp_path / "photos" / "c.heic").write_bytes(b"x")
    assert len(photos_of([str(tmp_path / "photos"), "other.jpg"])) == 4
    assert "1 with the suffix .heic" in caplog.text


def test_litter_among_checkpoints_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("__MACOSX", ".ipynb_checkpoints", "._good"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "config.json").write_text(json.dumps({}))
    monkeypatch.setenv(FOLDERS_VARIABLE, str(tmp_path))
    assert not {"__MACOSX", ".ipynb_checkpoints", "._good"} & {entry.name for entry in catalog(wait=False)}


def test_a_sentence_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            warn_once("the same")
    assert len(caplog.records) == 1
