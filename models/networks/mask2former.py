"""Mask2Former on Swin: queries that attend to their own masks (Cheng et al., CVPR 2022, arXiv:2112.01527).

A pixel decoder mixes three scales of the encoder by deformable attention (Zhu et al., ICLR 2021, arXiv:2010.04159) and adds
the finest. Learned queries then attend, layer after layer, to one scale at a time, and only where the mask that each
predicted before lies. Each query ends with a class, or "no class", and a mask; the score per pixel is EoMT's (eomt.py).

The whole photo is shown at once; its normalised pixels are padded by zeros to multiples of 32, as by the authors.
"""

from __future__ import annotations

import math
from typing import Final, cast

import timm
import torch
from pydantic import Field, model_validator
from timm.models.swin_transformer import SwinTransformer, SwinTransformerBlock, SwinTransformerStage
from torch import Tensor, nn
from torch.nn import functional as F

from sim2street.models.errors import ConfigError
from sim2street.models.labels import LabelSpace
from sim2street.models.networks.entry import NetworkEntry
from sim2street.models.networks.eomt import SMALLEST, scores
from sim2street.models.networks.vision_transformer import resized
from sim2street.models.options import Options
from sim2street.models.segmenter import Core, Segmenter

LEVELS: Final = 3
"""Scales that the queries see: strides 32, 16 and 8."""
POINTS: Final = 4
"""Places per head and scale that deformable attention looks at."""
GROUPS: Final = 32
"""Groups of the pixel decoder's norms."""
STRIDE: Final = 32
"""Pixels that the sides are padded to multiples of."""
TEMPERATURE: Final = 10_000
EPSILON: Final = 1e-6
QUERIES_AT_ONCE: Final = 20
"""Masks that are held at the photo's size at a time: all of them would take 840 MB for 2048x1024 pixels."""


class Mask2FormerOptions(Options):
    """Options of `mask2former`; the defaults are the released network on Swin-L."""

    encoder: str = Field(default="swin_large_patch4_window12_384", description="A Swin transformer of timm.")
    width: int = Field(default=256, ge=GROUPS, le=1024, multiple_of=GROUPS, description="Channels of both decoders.")
    heads: int = Field(default=8, ge=1, le=64, description="Heads of the decoders' attention; a divisor of the width.")
    queries: int = Field(default=100, ge=1, le=1000, description="Number of proposed masks.")
    pixel_layers: int = Field(default=6, ge=1, le=32, description="Layers of deformable attention.")
    pixel_hidden: int = Field(default=1024, ge=1, le=8192, description="Hidden channels of their linear layers.")
    query_layers: int = Field(default=9, ge=1, le=32, description="Layers of masked attention.")
    query_hidden: int = Field(default=2048, ge=1, le=8192, description="Hidden channels of their linear layers.")

    @model_validator(mode="after")
    def _divides(self) -> Mask2FormerOptions:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not a multiple of the {self.heads} heads")
        return self


class Swin(nn.Module):
    """timm's Swin transformer: normalised (B, 3, H, W) -> four normalised maps at strides 4 to 32.

    Args:
        net: the transformer; its own last norm and classifier are removed.
    """

    def __init__(self, net: SwinTransformer) -> None:
        super().__init__()
        net.norm = nn.Identity()
        net.reset_classifier(0, "")
        self.net = net
        self.dims = tuple(int(info["num_chs"]) for info in net.feature_info)
        self.norms = nn.ModuleList([nn.LayerNorm(width) for width in self.dims])

    def forward(self, images: Tensor) -> list[Tensor]:
        """The largest map first; sides must be multiples of 32."""
        tokens, maps = self.net.patch_embed(images), []
        stages = cast(list[SwinTransformerStage], list(self.net.layers))
        for stage, norm in zip(stages, self.norms, strict=True):
            tokens = stage.downsample(tokens)  # (B, h, w, D)
            for block in cast(list[SwinTransformerBlock], list(stage.blocks)):
                tokens = in_windows(block, tokens)
            maps.append(norm(tokens).permute(0, 3, 1, 2).contiguous())
        return maps


def in_windows(block: SwinTransformerBlock, tokens: Tensor) -> Tensor:
    """One block on (B, h, w, D), padded to whole windows before these are shifted, as in the authors' code; timm pads after."""
    height, width = tokens.shape[1:3]
    down, right = -height % block.window_size[0], -width % block.window_size[1]
    padded = F.pad(block.norm1(tokens), (0, 0, 0, right, 0, down))
    tokens = tokens + block.drop_path1(block._attn(padded)[:, :height, :width])
    return tokens + block.drop_path2(block.mlp(block.norm2(tokens)))


class DeformableAttention(nn.Module):
    """Each token looks at a few places around its own on every scale (Deformable DETR, Eq. 3).

    Args:
        width: channels D.
        heads: they share the channels.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.offsets = nn.Linear(width, heads * LEVELS * POINTS * 2)
        self.weights = nn.Linear(width, heads * LEVELS * POINTS)
        self.values = nn.Linear(width, width)
        self.out = nn.Linear(width, width)

    def forward(self, tokens: Tensor, positions: Tensor, centres: Tensor, sizes: list[tuple[int, int]]) -> Tensor:
        """Attend to the same tokens.

        Args:
            tokens: (B, N, D), the scales one after another.
            positions: (1, N, D), added to what asks.
            centres: (N, 2), each token's (x, y) in [0, 1].
            sizes: (height, width) of the scales.
        """
        batch, count, width = tokens.shape
        asking = tokens + positions
        offsets = self.offsets(asking).view(batch, count, self.heads, LEVELS, POINTS, 2)
        weights = self.weights(asking).view(batch, count, self.heads, LEVELS * POINTS).softmax(dim=-1)
        scale = torch.tensor([(columns, rows) for rows, columns in sizes], device=tokens.device)
        places = centres[None, :, None, None, None] + offsets / scale[None, None, None, :, None]
        values = self.values(tokens).view(batch, count, self.heads, width // self.heads)
        seen = [
            _sample(part, 2 * places[:, :, :, level] - 1, size)
            for level, (part, size) in enumerate(zip(values.split(_counts(sizes), dim=1), sizes, strict=True))
        ]
        # (B heads, D/heads, N, levels points) weighed by (B heads, 1, N, levels points)
        weighed = torch.cat(seen, dim=-1) * weights.transpose(1, 2).flatten(0, 1)[:, None]
        return self.out(weighed.sum(dim=-1).view(batch, width, count).transpose(1, 2))


def _counts(sizes: list[tuple[int, int]]) -> list[int]:
    return [rows * columns for rows, columns in sizes]


def _sample(values: Tensor, places: Tensor, size: tuple[int, int]) -> Tensor:
    """Values (B, h w, heads, d) at places (B, N, heads, points, 2) in [-1, 1] -> (B heads, d, N, points)."""
    maps = values.permute(0, 2, 3, 1).flatten(0, 1).unflatten(2, size)
    return F.grid_sample(maps, places.transpose(1, 2).flatten(0, 1), mode="bilinear", align_corners=False)


class PixelLayer(nn.Module):
    """Deformable attention and two linear layers, each added and then normalised."""

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.attention = DeformableAttention(width, heads)
        self.norm1 = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)
        self.norm2 = nn.LayerNorm(width)

    def forward(self, tokens: Tensor, positions: Tensor, centres: Tensor, sizes: list[tuple[int, int]]) -> Tensor:
        """(B, N, D) -> (B, N, D); arguments as `DeformableAttention.forward`."""
        tokens = self.norm1(tokens + self.attention(tokens, positions, centres, sizes))
        return self.norm2(tokens + self.fc2(F.relu(self.fc1(tokens))))


class PixelDecoder(nn.Module):
    """The encoder's four maps -> the maps at strides 32, 16 and 8, mixed, and a map at stride 4 that masks are read from.

    Args:
        dims: channels of the encoder's maps, the largest first.
        options: the network's.
    """

    def __init__(self, dims: tuple[int, ...], options: Mask2FormerOptions) -> None:
        super().__init__()
        width = options.width
        self.projections = nn.ModuleList(
            [nn.Sequential(nn.Conv2d(dim, width, 1), nn.GroupNorm(GROUPS, width)) for dim in reversed(dims[1:])]
        )
        self.levels = nn.Parameter(torch.randn(LEVELS, width))
        self.layers = nn.ModuleList(
            [PixelLayer(width, options.heads, options.pixel_hidden) for _ in range(options.pixel_layers)]
        )
        self.lateral = nn.Sequential(nn.Conv2d(dims[0], width, 1, bias=False), nn.GroupNorm(GROUPS, width))
        self.smooth = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, bias=False), nn.GroupNorm(GROUPS, width), nn.ReLU()
        )
        self.masks = nn.Conv2d(width, width, 1)

    def forward(self, maps: list[Tensor]) -> tuple[list[Tensor], Tensor]:
        """Four maps, the largest first -> three of `width` channels, the smallest first, and the mask features."""
        entering = [project(each) for project, each in zip(self.projections, reversed(maps[1:]), strict=True)]
        sizes = [(each.shape[2], each.shape[3]) for each in entering]
        width = entering[0].shape[1]
        places = [sine_positions(size, width, maps[0]) for size in sizes]
        positions = torch.cat([place + level for place, level in zip(places, self.levels, strict=True)])[None]
        centres = torch.cat([_centres(size, maps[0]) for size in sizes])
        tokens = torch.cat([each.flatten(2).transpose(1, 2) for each in entering], dim=1)
        for layer in self.layers:
            tokens = layer(tokens, positions, centres, sizes)
        mixed = [
            part.transpose(1, 2).unflatten(2, size).contiguous()
            for part, size in zip(tokens.split(_counts(sizes), dim=1), sizes, strict=True)
        ]
        lateral = self.lateral(maps[0])
        finest = self.smooth(lateral + resized(mixed[-1], (lateral.shape[2], lateral.shape[3])))
        return mixed, self.masks(finest)


def _centres(size: tuple[int, int], like: Tensor) -> Tensor:
    """(x, y) in [0, 1] of the cells of a (height, width) grid, (h w, 2)."""
    rows, columns = ((torch.arange(side, device=like.device, dtype=like.dtype) + 0.5) / side for side in size)
    return torch.stack([columns.repeat(size[0]), rows.repeat_interleave(size[1])], dim=1)


def sine_positions(size: tuple[int, int], width: int, like: Tensor) -> Tensor:
    """Sines and cosines of row, then column, of a (height, width) grid, (h w, width) (as in DETR)."""
    half = width // 2
    exponents = 2 * torch.div(torch.arange(half, device=like.device), 2, rounding_mode="floor") / half
    periods = TEMPERATURE ** exponents.to(like.dtype)

    def waves(side: int) -> Tensor:
        counted = torch.arange(1, side + 1, device=like.device, dtype=like.dtype)
        angles = (counted / (counted[-1] + EPSILON) * (2 * math.pi))[:, None] / periods
        return torch.stack([angles[:, 0::2].sin(), angles[:, 1::2].cos()], dim=2).flatten(1)

    rows, columns = waves(size[0]), waves(size[1])
    return torch.cat([rows.repeat_interleave(size[1], dim=0), columns.repeat(size[0], 1)], dim=1)


class QueryLayer(nn.Module):
    """Masked attention to one scale, attention among the queries, two linear layers, each added and then normalised."""

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.cross = nn.MultiheadAttention(width, heads, batch_first=True)
        self.norm1 = nn.LayerNorm(width)
        self.among = nn.MultiheadAttention(width, heads, batch_first=True)
        self.norm2 = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)
        self.norm3 = nn.LayerNorm(width)

    def forward(self, queries: Tensor, names: Tensor, scale: Tensor, places: Tensor, hidden: Tensor) -> Tensor:
        """(B, Q, D) -> (B, Q, D).

        Args:
            queries: what the queries know.
            names: (Q, D), what tells them apart, added to what asks.
            scale: (B, N, D), tokens of the scale.
            places: (N, D), added to what is asked.
            hidden: (B heads, Q, N), the tokens that a query does not see.
        """
        seen, _ = self.cross(queries + names, scale + places, scale, attn_mask=hidden, need_weights=False)
        queries = self.norm1(queries + seen)
        asking = queries + names
        queries = self.norm2(queries + self.among(asking, asking, queries, need_weights=False)[0])
        return self.norm3(queries + self.fc2(F.relu(self.fc1(queries))))


class Mask2FormerNetwork(Core):
    """Normalised (B, 3, H, W) -> the encoder's `stage1`..`stage4`; class and mask logits of the queries; `main`."""

    has_encoder = False

    def __init__(self, encoder: Swin, classes: int, options: Mask2FormerOptions) -> None:
        super().__init__()
        width = options.width
        self.heads_of_attention = options.heads
        self.encoder = encoder
        self.pixels = PixelDecoder(encoder.dims, options)
        self.names = nn.Embedding(options.queries, width)
        self.queries = nn.Embedding(options.queries, width)
        self.levels = nn.Embedding(LEVELS, width)
        self.decoder = nn.ModuleList(
            [QueryLayer(width, options.heads, options.query_hidden) for _ in range(options.query_layers)]
        )
        self.norm = nn.LayerNorm(width)
        self.mask_head = nn.Sequential(
            nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width)
        )
        self.class_head = nn.Linear(width, classes + 1)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """`main` has the size of the pictures, `masks` a quarter of the padded one."""
        height, width = images.shape[-2:]
        padded = F.pad(images, (0, -width % STRIDE, 0, -height % STRIDE))
        maps = self.encoder(padded)
        scales, features = self.pixels(maps)
        queries = self._decode(scales, features)
        classes, masks = self.class_head(queries), self._masks(queries, features)
        whole = (padded.shape[2], padded.shape[3])
        score = sum(
            scores(
                classes[:, start : start + QUERIES_AT_ONCE], resized(masks[:, start : start + QUERIES_AT_ONCE], whole)
            )
            for start in range(0, classes.shape[1], QUERIES_AT_ONCE)
        )
        return {
            **{f"stage{number}": each for number, each in enumerate(maps, start=1)},
            "classes": classes,
            "masks": masks,
            "main": cast(Tensor, score)[..., :height, :width].clamp_min(SMALLEST).log(),
        }

    def heads(self) -> tuple[nn.Module, ...]:
        """Everything except the encoder."""
        return (
            self.pixels,
            self.names,
            self.queries,
            self.levels,
            self.decoder,
            self.norm,
            self.mask_head,
            self.class_head,
        )

    def _decode(self, scales: list[Tensor], features: Tensor) -> Tensor:
        """The queries after the last layer, normalised, (B, Q, D)."""
        sizes = [(scale.shape[2], scale.shape[3]) for scale in scales]
        tokens = [
            scale.flatten(2).transpose(1, 2) + level for scale, level in zip(scales, self.levels.weight, strict=True)
        ]
        places = [sine_positions(size, scale.shape[1], scale) for size, scale in zip(sizes, scales, strict=True)]
        queries = self.queries.weight.expand(len(features), -1, -1)
        for index, layer in enumerate(self.decoder):
            level = index % LEVELS
            hidden = self._hidden(self.norm(queries), features, sizes[level])
            queries = layer(queries, self.names.weight, tokens[level], places[level], hidden)
        return self.norm(queries)

    def _masks(self, queries: Tensor, features: Tensor) -> Tensor:
        """Mask logits (B, Q, h, w) of normalised queries."""
        return torch.einsum("bqd,bdhw->bqhw", self.mask_head(queries), features)

    def _hidden(self, queries: Tensor, features: Tensor, size: tuple[int, int]) -> Tensor:
        """What lies outside each query's present mask, (B heads, Q, N); nothing for a query whose mask is empty."""
        outside = resized(self._masks(queries, features), size).sigmoid().flatten(2) < 0.5
        outside = outside & ~outside.all(dim=2, keepdim=True)
        return outside.detach().repeat_interleave(self.heads_of_attention, dim=0)


def mask2former(labels: LabelSpace, options: Mask2FormerOptions | None = None) -> Segmenter:
    """Build the segmenter; weights are random until a checkpoint is loaded.

    Raises:
        ConfigError: timm has no such Swin transformer.
    """
    options = options or Mask2FormerOptions()
    name = options.encoder
    if not timm.is_model(name) or timm.model_entrypoint(name.split(".")[0]).__module__ != SwinTransformer.__module__:
        raise ConfigError(
            f"{name[:60]!r} cannot be Mask2Former's encoder; expected a Swin transformer of timm, such as"
            " swin_tiny_patch4_window7_224."
        )
    # Windows are cut as in the authors' code: shifted whatever the size of the picture.
    net = timm.create_model(name, pretrained=False, num_classes=0, strict_img_size=False, always_partition=True)
    return Segmenter(Mask2FormerNetwork(Swin(cast(SwinTransformer, net)), labels.count, options), labels)


ENTRY: Final = NetworkEntry(
    name="mask2former",
    title="Mask2Former",
    paper="Cheng, Misra, Schwing, Kirillov, Girdhar. Masked-attention Mask Transformer for Universal Image Segmentation."
    " CVPR 2022. arXiv:2112.01527",
    encoder=lambda options: options.encoder,
    options=Mask2FormerOptions,
    build=mask2former,
    classifies_masks=True,
)
