"""The whole story of five classes of one's own: from a folder with coloured labels to a checkpoint, by commands alone."""

from __future__ import annotations

import io
import json
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sim2street.app.content.common_classes import in_common_classes
from sim2street.app.content.comparison import Comparison, compare
from sim2street.app.content.engine import Engine, Settings
from sim2street.app.content.exports import archive
from sim2street.app.content.gallery import Scene, photo_set_scene
from sim2street.models.label_space import LabelSpace
from sim2street.models.labels import CITYSCAPES19
from sim2street.models.photo import Photo
from sim2street.models.storage.catalog import SHIPPED, find_checkpoint
from sim2street.models.storage.checkpoint import Checkpoint
from sim2street.training.cli import main
from sim2street.training.config import load_recipe
from sim2street.training.datasets import open_dataset
from sim2street.training.selection import predicted_space
from tests.hub_server import HubServer

COLOURS = ("#804080", "#46823c", "#00008e", "#dc143c", "#4682b4")
NAMES = ("ground", "green", "vehicle", "person", "sky")
DOCUMENTED = Path(__file__).parents[2] / "docs/own_data.md"
ADAPT = """
base = "try_one_minute"
title = "Five classes, adapted"
method = "daformer"
steps = 2
batch = 2
evaluate_every = 0
sampling = "rare_class"
rare_class = {{ minimum_pixels = 100, crop_pixels = 0 }}
licence = "apache-2.0"
target_transform = {{ crop = [64, 48] }}
source_transform = {{ crop = [64, 48] }}
method_options = {{ distance = "none", ignore_top = 0, ignore_bottom = 0 }}

[[sources]]
dataset = "folder"
root = "{root}"
split = "synthetic"

[target]
dataset = "folder"
root = "{root}"
split = "real"

[[evaluations]]
dataset = "folder"
root = "{root}"
split = "real"
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve pictures of blocks in five colours, a brighter half of them as the target."""
    folder = tmp_path_factory.mktemp("five")
    generator = np.random.default_rng(0)
    palette = np.array([list(bytes.fromhex(colour[1:])) for colour in COLOURS], np.uint8)
    for split, light in (("synthetic", 0), ("real", 40)):
        for kind in ("images", "labels"):
            (folder / kind / split).mkdir(parents=True)
        for number in range(6):
            labels = generator.integers(0, 5, (3, 4)).repeat(20, 0).repeat(20, 1)
            labels[:20, :20], labels[20:40, :20] = 0, 1
            painted = palette[labels]
            Image.fromarray(painted).save(folder / "labels" / split / f"{number}.png")
            Image.fromarray(np.clip(painted.astype(int) + light, 0, 255).astype(np.uint8)).save(
                folder / "images" / split / f"{number}.png"
            )
    return folder


def test_five_classes_go_from_a_folder_to_an_adapted_checkpoint_that_carries_them(
    root: Path, tmp_path: Path, hub: HubServer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["datasets", "check", "folder", "--root", str(root), "--write"]) == 0
    data = root / "data.toml"
    text = data.read_text(encoding="utf-8")
    for colour, name in zip(sorted(COLOURS), (NAMES[COLOURS.index(each)] for each in sorted(COLOURS)), strict=True):
        number = sorted(COLOURS).index(colour)
        text = text.replace(f'"class {number}"', f'"{name}"')
    data.write_text(re.sub(r'name = "five\w*"', 'name = "five"', text), encoding="utf-8")

    recipe = tmp_path / "mine.toml"
    recipe.write_text(ADAPT.format(root=root.as_posix()), encoding="utf-8")
    run = tmp_path / "run"
    assert main(["train", str(recipe), "--out", str(run)]) == 0
    checkpoint = Checkpoint.open(run / "checkpoint")
    space = checkpoint.config.space
    assert set(space.names) == set(NAMES)
    assert checkpoint.load().labels.count == 5
    assert "Predicts the 5 classes of five" in (run / "checkpoint" / "README.md").read_text(encoding="utf-8")

    data.rename(root / "elsewhere.toml")  # a checkpoint needs no folder to know its classes
    again = Checkpoint.open(run / "checkpoint")
    assert again.config.space == checkpoint.config.space
    (root / "elsewhere.toml").rename(data)

    figures = tmp_path / "figures.json"
    scored = ["evaluate", "--dataset", "folder", "--root", str(root), "--split", "real", "--json", str(figures)]
    assert main([*scored, "--checkpoint", str(run)]) == 0
    report = json.loads(figures.read_text(encoding="utf-8"))[str(run)]
    assert (report["label_space"], report["images"], set(report["iou_per_class"])) == ("five", 6, set(NAMES))
    assert main([*scored, "--checkpoint", "source_only_game"]) == 2
    assert "cannot be merged into the 5 of five. Add members" in capsys.readouterr().err

    out = tmp_path / "predicted"
    photo = str(root / "images" / "real" / "0.png")
    assert main(["predict", photo, "--checkpoint", str(run), "--out", str(out)]) == 0
    summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    assert set(summary[photo]["checkpoints"][str(run)]["class_shares"]) == set(NAMES)

    photos = str(root / "images" / "real")
    adapted = tmp_path / "adapted"
    assert main(["adapt", str(run), photos, "--method", "tent", "--labelled", str(root), "--out", str(adapted)]) == 0
    assert Checkpoint.open(adapted).config.space == space
    assert Checkpoint.open(adapted).metrics[f"folder/{root.name}"]["label_space"] == "five"
    sure = tmp_path / "sure"
    assert main(["export-pseudo-labels", str(run), photos, "--threshold", "0.21", "--out", str(sure)]) == 0
    again = open_dataset("folder", sure)
    assert again.labels.names == space.names
    assert set(np.unique(again.read(0).labels)) <= {0, 1, 2, 3, 4, 255}
    assert (again.read(0).labels != 255).any()

    shown = compared([checkpoint, Checkpoint.open(SHIPPED / "source_only_game")], root)
    five, nineteen = shown.entrants
    assert "each has its own legend" in shown.bundle["answer"]
    assert [entry["name"] for entry in shown.bundle["classes"]][:5] == [f"{name} (five)" for name in space.names]
    assert nineteen.score is None
    assert nineteen.reading.pane.labels.min() >= 5, "its classes come after those of the ground truth"
    assert five.score is not None
    assert len(five.score.iou) == 5 + 19
    assert shown.bundle["disagreement"] is None
    alone = compared([checkpoint], root)
    assert [entry["name"] for entry in alone.bundle["classes"]] == list(space.names)
    assert alone.entrants[0].score is not None
    with zipfile.ZipFile(io.BytesIO(archive(alone.scene.photo, alone.entrants))) as files:
        stored = Image.open(io.BytesIO(files.read("run_labels.png")))
        assert stored.mode == "P"
        assert stored.getpalette()[:15] == [value for colour in space.colours for value in colour]
        assert "0 " + space.names[0] in files.read("README.txt").decode()

    both = compared([checkpoint, Checkpoint.open(adapted)], root)
    assert [entrant.score is not None for entrant in both.entrants] == [True, True]

    assert main(["publish", str(adapted), "maker/five_adapted"]) == 0
    assert find_checkpoint("maker/five_adapted").config.method == "tent"
    assert main(["publish", str(run), "maker/five"]) == 0
    assert find_checkpoint("maker/five").config.space == space


def compared(checkpoints: list[Checkpoint], root: Path) -> Comparison:
    """The first photo of the folder, read by all."""
    scene = photo_set_scene(open_dataset("folder", root, "real"), 0)
    *_, state = compare(Engine(), scene, checkpoints, checkpoints, Settings(), "visitor")
    return state


def test_the_network_predicts_the_classes_of_the_recipe(root: Path, tmp_path: Path) -> None:
    (tmp_path / "two.toml").write_text(
        'name = "two"\n[[classes]]\nname = "road"\nmembers = { cityscapes19 = ["road"] }\n[[classes]]\nname = "car"\n',
        encoding="utf-8",
    )
    assert predicted_space(load_recipe("try_one_minute")) == CITYSCAPES19
    assert predicted_space(load_recipe("try_one_minute", [f"labels={tmp_path / 'two.toml'}"])).names == ("road", "car")
    assert predicted_space(load_recipe("try_one_minute", ["labels=camvid11"])).count == 11


def test_checkpoints_of_two_spaces_are_shown_in_the_one_that_both_merge_into() -> None:
    groups = (CITYSCAPES19.names[:10], CITYSCAPES19.names[10:])
    classes = [
        {"name": name, "members": {"cityscapes19": list(group)}}
        for name, group in zip(("stuff", "rest"), groups, strict=True)
    ]
    two = LabelSpace.parse({"name": "two", "classes": classes}, where="two")
    scene = Scene(Photo(np.zeros((2, 2, 3), np.uint8), "x", "y"), truth=np.array([[0, 12], [255, 9]], np.uint8))

    shown = in_common_classes(scene, [CITYSCAPES19, two])
    assert shown.space == two
    assert shown.truth is not None
    assert shown.truth.tolist() == [[0, 1], [255, 0]]
    assert in_common_classes(scene, [CITYSCAPES19]) is scene
    own = LabelSpace.parse({"name": "own", "classes": [{"name": "a"}, {"name": "b"}]}, where="own")
    assert in_common_classes(scene, [own, CITYSCAPES19]) is scene


def test_the_documented_folder_and_recipe_are_valid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, recipe = re.findall(r"```toml\n(.+?)```", DOCUMENTED.read_text(encoding="utf-8"), re.DOTALL)
    for split in ("train", "val"):
        for kind, name in (("images", "1.jpg"), ("labels", "1.png")):
            place = tmp_path / "my_streets" / kind / split
            place.mkdir(parents=True)
            Image.fromarray(np.full((32, 64), 7, np.uint8)).save(place / name)
    (tmp_path / "my_streets/data.toml").write_text(data, encoding="utf-8")
    (tmp_path / "mine.toml").write_text(recipe, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    config = load_recipe("mine.toml")
    assert predicted_space(config).names == ("ground", "vehicle")
    assert (open_dataset("folder", "my_streets", "val").read(0).labels == 0).all()
