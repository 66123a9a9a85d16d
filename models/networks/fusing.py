"""The 1x1 fuse of feature maps at several strides, which SegFormer, DAFormer's 1x1 branch and HRDA's attention share.

The authors project every map, upsample all of them to stride 4, stack them and fuse the stack with a 1x1 convolution. A 1x1
convolution mixes channels and bilinear upsampling mixes positions, so the two commute: each map goes through its
projection and its share of the fuse in one product at its own stride, is upsampled, and the results are summed.
"""

from __future__ import annotations

from typing import Final, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sim2street.models.networks.for_training import pointwise
from sim2street.models.networks.inference import is_recorded
from sim2street.models.networks.onednn import linear
from sim2street.models.prediction import neighbours

STRIP: Final = 1 << 11
"""Pixels of the fused map made at a time in inference: 256 channels of them fit into a processor's second-level cache."""


class ConvNormAct(nn.Sequential):
    """Convolution without bias, batch norm, ReLU.

    Attributes:
        layers: of a 1x1 convolution whose projections were merged into it for prediction, see `merge_projections`.
    """

    layers: list[tuple[Tensor, Tensor | None]] | None = None

    def __init__(self, channels: int, outputs: int, kernel: int) -> None:
        convolution = nn.Conv2d(channels, outputs, kernel, padding=kernel // 2, bias=False)
        super().__init__(convolution, nn.BatchNorm2d(outputs), nn.ReLU())


def project(projections: nn.ModuleList, features: list[Tensor], shape: torch.Size) -> Tensor:
    """Project each map, resize it to the height and width of `shape`, and stack them."""
    maps = [projection(feature) for projection, feature in zip(projections, features, strict=True)]
    return torch.cat([_resized(each, shape) for each in maps], dim=1)


@torch.no_grad()
def merge_projections(projections: nn.ModuleList, fuse: ConvNormAct) -> None:
    """Multiply projections with the 1x1 `fuse` now and not in every call, for prediction alone."""
    convolution, norm, _ = fuse
    if isinstance(norm, nn.Identity):  # it was merged into the convolution
        fuse.layers = _layers(projections, cast(nn.Conv2d, convolution).weight)


def fused(projections: nn.ModuleList, fuse: ConvNormAct, features: list[Tensor], shape: torch.Size) -> Tensor:
    """`fuse(project(projections, features, shape))` of a 1x1 `fuse`, for a fraction of the work.

    Batch norm sees the same maps, so this also holds in training.
    """
    convolution, norm, activation = fuse
    fusing = cast(nn.Conv2d, convolution)
    total: Tensor | None = None
    for feature, (weight, bias) in zip(features, fuse.layers or _layers(projections, fusing.weight), strict=True):
        if total is None and fusing.bias is not None:  # there is one where the norm was merged
            bias = fusing.bias if bias is None else fusing.bias + bias
        maps = _resized(pointwise(feature, weight, bias), shape)
        total = maps if total is None else total + maps
    return activation(norm(total))


def classified(
    projections: nn.ModuleList,
    fuse: ConvNormAct,
    dropout: nn.Module,
    classify: nn.Conv2d,
    features: list[Tensor],
    shape: torch.Size,
) -> Tensor:
    """`classify(dropout(fused(...)))`, (B, K, H, W) at the height and width of `shape`.

    In inference on a processor it is made a few rows at a time: the fused map, which is never whole in memory then, is
    many times larger than the logits.
    """
    if fuse.training or torch.is_grad_enabled() or features[0].device.type != "cpu" or is_recorded():
        return classify(dropout(fused(projections, fuse, features, shape)))
    convolution, norm, _ = fuse
    fusing, rest = merged(cast(nn.Conv2d, convolution), norm)
    (height, width), device = shape[-2:], features[0].device
    whole, coarse = [], []
    for feature, layer in zip(features, fuse.layers or _layers(projections, fusing), strict=True):
        maps = feature.permute(0, 2, 3, 1)
        if maps.shape[1:3] == (height, width):
            whole.append((maps, layer))
        else:
            # The sum is fp32, also where products are made in bf16.
            coarse.append((linear(maps, *layer).float(), neighbours(maps.shape[1], height, False, slice(None), device)))
    logits = features[0].new_empty(len(features[0]), height, width, classify.out_channels)
    rows = max(1, STRIP // width)
    for top in range(0, height, rows):
        chosen = slice(top, min(top + rows, height))
        total = rest.expand(len(logits), chosen.stop - top, width, -1).clone()
        for maps, layer in whole:
            total += linear(maps[:, chosen], *layer)
        for maps, (above, below, share) in coarse:
            strip = maps[:, above[chosen]].lerp_(maps[:, below[chosen]], share[chosen, None, None])
            size = (strip.shape[1], width)
            total += F.interpolate(strip.permute(0, 3, 1, 2), size=size, mode="bilinear").permute(0, 2, 3, 1)
        logits[:, chosen] = linear(total.relu_(), classify.weight.flatten(1), classify.bias)
    return logits.permute(0, 3, 1, 2)


def merged(convolution: nn.Conv2d, norm: nn.Module) -> tuple[Tensor, Tensor]:
    """Weight and bias of a convolution that does what the two do in evaluation mode, computed in fp64 and rounded once.

    Args:
        convolution: the convolution.
        norm: the batch norm after it, or `nn.Identity` where it was merged before.
    """
    if not isinstance(norm, nn.BatchNorm2d):
        assert convolution.bias is not None
        return convolution.weight, convolution.bias
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = norm.weight.double() * (norm.running_var.double() + norm.eps).rsqrt()
    before = 0.0 if convolution.bias is None else convolution.bias.double()
    bias = norm.bias.double() + (before - norm.running_mean.double()) * scale
    weight = convolution.weight.double() * scale[:, None, None, None]
    return weight.to(convolution.weight.dtype), bias.to(convolution.weight.dtype)


def _layers(projections: nn.ModuleList, fusing: Tensor) -> list[tuple[Tensor, Tensor | None]]:
    """Of each map the weights (outputs, D) and the bias of its projection and its share of the fuse in one.

    Args:
        projections: of the maps.
        fusing: (outputs, all channels, 1, 1), the weight of the fuse.
    """
    convolutions = [cast(nn.Conv2d, projection) for projection in projections]
    shares = fusing.flatten(1).split([each.out_channels for each in convolutions], dim=1)
    return [
        (share @ each.weight.flatten(1), None if each.bias is None else share @ each.bias)
        for each, share in zip(convolutions, shares, strict=True)
    ]


def _resized(maps: Tensor, shape: torch.Size) -> Tensor:
    """(B, D, h, w) at the height and width of `shape`."""
    if maps.shape[-2:] == shape[-2:]:
        return maps
    return F.interpolate(maps, size=shape[-2:], mode="bilinear", align_corners=False)
