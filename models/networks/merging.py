"""Batch norm merged into the convolution before it, for prediction: the same function with one pass over each map fewer.

In evaluation mode a batch norm multiplies and shifts every channel by constants, which the convolution's weights and bias
can do as well. Outputs agree up to rounding. What is merged can neither be trained nor saved nor adapted by its norms.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Final

import torch
from timm.layers.conv2d_same import Conv2dSame
from timm.layers.norm_act import BatchNormAct2d
from timm.models import _efficientnet_blocks as efficient
from timm.models.efficientnet import EfficientNetFeatures
from timm.models.resnet import BasicBlock, Bottleneck, ResNet
from torch import nn

from sim2street.models.networks import drn
from sim2street.models.networks.daformer import DilatedDepthwise
from sim2street.models.networks.fusing import ConvNormAct, merged
from sim2street.models.segmenter import Segmenter

CONVOLUTIONS: Final = (nn.Conv2d, Conv2dSame, DilatedDepthwise, drn.GroupwiseConv2d)
NORMS: Final = (nn.BatchNorm2d, BatchNormAct2d)
IN_ORDER: Final = (
    *(nn.Sequential, ConvNormAct, drn.DRN, drn.BasicBlock, ResNet, BasicBlock, Bottleneck, EfficientNetFeatures),
    *(efficient.ConvBnAct, efficient.DepthwiseSeparableConv, efficient.InvertedResidual, efficient.EdgeResidual),
)
"""Modules of which is known that a batch norm gets what the convolution registered just before it returns, and nobody else
does. Norms elsewhere stay as they are."""


@torch.no_grad()
def merge_norms(segmenter: Segmenter) -> Segmenter:
    """Merge the batch norms of a network in evaluation mode, in place, and return it."""
    for module in segmenter.core.modules():
        for convolution, name, norm in list(_pairs(module)):
            convolution.weight, convolution.bias = map(nn.Parameter, merged(convolution, norm))
            activation = norm.act if isinstance(norm, BatchNormAct2d) else nn.Identity()
            assert isinstance(activation, nn.Module)
            module.register_module(name, activation)
    return segmenter


def _pairs(module: nn.Module) -> Iterator[tuple[nn.Conv2d, str, nn.BatchNorm2d]]:
    """A module's convolutions with the name and the module of the norm that follows each."""
    if type(module) not in IN_ORDER:
        return
    for (_, first), (name, second) in pairwise(module.named_children()):
        if type(first) in CONVOLUTIONS and type(second) in NORMS and not second.training:
            assert isinstance(first, nn.Conv2d)
            assert isinstance(second, nn.BatchNorm2d)
            if second.affine and second.track_running_stats:
                yield first, name, second
