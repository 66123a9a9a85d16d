from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from sim2street.training.methods.dann import DANN
from sim2street.training.methods.losses import Domain, position_loss
from sim2street.training.methods.parts.gradient_reversal import reversal_factor, reverse_gradient
from tests.training.methods.test_methods import clear, losses_of, make, make_pair


@pytest.mark.parametrize(("progress", "factor"), [(0, 0), (0.1, 0.4621), (0.5, 0.9866), (1, 0.9999)])
def test_lambda_of_the_paper(progress: float, factor: float) -> None:
    assert reversal_factor(progress) == pytest.approx(factor, abs=5e-5)


def test_reversal_is_the_identity_forward_and_negative_backward() -> None:
    values = torch.tensor([1.0, -2.0], requires_grad=True)
    passed = reverse_gradient(values, 0.25)
    assert torch.equal(passed, values)
    (3 * passed).sum().backward()
    assert values.grad is not None
    assert values.grad.tolist() == [-0.75, -0.75]


def test_position_loss_by_hand() -> None:
    verdict = torch.tensor([2.0, 0.0]).view(1, 2, 1, 1)  # (target, source)
    assert position_loss(verdict, Domain.TARGET).item() == pytest.approx(math.log(1 + math.exp(-2)))
    assert position_loss(verdict, Domain.SOURCE).item() == pytest.approx(2 + math.log(1 + math.exp(-2)))


def gradients(progress: float, weight: float) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Gradients of segmenter and discriminator from the discriminator's loss on the target, which holds no other term."""
    method = make("dann", {"discriminator_width": 8, "adversarial_weight": weight})
    method.progress = progress
    # Nothing is dropped, and batch norm does not divide the numbers of two runs by something else.
    method.eval()
    *_, last = method.step(make_pair())
    clear(method)
    assert list(last.losses) == ["discriminator/target"]
    last.losses["discriminator/target"].backward()
    found = []
    for name in ("segmenter", "discriminator"):
        parameters = method.get_submodule(name).named_parameters()
        found.append({key: p.grad.clone() for key, p in parameters if p.grad is not None})
    return found[0], found[1]


def test_features_get_the_reversed_gradient_and_the_discriminator_all_of_it() -> None:
    """Twice the weight is twice the gradient below the reversal; above it nothing changes, whatever lambda is."""
    below, above = gradients(progress=0.5, weight=0.01)
    doubled, same = gradients(progress=0.5, weight=0.02)
    silent, full = gradients(progress=0.0, weight=0.01)
    assert set(below) == set(doubled)
    for key, gradient in below.items():
        torch.testing.assert_close(doubled[key], 2 * gradient, rtol=1e-4, atol=1e-9)
        assert not silent[key].any()
    assert any(bool(gradient.abs().sum() > 0) for gradient in below.values())
    for key, gradient in above.items():
        torch.testing.assert_close(same[key], gradient)
        torch.testing.assert_close(full[key], gradient)


def test_a_step_against_the_discriminator_raises_its_loss() -> None:
    """The sign: features that follow their gradient downhill make the discriminator worse, not better."""
    method = make("dann", {"discriminator_width": 8, "adversarial_weight": 1.0}).eval()
    assert isinstance(method, DANN)
    pair = make_pair()
    *_, last = method.step(pair)
    clear(method)
    before = last.losses["discriminator/target"]
    before.backward()
    with torch.no_grad():
        for parameter in method.segmenter.parameters():
            if parameter.grad is not None:
                parameter -= 1e-3 * parameter.grad / (parameter.grad.norm() + 1e-12)
    assert losses_of(method, pair)["discriminator/target"] > before.detach()


def test_both_domains_count_half() -> None:
    method = make("dann", {"discriminator_width": 8}).eval()
    discriminator, pair = method.get_submodule("discriminator"), make_pair()
    found = losses_of(method, pair)
    with torch.no_grad():
        for domain, images, true_class in (("source", pair.source_images, 1), ("target", pair.target_images, 0)):
            verdict = discriminator(method.segmenter(images).features["stage4"])
            expected = -0.5 * verdict.log_softmax(1)[:, true_class].mean()
            assert found[f"discriminator/{domain}"].item() == pytest.approx(expected.item(), rel=1e-5)
    assert isinstance(discriminator.D[0], nn.Conv2d)
