"""Every data set against one contract on a small tree of its exact layout, then the odd files of each."""

from __future__ import annotations

import os
import pickle
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from sim2street.models.errors import ConfigError, DatasetError, LabelError, Sim2StreetError
from sim2street.models.labels import CITYSCAPES19, IGNORE, train_ids_from_label_ids
from sim2street.training.config import DatasetConfig
from sim2street.training.datasets import DATASETS, open_dataset
from sim2street.training.datasets.rendered import StreetScenes
from sim2street.training.datasets.stored import cache_dataset
from sim2street.training.datasets.writer import MANIFEST, write_street_scenes

WIDTH, HEIGHT = 40, 24
COUNT = 3


def save_photo(path: Path, brightness: int, size: tuple[int, int] = (WIDTH, HEIGHT)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (brightness, 0, 0)).save(path)


def save_labels(path: Path, values: np.ndarray, *, palette: bool = False) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(values.astype(np.uint8))
    if palette:
        image = image.convert("P")
        image.putdata(values.ravel().tolist())
        # Colours that are no label: reading them instead of the index would show at once.
        image.putpalette([200] * 768)
    image.save(path)


def stripes(*values: int) -> np.ndarray:
    return np.repeat(np.resize(np.array(values, np.uint8), WIDTH)[None], HEIGHT, axis=0)


def build_cityscapes(root: Path, split: str = "train") -> dict[str, Any]:
    for number, city in enumerate(("aachen", "aachen", "zurich")):
        key = f"{city}_{number:06d}_000019"
        save_photo(root / "leftImg8bit" / split / city / f"{key}_leftImg8bit.png", 50 + number)
        folder = root / "gtFine" / split / city
        save_labels(folder / f"{key}_gtFine_labelIds.png", stripes(7, 26, 0, 33, 255))
        save_photo(folder / f"{key}_gtFine_color.png", 0)
    return {"root": root, "split": split}


def build_gta5(root: Path) -> dict[str, Any]:
    for number in range(1, COUNT + 1):
        save_photo(root / "images" / f"{number:05d}.png", 50 + number)
        save_labels(root / "labels" / f"{number:05d}.png", stripes(7, 26, 0, 34), palette=True)
    return {"root": root}


def build_camvid(root: Path) -> dict[str, Any]:
    lines = []
    for number in range(COUNT):
        name = f"0001TP_{number:06d}.png"
        save_photo(root / "train" / name, 50 + number)
        save_labels(root / "trainannot" / name, stripes(0, 3, 10, 11))
        lines.append(f"/SegNet/CamVid/train/{name} /SegNet/CamVid/trainannot/{name}\n")
    (root / "train.txt").write_text("".join(lines))
    return {"root": root, "split": "train"}


def build_photos(root: Path) -> dict[str, Any]:
    save_photo(root / "b.png", 51)
    save_photo(root / "a.JPG", 50)
    save_photo(root / "more" / "c.jpeg", 52)
    (root / "notes.txt").write_text("not a photo")
    return {"root": root}


def build_street_scenes(root: Path) -> dict[str, Any]:
    return {"style": "game", "count": COUNT, "size": (WIDTH * 2, HEIGHT * 2)}


def save_wide_labels(path: Path, values: np.ndarray) -> None:
    """A PNG of 16 bits: class, instance and nothing as red, green and blue."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = np.zeros((*values.shape, 3), np.uint16)
    image[..., 2], image[..., 1] = values, 300  # OpenCV's order is blue, green, red
    assert cv2.imwrite(str(path), image)


def build_synthia(root: Path) -> dict[str, Any]:
    for number in range(COUNT):
        save_photo(root / "RGB" / f"{number:07d}.png", 50 + number)
        save_wide_labels(root / "GT" / "LABELS" / f"{number:07d}.png", stripes(3, 8, 0, 22, 11))
    return {"root": root}


def build_foggy_cityscapes(root: Path) -> dict[str, Any]:
    options = build_cityscapes(root)
    for photo in (root / "leftImg8bit").rglob("*.png"):
        folder = root / "leftImg8bit_foggy" / photo.parent.relative_to(root / "leftImg8bit")
        for density in ("0.02", "0.01", "0.005"):
            save_photo(folder / photo.name.replace(".png", f"_foggy_beta_{density}.png"), round(1000 * float(density)))
    return options


def build_acdc(root: Path) -> dict[str, Any]:
    for number, condition in enumerate(("fog", "night", "snow")):  # rain was not unpacked
        drive = Path(condition) / "train" / "GOPR0475"
        save_photo(root / "rgb_anon" / drive / f"GOPR0475_frame_{number:06d}_rgb_anon.png", 50 + number)
        save_labels(root / "gt" / drive / f"GOPR0475_frame_{number:06d}_gt_labelTrainIds.png", stripes(0, 13, 255, 18))
        save_photo(root / "rgb_anon" / condition / "train_ref" / "GOPR0475" / "x_rgb_ref_anon.png", 9)
    return {"root": root, "split": "train"}


def build_dark_zurich(root: Path) -> dict[str, Any]:
    for number in range(COUNT):
        for light in ("night", "day"):
            name = f"GOPR0356_frame_{number:06d}"
            save_photo(root / "rgb_anon" / "val" / light / "GOPR0356" / f"{name}_rgb_anon.png", 50 + number)
            if light == "night":
                labels = root / "gt" / "val" / light / "GOPR0356" / f"{name}_gt_labelTrainIds.png"
                save_labels(labels, stripes(0, 13, 255, 18))
    return {"root": root, "split": "val"}


def build_idd(root: Path) -> dict[str, Any]:
    for number, (drive, end) in enumerate((("0", "png"), ("1", "png"), ("500", "jpg"))):
        # The same frame number in each drive; the second part of the set is JPEG.
        save_photo(root / "leftImg8bit" / "train" / drive / f"005506_leftImg8bit.{end}", 50 + number)
        labels = root / "gtFine" / "train" / drive / "005506_gtFine_labelcsTrainIds.png"
        save_labels(labels, stripes(0, 13, 255, 18))
    return {"root": root, "split": "train"}


def build_folder(root: Path) -> dict[str, Any]:
    for number, name in enumerate(("a", "below/b", "c")):
        save_photo(root / "images" / f"{name}.jpg", 50 + number)
        save_labels(root / "labels" / f"{name}.png", stripes(0, 13, 255, 18))
    return {"root": root}


TREES: dict[str, Callable[[Path], dict[str, Any]]] = {
    "acdc": build_acdc,
    "camvid": build_camvid,
    "cityscapes": build_cityscapes,
    "dark_zurich": build_dark_zurich,
    "foggy_cityscapes": build_foggy_cityscapes,
    "folder": build_folder,
    "gta5": build_gta5,
    "idd": build_idd,
    "photos": build_photos,
    "street_scenes": build_street_scenes,
    "synthia": build_synthia,
}


@pytest.fixture(params=DATASETS)
def dataset(request: pytest.FixtureRequest, tmp_path: Path):
    return open_dataset(request.param, **TREES[request.param](tmp_path))


def test_contract(dataset):
    assert len(dataset) == len(dataset.keys) == len(set(dataset.keys)) == COUNT
    assert type(dataset) is DATASETS[dataset.name]
    for index, key in enumerate(dataset.keys):
        photo = dataset.read_photo(index)
        assert photo.dtype == np.uint8
        assert photo.ndim == 3
        assert photo.shape[2] == 3
        if dataset.labelled:
            sample = dataset.read(index)
            assert sample.key == key
            assert np.array_equal(sample.photo, photo)
            assert sample.labels.dtype == np.uint8
            assert sample.labels.shape == photo.shape[:2]
            assert np.array_equal(sample.labels, dataset.read_labels(index))
            dataset.labels.check(sample.labels)
        else:
            with pytest.raises(DatasetError, match="without labels"):
                dataset.read(index)
    assert str(len(dataset)) in dataset.describe()
    assert dataset.name in dataset.slug
    with pytest.raises(IndexError):
        dataset.read_photo(COUNT)


def test_contract_of_fingerprint(dataset):
    assert dataset.fingerprint() == dataset.fingerprint() == pickle.loads(pickle.dumps(dataset)).fingerprint()
    if not isinstance(dataset, StreetScenes):
        before = dataset.fingerprint()
        os.utime(dataset.photos[1], ns=(1, 1))
        assert dataset.fingerprint() != before


def test_photos_keep_their_order(tmp_path):
    cityscapes = open_dataset("cityscapes", **build_cityscapes(tmp_path))
    assert cityscapes.keys == ("aachen_000000_000019", "aachen_000001_000019", "zurich_000002_000019")
    assert [int(cityscapes.read_photo(index)[0, 0, 0]) for index in range(3)] == [50, 51, 52]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("cityscapes", [0, 13, 255, 18, 255]),
        ("gta5", [0, 13, 255, 255]),
        ("camvid", [0, 3, 10, 255]),
        ("synthia", [0, 13, 255, 255, 18]),
        ("foggy_cityscapes", [0, 13, 255, 18, 255]),
        ("acdc", [0, 13, 255, 18]),
        ("dark_zurich", [0, 13, 255, 18]),
        ("idd", [0, 13, 255, 18]),
    ],
)
def test_stored_values_become_labels(tmp_path, name, expected):
    labels = open_dataset(name, **TREES[name](tmp_path)).read(0).labels
    assert labels[0, : len(expected)].tolist() == expected


def test_gta5_labels_of_another_size_are_resized(tmp_path):
    options = build_gta5(tmp_path)
    values = np.repeat(np.repeat(np.array([[7, 26]]), 40, axis=1), 48, axis=0)
    save_labels(tmp_path / "labels" / "00002.png", values, palette=True)
    gta5 = open_dataset("gta5", **options)
    assert gta5.read_labels(1).shape == (48, 80)
    labels = gta5.read(1).labels
    assert labels.shape == (HEIGHT, WIDTH)
    assert (labels[:, : WIDTH // 2] == 0).all()
    assert (labels[:, WIDTH // 2 :] == 13).all()


def test_gta5_split_lists_are_honoured(tmp_path):
    build_gta5(tmp_path)
    (tmp_path / "val.txt").write_text("00003.png\n00001\n")
    assert open_dataset("gta5", tmp_path, "val").keys == ("00003", "00001")
    (tmp_path / "val.txt").write_text("00009.png\n")
    with pytest.raises(DatasetError, match=r"1 of 1 photos .*00009\.png"):
        open_dataset("gta5", tmp_path, "val")
    (tmp_path / "val.txt").write_text("\n")
    with pytest.raises(DatasetError, match=r"looked for .*val\.txt"):
        open_dataset("gta5", tmp_path, "val")


@pytest.mark.parametrize(
    ("name", "label_image", "value"),
    [
        ("cityscapes", "gtFine/train/aachen/aachen_000000_000019_gtFine_labelIds.png", 34),
        ("gta5", "labels/00001.png", 35),
        ("camvid", "trainannot/0001TP_000000.png", 12),
        ("acdc", "gt/fog/train/GOPR0475/GOPR0475_frame_000000_gt_labelTrainIds.png", 19),
        ("idd", "gtFine/train/0/005506_gtFine_labelcsTrainIds.png", 26),
    ],
)
def test_foreign_values_are_refused(tmp_path, name, label_image, value):
    options = TREES[name](tmp_path)
    save_labels(tmp_path / label_image, stripes(0, value))
    with pytest.raises(LabelError, match=rf"values {value} in .*{Path(label_image).name}"):
        open_dataset(name, **options).read(0)


def test_coloured_labels_are_refused(tmp_path):
    options = build_gta5(tmp_path)
    save_photo(tmp_path / "labels" / "00001.png", 7)
    with pytest.raises(LabelError, match="colour"):
        open_dataset("gta5", **options).read(0)


@pytest.mark.parametrize(
    ("name", "label_image"),
    [
        ("cityscapes", "gtFine/train/zurich/zurich_000002_000019_gtFine_labelIds.png"),
        ("gta5", "labels/00002.png"),
        ("camvid", "trainannot/0001TP_000001.png"),
        ("synthia", "GT/LABELS/0000001.png"),
        ("acdc", "gt/night/train/GOPR0475/GOPR0475_frame_000001_gt_labelTrainIds.png"),
        ("dark_zurich", "gt/val/night/GOPR0356/GOPR0356_frame_000001_gt_labelTrainIds.png"),
        ("idd", "gtFine/train/1/005506_gtFine_labelcsTrainIds.png"),
    ],
)
def test_a_missing_label_image_is_named_but_not_missed_in_a_target(tmp_path, name, label_image):
    options = TREES[name](tmp_path)
    (tmp_path / label_image).unlink()
    with pytest.raises(DatasetError, match=rf"1 of 3 label images .*{Path(label_image).name}"):
        open_dataset(name, **options)
    target = open_dataset(name, **options, labelled=False)
    assert len(target) == COUNT
    assert target.read_photo(1).shape == (HEIGHT, WIDTH, 3)
    with pytest.raises(DatasetError, match="without labels"):
        target.read_labels(0)


def test_an_unlabelled_folder_needs_no_label_folder(tmp_path):
    save_photo(tmp_path / "leftImg8bit" / "test" / "berlin" / "berlin_000000_000019_leftImg8bit.png", 9)
    assert len(open_dataset("cityscapes", tmp_path, "test", labelled=False)) == 1
    with pytest.raises(DatasetError, match="1 of 1 label images"):
        open_dataset("cityscapes", tmp_path, "test")


@pytest.mark.parametrize("name", [name for name in DATASETS if name != "street_scenes"])
def test_a_missing_root_says_how_to_get_the_set(tmp_path, monkeypatch, name):
    kind = DATASETS[name]
    with pytest.raises(DatasetError) as raised:
        open_dataset(name, tmp_path / "nowhere")
    assert str(tmp_path / "nowhere") in str(raised.value)
    assert kind.how_to_get in str(raised.value)  # type: ignore[attr-defined]
    variable = kind.root_variable  # type: ignore[attr-defined]
    monkeypatch.delenv(variable, raising=False)
    with pytest.raises(DatasetError, match=variable):
        open_dataset(name)
    options = TREES[name](tmp_path)
    monkeypatch.setenv(variable, str(options.pop("root")))
    assert len(open_dataset(name, **options)) == COUNT


@pytest.mark.parametrize(
    ("name", "looked_for"),
    [("cityscapes", r"leftImg8bit/no/\*/\*_leftImg8bit\.png"), ("gta5", r"no\.txt"), ("camvid", r"no\.txt")],
)
def test_a_missing_split_is_named(tmp_path, name, looked_for):
    with pytest.raises(DatasetError, match=looked_for):
        open_dataset(name, **{**TREES[name](tmp_path), "split": "no"})


def test_an_empty_or_broken_list_is_refused(tmp_path):
    options = build_camvid(tmp_path)
    (tmp_path / "train.txt").write_text("\n")
    with pytest.raises(DatasetError, match="No photo"):
        open_dataset("camvid", **options)
    (tmp_path / "train.txt").write_text("train/0001TP_000000.png\n")
    with pytest.raises(DatasetError, match="Line 1"):
        open_dataset("camvid", **options)
    assert len(open_dataset("camvid", **options, labelled=False)) == 1
    (tmp_path / "train.txt").write_text("train/gone.png trainannot/gone.png\n")
    with pytest.raises(DatasetError, match=r"1 of 1 photos .*gone\.png"):
        open_dataset("camvid", **options)


def test_splits_can_be_narrowed_down(tmp_path):
    options = build_acdc(tmp_path / "acdc")
    assert open_dataset("acdc", **{**options, "split": "train/night"}).keys == ("night_GOPR0475_GOPR0475_frame_000001",)
    assert open_dataset("acdc", **{**options, "split": "train/night"}).slug == "acdc_train_night"
    with pytest.raises(DatasetError, match="one of fog, night, rain, snow"):
        open_dataset("acdc", **{**options, "split": "train/hail"})
    with pytest.raises(DatasetError, match=r"rgb_anon/rain/train/\*/\*_rgb_anon"):
        open_dataset("acdc", **{**options, "split": "train/rain"})

    options = build_dark_zurich(tmp_path / "dark")
    day = open_dataset("dark_zurich", **{**options, "split": "val/day"}, labelled=False)
    assert len(day) == COUNT
    with pytest.raises(DatasetError, match="3 of 3 label images"):
        open_dataset("dark_zurich", **{**options, "split": "val/day"})

    options = build_foggy_cityscapes(tmp_path / "foggy")
    for split, brightness in (("train", 20), ("train/0.01", 10), ("train/0.005", 5)):
        foggy = open_dataset("foggy_cityscapes", **{**options, "split": split})
        assert foggy.read_photo(0)[0, 0, 0] == brightness
        assert foggy.keys[0] == "aachen_000000_000019"
    with pytest.raises(DatasetError, match=r"one of 0\.02, 0\.01, 0\.005"):
        open_dataset("foggy_cityscapes", **{**options, "split": "train/0.03"})
    (tmp_path / "foggy" / "leftImg8bit_foggy").rename(tmp_path / "foggy" / "leftImg8bit_foggyDBF")
    assert len(open_dataset("foggy_cityscapes", **options)) == COUNT


def test_synthia_labels_of_another_kind_are_refused(tmp_path):
    options = build_synthia(tmp_path)
    path = tmp_path / "GT" / "LABELS" / "0000000.png"
    for values, words in ((stripes(3, 23), "values 23 in"), (stripes(3).astype(np.uint16) + 300, "the class 303")):
        save_wide_labels(path, values)
        with pytest.raises(LabelError, match=words):
            open_dataset("synthia", **options).read(0)
    save_labels(path, stripes(3))
    with pytest.raises(LabelError, match="three channels of 16 bits"):
        open_dataset("synthia", **options).read(0)
    path.write_bytes(b"no picture")
    with pytest.raises(Sim2StreetError, match=r"0000000\.png is damaged, or not a picture"):
        open_dataset("synthia", **options).read(0)


def test_recipes_know_every_data_set():
    for name in DATASETS:
        assert DatasetConfig.parse({"dataset": name}, where="test").dataset == name
    with pytest.raises(ConfigError, match="nonsense"):
        DatasetConfig.parse({"dataset": "nonsense"}, where="test")


def test_a_damaged_photo_is_named(tmp_path):
    options = build_gta5(tmp_path)
    (tmp_path / "images" / "00002.png").write_bytes(b"no picture")
    with pytest.raises(Sim2StreetError, match=r"images/00002\.png"):
        open_dataset("gta5", **options).read(1)


def test_unknown_names_and_options_are_listed():
    with pytest.raises(ConfigError, match=r"no data set 'kitti'; known are street_scenes, gta5, synthia"):
        open_dataset("kitti")
    with pytest.raises(ConfigError, match="no option root; its options are style"):
        open_dataset("street_scenes", "/somewhere")
    with pytest.raises(ConfigError, match="must be one of game"):
        open_dataset("street_scenes", style="cubist")


def test_a_plain_folder_cannot_be_a_source(tmp_path):
    with pytest.raises(DatasetError, match="only be a target domain"):
        open_dataset("photos", **build_photos(tmp_path), labelled=True)


def test_splits_of_street_scenes_share_no_scene():
    train, val = (StreetScenes(count=5, split=split) for split in ("train", "val"))
    assert not set(train.keys) & set(val.keys)
    with pytest.raises(ConfigError, match="known are train, val"):
        StreetScenes(split="test")


@pytest.mark.parametrize(("name", "value"), [("count", 0), ("start", -1), ("seed", -1), ("size", (64, 4))])
def test_scenes_that_cannot_be_painted_are_refused(name, value):
    with pytest.raises(ConfigError, match=r"must be|expected 1 to"):
        StreetScenes(**{name: value})


@pytest.mark.parametrize("workers", [0, 2])
def test_written_scenes_read_back_as_cityscapes(tmp_path, workers):
    size = (64, 32)
    steps = []
    written = write_street_scenes(
        "fog", 3, size, 7, tmp_path / "out", workers=workers, progress=lambda *step: steps.append(step)
    )
    assert written == 3
    assert steps == [(1, 3), (2, 3), (3, 3)]
    written = open_dataset("cityscapes", tmp_path / "out")
    rendered = StreetScenes("fog", 3, 7, size)
    assert written.keys == rendered.keys == tuple(f"fog_000007_{index:06d}" for index in range(3))
    for index in range(3):
        stored, painted = written.read(index), rendered.read(index)
        assert np.array_equal(stored.photo, painted.photo)
        assert np.array_equal(stored.labels, painted.labels)


def test_writing_goes_on_where_it_stopped(tmp_path):
    settings = {"style": "game", "size": (64, 32), "seed": 0, "out": tmp_path}
    write_street_scenes(count=2, **settings)
    photos = sorted((tmp_path / "leftImg8bit").rglob("*.png"))
    photos[0].unlink()
    kept = photos[1].stat().st_mtime_ns
    assert write_street_scenes(count=3, **settings) == 2
    assert photos[1].stat().st_mtime_ns == kept
    assert write_street_scenes(count=1, start=8, split="val", **settings) == 1
    assert open_dataset("cityscapes", tmp_path, "val").keys == ("game_000000_000008",)
    assert not [path for path in tmp_path.rglob(".*")]


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"style": "rain"}, "style game instead of rain"),
        ({"size": (32, 32)}, "size 64×32 instead of 32×32"),
        ({"seed": 1}, "seed 0 instead of 1"),
    ],
)
def test_scenes_of_other_settings_are_not_mixed(tmp_path, changed, words):
    settings = {"style": "game", "count": 1, "size": (64, 32), "seed": 0, "out": tmp_path}
    write_street_scenes(**settings)
    with pytest.raises(DatasetError, match=words):
        write_street_scenes(**{**settings, **changed})


def test_foreign_folders_are_not_written_into(tmp_path):
    build_cityscapes(tmp_path / "real")
    with pytest.raises(DatasetError, match="not written by this command"):
        write_street_scenes("game", 1, (64, 32), 0, tmp_path / "real")
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / MANIFEST).write_text("{")
    with pytest.raises(DatasetError, match="damaged"):
        write_street_scenes("game", 1, (64, 32), 0, tmp_path / "damaged")
    (tmp_path / "file").write_text("")
    with pytest.raises(DatasetError, match="cannot be written"):
        write_street_scenes("game", 1, (64, 32), 0, tmp_path / "file" / "out")


@pytest.mark.parametrize("name", ["camvid", "street_scenes", "photos"])
def test_a_cached_set_equals_its_origin(tmp_path, name):
    origin = open_dataset(name, **TREES[name](tmp_path / "data" if name != "street_scenes" else tmp_path))
    steps = []
    cached = cache_dataset(origin, folder=tmp_path / "cache", progress=lambda *step: steps.append(step))
    assert steps == [(1, 3), (2, 3), (3, 3)]
    again = pickle.loads(pickle.dumps(cache_dataset(origin, folder=tmp_path / "cache", progress=pytest.fail)))
    for one in (cached, again):
        assert (one.keys, one.labelled, one.name) == (origin.keys, origin.labelled, origin.name)
        assert one.labels.name == origin.labels.name
        for index in range(COUNT):
            assert np.array_equal(one.read_photo(index), origin.read_photo(index))
            if origin.labelled:
                assert np.array_equal(one.read(index).labels, origin.read(index).labels)
    if not origin.labelled:
        with pytest.raises(DatasetError, match="without labels"):
            cached.read_labels(0)


def test_a_truncated_cache_is_written_anew(tmp_path):
    origin = open_dataset("camvid", **build_camvid(tmp_path / "data"))
    cached = cache_dataset(origin, folder=tmp_path / "cache")
    whole = cached.photos.read_bytes()
    for damage in (whole[:-1], b"", b"no numpy file"):
        cached.photos.write_bytes(damage)
        again = cache_dataset(origin, folder=tmp_path / "cache")
        assert bool(again.photos.read_bytes() == whole)
        assert int(again.read_photo(2)[0, 0, 0]) == 52
    assert not [path for path in (tmp_path / "cache").rglob(".*")]


def test_what_a_killed_writer_left_of_a_cache_is_removed(tmp_path):
    origin = open_dataset("camvid", **build_camvid(tmp_path / "data"))
    place = cache_dataset(origin, folder=tmp_path / "cache").photos
    place.unlink()
    dead = subprocess.Popen(["true"])
    dead.wait()
    left, under_way = (place.with_name(f".{place.name}.{process}.partial") for process in (dead.pid, os.getppid()))
    left.write_bytes(b"half")
    under_way.write_bytes(b"another process writes this")
    cache_dataset(origin, folder=tmp_path / "cache")
    assert place.exists()
    assert not left.exists()
    assert under_way.exists()


def test_a_cache_has_one_size(tmp_path):
    options = build_camvid(tmp_path / "data")
    save_photo(tmp_path / "data" / "train" / "0001TP_000001.png", 51, (WIDTH + 8, HEIGHT))
    save_labels(tmp_path / "data" / "trainannot" / "0001TP_000001.png", np.full((HEIGHT, WIDTH + 8), 3))
    origin = open_dataset("camvid", **options)
    with pytest.raises(DatasetError, match=r"0001TP_000001 measures 48×24 pixels, the first photo"):
        cache_dataset(origin, folder=tmp_path / "cache")
    cached = cache_dataset(origin, folder=tmp_path / "cache", size=(20, 12))
    assert cached.read(1).photo.shape == (12, 20, 3)
    assert cached.read(1).labels.shape == (12, 20)


def test_label_ids_of_the_writer_are_those_of_cityscapes():
    assert set(train_ids_from_label_ids(np.arange(34, dtype=np.uint8))) == {*range(CITYSCAPES19.count), IGNORE}


def test_a_labelled_folder_is_read_by_name_and_in_its_label_space(tmp_path: Path) -> None:
    found = open_dataset("folder", **build_folder(tmp_path))
    assert found.keys == ("a", "below/b", "c")
    save_labels(tmp_path / "labels" / "a.png", stripes(0, 6, 255))
    coarse = open_dataset("folder", tmp_path, classes="idd_lite7")
    assert coarse.labels.names[6] == "sky"
    assert set(np.unique(coarse.read(0).labels)) == {0, 6, 255}


def test_a_labelled_folder_trains_as_a_target_without_its_labels(tmp_path: Path) -> None:
    build_folder(tmp_path)
    (tmp_path / "labels" / "a.png").unlink()
    with pytest.raises(
        DatasetError, match=r"1 of 3 label images of folder . are missing.*images/a\.jpg.*partly_labelled = true"
    ):
        open_dataset("folder", tmp_path)
    assert open_dataset("folder", tmp_path, labelled=False).read_photo(0).shape == (HEIGHT, WIDTH, 3)


def test_labels_that_the_space_lacks_and_photos_of_one_name_are_refused(tmp_path: Path) -> None:
    build_folder(tmp_path)
    with pytest.raises(LabelError, match=r"values 13 \(\d+ pixels\), 18 \(\d+ pixels\) in"):
        open_dataset("folder", tmp_path, classes="idd_lite7").read_labels(0)
    save_photo(tmp_path / "images" / "a.png", 9)
    with pytest.raises(DatasetError, match="two photos named a"):
        open_dataset("folder", tmp_path)
    with pytest.raises(LabelError, match="no label space 'nonsense'"):
        open_dataset("folder", tmp_path, classes="nonsense")
