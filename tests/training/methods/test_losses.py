from __future__ import annotations

import math

import pytest
import torch

from sim2street.models.labels import CAMVID11, CITYSCAPES19
from sim2street.models.networks.discriminators import PatchDiscriminator
from sim2street.training.methods.losses import (
    Domain,
    class_weights,
    cross_entropy,
    domain_loss,
    entropy,
    self_information,
    weighted_cross_entropy,
)
from sim2street.training.run.schedules import poly
from tests.conftest import Vectors, normal, weights_by_rule


@pytest.fixture(scope="module")
def discriminator() -> PatchDiscriminator:
    network = PatchDiscriminator(19)
    network.load_state_dict(weights_by_rule("advent_discriminator_keys.json"), strict=True)
    return network.eval()


MERGED = CAMVID11.members_in(CITYSCAPES19)


def test_entropy_terms_equal_the_authors(advent_losses: Vectors) -> None:
    logits = (3 * normal((1, 19, 128, 256), 0)).requires_grad_()
    probabilities = logits.softmax(dim=1)
    advent_losses.check("entropy_map_every8", self_information(probabilities)[:, :, ::8, ::8])
    loss = entropy(probabilities).mean()
    loss.backward()
    advent_losses.check("minent_loss", loss)
    advent_losses.check("minent_grad_every8", logits.grad[:, :, ::8, ::8])
    advent_losses.check("minent_loss_batch2", entropy((3 * normal((2, 19, 24, 40), 2)).softmax(dim=1)).mean())


def test_discriminator_and_domain_loss_equal_the_authors(
    advent_losses: Vectors, discriminator: PatchDiscriminator
) -> None:
    logits = (3 * normal((1, 19, 128, 256), 0)).requires_grad_()
    verdict = discriminator(self_information(logits.softmax(dim=1)))
    advent_losses.check("disc_logits_on_entropy", verdict)
    loss = domain_loss(verdict, Domain.SOURCE)
    loss.backward()
    advent_losses.check("bce_label0", loss)
    advent_losses.check("adv_grad_every8", logits.grad[:, :, ::8, ::8])
    advent_losses.check("bce_label1", domain_loss(verdict, Domain.TARGET))

    verdict = discriminator(normal((1, 19, 97, 203), 1))
    advent_losses.check("disc_logits_on_randn", verdict)
    advent_losses.check("bce_randn_label0", domain_loss(verdict, Domain.SOURCE))
    advent_losses.check("bce_randn_label1", domain_loss(verdict, Domain.TARGET))


def test_certain_and_uniform_pixels_stay_finite(advent_losses: Vectors) -> None:
    probabilities = torch.zeros(1, 19, 1, 2)
    probabilities[0, 3, 0, 0] = 1
    probabilities[0, :, 0, 1] = 1 / 19
    advent_losses.check("entropy_map_degenerate", self_information(probabilities))
    advent_losses.check("minent_degenerate", entropy(probabilities).mean())
    assert entropy(probabilities)[0, 0, 1].item() == pytest.approx(1.0)
    assert self_information(probabilities)[0, 0, 0, 1].item() == pytest.approx(1 / 19)


def test_self_information_peaks_at_one_over_e() -> None:
    share = torch.linspace(0.001, 0.999, 999)
    pair = torch.stack([share, 1 - share])[None, :, :, None]
    information = self_information(pair)[0, 0, :, 0]
    assert share[information.argmax()].item() == pytest.approx(1 / math.e, abs=1e-3)
    # Of 19 classes, the peak is log2(e)/e / log2(19).
    assert information.max().item() / math.log2(19) == pytest.approx(0.1249, abs=1e-4)


def test_cross_entropy_averages_over_valid_pixels(advent_losses: Vectors) -> None:
    logits = 3 * normal((2, 19, 24, 40), 2)
    labels = torch.from_numpy(advent_losses["ce_label"]).long()
    assert (labels == 255).any()
    advent_losses.check("ce_loss", cross_entropy(logits, labels))


def test_cross_entropy_of_an_ignored_batch_is_zero_with_zero_gradient() -> None:
    logits = normal((1, 19, 4, 4), 3).requires_grad_()
    for spaces in ((), (MERGED,)):
        loss = cross_entropy(logits, torch.full((1, 4, 4), 255), spaces)
        (gradient,) = torch.autograd.grad(loss, logits)
        assert loss.item() == 0
        assert gradient.abs().max().item() == 0


def test_merged_labels_supervise_summed_probabilities() -> None:
    # One pixel: car 0.2, bus 0.3, road 0.5. CamVid's car is car, truck, bus and train together.
    probabilities = torch.full((19,), 1e-12)
    probabilities[13], probabilities[15], probabilities[0] = 0.2, 0.3, 0.5
    logits = probabilities.log()[None, :, None, None]
    camvid_car, camvid_road = torch.tensor([[[8]]]), torch.tensor([[[3]]])
    assert cross_entropy(logits, camvid_car, (MERGED,)).item() == pytest.approx(-math.log(0.5), abs=1e-5)
    both = cross_entropy(logits.expand(2, -1, -1, -1), torch.cat([camvid_road, torch.tensor([[[13]]])]), (MERGED, None))
    assert both.item() == pytest.approx((-math.log(0.5) - math.log(0.2)) / 2, abs=1e-5)


def test_balance_gives_rare_classes_more_weight_and_keeps_the_mean() -> None:
    labels = torch.tensor([[[0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 255, 255]]])
    torch.testing.assert_close(class_weights(labels, 2, 0.0), torch.ones(2))
    # n_c^-1/2 is 1/3 and 1; the sum over the ten pixels, 9/3 + 1, becomes 10.
    torch.testing.assert_close(class_weights(labels, 2, 0.5), torch.tensor([10 / 12, 10 / 4]))
    assert class_weights(labels, 2, 1.0).tolist() == pytest.approx([10 / 18, 10 / 2])
    assert torch.isfinite(class_weights(torch.full((1, 2, 2), 255), 2, 0.5)).all()


def test_balanced_cross_entropies_weigh_each_pixel_by_its_class() -> None:
    logits, labels = normal((2, 3, 4, 5), 5), torch.arange(40).reshape(2, 4, 5).clamp(max=2)
    labels[0, 0, 3] = 255
    weights = class_weights(labels, 3, 0.5)
    each = torch.nn.functional.cross_entropy(logits, labels, ignore_index=255, reduction="none")
    expected = (each * weights[labels.clamp(max=2)])[labels != 255].mean()
    torch.testing.assert_close(cross_entropy(logits, labels, balance=0.5), expected)
    torch.testing.assert_close(
        weighted_cross_entropy(logits, labels, torch.full(labels.shape, 40 / 39), balance=0.5), expected
    )
    assert not torch.isclose(cross_entropy(logits, labels), expected)
    one_by_one = cross_entropy(logits, labels, ([(0,), (1,), (2,)],) * 2, balance=0.5)
    own = [(each[i] * class_weights(labels[i], 3, 0.5)[labels[i].clamp(max=2)])[labels[i] != 255].sum() for i in (0, 1)]
    torch.testing.assert_close(one_by_one, sum(own) / 39)


def test_poly_schedule_equals_the_authors(advent_losses: Vectors) -> None:
    steps = advent_losses["lr_iters"]
    for key, base in (("lr_segmenter", 2.5e-4), ("lr_discriminator", 1e-4)):
        rates = [base * poly(int(step), 250_000) for step in steps]
        advent_losses.check(key, torch.tensor(rates, dtype=torch.float64))


def test_warm_up_scales_the_decaying_rate() -> None:
    rate = [6e-5 * poly(step, 40_000, power=1.0, warm_up=1500) for step in (0, 750, 1500)]
    assert rate[0] == pytest.approx(6e-11)
    assert rate[1] == pytest.approx(2.94e-5, rel=2e-3)
    assert rate[2] == pytest.approx(5.775e-5)


@pytest.mark.parametrize(("step", "factor"), [(0, 1), (99, 1), (100, 1), (150, 0.5), (199, 0.01)])
def test_rate_held_and_then_decayed(step: int, factor: float) -> None:
    """CycleGAN's: constant for a hundred epochs, linear to 0 over a hundred more."""
    assert poly(step, 200, power=1.0, hold=100) == pytest.approx(factor)
    assert poly(step, 200, power=1.0, hold=200) == 1, "no decay at all"
