from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sim2street.models.errors import ConfigError
from sim2street.models.networks import build
from sim2street.training.methods import build_method
from sim2street.training.methods.base import Method
from sim2street.training.methods.cycada import REMEMBERED, CyCADA
from sim2street.training.methods.losses import gan_loss
from sim2street.training.methods.parts.image_pool import ImagePool
from tests.training.methods.test_methods import PAINTERS, losses_of, make, make_pair


def make_cycada(**options: Any) -> CyCADA:
    method = make("cycada", {**PAINTERS, **options})
    assert isinstance(method, CyCADA)
    return method


def networks(method: Method, *names: str) -> list[nn.Module]:
    return [method.get_submodule(name) for name in names]


def test_gan_loss_by_hand() -> None:
    verdict = torch.tensor([0.0, 2.0])
    assert gan_loss(verdict, True).item() == pytest.approx((1 + 1) / 2)
    assert gan_loss(verdict, False).item() == pytest.approx((0 + 4) / 2)
    assert gan_loss(verdict, True, "log").item() == pytest.approx((math.log(2) + math.log(1 + math.exp(-2))) / 2)


@pytest.mark.parametrize("gan", ["lsgan", "log"])
def test_translation_terms_by_hand(gan: Any) -> None:
    """Weights of the authors' code: 2 and 1 for the image losses, 10 for the cycle, half of it for the identity."""
    method, pair = make_cycada(gan=gan), make_pair()
    with torch.no_grad():
        to_target, to_source, discriminator_target, discriminator_source = networks(
            method, "to_target", "to_source", "discriminator_target", "discriminator_source"
        )
        source, target = pair.source_images * 2 - 1, pair.target_images * 2 - 1
        as_target, as_source = to_target(source), to_source(target)
        expected = {
            "translation/to_target": 2 * gan_loss(discriminator_target(as_target), True, gan),
            "translation/to_source": gan_loss(discriminator_source(as_source), True, gan),
            "translation/cycle": 10 * ((to_source(as_target) - source).abs().mean())
            + 10 * ((to_target(as_source) - target).abs().mean()),
            "translation/identity": 5 * ((to_target(target) - target).abs().mean())
            + 5 * ((to_source(source) - source).abs().mean()),
            # The pool is empty: it hands through what it is given.
            "discriminator_target": 0.5
            * (
                gan_loss(discriminator_target(target), True, gan)
                + gan_loss(discriminator_target(as_target), False, gan)
            ),
            "discriminator_source": 0.5
            * (
                gan_loss(discriminator_source(source), True, gan)
                + gan_loss(discriminator_source(as_source), False, gan)
            ),
        }
    found = losses_of(method, pair)
    assert found.keys() == expected.keys()
    for term, value in expected.items():
        torch.testing.assert_close(found[term], value, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("semantic", ["labels", "hard", "soft"])
def test_semantic_loss_by_hand(semantic: str) -> None:
    method, pair = make_cycada(semantic=semantic, semantic_weight=0.5, semantic_gate=99.0), make_pair()
    source_segmenter = method.source_segmenter
    assert source_segmenter is not None
    with torch.no_grad():
        to_target, to_source = networks(method, "to_target", "to_source")
        of_source = source_segmenter((to_target(pair.source_images * 2 - 1) + 1) / 2).logits.log_softmax(1)
        of_target = source_segmenter((to_source(pair.target_images * 2 - 1) + 1) / 2).logits.log_softmax(1)
        plain_source, plain_target = (
            source_segmenter(pair.source_images).logits,
            source_segmenter(pair.target_images).logits,
        )

        def picked(logs: Tensor, labels: Tensor) -> Tensor:
            return -logs.gather(1, labels.clamp(max=18)[:, None])[:, 0][labels != 255].mean()

        expected = {
            "labels": picked(of_source, pair.source_labels) + picked(of_target, plain_target.argmax(1)),
            "hard": picked(of_source, plain_source.argmax(1)) + picked(of_target, plain_target.argmax(1)),
            "soft": -(plain_source.softmax(1) * of_source).sum(1).mean()
            - (plain_target.softmax(1) * of_target).sum(1).mean(),
        }[semantic]
    torch.testing.assert_close(losses_of(method, pair)["translation/semantic"], 0.5 * expected, rtol=1e-4, atol=1e-5)


def test_a_poor_source_segmenter_has_no_say() -> None:
    method = make_cycada(semantic_weight=1.0, semantic_gate=0.01)
    assert losses_of(method, make_pair())["translation/semantic"] == 0


def test_source_segmenter_stays_as_it_was() -> None:
    method = make_cycada(phase="joint", semantic_weight=1.0, discriminator_cell=8).train()
    source_segmenter = method.source_segmenter
    assert source_segmenter is not None
    before = {key: value.clone() for key, value in source_segmenter.state_dict().items()}
    for update in method.step(make_pair()):
        torch.stack(list(update.losses.values())).sum().backward()
    assert all(parameter.grad is None for parameter in source_segmenter.parameters())
    assert all(torch.equal(value, before[key]) for key, value in source_segmenter.state_dict().items())


def set_accuracy(method: CyCADA, accuracy: float) -> None:
    """As if the discriminator had been right this often for a hundred steps."""
    method.accuracies.fill_(accuracy)
    method.discriminator_steps.fill_(REMEMBERED)


@pytest.mark.parametrize(("accuracy", "listened_to"), [(0.55, False), (0.65, True)])
def test_the_segmenter_learns_only_from_a_discriminator_that_knows(accuracy: float, listened_to: bool) -> None:
    method = make_cycada(phase="features", discriminator_cell=8)
    set_accuracy(method, accuracy)
    steps = [update.step for update in method.step(make_pair())]
    assert steps == [("discriminator",), *([("segmenter",)] if listened_to else []), ("segmenter",)]


def test_accuracy_is_averaged_over_the_last_hundred() -> None:
    method = make_cycada(phase="features", discriminator_cell=8)
    assert method.accuracy == 0
    list(method.step(make_pair()))
    first = method.accuracies[0].item()
    assert method.accuracy == pytest.approx(first), "of one step so far"
    set_accuracy(method, 1.0)
    list(method.step(make_pair()))
    assert method.accuracy == pytest.approx((99 + method.accuracies[0].item()) / 100)


def test_feature_terms_by_hand() -> None:
    """Source 1, target 0; the discriminator at full weight, the segmenter with a tenth and the flipped label."""
    method, pair = make_cycada(phase="features", discriminator_cell=8).eval(), make_pair()
    set_accuracy(method, 1.0)
    found = losses_of(method, pair)
    with torch.no_grad():
        painted = (networks(method, "to_target")[0](pair.source_images * 2 - 1) + 1) / 2
        discriminator = networks(method, "discriminator")[0]
        verdicts = []
        for images in (painted, pair.target_images):
            logits = method.segmenter(images).logits
            assert logits.shape[2:] == (64, 96)
            verdicts.append(discriminator(F.avg_pool2d(logits, 8)).log_softmax(1))
        expected = -0.5 * (verdicts[0][:, 1].mean() + verdicts[1][:, 0].mean())
        torch.testing.assert_close(found["discriminator"], expected, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(found["feature"], -0.1 * verdicts[1][:, 1].mean(), rtol=1e-4, atol=1e-5)
        task = F.cross_entropy(method.segmenter(painted).logits, pair.source_labels, ignore_index=255)
        torch.testing.assert_close(found["segmentation"], task, rtol=1e-4, atol=1e-5)


def test_joint_steps_in_the_authors_order() -> None:
    method = make_cycada(phase="joint", discriminator_cell=8)
    set_accuracy(method, 1.0)
    assert [update.step for update in method.step(make_pair())] == [
        ("to_target", "to_source"),
        ("discriminator_target",),
        ("discriminator_source",),
        ("discriminator",),
        ("segmenter",),
        ("segmenter",),
    ]


def test_without_translation_the_source_is_itself() -> None:
    method = make("cycada", {"phase": "features", "translated": False, "discriminator_cell": 8})
    assert isinstance(method, CyCADA)
    assert not method.needs_extra_networks
    assert method.extra_networks == {}
    pair = make_pair()
    assert method.translated(pair) is pair.source_images


def test_pool_fills_and_then_exchanges_half() -> None:
    torch.manual_seed(0)
    pool = ImagePool(3)
    first = torch.arange(3.0).view(3, 1, 1, 1).expand(3, 3, 2, 2)
    assert torch.equal(pool.exchange(first), first)
    assert pool.images[:, 0, 0, 0].tolist() == [0, 1, 2]
    given = []
    for number in range(3, 203):
        image = torch.full((1, 3, 2, 2), float(number))
        back = pool.exchange(image)
        given.append(float(back[0, 0, 0, 0]))
        assert back.unique().numel() == 1
    own = sum(value == number for number, value in enumerate(given, start=3))
    assert 70 < own < 130, "about half are given back themselves"
    assert len(set(given)) == len(given), "no image comes twice: what is given back has left the pool"
    with pytest.raises(ValueError, match=r"holds images of \(3, 2, 2\)"):
        pool.exchange(torch.zeros(1, 3, 4, 4))
    assert torch.equal(ImagePool(0).exchange(first), first)


def test_a_restored_pool_follows_the_images_to_their_device() -> None:
    pool = ImagePool(2)
    pool.set_extra_state(torch.zeros(2, 3, 4, 4))  # full, and on the processor
    assert pool.exchange(torch.zeros(1, 3, 4, 4, device="meta")).device.type == "meta"
    assert pool.images.device.type == "meta"


def test_pool_survives_saving() -> None:
    pool, again = ImagePool(3), ImagePool(3)
    pool.exchange(torch.rand(2, 3, 4, 4))
    again.load_state_dict(pool.state_dict(), strict=True)
    assert torch.equal(pool.images, again.images)


def test_fcn8s_discriminator_sees_its_last_features() -> None:
    options = {"phase": "features", "translated": False, "discriminator_input": "fc7", "accuracy_gate": 0}
    torch.manual_seed(0)
    method = build_method("cycada", build("fcn8s", options={"width": 0.0625}), options).train()
    terms = [term for update in method.step(make_pair()) for term in update.losses]
    assert terms == ["discriminator", "feature", "segmentation"]
    first = networks(method, "discriminator")[0].D[0]
    assert (first.in_channels, first.out_channels) == (256, 512)
    with pytest.raises(ConfigError, match=r"no features 'fc7' for a discriminator\. Choose one of stage1"):
        make("cycada", options)
