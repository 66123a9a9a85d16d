"""Layers that compute by rows in training: same outputs and gradients, whatever the maps, and nothing else changes."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sim2street.models.networks import build
from sim2street.models.networks.for_training import LinearByRows, PointwiseByRows, for_training, pointwise, suits
from sim2street.models.networks.onednn import IS_BUILT_IN
from tests.models.test_networks import OPTIONS

CPU = torch.device("cpu")

pytestmark = pytest.mark.skipif(not IS_BUILT_IN, reason="this PyTorch has no oneDNN")


def gradients(layer: nn.Module, maps: Tensor) -> list[Tensor]:
    """The output and the gradients of the input and of all parameters."""
    maps = maps.detach().clone().requires_grad_()
    output = layer(maps)
    given = [maps, *layer.parameters()]
    return [output, *torch.autograd.grad(output.sin().sum(), given)]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(2, 9, 5, 24), (1, 3, 4, 24), (4, 7, 24), (6, 24), (24,)])
def test_linear_layers(shape: tuple[int, ...], bias: bool) -> None:
    torch.manual_seed(0)
    layer = nn.Linear(24, 40, bias=bias)
    quick = copy.deepcopy(layer)
    for_training(quick, CPU)
    assert type(quick) is LinearByRows
    maps = torch.randn(shape)
    torch.testing.assert_close(gradients(quick, maps), gradients(layer, maps))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("order", [torch.channels_last, torch.contiguous_format])
def test_pointwise_convolutions(order: torch.memory_format, bias: bool) -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(24, 40, 1, bias=bias)
    quick = copy.deepcopy(layer)
    for_training(quick, CPU)
    assert type(quick) is PointwiseByRows
    maps = torch.randn(2, 24, 9, 5).to(memory_format=order)
    torch.testing.assert_close(gradients(quick, maps), gradients(layer, maps))
    torch.testing.assert_close(
        pointwise(maps, layer.weight.flatten(1), layer.bias), F.conv2d(maps, layer.weight, layer.bias)
    )


def test_which_maps_are_taken_by_rows() -> None:
    """Not those of few rows, in another order of memory, of another precision, or computed in bf16."""
    maps = torch.randn(2, 8, 5, 3)
    assert suits(maps)
    assert not suits(maps[:, :7])
    assert not suits(maps.double())
    assert not suits(torch.randn(2, 3, 8, 5).permute(0, 2, 3, 1))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert not suits(maps)


def test_other_layers_and_devices_keep_theirs() -> None:
    for kept in (
        nn.Conv2d(8, 8, 3),
        nn.Conv2d(8, 8, 1, stride=2),
        nn.Conv2d(8, 8, 1, groups=2),
        nn.Conv2d(8, 8, 1, padding=1),
    ):
        for_training(kept, CPU)
        assert type(kept) is nn.Conv2d
    layer = nn.Linear(2, 2)
    for_training(layer, torch.device("cuda"))
    assert type(layer) is nn.Linear


@pytest.mark.parametrize("name", ["segformer", "daformer", "hrda"])
def test_a_network_trains_the_same(name: str) -> None:
    """Outputs, gradients and the names of weights; hooks and parameters stay where they are."""
    torch.manual_seed(0)
    plain = build(name, options=OPTIONS.get(name, {}))
    plain.to(memory_format=torch.channels_last)  # pyright: ignore
    plain.eval()  # dropout would differ
    quick = copy.deepcopy(plain)
    parameters = list(map(id, quick.parameters()))
    for_training(quick, CPU)
    assert list(map(id, quick.parameters())) == parameters
    assert list(quick.state_dict()) == list(plain.state_dict())
    assert any(type(layer) is LinearByRows for layer in quick.modules())
    images = torch.rand(2, 3, 64, 96).to(memory_format=torch.channels_last)
    for found, expected in zip(trained(quick, images), trained(plain, images), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-5 * float(expected.detach().abs().max() + 1))


def trained(network: nn.Module, images: Tensor) -> list[Tensor]:
    logits = network(images).logits
    logits.square().mean().backward()
    return [logits, *(each.grad for each in network.parameters() if each.grad is not None)]
