"""VFM-UDA's iteration, schedule and sampling against the authors' numbers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from sim2street.models.networks import build
from sim2street.models.segmenter import SegmenterOutput
from sim2street.training.config import load_recipe, recipe_names
from sim2street.training.datasets.statistics import ClassStatistics, RareClassSampler, RareClassSampling
from sim2street.training.methods import build_method, vfm_uda
from sim2street.training.methods.losses import cross_entropy, weighted_cross_entropy
from sim2street.training.methods.parts.teacher import teacher_momentum
from sim2street.training.pair import DomainPair
from sim2street.training.run.optimisers import build_optimisers, set_rates
from tests.conftest import VECTORS, Vectors, normal
from tests.training.methods.test_parts import numpy_choice

FACTS = json.loads((VECTORS / "vfmuda_ops.json").read_text())
HEIGHT, WIDTH = FACTS["hw"]
FIRST = FACTS["first_seed"]


def uniform(seed: int) -> Tensor:
    return torch.rand((2, 3, HEIGHT, WIDTH), generator=torch.Generator().manual_seed(seed))


def method_of(**options: object) -> vfm_uda.VFMUDA:
    torch.manual_seed(0)
    segmenter = build("vfm_uda", options={"encoder": "vit_tiny_patch16_224", "size": 64})
    method = build_method("vfm_uda", segmenter, options)
    assert isinstance(method, vfm_uda.VFMUDA)
    return method


@pytest.fixture
def pair() -> DomainPair:
    vectors = Vectors("vfmuda_ops.npz")
    return DomainPair(
        uniform(FIRST + 3),
        torch.from_numpy(vectors["mix_source_label"].astype(np.int64)),
        uniform(FIRST + 2),
        (None, None),
        torch.from_numpy(vectors["pl_ignore"] != 255),
    )


def test_one_iteration_equals_the_authors(pair: DomainPair, monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, method = Vectors("vfmuda_ops.npz"), method_of()
    shape = (2, 19, HEIGHT, WIDTH)
    plain = FACTS["teacher"]["sharp"] * normal(shape, FIRST)
    mirrored = 0.25 * FACTS["teacher"]["sharp"] * normal(shape, FIRST + 1) + 0.75 * plain.flip(-1)
    answers = iter([SegmenterOutput(plain), SegmenterOutput(mirrored)])
    seen: list[Tensor] = []

    def answer(images: Tensor) -> SegmenterOutput:
        seen.append(images)
        return next(answers)

    monkeypatch.setattr(method.teacher, "forward", answer)
    monkeypatch.setattr(vfm_uda, "often_jittered", lambda images: images)
    monkeypatch.setattr(vfm_uda, "choose_classes", lambda labels: numpy_choice(labels, FACTS["numpy_seed"]))

    pseudo = method.pseudo_labels(pair)
    assert torch.equal(seen[0], pair.target_images)
    assert torch.equal(seen[1], pair.target_images.flip(-1))
    vectors.check("pl_pseudo_label", pseudo.labels.to(torch.uint8))
    vectors.check("pl_weight", pseudo.weights)

    images, labels, weights = method.mixed(pair, pseudo)
    vectors.check("mix_image_every4", images[..., ::4, ::4])
    vectors.check("mix_label", labels[:, None].to(torch.uint8))
    vectors.check("mix_weight", weights)

    logits = normal(shape, FIRST + 5)
    reduction = method.options.reduction
    vectors.check("loss_source", cross_entropy(logits, pair.source_labels, reduction=reduction)[None])
    vectors.check("loss_mix", weighted_cross_entropy(logits, labels, weights)[None])
    vectors.check("loss_masked", weighted_cross_entropy(logits, pseudo.labels, pseudo.weights)[None])


def test_three_losses_are_three_backward_passes_and_one_step(pair: DomainPair) -> None:
    updates = []
    for update in method_of(threshold=0.01).train().step(pair):
        sum(update.losses.values()).backward()  # pyright: ignore[reportAttributeAccessIssue]
        updates.append(update)
    assert [list(update.losses) for update in updates] == [["segmentation"], ["self_training"], ["masked"]]
    assert [update.step for update in updates] == [(), (), ("segmenter",)]
    assert all(float(loss.detach()) > 0 for update in updates for loss in update.losses.values())


def test_the_masked_loss_hides_patches_and_the_others_do_not(pair: DomainPair, monkeypatch: pytest.MonkeyPatch) -> None:
    method, hidden = method_of(threshold=0.01).train(), []
    forward = method.segmenter.core.encoder.forward  # pyright: ignore[reportAttributeAccessIssue]

    def watched(images: Tensor, hide: float = 0.0) -> Tensor:
        hidden.append(hide)
        return forward(images, hide)

    monkeypatch.setattr(method.segmenter.core.encoder, "forward", watched)
    for update in method.step(pair):
        sum(update.losses.values()).backward()  # pyright: ignore[reportAttributeAccessIssue]
    assert hidden == [0.0, 0.0, 0.7]  # source, mixed, masked; the teacher's network is its own


def test_the_first_jitter_leaves_one_in_ten_images(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    image = torch.full((3, 4, 4), 0.5)
    image[0] = 0.3
    same = sum(torch.equal(each, image) for each in vfm_uda.often_jittered(image.expand(400, -1, -1, -1)))
    assert 20 <= same <= 62  # four deviations around 40
    strengths = []
    monkeypatch.setattr(vfm_uda, "jitter_colours", lambda image, strength: strengths.append(strength) or image)
    vfm_uda.often_jittered(image[None].expand(20, -1, -1, -1))
    assert set(strengths) == {(32 / 255, 0.5, 0.5, 0.05)}


def test_the_teacher_moves_as_the_authors_does(monkeypatch: pytest.MonkeyPatch) -> None:
    method, steps = method_of(), []
    monkeypatch.setattr(method.teacher, "follow", lambda student, step: steps.append(step))
    for finished, alpha in FACTS["ema_alpha"].items():
        method.after_step(int(finished) - 1)  # steps are counted from 0
        assert teacher_momentum(steps[-1]) == pytest.approx(alpha, rel=1e-12)


def test_rates_of_the_recipe_are_the_authors(tmp_path: Path) -> None:
    config = load_recipe(
        "gta5_to_cityscapes__vfm_uda_base",
        ["network_options.encoder=vit_tiny_patch16_224", "network_options.size=64", "method_options.threshold=0.9"],
    )
    segmenter = build(config.network, options=config.network_options)
    optimiser = build_optimisers(config, build_method("vfm_uda", segmenter, config.method_options))["segmenter"]
    assert all(group["weight_decay"] == 0.01 for group in optimiser.param_groups)
    full = 5e-5 * 8**0.5
    for step, factor in FACTS["lr_factor"].items():
        set_rates(optimiser, config.optimisers["segmenter"], int(step), config.steps)
        rates = {group["factor"]: group["lr"] for group in optimiser.param_groups}
        assert rates == pytest.approx({1.0: 0.1 * full * factor, 10.0: full * factor}, rel=1e-4, abs=1e-12)


def test_sampling_and_border_of_the_recipe_are_the_authors() -> None:
    recipe = load_recipe("gta5_to_cityscapes__vfm_uda_large")
    border = FACTS["ignore_border"]["1024x2048"]
    assert recipe.target_transform.resize == (2048, 1024)
    assert recipe.target_transform.margins == tuple(border[side] for side in ("top", "bottom", "left", "right"))

    facts = FACTS["rcs"]
    counts = np.zeros((len(facts["table"]), 19), np.int64)
    for row in facts["table"]:
        for key, value in row.items():
            if key != "file":
                counts[row["file"], int(key)] = value
    statistics = ClassStatistics(counts, tuple(map(str, range(len(counts)))))
    sampler = RareClassSampler(
        statistics, RareClassSampling(temperature=recipe.rare_class.temperature, minimum_pixels=0)
    )
    assert recipe.rare_class.temperature == facts["temperature"]
    assert sampler.classes.tolist() == facts["classes"]
    np.testing.assert_allclose(sampler.probabilities, facts["probabilities"], rtol=1e-5)


@pytest.mark.parametrize(
    "name", [name for name in recipe_names() if name.startswith("gta5") and ("vfm_uda" in name or "dinov2" in name)]
)
def test_recipes_of_foundation_models_share_all_but_their_idea(name: str) -> None:
    config = load_recipe(name)
    base = load_recipe("gta5_to_cityscapes__vfm_uda_base")
    for key in ("steps", "batch", "optimisers", "window", "rare_class", "initialisation", "precision"):
        assert getattr(config, key) == getattr(base, key), key
    assert config.network == "vfm_uda"
