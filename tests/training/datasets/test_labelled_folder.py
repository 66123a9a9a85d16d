from __future__ import annotations

import tomllib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sim2street.models.errors import ConfigError, DatasetError, LabelError
from sim2street.training.cli import main
from sim2street.training.datasets import open_dataset
from sim2street.training.datasets.data_file_draft import look_at
from sim2street.training.datasets.labelled_folder import LabelledFolder

DATA = """
read_by = "{by}"
{more}
[label_space]
name = "own"
[[label_space.classes]]
name = "ground"
colour = "#804080"
values = [7]
[[label_space.classes]]
name = "vehicle"
colour = "#00008e"
values = [26]
"""


def save(path: Path, pixels: np.ndarray | int = 90) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(pixels, int):
        pixels = np.full((20, 30, 3), pixels, np.uint8)
    Image.fromarray(pixels).save(path)


def values(*stored: int) -> np.ndarray:
    return np.resize(np.array(stored, np.uint8), (20, 30))


def colours(*stored: tuple[int, int, int]) -> np.ndarray:
    return np.resize(np.array(stored, np.uint8), (20, 30, 3))


GROUND, VEHICLE, BLACK = (128, 64, 128), (0, 0, 142), (0, 0, 0)


def describe(root: Path, *, by: str = "auto", more: str = "") -> None:
    (root / "data.toml").write_text(DATA.format(by=by, more=more), encoding="utf-8")


@pytest.mark.parametrize(
    "places",
    [("images/train/a.jpg", "labels/train/a.png"), ("train/images/a.jpg", "train/labels/a.png")],
)
def test_photos_and_labels_meet_at_any_depth_and_a_split_is_a_folder(tmp_path: Path, places: tuple[str, str]) -> None:
    describe(tmp_path)
    save(tmp_path / places[0])
    save(tmp_path / places[1], values(7, 26, 255))
    save(tmp_path / places[0].replace("train", "val"))
    save(tmp_path / places[1].replace("train", "val"), colours(VEHICLE, BLACK))
    every = open_dataset("folder", tmp_path)
    assert every.keys == ("train/a", "val/a")
    assert every.labels.names == ("ground", "vehicle")
    assert np.unique(every.read(0).labels).tolist() == [0, 1, 255]
    val = open_dataset("folder", tmp_path / "data.toml", "val")
    assert val.keys == ("val/a",)
    assert np.unique(val.read_labels(0)).tolist() == [1, 255]
    assert val.slug.endswith("_val")
    assert val.fingerprint() != every.fingerprint()
    with pytest.raises(DatasetError, match="No photo of folder 'test' was found"):
        open_dataset("folder", tmp_path, "test")


def test_suffixes_list_files_and_names_alone(tmp_path: Path) -> None:
    more = 'images = "leftImg8bit"\nlabels = "gtFine"\nphoto_names = "*_leftImg8bit"\nlabel_names = "*_ids"'
    describe(tmp_path, more=more)
    for name in ("a", "b", "c"):
        save(tmp_path / "leftImg8bit" / f"{name}_leftImg8bit.png")
        save(tmp_path / "gtFine" / "elsewhere" / f"{name}_ids.png", values(7))
        save(tmp_path / "gtFine" / "elsewhere" / f"{name}_instances.png", values(3))
    assert open_dataset("folder", tmp_path).keys == ("a", "b", "c")
    save(tmp_path / "by_hand.png", values(26))
    (tmp_path / "some.txt").write_text("leftImg8bit/c_leftImg8bit.png\n\nb\tby_hand.png\n", encoding="utf-8")
    some = open_dataset("folder", tmp_path, "some")
    assert some.keys == ("c", "b")
    assert [int(some.read_labels(index).max()) for index in range(2)] == [0, 1]
    (tmp_path / "some.txt").write_text("a\nz\n", encoding="utf-8")
    with pytest.raises(DatasetError, match=r"some\.txt, line 2 names z, which does not exist"):
        open_dataset("folder", tmp_path, "some")


def test_partly_labelled_folders_are_read_where_they_are_labelled(tmp_path: Path) -> None:
    describe(tmp_path, more="partly_labelled = true")
    for name in "abc":
        save(tmp_path / "images" / f"{name}.jpg")
    with pytest.raises(DatasetError, match="3 of 3 label images"):
        open_dataset("folder", tmp_path)
    save(tmp_path / "labels" / "b.png", values(7))
    assert open_dataset("folder", tmp_path).keys == ("b",)
    assert open_dataset("folder", tmp_path, labelled=False).keys == ("a", "b", "c")


def test_how_labels_are_read(tmp_path: Path) -> None:
    save(tmp_path / "images" / "a.jpg")
    grey = np.repeat(values(7, 26)[:, :, None], 3, axis=2)
    save(tmp_path / "labels" / "a.png", grey)
    describe(tmp_path, by="value")
    assert np.unique(open_dataset("folder", tmp_path).read_labels(0)).tolist() == [0, 1]
    describe(tmp_path)
    with pytest.raises(LabelError, match=r"colours in .* that belong to no class of own"):
        open_dataset("folder", tmp_path).read_labels(0)
    palette = Image.fromarray(values(0, 1))
    palette.putpalette([*VEHICLE, *GROUND] + [0] * 762)
    palette.save(tmp_path / "labels" / "a.png")
    describe(tmp_path, by="colour")
    assert open_dataset("folder", tmp_path).read_labels(0)[0, :2].tolist() == [1, 0]
    save(tmp_path / "labels" / "a.png", colours(GROUND, VEHICLE))
    describe(tmp_path, by="value")
    with pytest.raises(LabelError, match='contains colours; read_by = "value" expects'):
        open_dataset("folder", tmp_path).read_labels(0)


def test_what_does_not_fit_is_said(tmp_path: Path) -> None:
    describe(tmp_path)
    save(tmp_path / "images" / "a.jpg")
    save(tmp_path / "labels" / "a.png", values(7))
    save(tmp_path / "labels" / "a.bmp", values(7))
    with pytest.raises(DatasetError, match=r"two label images named a, labels/a\.bmp and labels/a\.png"):
        open_dataset("folder", tmp_path)
    assert len(open_dataset("folder", tmp_path, labelled=False)) == 1
    (tmp_path / "data.toml").write_text("label_spce = 1", encoding="utf-8")
    with pytest.raises(ConfigError, match="did you mean 'label_space'"):
        open_dataset("folder", tmp_path)
    (tmp_path / "data.toml").write_text('label_space = "voc"', encoding="utf-8")
    with pytest.raises(LabelError, match="no label space 'voc'"):
        open_dataset("folder", tmp_path)


@pytest.mark.parametrize(
    ("classes", "said"),
    [
        (
            'name="a"\nvalues=[1]\n[[label_space.classes]]\nname="b"\nvalues=[1]',
            "label_space: more than one class has the value 1;",
        ),
        (
            'name="a"\nvalues=[-1]\n[[label_space.classes]]\nname="b"',
            "label_space.classes.0.values.0 is -1; expected 0 or more",
        ),
        (
            'name="a"\ncolour="green"\n[[label_space.classes]]\nname="b"',
            "label_space.classes.0.colour is 'green': expected a",
        ),
    ],
)
def test_a_mistake_among_the_classes_is_said_alone(classes: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "data.toml").write_text(f'[label_space]\nname = "mine"\n[[label_space.classes]]\n{classes}\n')
    with pytest.raises(ConfigError) as refused:
        LabelledFolder.space_of(tmp_path, None)
    assert f"data.toml: {said}" in str(refused.value)
    assert "expected a text" not in str(refused.value)
    assert len(str(refused.value)) < len(str(tmp_path)) + 160


def test_a_first_data_file_is_written_and_fits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in "ab":
        save(tmp_path / "imgs" / f"{name}_rgb.jpg")
        save(tmp_path / "masks" / f"{name}_mask.png", colours((1, 2, 3), (200, 10, 10), BLACK))
    assert main(["datasets", "check", "folder", "--root", str(tmp_path), "--write"]) == 0
    said = capsys.readouterr().out
    assert "2 photos in imgs/, 2 label images in masks/, 2 with matching names" in said
    assert "class 0 50.00, class 1 50.00; 33.3 carry no class" in said
    written = tomllib.loads((tmp_path / "data.toml").read_text(encoding="utf-8"))
    assert (written["photo_names"], written["label_names"], written["read_by"]) == ("*_rgb", "*_mask", "colour")
    assert [entry["colour"] for entry in written["label_space"]["classes"]] == ["#010203", "#c80a0a"]
    assert main(["datasets", "check", "folder", "--root", str(tmp_path), "--write"]) == 2
    assert "is there already" in capsys.readouterr().err
    assert main(["datasets", "check", "camvid", "--root", str(tmp_path), "--write"]) == 2


def test_each_label_image_of_a_small_folder_is_counted_once(tmp_path: Path) -> None:
    for name in "abc":
        save(tmp_path / "images" / f"{name}.jpg")
        save(tmp_path / "labels" / f"{name}.png", values(ord(name)))
    done: list[tuple[int, int]] = []
    look_at(tmp_path, progress=lambda *parts: done.append(parts))
    assert done == [(1, 3), (2, 3), (3, 3)]
    look_at(tmp_path, images=2, progress=lambda *parts: done.append(parts))
    assert done[3:] == [(1, 2), (2, 2)]


def test_known_colours_values_and_lossy_files_are_told_apart(tmp_path: Path) -> None:
    for name in "ab":
        save(tmp_path / "images" / f"{name}.jpg")
    save(tmp_path / "labels" / "a.png", colours(GROUND, VEHICLE))
    look = look_at(tmp_path)
    assert 'label_space = "' in look.text
    assert "partly_labelled = true" in look.text
    save(tmp_path / "labels" / "a.png", values(3, 200, 255))
    assert "values = [3]" in look_at(tmp_path).text
    assert "values = [255]" not in look_at(tmp_path).text
    save(tmp_path / "labels" / "a.png", np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8))
    with pytest.raises(LabelError, match="more than 255 colours"):
        look_at(tmp_path)
    with pytest.raises(DatasetError, match="contains no folder of photos"):
        look_at(tmp_path / "labels")
