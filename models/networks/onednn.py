"""Linear layers and 1x1 convolutions by oneDNN, for prediction on a processor.

PyTorch computes both by MKL, in fp32 and on one thread. On AMD's processors oneDNN takes about a tenth less time for the
same products, with the bias added on the way. Its operators are those that PyTorch's own compiler calls.
"""

from __future__ import annotations

from typing import Final, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sim2street.models.networks.inference import on_processor

IS_BUILT_IN: Final = torch.backends.mkldnn.is_available() and all(
    hasattr(torch.ops.mkldnn, name) for name in ("_linear_pointwise", "_convolution_pointwise")
)
"""Whether this build of PyTorch has oneDNN; those for some processors do not."""


def linear(maps: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`F.linear`: (..., C) maps with (D, C) weights and a (D,) bias -> (..., D)."""
    if not (IS_BUILT_IN and on_processor(maps)):
        return F.linear(maps, weight, bias)
    return torch.ops.mkldnn._linear_pointwise(maps, weight, bias, "none", [], "")


def convolved_gelu(convolution: nn.Conv2d, maps: Tensor) -> Tensor:
    """The GELU of (B, C, h, w) maps after a convolution, taken before they are written to memory."""
    settings = (convolution.padding, convolution.stride, convolution.dilation, convolution.groups)
    return torch.ops.mkldnn._convolution_pointwise(
        maps, convolution.weight, convolution.bias, *settings, "gelu", [], "none"
    )


class Linear(nn.Linear):
    """A linear layer by oneDNN, with the weights of another."""

    def __init__(self, layer: nn.Linear) -> None:
        with torch.device("meta"):
            super().__init__(layer.in_features, layer.out_features, bias=layer.bias is not None)
        self.weight, self.bias = layer.weight, layer.bias

    def forward(self, input: Tensor) -> Tensor:
        """(..., C) -> (..., D)."""
        return linear(input, self.weight, self.bias)


class PointwiseConv2d(nn.Conv2d):
    """A 1x1 convolution of stride 1 by oneDNN, with the weights of another."""

    def __init__(self, convolution: nn.Conv2d) -> None:
        with torch.device("meta"):
            super().__init__(convolution.in_channels, convolution.out_channels, 1, bias=convolution.bias is not None)
        self.weight, self.bias = convolution.weight, convolution.bias

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, D, h, w), a pixel's channels side by side in memory."""
        if not on_processor(input):
            return super().forward(input)
        maps = linear(input.permute(0, 2, 3, 1).contiguous(), self.weight.flatten(1), self.bias)
        return maps.permute(0, 3, 1, 2)


def suits(convolution: nn.Conv2d) -> bool:
    """Whether a convolution is 1x1 of stride 1 without groups or padding."""
    plain = (convolution.kernel_size, convolution.stride) == ((1, 1), (1, 1))
    return plain and convolution.groups == 1 and cast(tuple[int, int], convolution.padding) == (0, 0)
