"""A network made ready for prediction alone: norms merged, and layers replaced by quicker ones that compute the same."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn

from sim2street.models.networks import onednn, winograd
from sim2street.models.networks.daformer import DAFormerHead
from sim2street.models.networks.hrda import ScaleAttention
from sim2street.models.networks.merging import merge_norms
from sim2street.models.networks.segformer import SegFormerHead
from sim2street.models.segmenter import Segmenter


@torch.no_grad()
def for_prediction(segmenter: Segmenter, device: torch.device) -> Segmenter:
    """Change a network in evaluation mode, in place, and return it.

    Labels stay, and outputs agree up to rounding: to 1e-4 of their largest value. The network can afterwards neither be
    trained nor saved nor adapted.

    Args:
        segmenter: the network, which may be on another device still.
        device: where it will predict. Only a processor has quicker layers.
    """
    merge_norms(segmenter)
    segmenter.core.drop_auxiliary()
    for module in segmenter.core.modules():
        # Where a norm was merged, its place is empty, and nobody else reads what the convolution returns.
        for (_, first), (_, second) in pairwise(module.named_children()):
            if isinstance(module, nn.Sequential) and type(first) is nn.Identity and type(second) is nn.ReLU:
                second.inplace = True
    if device.type == "cpu" and onednn.IS_BUILT_IN:
        for module in list(segmenter.core.modules()):
            if isinstance(module, DAFormerHead | SegFormerHead | ScaleAttention):
                module.merge_projections()
            for name, layer in list(module.named_children()):
                module.register_module(name, _quicker(layer).eval())
    return segmenter


def _quicker(layer: nn.Module) -> nn.Module:
    if type(layer) is nn.Linear:
        return onednn.Linear(layer)
    if isinstance(layer, nn.Conv2d) and onednn.halves(layer):
        return onednn.HalvingConv2d(layer)
    if type(layer) is not nn.Conv2d or not onednn.suits(layer):
        return layer
    if onednn.is_pointwise(layer):
        return onednn.PointwiseConv2d(layer)
    if winograd.suits(layer):
        return winograd.WinogradConv2d(layer)
    return onednn.Conv2d(layer)
