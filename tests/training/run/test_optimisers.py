"""Optimisers that recipes name."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from sim2street.training.config import OptimiserConfig
from sim2street.training.run.optimisers import _optimiser


@pytest.mark.parametrize("kind", ["sgd", "adam", "adamw"])
def test_a_step_does_not_depend_on_the_gradients_order_in_memory(kind: str) -> None:
    """Convolutions of channels-last maps give channels-last gradients, whatever the order of their weights."""
    stepped = []
    for order in (torch.contiguous_format, torch.channels_last):
        torch.manual_seed(0)
        layer = nn.Conv2d(4, 8, 3)
        optimiser = _optimiser(OptimiserConfig(kind=kind, rate=1e-2), layer)
        layer.weight.grad = torch.randn(8, 4, 3, 3).to(memory_format=order)
        layer.bias.grad = torch.zeros(8)
        optimiser.step()
        stepped.append(layer.weight.detach().clone())
    torch.testing.assert_close(*stepped)
