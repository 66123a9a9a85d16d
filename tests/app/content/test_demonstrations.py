"""Demonstrations are what the methods' own code computes, and say what is missing where they cannot be computed."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from sim2street.app.content.demonstrations import DEMONSTRATIONS, daformer, dann, demonstrate, hrda
from sim2street.app.content.demonstrations.parts import Picture, Shown, Value, dimmed, heat, painted, pictures_html
from sim2street.app.content.engine import Engine, Settings
from sim2street.app.content.method_display import display_of
from sim2street.app.content.streets import rendered_scene
from sim2street.models.errors import CheckpointError
from sim2street.models.labels import CITYSCAPES19
from sim2street.models.networks import build
from sim2street.models.networks.cyclegan import Generator
from sim2street.models.storage.checkpoint import Checkpoint, CheckpointConfig
from sim2street.training.methods import METHODS
from sim2street.training.methods.parts.gradient_reversal import reversal_factor
from sim2street.training.run.extra_networks import save_extra_networks
from sim2street.training.translate import open_generator, translate_photo
from tests.app.conftest import save_tiny
from tests.training.methods.test_methods import PAINTERS, TWICE
from tests.training.run.test_loop import make_tree, recipe


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SIM2STREET_CACHE", str(tmp_path / "cache"))


def shown(method: str, *checkpoints: Path, **values: Value) -> Shown:
    """The demonstration with its defaults but for `values`."""
    defaults = {control.name: control.default for control in DEMONSTRATIONS[method].controls}
    assert values.keys() <= defaults.keys()
    return demonstrate(method, defaults | values, [Checkpoint.open(path) for path in checkpoints], Engine())


def titled(result: Shown, title: str) -> np.ndarray:
    return next(picture.pixels for picture in result.pictures if picture.title == title)


def test_every_demonstration_is_of_a_method_and_its_defaults_are_allowed() -> None:
    assert DEMONSTRATIONS.keys() <= METHODS.keys()
    for demonstration in DEMONSTRATIONS.values():
        names = [control.name for control in demonstration.controls]
        assert len(names) == len(set(names))


def test_dann_reverses_the_gradient_of_the_discriminator() -> None:
    moments = dann.trained(0.5, 1)
    assert len(moments) == dann.SNAPSHOTS + 1
    off, on = dann.trained(0.0, 1)[-1], moments[-1]
    assert on.accuracies[1] > off.accuracies[1] + 0.05, "the reversed gradient helps on the target"
    assert on.accuracies[2] < off.accuracies[2] - 0.1, "and hides the domain"

    torch.manual_seed(0)
    toy, features = dann.Toy(), torch.randn(2 * dann.POINTS, 2)
    labels = torch.zeros(dann.POINTS, dtype=torch.int64)
    toy.features = torch.nn.Identity()
    moment = dann.snapshot(toy, features[: dann.POINTS], labels, features[dann.POINTS :], labels)
    moved = features + moment.forces
    losses = [toy.domain_loss(*each.split(dann.POINTS), 1.0).item() for each in (features, moved)]
    assert losses[0] < losses[1], "where the features are pulled, the discriminator errs more"


def test_dann_marks_its_moment_on_the_schedule() -> None:
    result = shown("dann", progress=0.5, weight=0.5)
    plane, schedule = result.charts
    assert schedule.data[1].y[0] == pytest.approx(0.5 * reversal_factor(0.5))
    assert len(plane.data[0].x) == dann.POINTS
    assert "With weight 0" in result.words


def test_advent_shows_the_entropy_of_both_networks(tiny_checkpoints: Path) -> None:
    before, after = tiny_checkpoints / "tiny_source_only", tiny_checkpoints / "tiny_advent"
    result = shown("advent", after, before, street=1)
    scene, engine = rendered_scene("fog", 1), Engine()
    for path, title in ((before, "Entropy before"), (after, "Entropy after")):
        pane = engine.read_once(scene, Checkpoint.open(path), Settings())
        said = next(picture.said for picture in result.pictures if picture.title == title)
        assert said.endswith(f"mean {pane.mean_entropy:.3f}")
        assert (titled(result, title) == heat(pane.entropy, pane.entropy.shape[::-1])).all()
    assert (titled(result, "Photo") == scene.photo.pixels).all()
    lines = [trace.line.color for trace in result.charts[0].data]
    assert lines == [display_of(method).colour for method in ("source_only", "advent")], "as on every page"


@pytest.mark.parametrize("method", ["advent", "hrda", "mic"])
def test_a_missing_checkpoint_is_named(method: str, tiny_checkpoints: Path) -> None:
    with pytest.raises(CheckpointError, match=METHODS[method].title):
        shown(method, tiny_checkpoints / "tiny_source_only")


def test_advent_needs_what_it_started_from(tiny_checkpoints: Path) -> None:
    with pytest.raises(CheckpointError, match="source-only"):
        shown("advent", tiny_checkpoints / "tiny_advent")


def test_daformer_pastes_half_of_the_classes_and_samples_by_temperature() -> None:
    result = shown("daformer", street=2, temperature="1")
    source, target = rendered_scene("game", 2), rendered_scene("fog", 3)
    assert source.truth is not None
    mask, names = daformer.pasted(source.truth, 0)
    assert len(names) == -(-len(np.unique(source.truth)) // 2)
    mixed = titled(result, "Mixed")
    assert (mixed[mask] == source.photo.pixels[mask]).all()
    assert (mixed[~mask] == target.photo.pixels[~mask]).all()
    probability = result.charts[0].data[1].y
    assert sum(probability) == pytest.approx(100)
    assert max(probability) < 10, "a high temperature makes classes equally likely"
    assert max(shown("daformer", street=2, temperature="0.001").charts[0].data[1].y) > 30


def test_daformer_compares_features_where_a_thing_fills_the_cell() -> None:
    labels = np.zeros((64, 96), np.uint8)
    car = CITYSCAPES19.names.index("car")
    labels[:32, :32] = car
    labels[32:48, 32:64] = car  # half a cell is not enough
    kept = daformer.thing_cells(labels)
    assert kept[:32, :32].all()
    assert kept.sum() == 32 * 32


def test_hrda_shows_what_each_scale_says(tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = CheckpointConfig(
        title="HRDA", method="hrda", network="hrda", network_options=TWICE, source="street_scenes/game", seed=0, step=1
    )
    path = Checkpoint.save(tmp_path / "tiny_hrda", build("hrda", options=TWICE), config).path
    result = shown("hrda", path)
    assert len(result.pictures) == 6
    fused = Engine().read_once(rendered_scene("game", 3), Checkpoint.open(path), Settings()).labels
    expected = painted(titled(result, "Photo"), fused, CITYSCAPES19)
    assert (titled(result, "Fused") == expected).all(axis=2).mean() > 0.99
    chosen = hrda.attention_to_detail(torch.tensor([[[0.2, 0.4]], [[0.6, 0.9]]]), torch.tensor([[0, 1]]))
    assert chosen.tolist() == [[pytest.approx(0.2), pytest.approx(0.9)]]


def test_mic_hides_blocks_and_compares_with_the_whole(tmp_path: Path) -> None:
    path = save_tiny(tmp_path, "tiny_mic", "mic", "MIC")
    whole = shown("mic", path, ratio=0.0)
    assert (titled(whole, "Masked") == titled(whole, "Photo")).all()
    assert "agree on 100 %" in whole.words
    masked = shown("mic", path, ratio=0.7, block=64)
    kept = (titled(masked, "Masked") == titled(masked, "Photo")).all(axis=2)
    assert 0.05 < kept.mean() < 0.6
    assert "behind the mask" in masked.words


def test_cycada_translates_there_and_back_with_the_generators_of_a_run(tmp_path: Path) -> None:
    run = tmp_path / "run"
    path = save_tiny(run, "checkpoint", "cycada", "CyCADA", target="street_scenes/fog")
    without = shown("cycada", path)
    assert "No generator is kept" in without.words
    assert [picture.title for picture in without.pictures] == ["Source", "Target"]

    tree = make_tree(tmp_path / "tree")
    target = {"dataset": "cityscapes", "root": str(tree), "split": "val"}
    config = recipe(tree, "cycada", method_options=PAINTERS, target=target)
    (run / "config.json").write_text(config.model_dump_json())
    width, blocks = PAINTERS["generator_width"], PAINTERS["generator_blocks"]
    save_extra_networks({name: Generator(width, blocks) for name in ("to_target", "to_source")}, run)
    shutil.copytree(run, tmp_path / "copied")  # the cache must not answer with what was shown before
    result = shown("cycada", tmp_path / "copied" / "checkpoint")
    there = translate_photo(open_generator(run), rendered_scene("game", 3).photo.pixels)
    assert (titled(result, "Translated") == there).all()
    assert (titled(result, "Back") == translate_photo(open_generator(run, "to_source"), there)).all()


def test_what_was_computed_is_kept(tiny_checkpoints: Path) -> None:
    paths = [tiny_checkpoints / "tiny_source_only", tiny_checkpoints / "tiny_advent"]
    assert shown("advent", *paths, street=4) is shown("advent", *paths, street=4)
    assert shown("advent", *paths, street=4) is not shown("advent", *paths, street=5)


def test_pictures_are_escaped_and_whole() -> None:
    pixels = np.full((4, 6, 3), 7, np.uint8)
    page = pictures_html([Picture("<b>", pixels, "a & b")])
    assert "&lt;b&gt;" in page
    assert "a &amp; b" in page
    assert pictures_html([]) == ""
    assert (dimmed(pixels, np.ones((4, 6), bool)) == pixels).all()
    assert (painted(pixels, np.full((4, 6), 255, np.uint8), CITYSCAPES19) == pixels).all()
