"""Linear layers and convolutions by oneDNN, for prediction on a processor.

PyTorch computes linear layers and 1x1 convolutions by MKL, in fp32 and on one thread. On AMD's processors oneDNN takes about
a tenth less time for the same products, with the bias added on the way. It computes from weights in an order of memory of its
own; bringing them into it once, and not in every call, is worth another twentieth, and up to two fifths for convolutions of
small maps. Its operators are those that PyTorch's own compiler calls.
"""

from __future__ import annotations

import math
from typing import Any, Final, Self, cast

import torch
from timm.layers.conv2d_same import Conv2dSame, conv2d_same
from torch import Tensor, nn
from torch.nn import functional as F

from sim2street.models.networks.inference import on_processor

IS_BUILT_IN: Final = torch.backends.mkldnn.is_available() and all(
    hasattr(torch.ops.mkldnn, name)
    for name in (
        "_linear_pointwise",
        "_convolution_pointwise",
        "_reorder_linear_weight",
        "_reorder_convolution_weight",
    )
)
"""Whether this build of PyTorch has oneDNN; those for some processors do not."""
STRIP: Final = 2**19
"""Scores of all heads that attention computes at a time, two megabytes."""
SMALL: Final = 100
"""A score, as an exponent of two, up to which neither powers nor their sums can leave the range of float32."""
SIDE: Final = 64
"""Height and width of the maps for which the weights of convolutions are ordered; they serve for all others too."""


class Packed:
    """Weights in oneDNN's order of memory: (D, C), or (D, C, kh, kw) of a convolution.

    PyTorch can neither copy nor move such a tensor; a copied layer shares it.
    """

    def __init__(self, weight: Tensor, convolution: nn.Conv2d | None = None) -> None:
        with torch.no_grad():
            weight = weight.detach()
            if convolution is None:
                self.tensor: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight)
            else:
                shape = [1, convolution.in_channels, SIDE, SIDE]
                self.tensor = torch.ops.mkldnn._reorder_convolution_weight(weight, *_settings(convolution), shape)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self


def linear(maps: Tensor, weight: Tensor | Packed, bias: Tensor | None = None) -> Tensor:
    """`F.linear`: (..., C) maps with (D, C) weights and a (D,) bias -> (..., D).

    Packed weights are for maps `on_processor` only.
    """
    if isinstance(weight, Packed):
        return torch.ops.mkldnn._linear_pointwise(maps, weight.tensor, bias, "none", [], "")
    if not (IS_BUILT_IN and on_processor(maps)):
        return F.linear(maps, weight, bias)
    return torch.ops.mkldnn._linear_pointwise(maps, weight, bias, "none", [], "")


def added(layer: nn.Linear, maps: Tensor, shortcut: Tensor) -> Tensor:
    """`shortcut + layer(maps)`, added while the products are written if the layer is one for prediction."""
    if isinstance(layer, Linear) and on_processor(maps):
        return torch.ops.mkldnn._linear_pointwise.binary(maps, shortcut, layer.packed.tensor, layer.bias, "add")
    return shortcut + layer(maps)


def convolved_gelu(convolution: nn.Conv2d, maps: Tensor) -> Tensor:
    """The GELU of (B, C, h, w) maps after a convolution, taken before they are written to memory."""
    weight = convolution.packed.tensor if isinstance(convolution, Conv2d) else convolution.weight
    return torch.ops.mkldnn._convolution_pointwise(
        maps, weight, convolution.bias, *_settings(convolution), "gelu", [], "none"
    )


def attention(query: Tensor, key_value: Tensor, heads: int) -> Tensor:
    """Attention of (B, h, w, D) queries to (B, a, b, 2 D) keys and values, which are stacked -> (B, h, w, D).

    For maps `on_processor`. All heads are computed at once, as the groups of two 1x1 convolutions whose weights are the keys and
    the values, some rows of an image at a time. Powers of two with log2(e) in the keys take a third of the time of PyTorch's
    softmax; results are divided by their sums, as there are fewer of them than scores.
    """
    count, scale = key_value.shape[1] * key_value.shape[2], math.log2(math.e) * (query.shape[3] // heads) ** -0.5
    rows = max(1, STRIP // (query.shape[2] * heads * count))
    results = torch.empty_like(query)
    for image, pairs, result in zip(query.split(1), key_value.flatten(1, 2), results.split(1), strict=True):
        keys, values = (part.unflatten(-1, (heads, -1)) for part in pairs.chunk(2, dim=-1))
        keys = keys * scale
        is_small = _longest(image.unflatten(-1, (heads, -1))) * _longest(keys) < SMALL
        score = _Grouped(keys.transpose(0, 1).flatten(0, 1), heads, image, rows)
        gather = _Grouped(values.permute(1, 2, 0).flatten(0, 1), heads, image, rows)
        for strip, place in zip(image.split(rows, dim=1), result.split(rows, dim=1), strict=True):
            powers = score(strip).unflatten(-1, (heads, count))
            if not is_small:
                powers -= powers.amax(dim=-1, keepdim=True)
            powers.exp2_()
            gathered = gather(powers.flatten(-2)).unflatten(-1, (heads, -1))
            torch.div(gathered, powers.sum(dim=-1, keepdim=True), out=place.unflatten(-1, (heads, -1)))
    return results


def _longest(vectors: Tensor) -> float:
    """Length of the longest of (..., D) vectors."""
    return float(torch.linalg.vector_norm(vectors, dim=-1).amax())


class _Grouped:
    """A 1x1 convolution with (D, C / groups) weights of `image`, (1, h, w, ...), some rows at a time."""

    def __init__(self, weight: Tensor, groups: int, image: Tensor, rows: int) -> None:
        self.weight, self.settings = weight[..., None, None], ([0, 0], [1, 1], [1, 1], groups)
        if rows < image.shape[1]:  # for a single call, ordering the weights before would only take longer
            shape = [1, weight.shape[1] * groups, rows, image.shape[2]]
            self.weight = torch.ops.mkldnn._reorder_convolution_weight(self.weight, *self.settings, shape)

    def __call__(self, maps: Tensor) -> Tensor:
        """(1, rows, w, C) -> (1, rows, w, D)."""
        products = torch.ops.mkldnn._convolution_pointwise(
            maps.permute(0, 3, 1, 2), self.weight, None, *self.settings, "none", [], "none"
        )
        return products.permute(0, 2, 3, 1)


class Linear(nn.Linear):
    """A linear layer by oneDNN, with the weights of another."""

    def __init__(self, layer: nn.Linear) -> None:
        with torch.device("meta"):
            super().__init__(layer.in_features, layer.out_features, bias=layer.bias is not None)
        self.weight, self.bias = layer.weight, layer.bias
        self.packed = Packed(layer.weight)

    def forward(self, input: Tensor) -> Tensor:
        """(..., C) -> (..., D)."""
        return linear(input, self.packed if on_processor(input) else self.weight, self.bias)


class ConvolutionOf(nn.Conv2d):
    """A convolution with the settings and the weights of another."""

    def __init__(self, convolution: nn.Conv2d) -> None:
        with torch.device("meta"):
            super().__init__(
                convolution.in_channels,
                convolution.out_channels,
                cast(tuple[int, int], convolution.kernel_size),
                cast(tuple[int, int], convolution.stride),
                cast(tuple[int, int], convolution.padding),
                cast(tuple[int, int], convolution.dilation),
                convolution.groups,
                bias=convolution.bias is not None,
            )
        self.weight, self.bias = convolution.weight, convolution.bias


class PointwiseConv2d(ConvolutionOf):
    """A convolution that `is_pointwise`, by oneDNN."""

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__(convolution)
        self.packed = Packed(convolution.weight.flatten(1))

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, D, h, w), a pixel's channels side by side in memory."""
        if not on_processor(input):
            return super().forward(input)
        maps = linear(input.permute(0, 2, 3, 1).contiguous(), self.packed, self.bias)
        return maps.permute(0, 3, 1, 2)


class Conv2d(ConvolutionOf):
    """Any other convolution that `suits`, by oneDNN."""

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__(convolution)
        self.packed = Packed(convolution.weight, convolution)

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, D, h', w'), a pixel's channels side by side in memory."""
        if not on_processor(input):
            return super().forward(input)
        maps = input.contiguous(memory_format=torch.channels_last)
        return torch.ops.mkldnn._convolution_pointwise(
            maps, self.packed.tensor, self.bias, *_settings(self), "none", [], "none"
        )


class HalvingConv2d(ConvolutionOf):
    """A convolution that `halves`, by oneDNN.

    Maps with even sides lack one zero more below and on the right than above and on the left. A row and a column of zeros before
    the weights make up for that: oneDNN then surrounds the maps itself, where they would be copied into larger ones first.
    """

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__(convolution)
        enlarged = nn.Conv2d(
            convolution.in_channels,
            convolution.out_channels,
            kernel_size=convolution.kernel_size[0] + 1,
            stride=2,
            padding=(convolution.kernel_size[0] - 1) // 2,
            groups=convolution.groups,
            device="meta",
        )
        self.packed = Packed(F.pad(convolution.weight, (1, 0, 1, 0)), enlarged)
        self.settings = _settings(enlarged)

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, D, ceil(h / 2), ceil(w / 2)), a pixel's channels side by side in memory."""
        if input.shape[2] % 2 or input.shape[3] % 2 or not on_processor(input):
            return conv2d_same(input, self.weight, self.bias, (2, 2), groups=self.groups)
        maps = input.contiguous(memory_format=torch.channels_last)
        return torch.ops.mkldnn._convolution_pointwise(
            maps, self.packed.tensor, self.bias, *self.settings, "none", [], "none"
        )


def halves(convolution: nn.Conv2d) -> bool:
    """Whether a convolution has stride 2, a square kernel of odd size, and zeros as TensorFlow's padding SAME places them."""
    height, width = convolution.kernel_size
    plain = (convolution.stride, convolution.dilation) == ((2, 2), (1, 1))
    return type(convolution) is Conv2dSame and plain and height == width and height % 2 == 1


def is_pointwise(convolution: nn.Conv2d) -> bool:
    """Whether a convolution is 1x1 of stride 1 without groups or padding."""
    plain = (convolution.kernel_size, convolution.stride) == ((1, 1), (1, 1))
    return plain and convolution.groups == 1 and cast(tuple[int, int], convolution.padding) == (0, 0)


def suits(convolution: nn.Conv2d) -> bool:
    """Whether a convolution surrounds maps with zeros, by a number of them."""
    return convolution.padding_mode == "zeros" and not isinstance(convolution.padding, str)


def _settings(convolution: nn.Conv2d) -> tuple[Any, ...]:
    """As oneDNN's operators take them."""
    return convolution.padding, convolution.stride, convolution.dilation, convolution.groups
