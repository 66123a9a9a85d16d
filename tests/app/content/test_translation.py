"""The translated layer: a run of CyCADA with its generator shows its picture, and nothing changes for the rest."""

from __future__ import annotations

import base64
import shutil
from pathlib import Path
from typing import Any

import cv2
import pytest

from sim2street.app.content import panes
from sim2street.app.content.comparison import current_results
from sim2street.app.content.engine import Engine, Settings
from sim2street.app.content.streets import rendered_scene
from sim2street.app.content.translation import JPEG
from sim2street.models.networks.cyclegan import Generator
from sim2street.models.storage.checkpoint import Checkpoint
from sim2street.training.run.extra_networks import save_extra_networks
from sim2street.training.translate import open_generator, translate_photo
from tests.app.conftest import save_tiny
from tests.training.methods.test_methods import PAINTERS
from tests.training.run.test_loop import make_tree, recipe

SCENE = rendered_scene("game", 3)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """What a finished run of CyCADA holds, with random weights."""
    folder = tmp_path / "run"
    save_tiny(folder, "checkpoint", "cycada", "CyCADA", target="street_scenes/fog")
    tree = make_tree(tmp_path / "tree")
    target = {"dataset": "cityscapes", "root": str(tree), "split": "val"}
    config = recipe(tree, "cycada", method_options=PAINTERS, target=target)
    (folder / "config.json").write_text(config.model_dump_json())
    generator = Generator(PAINTERS["generator_width"], PAINTERS["generator_blocks"])
    save_extra_networks({"to_target": generator}, folder)
    return folder


def method_of(run: Path) -> dict[str, Any]:
    """The checkpoint's part of the bundle after it has read the scene."""
    checkpoint, engine = Checkpoint.open(run / "checkpoint"), Engine()
    engine.read(SCENE, checkpoint, Settings(), "visitor")
    state = current_results(engine, SCENE, [checkpoint], [checkpoint], Settings(), "visitor")
    return state.bundle["methods"][0]


def test_the_photo_stands_there_as_the_runs_generator_paints_it(run: Path) -> None:
    method = method_of(run)
    painted = translate_photo(open_generator(run), SCENE.photo.pixels)
    assert painted.shape == SCENE.photo.pixels.shape
    _, jpeg = cv2.imencode(".jpg", painted[..., ::-1], JPEG)
    assert base64.b64decode(method["translated"]) == jpeg.tobytes()
    state, images = panes.images_apart({"photo": {"image": ""}, "truth": None, "methods": [method]})
    assert "translated" in images[state["methods"][0]["images"]], "it is sent once, as the planes are"


@pytest.mark.parametrize("fate", ["gone", "damaged"])
def test_without_a_generator_that_opens_the_pane_stands_as_ever(run: Path, fate: str) -> None:
    weights = run / "extra_networks"
    if fate == "gone":
        shutil.rmtree(weights)
    else:
        (weights / "to_target.safetensors").write_bytes(b"nothing")
    method = method_of(run)
    assert "translated" not in method
    assert method["labels"]
