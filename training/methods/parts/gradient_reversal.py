"""Gradient reversal: layers above minimise a loss, layers below maximise it (Ganin and Lempitsky, 2015, arXiv:1409.7495)."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor


class _Reversal(torch.autograd.Function):
    """Identity forward, gradient times -factor backward."""

    @staticmethod
    def forward(ctx: Any, maps: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return maps.view_as(maps)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return -ctx.factor * gradients[0], None


def reverse_gradient(maps: Tensor, factor: float) -> Tensor:
    """Return the maps unchanged; their gradients are multiplied by `-factor`."""
    reversed_maps = _Reversal.apply(maps, factor)
    assert isinstance(reversed_maps, Tensor)
    return reversed_maps


def reversal_factor(progress: float, gamma: float = 10.0) -> float:
    """Lambda at the fraction `progress` in [0,1] of the run: 2 / (1 + exp(-gamma p)) - 1, rising from 0 towards 1."""
    return 2 / (1 + math.exp(-gamma * progress)) - 1
