"""Linear layers and 1x1 convolutions by oneDNN, for training on a processor.

PyTorch leaves linear layers to MKL, which does without AVX-512 on AMD's processors, and on one thread 1x1 convolutions of fewer than
16 images too. A 1x1 convolution sees one pixel at a time, so the rows of images can count as images of their own: with 16 or
more of those, PyTorch computes the convolution and its gradients by oneDNN. A linear layer is the same product.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sim2street.models.networks.inference import in_fp32_on_processor
from sim2street.models.networks.onednn import IS_BUILT_IN, is_pointwise

FEWEST: Final = 16
"""Images from which PyTorch chooses oneDNN for 1x1 convolutions whatever the number of threads (2.14, `use_mkldnn`)."""


def for_training(method: nn.Module, device: torch.device) -> None:
    """Let the linear layers and 1x1 convolutions of all networks compute in the quicker way, in place.

    Parameters, their names and results up to rounding stay. Only a processor has the quicker way.
    """
    if device.type != "cpu" or not IS_BUILT_IN:
        return
    for layer in method.modules():
        # The class alone changes: optimisers, hooks and other modules may hold the layer already.
        if type(layer) is nn.Linear:
            layer.__class__ = LinearByRows
        elif type(layer) is nn.Conv2d and is_pointwise(layer):
            layer.__class__ = PointwiseByRows


class LinearByRows(nn.Linear):
    """A linear layer that takes (B, h, w, C) maps by rows."""

    def forward(self, input: Tensor) -> Tensor:
        """(..., C) -> (..., D)."""
        if input.dim() == 4 and suits(input):
            return _by_rows(input, self.weight, self.bias)
        return super().forward(input)


class PointwiseByRows(nn.Conv2d):
    """A 1x1 convolution that takes (B, C, h, w) maps by rows."""

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, D, h, w)."""
        return pointwise(input, self.weight.flatten(1), self.bias)


def pointwise(maps: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """1x1 convolution of (B, C, h, w) maps with (D, C) weights and a (D,) bias -> (B, D, h, w)."""
    rows = maps.permute(0, 2, 3, 1)
    if suits(rows):
        return _by_rows(rows, weight, bias).permute(0, 3, 1, 2)
    return F.conv2d(maps, weight[..., None, None], bias)


def suits(maps: Tensor) -> bool:
    """Whether the rows of (B, h, w, C) maps are in order in memory, and enough of them."""
    return in_fp32_on_processor(maps) and maps.is_contiguous() and maps.shape[0] * maps.shape[1] >= FEWEST


def _by_rows(maps: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """(B, h, w, C) -> (B, h, w, D)."""
    rows = maps.flatten(0, 1)[:, None].permute(0, 3, 1, 2)
    products = F.conv2d(rows, weight[..., None, None], bias)
    return products.permute(0, 2, 3, 1).reshape(*maps.shape[:3], -1)
