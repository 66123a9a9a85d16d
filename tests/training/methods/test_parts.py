"""DAFormer's operations against the numbers of the authors' code."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from sim2street.models.labels import CITYSCAPES19
from sim2street.models.networks import build
from sim2street.models.segmenter import Segmenter
from sim2street.training.config import OptimiserConfig, RunConfig
from sim2street.training.methods import build_method
from sim2street.training.methods.daformer import DAFormer
from sim2street.training.methods.losses import cross_entropy, weighted_cross_entropy
from sim2street.training.methods.parts.class_mix import choose_classes, class_mask, mix
from sim2street.training.methods.parts.feature_distance import (
    cell_labels,
    class_mean_distance,
    feature_distance,
    is_thing,
)
from sim2street.training.methods.parts.pseudo_labels import pseudo_label
from sim2street.training.methods.parts.strong_augmentation import augment, blur_image, blur_kernel
from sim2street.training.methods.parts.teacher import Teacher, teacher_momentum
from sim2street.training.pair import DomainPair
from sim2street.training.run.optimisers import build_optimisers, set_rates
from tests.conftest import VECTORS, Vectors, normal

TINY = {"variant": "b0", "width": 0.25, "channels": 16}
FACTS = json.loads((VECTORS / "daformer_ops.json").read_text())


@pytest.fixture(scope="module")
def ops() -> Vectors:
    return Vectors("daformer_ops.npz")


def as_labels(array: np.ndarray) -> Tensor:
    return torch.from_numpy(array.astype(np.int64)).squeeze(1)


def uniform(shape: tuple[int, ...], seed: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


class Small(nn.Module):
    """A student of three numbers, a scalar and a buffer, as the vectors have it."""

    def __init__(self, values: list[float], scalar: float, buffer: list[float]) -> None:
        super().__init__()
        self.values = nn.Parameter(torch.tensor(values))
        self.scalar = nn.Parameter(torch.tensor(scalar))
        self.register_buffer("statistics", torch.tensor(buffer))


def test_teacher_follows_as_the_authors_does() -> None:
    facts = FACTS["ema"]
    for step, expected in facts["by_iteration"].items():
        before = Small(facts["teacher_before"], facts["teacher_before"][0], facts["teacher_buffer_before"])
        teacher = Teacher(before, facts["alpha_cap"])  # pyright: ignore[reportArgumentType]
        student = Small(facts["student"], facts["student"][0], facts["student_buffer"])
        teacher.follow(student, int(step))  # pyright: ignore[reportArgumentType]
        copied = teacher.segmenter
        assert teacher_momentum(int(step)) == pytest.approx(expected["alpha"])
        torch.testing.assert_close(copied.values.data, torch.tensor(expected["ema_after"]), rtol=1e-5, atol=1e-6)
        assert float(copied.scalar) == pytest.approx(expected["scalar_after"], rel=1e-5)
        assert copied.statistics.tolist() == expected["buffer_after"]


def test_teacher_drops_nothing_and_uses_the_batch() -> None:
    torch.manual_seed(0)
    teacher = Teacher(build("daformer", options={**TINY, "drop_path": 0.5}), 0.9).train()
    assert teacher.segmenter.core.head.fuse[1].training
    images = torch.rand(2, 3, 64, 64)
    torch.testing.assert_close(teacher(images).logits, teacher(images).logits)
    assert not any(parameter.requires_grad for parameter in teacher.parameters())


def test_feature_distance_equals_the_authors(ops: Vectors) -> None:
    features = normal((2, 512, 8, 16), 11) * (2 * uniform((2, 1, 8, 16), 13) + 0.2)
    features.requires_grad_()
    labels = as_labels(ops["fd_gt"])
    cells = cell_labels(labels, (8, 16), 19)
    ops.check("fd_gt_rescaled", cells[:, None].numpy().astype(np.uint8))
    ops.check("fd_mask", is_thing(cells, CITYSCAPES19)[:, None].numpy().astype(np.uint8))
    distance = feature_distance(features, normal((2, 512, 8, 16), 12), labels, CITYSCAPES19)
    ops.check("fd_raw_distance", distance)
    (0.005 * distance).backward()
    ops.check("fd_loss", 0.005 * distance)
    assert features.grad is not None
    ops.check("fd_grad_every16th_channel", features.grad[:, ::16])


def test_an_image_without_things_has_no_distance() -> None:
    """The authors' mean over nothing is NaN; ours is 0."""
    features = torch.randn(1, 4, 2, 2, requires_grad=True)
    for labels in (torch.zeros(1, 64, 64, dtype=torch.int64), torch.full((1, 64, 64), 255)):
        assert feature_distance(features, torch.zeros(1, 4, 2, 2), labels, CITYSCAPES19) == 0
        assert class_mean_distance(features, labels, features, labels, CITYSCAPES19) == 0


def test_class_mean_distance_by_hand() -> None:
    """One car cell of (3, 4) against car cells of mean (0, 0): 5. People are on one side only and do not count."""
    source = torch.tensor([[3.0, 9.0], [4.0, 9.0]]).view(1, 2, 1, 2)
    target = torch.tensor([[1.0, -1.0], [2.0, -2.0]]).view(1, 2, 1, 2)
    source_labels = torch.tensor([[13] * 32 + [11] * 32]).expand(32, 64)[None]
    target_labels = torch.full((1, 32, 64), 13)
    assert class_mean_distance(source, source_labels, target, target_labels, CITYSCAPES19) == pytest.approx(5.0)


def test_class_mix_equals_the_authors(ops: Vectors) -> None:
    source, target = as_labels(ops["cm_source_label"][None]), as_labels(ops["cm_target_label"][None])
    mask = class_mask(source, [torch.from_numpy(ops["cm_chosen_classes"])])
    ops.check("cm_mask", mask.numpy().astype(np.uint8))
    ops.check("cm_mixed_image", mix(mask, normal((1, 3, 48, 64), 31)[:1], normal((1, 3, 48, 64), 32)))
    ops.check("cm_mixed_label", mix(mask, source, target)[:, None].numpy().astype(np.uint8))
    weights = mix(mask, torch.ones(1, 48, 64), uniform((48, 64), 33)[None])
    ops.check("cm_mixed_weight", weights[:, None])


def numpy_choice(labels: Tensor, seed: int) -> list[Tensor]:
    """The draws that the vectors' README states, which bind the masks."""
    candidates = labels.unique()
    random = np.random.RandomState(seed)
    count = (len(candidates) + 1) // 2
    return [candidates[torch.from_numpy(random.choice(len(candidates), count, replace=False))] for _ in labels]


def test_half_of_the_batchs_classes_are_chosen(ops: Vectors) -> None:
    for present, chosen in FACTS["classmix"]["number_of_chosen_classes_given_number_present"].items():
        labels = torch.arange(int(present)).view(1, 1, -1)
        assert len(choose_classes(labels)[0]) == chosen
    labels = as_labels(ops["cc_labels"])
    masks = class_mask(labels, numpy_choice(labels, int(ops["cc_numpy_seed"])))
    ops.check("cc_masks", masks[:, None].numpy().astype(np.uint8))
    torch.manual_seed(0)
    draws = [choose_classes(labels) for _ in range(300)]
    candidates = set(labels.unique().tolist())
    assert all(set(each.tolist()) <= candidates for draw in draws for each in draw)
    shares = [sum(value in draw[0] for draw in draws) / 300 for value in candidates]
    expected = (len(candidates) + 1) // 2 / len(candidates)
    assert all(abs(share - expected) < 0.12 for share in shares), "every class is as likely as any other"


def test_one_whole_iteration_equals_the_authors(ops: Vectors, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pseudo labels, their weight, mixing and both losses of one official iteration."""
    labels = as_labels(ops["pl_gt"])
    pair = DomainPair(normal((2, 3, 160, 96), 61), labels, normal((2, 3, 160, 96), 62), (None, None))
    teacher_logits = 4 * normal((2, 19, 160, 96), 63)
    pseudo = pseudo_label(teacher_logits, 0.968, 15, 120)
    ops.check("pl_pseudo_label", pseudo.labels.numpy().astype(np.uint8))
    ops.check("pl_q", pseudo.quality.double())
    assert round(float(pseudo.quality) * labels.numel()) == int(ops["pl_n_confident"])

    monkeypatch.setattr(
        "sim2street.training.methods.daformer.choose_classes",
        lambda given: numpy_choice(given, int(ops["pl_numpy_seed"])),
    )
    method = build_method("daformer", build("daformer", options=TINY), {"distance": "none"})
    assert isinstance(method, DAFormer)
    images, mixed, weights = method.mixed(pair, pseudo)
    ops.check("pl_mixed_label", mixed[:, None].numpy().astype(np.uint8))
    ops.check("pl_pixel_weight", weights)
    ops.check("pl_mixed_image_every8", images[:, :, ::8, ::8])
    ops.check("pl_pixel_weight_no_crop", method.mixed(pair, pseudo_label(teacher_logits, 0.968))[2])
    logits = normal((2, 19, 160, 96), 64)
    ops.check("pl_weighted_ce_loss", weighted_cross_entropy(logits, mixed, weights))
    ops.check("pl_unweighted_ce_loss", cross_entropy(logits, labels, reduction="all"))


def test_blur_equals_the_authors(ops: Vectors) -> None:
    facts = FACTS["blur"]
    for side, kernel in facts["kernel_size_given_image_side"].items():
        assert blur_kernel(int(side)) == kernel
    example = facts["example"]
    blurred = blur_image(normal((1, 3, 48, 70), example["input_seed"])[0], example["sigma"])
    ops.check("blur_output_every3", blurred[None, :, ::3, ::3])


def test_augmentation_is_drawn_once_for_the_batch() -> None:
    images = torch.rand(3, 3, 32, 48)
    changed: list[bool] = []
    for seed in range(200):
        torch.manual_seed(seed)
        result = augment(images)
        assert result.shape == images.shape
        assert result.min() >= 0
        assert result.max() <= 1
        touched = [bool((after - before).abs().max() > 1e-6) for after, before in zip(result, images, strict=True)]
        assert len(set(touched)) == 1
        changed.append(touched[0])
    assert 0.84 < sum(changed) / 200 < 0.96  # 1 - 0.2 * 0.5


def test_margins_weigh_nothing_and_may_cover_everything() -> None:
    logits = torch.zeros(1, 19, 8, 8)
    logits[:, 3] = 20
    pseudo = pseudo_label(logits, 0.968, 2, 3)
    assert pseudo.weights[0, :, 0].tolist() == [0, 0, 1, 1, 1, 0, 0, 0]
    assert pseudo.quality == 1
    assert pseudo_label(logits, 0.968, 15, 120).weights.sum() == 0


def test_weighting_by_pixel_believes_the_confident_ones_alone() -> None:
    logits = torch.zeros(1, 19, 4, 4)
    logits[:, 3, 1:] = 20
    by_image, by_pixel = (pseudo_label(logits, 0.968, 0, 1, weighting=which) for which in ("image", "pixel"))
    assert by_image.weights[0, :, 0].tolist() == [0.75, 0.75, 0.75, 0]
    assert by_pixel.weights[0, :, 0].tolist() == [0, 1, 1, 0], "the first row is a guess, the last one ignored"
    assert by_pixel.quality == by_image.quality == 0.75
    assert torch.equal(by_pixel.labels, by_image.labels)


def test_optimiser_groups_and_rates_equal_the_authors() -> None:
    values = {
        "title": "x",
        "method": "source_only",
        "network": "daformer",
        "sources": [{"dataset": "street_scenes"}],
        "steps": 40000,
        "optimisers": {"segmenter": adamw()},
    }
    config = RunConfig.parse(values, where="test")
    method = build_method("source_only", build("daformer", options={"variant": "b0"}))
    optimiser = build_optimisers(config, method)["segmenter"]
    expected = {
        (group["lr"], group["weight_decay"]): [group["n_tensors"], group["n_elements"]]
        for group in FACTS["optimizer_groups"]["mit_b0"]
    }
    found: dict[tuple[float, float], list[int]] = {}
    for group in optimiser.param_groups:
        key = (round(6e-5 * group["factor"], 10), group["weight_decay"])
        count = found.setdefault(key, [0, 0])
        count[0] += len(group["params"])
        count[1] += sum(parameter.numel() for parameter in group["params"])
    assert found == expected

    facts = FACTS["lr"]
    for step, encoder, head in zip(facts["iterations"], facts["lr_backbone"], facts["lr_head"], strict=True):
        set_rates(optimiser, config.optimisers["segmenter"], step, 40000)
        rates = {group["factor"]: group["lr"] for group in optimiser.param_groups}
        assert rates == {1.0: pytest.approx(encoder, rel=1e-6), 10.0: pytest.approx(head, rel=1e-6)}


def adamw() -> OptimiserConfig:
    return OptimiserConfig(
        kind="adamw", rate=6e-5, head_factor=10, weight_decay=0.01, power=1.0, warm_up=1500, spare_norms=True
    )


def test_encode_gives_the_features_of_forward() -> None:
    for name, options in (("daformer", TINY), ("deeplab_v2", {"backbone": "resnet18", "width": 0.25})):
        segmenter: Segmenter = build(name, options=options).eval()
        images = torch.rand(1, 3, 64, 64)
        for stage, features in segmenter.encode(images).items():
            torch.testing.assert_close(features, segmenter(images).features[stage])
