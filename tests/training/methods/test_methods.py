from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sim2street.models.errors import ConfigError
from sim2street.models.labels import CAMVID11, CITYSCAPES19
from sim2street.models.networks import build
from sim2street.models.networks.hrda import HRDANetwork
from sim2street.training.methods import METHODS, build_method
from sim2street.training.methods.advent import ADVENT
from sim2street.training.methods.base import Method, Update, frozen
from sim2street.training.methods.daformer import DAFormer
from sim2street.training.methods.losses import Domain, domain_loss, entropy
from sim2street.training.methods.parts.pseudo_labels import pseudo_label
from sim2street.training.pair import DomainPair
from tests.models.test_deeplab_v2 import SLIM

NETWORK = {**SLIM, "detail_channels": 0, "auxiliary": True}
TWICE = {
    "variant": "b0",
    "width": 0.25,
    "channels": 16,
    "attention_channels": 16,
    "dilations": [1, 3],
    "detail_crop": [32, 48],
    "dropout": 0.0,
    "drop_path": 0.0,
}
"""HRDA's network, slim; all others are tried on DeepLab."""
SMALL = {"discriminator_width": 4}
PAINTERS = {
    "generator_width": 4,
    "generator_blocks": 1,
    "generator_dropout": False,
    "discriminator_width": 4,
    "pool": 3,
}
VARIANTS: list[tuple[str, dict[str, Any]]] = [
    ("source_only", {}),
    ("advent", SMALL),
    ("advent", {**SMALL, "map": "probability_times_entropy"}),
    ("advent", {**SMALL, "saturating": True}),
    ("advent", {"adversarial_weight": 0, "entropy_weight": 1e-3}),
    ("advent", {**SMALL, "prior_weight": 1e-3}),
    ("advent", {"adversarial_weight": 0}),
    ("adabn", {}),
    ("daformer", {"ignore_top": 2, "ignore_bottom": 8}),
    ("daformer", {"distance": "rendered", "distance_stage": "stage2"}),
    ("daformer", {"distance": "class_mean", "distance_stage": "stage2", "distance_weight": 0.1}),
    ("daformer", {"distance": "none", "reduction": "valid"}),
    ("dann", {"discriminator_width": 8}),
    ("dann", {"discriminator_width": 8, "stage": "stage3", "adversarial_weight": 0.1}),
    ("hrda", {"distance": "rendered", "distance_stage": "stage2"}),
    ("hrda", {"distance": "class_mean", "distance_stage": "stage1", "distance_weight": 0.1}),
    ("mic", {"mask_block": 16, "threshold": 0.01, "distance": "none", "ignore_bottom": 8}),
    ("mic", {"mask_block": 16, "threshold": 0.01, "detail_weight": 0.1, "distance": "none"}),
    ("vfm_uda", {"threshold": 0.01}),
    ("cycada", {**PAINTERS, "phase": "translation"}),
    ("cycada", {**PAINTERS, "phase": "translation", "gan": "log", "semantic_weight": 1.0, "semantic_gate": 99.0}),
    ("cycada", {**PAINTERS, "semantic": "hard", "semantic_weight": 1.0, "semantic_gate": 99.0, "identity_weight": 0}),
    ("cycada", {**PAINTERS, "semantic": "soft", "semantic_weight": 1.0, "semantic_gate": 99.0, "cycle_weight": 0}),
    ("cycada", {**PAINTERS, "phase": "segmentation"}),
    ("cycada", {**PAINTERS, "phase": "features", "accuracy_gate": 0, "discriminator_cell": 8}),
    ("cycada", {"phase": "features", "accuracy_gate": 0, "translated": False, "discriminator_cell": 8}),
    ("cycada", {**PAINTERS, "phase": "joint", "accuracy_gate": 0, "discriminator_cell": 8}),
]
VARIANTS += [(name, {}) for name in METHODS if name not in dict(VARIANTS)]
"""Whatever is registered is tried, with its own defaults where nothing smaller is listed above."""
TRAINED = [
    (name, options)
    for name, options in VARIANTS
    if METHODS[name].trains and METHODS[name].options.parse(options, where="test").trains_segmenter
]
SUPERVISED = [(name, options) for name, options in TRAINED if name != "tent"]
"""Those that compare predictions of source pictures with their labels."""


def make_pair() -> DomainPair:
    """Noise, the left half labelled as noise, the right as one car and one person, so that feature cells have a class."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 19, (2, 64, 96), generator=generator)
    labels[:, :8] = 255
    labels[0, :, 48:], labels[1, :, 48:] = 13, 11
    return DomainPair(
        torch.rand(2, 3, 64, 96, generator=generator),
        labels,
        torch.rand(2, 3, 64, 96, generator=generator),
        (None, None),
    )


def make(name: str, options: dict[str, Any]) -> Method:
    torch.manual_seed(0)
    looks_twice = name == "hrda" or "detail_weight" in options
    segmenter = build("hrda", options=TWICE) if looks_twice else build("deeplab_v2", options=NETWORK)
    if name == "vfm_uda":
        segmenter = build("vfm_uda", options={"encoder": "vit_tiny_patch16_224", "size": 64})
    method = build_method(name, segmenter, options).train()
    method.progress = 0.5
    return method


def test_a_distance_of_features_needs_an_encoder() -> None:
    segmenter = build("fcn8s", options={"width": 0.0625})
    with pytest.raises(ConfigError, match="but this network has no separate encoder"):
        build_method("daformer", segmenter, {"distance": "rendered"})
    assert build_method("daformer", segmenter, {"distance": "none"})


def reached(network: nn.Module) -> bool:
    return any(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in network.parameters())


def clear(method: Method) -> None:
    for parameter in method.parameters():
        parameter.grad = None


def named_by(method: str, term: str) -> set[str]:
    """The trained networks that a term of an equation is minimised over."""
    head = term.partition("/")[0]
    if head == "translation":
        return {"to_target", "to_source"}
    if head.startswith("discriminator_") and not head.endswith("auxiliary"):
        return {head}
    if head.startswith("discriminator"):
        return {head, "segmenter"} if method == "dann" else {head}  # the reversal hands the discriminator's gradient on
    return {"segmenter"}


@pytest.mark.parametrize(("name", "options"), VARIANTS)
def test_gradients_reach_exactly_the_networks_the_equations_name(name: str, options: dict[str, Any]) -> None:
    method = make(name, options)
    stepped: list[str] = []
    for update in method.step(make_pair()):
        clear(method)
        if update.losses:
            torch.stack(list(update.losses.values())).sum().backward()
        for term in update.losses:
            assert torch.isfinite(update.losses[term])
        touched = {network for network, module in method.networks.items() if reached(module)}
        assert touched == set().union(*(named_by(name, term) for term in update.losses))
        stepped += update.step
    assert set(stepped) == set(method.networks)
    if name != "cycada":  # whose segmenter steps twice
        assert len(stepped) == len(set(stepped))


@pytest.mark.parametrize(("name", "options"), VARIANTS)
def test_every_parameter_that_is_stepped_gets_a_gradient(name: str, options: dict[str, Any]) -> None:
    method = make(name, options)
    for update in method.step(make_pair()):
        if update.losses:
            torch.stack(list(update.losses.values())).sum().backward()
    missing = [key for key, p in method.named_parameters() if p.requires_grad and p.grad is None]
    assert missing == []


@pytest.mark.parametrize(("name", "options"), SUPERVISED)
def test_a_few_steps_lower_the_supervised_loss(name: str, options: dict[str, Any]) -> None:
    method, pair = make(name, options), make_pair()
    pair = DomainPair(
        pair.source_images, (pair.source_images[:, 0] * 3).long(), pair.target_images, pair.source_members
    )
    rate = 1e-2 if isinstance(method.segmenter.core, HRDANetwork) else 3e-3  # whose logits begin near 0
    optimisers = {key: torch.optim.Adam(network.parameters(), rate) for key, network in method.networks.items()}
    history: list[float] = []
    for step in range(12):
        for update in method.step(pair):
            history += [float(loss.detach()) for term, loss in update.losses.items() if term == "segmentation"]
            if update.losses:
                torch.stack(list(update.losses.values())).sum().backward()
            for key in update.step:
                optimisers[key].step()
                optimisers[key].zero_grad()
        method.after_step(step)
    assert history[-1] < 0.8 * history[0]


@pytest.mark.parametrize(("name", "options"), VARIANTS)
def test_state_survives_saving(name: str, options: dict[str, Any]) -> None:
    method, again = make(name, options), make(name, options)
    for _ in method.step(make_pair()):
        pass
    again.load_state_dict(method.state_dict(), strict=True)
    for key, value in method.state_dict().items():
        assert torch.equal(value, again.state_dict()[key]), key


def test_every_batch_of_ignored_pixels_is_trained_through() -> None:
    pair = make_pair()
    pair = DomainPair(
        pair.source_images, torch.full_like(pair.source_labels, 255), pair.target_images, pair.source_members
    )
    for name, options in VARIANTS:
        for update in make(name, options).step(pair):
            assert all(torch.isfinite(loss) for loss in update.losses.values())


def losses_of(method: Method, pair: DomainPair) -> dict[str, Tensor]:
    return {term: loss.detach() for update in method.step(pair) for term, loss in update.losses.items()}


def test_advent_terms_by_hand() -> None:
    """The step's values equal the equations written out, weights of the paper, discriminator labels of the code."""
    method = make("advent", SMALL).eval()  # running statistics: forward passes do not disturb each other
    assert isinstance(method, ADVENT)
    pair = make_pair()
    found = losses_of(method, pair)
    with torch.no_grad():
        source, target = method.segmenter(pair.source_images), method.segmenter(pair.target_images)

        def discriminator(name: str, logits: Tensor) -> Tensor:
            p = logits.softmax(1)
            return method.get_submodule(name)(-p * torch.log2(p + 1e-30) / torch.tensor(19.0).log2())

        verdict = discriminator("discriminator", target.logits)
        assert found["adversarial"].item() == pytest.approx(1e-3 * domain_loss(verdict, Domain.SOURCE).item(), rel=1e-5)
        assert target.auxiliary is not None
        verdict = discriminator("discriminator_auxiliary", target.auxiliary)
        expected = 2e-4 * domain_loss(verdict, Domain.SOURCE).item()
        assert found["adversarial_auxiliary"].item() == pytest.approx(expected, rel=1e-5)
        verdict = discriminator("discriminator", source.logits)
        expected = 0.5 * nn.functional.softplus(verdict).mean().item()  # BCE against 0
        assert found["discriminator/source"].item() == pytest.approx(expected, rel=1e-5)
        expected = (
            0.5 * nn.functional.softplus(-discriminator("discriminator", target.logits)).mean().item()
        )  # against 1
        assert found["discriminator/target"].item() == pytest.approx(expected, rel=1e-5)


def test_minent_weights_and_no_discriminator() -> None:
    method = make("advent", {"adversarial_weight": 0, "entropy_weight": 1e-3}).eval()
    assert list(method.networks) == ["segmenter"]
    pair = make_pair()
    found = losses_of(method, pair)
    with torch.no_grad():
        target = method.segmenter(pair.target_images)
        assert target.auxiliary is not None
        expected = 1e-3 * entropy(target.logits.softmax(1)).mean(), 2e-4 * entropy(target.auxiliary.softmax(1)).mean()
    assert found["entropy"].item() == pytest.approx(expected[0].item(), rel=1e-5)
    assert found["entropy_auxiliary"].item() == pytest.approx(expected[1].item(), rel=1e-5)


def test_prior_punishes_only_classes_rarer_than_half_their_source_share() -> None:
    method = make("advent", {**SMALL, "prior_weight": 1.0})
    assert isinstance(method, ADVENT)
    method.source_counts[:3] = torch.tensor([60, 30, 10])
    predicted = torch.zeros(1, 19, 1, 1)
    predicted[0, :3, 0, 0] = torch.tensor([0.9, 0.1, 0.0])
    # Shares .6 .3 .1, halves .3 .15 .05: class 0 is over, class 1 short by .05, class 2 short by .05.
    assert method.prior_violation(predicted).item() == pytest.approx(0.1)


def test_frozen_passes_gradients_and_collects_none() -> None:
    layer, values = nn.Linear(2, 1), torch.ones(1, 2, requires_grad=True)
    layer.bias.requires_grad_(False)
    with frozen(layer) as fixed:
        loss = fixed(values).sum()
    loss.backward()
    assert values.grad is not None
    assert layer.weight.grad is None
    assert layer.weight.requires_grad
    assert not layer.bias.requires_grad


def test_registry_is_complete() -> None:
    for name, entry in METHODS.items():
        assert entry.title
        assert entry.idea.endswith(".")
        assert entry.options()  # defaults are valid
        assert Update().losses == {}
        with pytest.raises(ConfigError, match="unknown key"):
            entry.options.parse({"lambda": 1}, where=name)
    with pytest.raises(ConfigError, match="known are source_only, adabn"):
        build_method("dacs", build("deeplab_v2", options=NETWORK))


@pytest.mark.parametrize("distance", ["rendered", "class_mean"])
def test_teacher_and_anchor_are_given_no_gradient(distance: str) -> None:
    method = make("daformer", {"distance": distance, "distance_stage": "stage2", "distance_weight": 1.0})
    terms: set[str] = set()
    for update in method.step(make_pair()):
        terms |= update.losses.keys()
        torch.stack(list(update.losses.values())).sum().backward()
    assert terms == {"segmentation", "segmentation/auxiliary", "feature_distance", "self_training"}
    given = {key.partition(".")[0] for key, parameter in method.named_parameters() if parameter.grad is not None}
    assert given == {"segmenter"}


def test_daformer_terms_by_hand() -> None:
    """Teacher's labels on the plain target, one quality for the batch, losses over all pixels."""
    method = make("daformer", {"distance": "rendered", "distance_stage": "stage2", "jitter": 0.0})
    assert isinstance(method, DAFormer)
    assert method.anchor is not None
    pair = make_pair()
    with torch.no_grad():
        for parameter in method.segmenter.parameters():
            parameter.mul_(1.01)  # away from the anchor and the teacher
        logits = method.teacher(pair.target_images).logits
        quality = (logits.softmax(1).amax(1) >= 0.968).float().mean()
        features = method.segmenter(pair.source_images).features["stage2"]
        distance = (features - method.anchor.encode(pair.source_images)["stage2"]).norm(dim=1)
        cells = torch.zeros(2, 8, 12, dtype=torch.bool)
        cells[:, :, 6:] = True  # columns 48 and on are a car and a person
        source = method.segmenter(pair.source_images).logits
        picked = source.log_softmax(1).gather(1, pair.source_labels.clamp(max=18)[:, None])[:, 0]
    found = losses_of(method, pair)
    assert found["feature_distance"].item() == pytest.approx(0.005 * distance[cells].mean().item(), rel=1e-4)
    expected = -(picked * (pair.source_labels != 255)).sum() / pair.source_labels.numel()
    assert found["segmentation"].item() == pytest.approx(expected.item(), rel=1e-4)
    assert quality < 1
    pseudo = pseudo_label(logits, 0.968, 15, 120)
    assert pseudo.quality == quality
    assert not pseudo.weights[:, 15:].any(), "120 rows at the bottom cover this crop"
    kept = pseudo_label(logits, 0.0)
    assert kept.weights.unique().tolist() == [1.0]


def test_teacher_moves_after_the_step_and_not_before() -> None:
    method = make("daformer", {"distance": "none"})
    assert isinstance(method, DAFormer)
    before = next(method.teacher.segmenter.parameters()).clone()
    with torch.no_grad():
        for parameter in method.segmenter.parameters():
            parameter.add_(1.0)
    for _ in method.step(make_pair()):
        assert torch.equal(next(method.teacher.segmenter.parameters()), before)
    method.after_step(0)  # the second step begins with a = 1/2
    torch.testing.assert_close(next(method.teacher.segmenter.parameters()), before + 0.5)


def test_daformer_refuses_what_it_cannot_mix() -> None:
    method, pair = make("daformer", {"distance": "none"}), make_pair()
    merged = DomainPair(
        pair.source_images,
        pair.source_labels.clamp(max=10),
        pair.target_images,
        (CAMVID11.members_in(CITYSCAPES19),) * 2,
    )
    with pytest.raises(ConfigError, match="every source must have the network's 19 classes"):
        list(method.step(merged))
    smaller = DomainPair(pair.source_images, pair.source_labels, pair.target_images[..., :64], pair.source_members)
    with pytest.raises(ConfigError, match=r"64, 96.*64, 64"):
        list(method.step(smaller))


@pytest.mark.parametrize(
    ("distance", "initialisation", "fits"),
    [
        ("imagenet", "imagenet", True),
        ("imagenet", "source_only_game_mit", False),
        ("imagenet", "random", False),
        ("rendered", "source_only_game_mit", True),
        ("rendered", "imagenet", False),
        ("class_mean", "random", True),
        ("none", "random", True),
    ],
)
def test_the_anchor_is_what_it_is_called(distance: str, initialisation: str, fits: bool) -> None:
    options = METHODS["daformer"].options.parse({"distance": distance}, where="test")
    if fits:
        options.check_start(initialisation)
    else:
        with pytest.raises(ConfigError, match="the anchor is the initial encoder"):
            options.check_start(initialisation)


def test_adabn_averages_the_targets_statistics() -> None:
    """Two batches of equal size: running mean and variance are the plain averages of theirs."""
    method = make("adabn", {})
    norm = method.segmenter.core.backbone.bn1
    assert isinstance(norm, nn.BatchNorm2d)
    seen: list[Tensor] = []
    norm.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    weights = [parameter.clone() for parameter in method.parameters()]
    pair = make_pair()
    other = DomainPair(pair.source_images, pair.source_labels, pair.target_images * 0.3, pair.source_members)
    for each in (pair, other):
        assert list(method.step(each)) == [Update()]
    mean = torch.stack([maps.mean(dim=(0, 2, 3)) for maps in seen]).mean(dim=0)
    variance = torch.stack([maps.var(dim=(0, 2, 3)) for maps in seen]).mean(dim=0)
    torch.testing.assert_close(norm.running_mean, mean)
    torch.testing.assert_close(norm.running_var, variance)
    assert all(torch.equal(now, before) for now, before in zip(method.parameters(), weights, strict=True))
