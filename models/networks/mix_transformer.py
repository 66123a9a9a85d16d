"""Mix Transformer (MiT), the encoder of SegFormer and DAFormer (Xie et al., NeurIPS 2021, arXiv:2105.15203, Sec. 3.1).

Four stages at strides 4, 8, 16 and 32, each an overlapping patch embedding and a sequence of transformer blocks. Keys and
values are computed from a map reduced by a strided convolution; a depth-wise convolution in the feed-forward part replaces
position embeddings, so any image size works.

Maps run through the network as (B, h, w, D): linear layers and layer norms act on the last axis, convolutions see the
same memory as a channels-last image, and no map is ever copied into another memory order.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Final, Literal

import torch
from pydantic import Field
from timm.layers import DropPath, trunc_normal_
from torch import Tensor, nn
from torch.nn import functional as F

from sim2street.models.networks import onednn
from sim2street.models.networks.inference import is_recorded, on_processor
from sim2street.models.options import Options

HEADS: Final = (1, 2, 5, 8)
REDUCTIONS: Final = (8, 4, 2, 1)
EXPANSION: Final = 4
IN_STRIPS: Final = 2**23
"""Bytes of a wide map from which it is computed in strips: about as much as fits into a processor's cache beside all else."""
STRIP: Final = 2**21
"""Bytes of a strip of it; smaller ones take longer, as more rows are computed twice."""
EMBED_EPSILON: Final = 1e-5
"""Epsilon of the norms after patch embeddings and reductions, which the authors left at PyTorch's default."""


@dataclass(frozen=True)
class Variant:
    """The differences between B0 and B5: channels per attention head, and blocks per stage."""

    head_channels: int
    depths: tuple[int, int, int, int]


VARIANTS: Final[dict[str, Variant]] = {
    "b0": Variant(32, (2, 2, 2, 2)),
    "b1": Variant(64, (2, 2, 2, 2)),
    "b2": Variant(64, (3, 4, 6, 3)),
    "b3": Variant(64, (3, 4, 18, 3)),
    "b4": Variant(64, (3, 8, 27, 3)),
    "b5": Variant(64, (3, 6, 40, 3)),
}


class MixTransformerOptions(Options):
    """Options of the encoder; the defaults are DAFormer's MiT-B5."""

    variant: Literal["b0", "b1", "b2", "b3", "b4", "b5"] = Field(default="b5", description="Size of the encoder.")
    width: float = Field(
        default=1.0, gt=0, le=1, description="Factor on the channels of all four stages; below 1 for laptops."
    )
    norm_epsilon: float = Field(
        default=1e-6,
        gt=0,
        description="Epsilon of the layer norms in blocks and at stage ends; the SegFormer port of transformers uses 1e-5.",
    )
    drop_path: float = Field(
        default=0.1, ge=0, lt=1, description="Stochastic depth of the last block; the first has 0."
    )

    @property
    def dims(self) -> tuple[int, ...]:
        """Channels of the four stages."""
        per_head = max(4, round(VARIANTS[self.variant].head_channels * self.width))
        return tuple(heads * per_head for heads in HEADS)


class PatchEmbedding(nn.Module):
    """Overlapping patches: (B, H, W, C) -> (B, ceil(H / stride), ceil(W / stride), D)."""

    def __init__(self, channels: int, dim: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.projection = nn.Conv2d(channels, dim, kernel, stride, padding=kernel // 2)
        self.norm = nn.LayerNorm(dim, eps=EMBED_EPSILON)

    def forward(self, maps: Tensor) -> Tensor:
        """Embed every patch."""
        return self.norm(convolve(self.projection, maps))


class Attention(nn.Module):
    """Multi-head attention of all positions to a reduced map: (B, h, w, D) -> (B, h, w, D)."""

    def __init__(self, dim: int, heads: int, reduction: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(dim, dim)
        self.key_value = nn.Linear(dim, 2 * dim)
        self.projection = nn.Linear(dim, dim)
        self.reduce = nn.Conv2d(dim, dim, reduction, reduction) if reduction > 1 else None
        self.reduce_norm = nn.LayerNorm(dim, eps=EMBED_EPSILON) if reduction > 1 else None

    def forward(self, maps: Tensor) -> Tensor:
        """Attend."""
        return self.projection(self.attended(maps))

    def attended(self, maps: Tensor) -> Tensor:
        """What all heads have found, before the projection."""
        context = maps
        if self.reduce is not None and self.reduce_norm is not None:
            context = self.reduce_norm(convolve(self.reduce, at_least(maps, self.reduce.kernel_size[0])))
        query, key_value = self.query(maps), self.key_value(context)
        if onednn.IS_BUILT_IN and on_processor(query):
            return onednn.attention(query, key_value, self.heads)
        key, value = (self.split(part) for part in key_value.chunk(2, dim=-1))
        attended = F.scaled_dot_product_attention(self.split(query), key, value)
        return attended.transpose(1, 2).reshape(maps.shape)

    def split(self, maps: Tensor) -> Tensor:
        """(B, h, w, D) -> (B, heads, h * w, D / heads)."""
        return maps.flatten(1, 2).unflatten(-1, (self.heads, -1)).transpose(1, 2)


class FeedForward(nn.Module):
    """Mix-FFN: widen, mix neighbours with a depth-wise convolution, GELU, narrow."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        hidden = EXPANSION * dim
        self.widen = nn.Linear(dim, hidden)
        self.mix = nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden)
        self.narrow = nn.Linear(hidden, dim)

    def forward(self, maps: Tensor) -> Tensor:
        """(B, h, w, D) -> (B, h, w, D)."""
        return self.narrow(self.mixed(maps))

    def added(self, norm: nn.LayerNorm, maps: Tensor) -> Tensor:
        """`maps + self(norm(maps))`; on a processor large maps are computed in strips, whose wide maps stay in its cache."""
        bytes_of_row = 4 * maps.shape[2] * self.widen.out_features
        if not on_processor(maps) or maps.shape[1] * bytes_of_row < IN_STRIPS:
            return onednn.added(self.narrow, self.mixed(norm(maps)), maps)
        result = torch.empty_like(maps)
        height, rows = maps.shape[1], max(1, STRIP // bytes_of_row)
        for image, place in itertools.product(range(len(maps)), range(0, height, rows)):
            strip = slice(place, min(place + rows, height))
            # The convolution needs a row more on either side; where there is none, it pads with zeros.
            seen = slice(max(strip.start - 1, 0), min(strip.stop + 1, height))
            inner = slice(strip.start - seen.start, strip.stop - seen.start)
            mixed = self.mixed(norm(maps[image : image + 1, seen]))[:, inner]
            result[image : image + 1, strip] = onednn.added(self.narrow, mixed, maps[image : image + 1, strip])
        return result

    def mixed(self, maps: Tensor) -> Tensor:
        """(B, h, w, D) -> (B, h, w, 4 D), all but the last layer."""
        widened = self.widen(maps)
        if onednn.IS_BUILT_IN and on_processor(widened):
            return onednn.convolved_gelu(self.mix, widened.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return gelu(convolve(self.mix, widened))


class Block(nn.Module):
    """Attention and feed-forward, each after a layer norm and with a shortcut."""

    def __init__(self, dim: int, heads: int, reduction: int, drop_path: float, epsilon: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=epsilon)
        self.attention = Attention(dim, heads, reduction)
        self.norm2 = nn.LayerNorm(dim, eps=epsilon)
        self.feed_forward = FeedForward(dim)
        self.drop_path = DropPath(drop_path)

    def forward(self, maps: Tensor) -> Tensor:
        """(B, h, w, D) -> (B, h, w, D)."""
        if self.training:
            maps = maps + self.drop_path(self.attention(self.norm1(maps)))
            return maps + self.drop_path(self.feed_forward(self.norm2(maps)))
        maps = onednn.added(self.attention.projection, self.attention.attended(self.norm1(maps)), maps)
        return self.feed_forward.added(self.norm2, maps)


class Stage(nn.Module):
    """Patch embedding, blocks, and a last norm."""

    def __init__(self, channels: int, dim: int, number: int, drop_paths: list[float], epsilon: float) -> None:
        super().__init__()
        kernel, stride = (7, 4) if number == 0 else (3, 2)
        self.embedding = PatchEmbedding(channels, dim, kernel, stride)
        self.blocks = nn.Sequential(
            *(Block(dim, HEADS[number], REDUCTIONS[number], rate, epsilon) for rate in drop_paths)
        )
        self.norm = nn.LayerNorm(dim, eps=epsilon)

    def forward(self, maps: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, h, w, D)."""
        return self.norm(self.blocks(self.embedding(maps)))


class MixTransformer(nn.Module):
    """Normalised (B, 3, H, W) -> feature maps `stage1` to `stage4`, (B, D, h, w) at strides 4, 8, 16 and 32."""

    def __init__(self, options: MixTransformerOptions) -> None:
        super().__init__()
        depths = VARIANTS[options.variant].depths
        last = sum(depths) - 1
        rates = [options.drop_path * number / last for number in range(last + 1)]
        stages: list[Stage] = []
        channels, first = 3, 0
        for number, (dim, depth) in enumerate(zip(options.dims, depths, strict=True)):
            stages.append(Stage(channels, dim, number, rates[first : first + depth], options.norm_epsilon))
            channels, first = dim, first + depth
        self.stages = nn.ModuleList(stages)
        self.apply(initialise)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Feature maps by name."""
        maps = images.permute(0, 2, 3, 1)
        outputs: dict[str, Tensor] = {}
        for number, stage in enumerate(self.stages, start=1):
            maps = stage(maps)
            outputs[f"stage{number}"] = maps.permute(0, 3, 1, 2)
        return outputs


def convolve(convolution: nn.Conv2d, maps: Tensor) -> Tensor:
    """Apply a convolution to (B, h, w, D) maps."""
    return convolution(maps.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


def gelu(maps: Tensor) -> Tensor:
    """GELU; in inference in place, since making room for the widest maps takes longer than computing them."""
    if torch.is_grad_enabled() or is_recorded():
        return F.gelu(maps)
    return torch.ops.aten.gelu_(maps)


def at_least(maps: Tensor, side: int) -> Tensor:
    """Repeat the border of maps smaller than one patch; larger maps drop the remainder, as in the authors' code."""
    height, width = maps.shape[1:3]
    if min(height, width) >= side:
        return maps
    padding = (0, max(0, side - width), 0, max(0, side - height))
    return F.pad(maps.permute(0, 3, 1, 2), padding, mode="replicate").permute(0, 2, 3, 1)


def initialise(module: nn.Module) -> None:
    """The authors' initialisation: truncated normals for linear layers, fan-out normals for convolutions, biases 0."""
    if isinstance(module, nn.Linear):
        trunc_normal_(module.weight, std=0.02)
    elif isinstance(module, nn.Conv2d):
        fan_out = module.kernel_size[0] * module.kernel_size[1] * module.out_channels // module.groups
        nn.init.normal_(module.weight, std=(2 / fan_out) ** 0.5)
    else:
        return
    if module.bias is not None:
        nn.init.zeros_(module.bias)
