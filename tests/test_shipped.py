"""The shipped checkpoints are what their cards say: weights, figures and code cannot drift apart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sim2street.models.predictor import Predictor
from sim2street.models.storage.catalog import SHIPPED
from sim2street.models.storage.checkpoint import Checkpoint
from sim2street.models.storage.files import sha256_of
from sim2street.training.config import load_recipe
from sim2street.training.evaluate import evaluate
from sim2street.training.hosting.ship import REPEATED, scenes
from sim2street.training.methods import METHODS
from sim2street.training.translate import CARRIED, open_generator, translate_photo

NAMES = [path.name for path in sorted(SHIPPED.iterdir()) if (path / "config.json").exists()]


NEEDS_FOUNDATION_WEIGHTS = {"vfm_uda"}
"""Methods whose point is a large pretrained network; none of their checkpoints would be small."""
AT_TEST_TIME = {"tent"}
"""Methods that adapt to whatever photos somebody brings (`sim2street adapt`)."""


def test_every_method_that_trains_has_a_checkpoint_and_all_are_small() -> None:
    methods = {Checkpoint.open(SHIPPED / name).config.method for name in NAMES}
    elsewhere = NEEDS_FOUNDATION_WEIGHTS | AT_TEST_TIME
    assert methods == {name for name, method in METHODS.items() if method.trains} - elsewhere
    assert sum(path.stat().st_size for path in SHIPPED.rglob("*.safetensors")) <= 90 * 2**20


@pytest.mark.parametrize("name", NAMES)
def test_size_licence_and_recipe(name: str) -> None:
    checkpoint = Checkpoint.open(SHIPPED / name)
    config = checkpoint.config
    assert (checkpoint.path / "model.safetensors").stat().st_size <= 12 * 2**20
    recipe = load_recipe(config.recipe)
    assert config.licence == recipe.licence
    saw_photos = any(word in name for word in ("camvid", "cityscapes", "photos"))
    assert config.licence == ("cc-by-nc-4.0" if saw_photos else "apache-2.0")
    last = list(recipe.resolve_stages().values())[-1] if recipe.stages else recipe
    assert config.step == last.steps, "the last iterate of the committed recipe"
    assert config.network_options == recipe.network_options
    assert config.window == recipe.window
    assert config.title == recipe.title
    assert {path.name for path in Path(checkpoint.path).iterdir()} - {CARRIED} == {
        "model.safetensors", "config.json", "metrics.json", "README.md",
    }  # fmt: skip


def test_included_generators_translate_there_and_back() -> None:
    """The Methods page shows the way back, and Compare the way there."""
    street = scenes("game", 1).read(0).photo
    there = translate_photo(open_generator(SHIPPED / "cycada_game_to_fog" / CARRIED, "to_target"), street)
    back = translate_photo(open_generator(SHIPPED / "cycada_game_to_fog" / CARRIED, "to_source"), there)
    assert np.abs(there.astype(float) - street).mean() > 5, "fog changes a street"
    assert np.abs(back.astype(float) - street).mean() < np.abs(back.astype(float) - there).mean()


@pytest.mark.parametrize("name", NAMES)
def test_the_document_that_lists_it_states_its_number_of_parameters(name: str) -> None:
    parameters = sum(parameter.numel() for parameter in Checkpoint.open(SHIPPED / name).load().parameters())
    root = Path(__file__).parent.parent
    texts = [(root / place).read_text(encoding="utf-8") for place in ("README.md", "docs/results.md")]
    (text,) = (text for text in texts if f"| [`{name}`]" in text)
    assert f"({parameters / 1e6:.1f} million parameters" in " ".join(text.split())


@pytest.mark.parametrize("name", NAMES)
def test_figures_belong_to_these_weights(name: str) -> None:
    checkpoint = Checkpoint.open(SHIPPED / name)
    digest = sha256_of(checkpoint.path / "model.safetensors")
    assert {report["weights_sha256"] for report in checkpoint.metrics.values()} == {digest}


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_figures_can_be_measured_again(name: str) -> None:
    checkpoint = Checkpoint.open(SHIPPED / name)
    stored = checkpoint.metrics[f"street_scenes/game ({REPEATED} scenes)"]
    measured = evaluate(Predictor.from_checkpoint(checkpoint, device="cpu"), scenes("game", REPEATED))
    assert measured.images == stored["images"] == REPEATED
    # Other processors round differently, which can move a class of a few pixels; a change of weights, renderer or
    # metric moves the classes that fill the pictures far more than this.
    assert measured.ece == pytest.approx(stored["ece"], abs=2e-3)
    solid = [label for label, value in stored["iou_per_class"].items() if value is not None and value > 0.3]
    assert len(solid) >= 4
    for label in solid:
        assert measured.iou_per_class[label] == pytest.approx(stored["iou_per_class"][label], abs=5e-3), label
