"""HRDA: context from a downscaled image, detail from windows at full size, fused by learned attention.

Hoyer et al., "HRDA: Context-Aware High-Resolution Domain-Adaptive Semantic Segmentation", ECCV 2022, arXiv:2204.13132.

context    the whole image at half size through encoder and head; a second, light head turns the same features into
           an attention map per class: how far to trust the detail                                    Sec. 3.2, 3.3
detail     windows of the image at full size through the same encoder and head; where windows overlap their logits
           are averaged                                                                               Sec. 3.4
fusion     up((1 - a) * context) + up(a) * detail, at stride 4 of the full image                    Eq. 7

Training uses one random window (`detail`, and `fuse` with its box), inference all of them (`detail_windows`).
"""

from __future__ import annotations

from typing import Final, NamedTuple, Self

import torch
from pydantic import Field, field_validator
from torch import Tensor, nn
from torch.nn import functional as F

from sim2street.models.labels import LabelSpace
from sim2street.models.networks.daformer import DAFormerHead, DAFormerNetworkOptions
from sim2street.models.networks.encoders import (
    STAGES,
    build_encoder,
    dims_of,
    encoder_title,
    fresh_parts,
    input_of,
    layers_of,
    multiple_of,
)
from sim2street.models.networks.entry import NetworkEntry
from sim2street.models.networks.fusing import ConvNormAct, classified, merge_projections
from sim2street.models.segmenter import Core, Segmenter

CONTEXT_SCALE: Final = 0.5
"""Size of the context image relative to the detail's."""
STRIDE: Final = 4
"""Pixels per logit of the detail; the context has twice as many."""
WINDOW_BATCH: Final = 4
"""Windows that go through the network at once in evaluation."""


class HRDANetworkOptions(DAFormerNetworkOptions):
    """Options of `hrda`; the defaults are the paper's network."""

    attention_channels: int = Field(default=256, ge=8, le=2048, description="Width of the attention's head.")
    attention_bias: float = Field(
        default=0.0,
        ge=-10,
        le=10,
        description="Initial attention before the sigmoid: at 0 context and detail count equally, as in the paper; a"
        " negative value favours the context, for a start that has only been trained at its size.",
    )
    detail_crop: tuple[int, int] = Field(
        default=(512, 512), description="(height, width) of the windows at full size, multiples of 8."
    )
    overlap: bool = Field(default=True, description="Whether windows overlap by half in inference.")

    @field_validator("detail_crop")
    @classmethod
    def _on_the_grid(cls, value: tuple[int, int]) -> tuple[int, int]:
        if min(value) < 32 or value[0] % 8 or value[1] % 8:
            raise ValueError("expected two multiples of 8, at least 32")
        return value


class Box(NamedTuple):
    """A window within an image, in pixels: rows `top` to `bottom`, columns `left` to `right`, ends excluded."""

    top: int
    bottom: int
    left: int
    right: int

    def at_stride(self, stride: int) -> Self:
        """The same window on a map with `stride` pixels per cell."""
        return type(self)(*(value // stride for value in self))

    def of(self, maps: Tensor) -> Tensor:
        """The part of (..., H, W) maps in this window, a view."""
        return maps[..., self.top : self.bottom, self.left : self.right]


class Context(NamedTuple):
    """Outputs for the downscaled image, all at a stride of 8 pixels of the full image except `features`.

    Attributes:
        features: `stage1`..`stage4` of the downscaled image.
        logits: (B, C, H/8, W/8).
        attention: (B, C, H/8, W/8) in [0,1], how much to trust the detail instead.
    """

    features: dict[str, Tensor]
    logits: Tensor
    attention: Tensor


class ScaleAttention(nn.Module):
    """Feature maps by stage -> attention per class in [0,1], (B, C, h, w): a light head of 1x1 convolutions."""

    def __init__(self, dims: tuple[int, ...], classes: int, options: HRDANetworkOptions) -> None:
        super().__init__()
        channels = options.attention_channels
        self.projections = nn.ModuleList(nn.Conv2d(dim, channels, 1) for dim in dims)
        self.fuse = ConvNormAct(channels * len(dims), channels, 1)
        self.dropout = nn.Dropout2d(options.dropout)
        self.classify = nn.Conv2d(channels, classes, 1)
        nn.init.normal_(self.classify.weight, std=0.01)
        assert self.classify.bias is not None
        nn.init.constant_(self.classify.bias, options.attention_bias)

    def forward(self, features: dict[str, Tensor]) -> Tensor:
        """Project, stack from stage 1 to 4, fuse, classify."""
        maps = [features[name] for name in STAGES]
        shape = features["stage1"].shape
        return torch.sigmoid(classified(self.projections, self.fuse, self.dropout, self.classify, maps, shape))

    def merge_projections(self) -> None:
        """For prediction alone."""
        merge_projections(self.projections, self.fuse)


class HRDANetwork(Core):
    """Bare network: normalised (B, 3, H, W) -> `main`, the fused logits at stride 4, and their ingredients.

    The other outputs are `logits` (the same as `main`), `detail` (stride 4), `context` and `attention` (stride 8), and
    the context's features `stage1`..`stage4`.
    """

    has_encoder = True

    def __init__(self, classes: int, options: HRDANetworkOptions) -> None:
        super().__init__()
        self.encoder = build_encoder(options)
        self.multiple = (
            2 * multiple if (multiple := multiple_of(self.encoder)) > 1 else 1
        )  # the context has half the size
        dims = dims_of(self.encoder, options)
        self.head = DAFormerHead(dims, classes, options)
        self.attention = ScaleAttention(dims, classes, options)
        self.detail_crop = options.detail_crop
        self.overlap = options.overlap

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Context and all windows, fused. Sides that are not multiples of 8 are padded by repeating the border."""
        height, width = images.shape[-2:]
        images = F.pad(images, (0, -width % 8, 0, -height % 8), mode="replicate")
        context = self.context(images)
        detail = self.detail_windows(images)
        fused = self.fuse(context, detail)
        fine, coarse = (-(-height // 4), -(-width // 4)), (-(-height // 8), -(-width // 8))
        main = _top_left(fused, fine)
        return {
            **context.features,
            "main": main,
            "logits": main,
            "detail": _top_left(detail, fine),
            "context": _top_left(context.logits, coarse),
            "attention": _top_left(context.attention, coarse),
        }

    def context(self, images: Tensor) -> Context:
        """(B, 3, H, W), H and W multiples of 8 -> the outputs at half size."""
        features = self.encode(images)
        return Context(features, self.head(features), self.attention(features))

    def encode(self, images: Tensor) -> dict[str, Tensor]:
        """(B, 3, H, W) -> feature maps of the context, for a feature distance; their cells are twice as large."""
        # By factor rather than by size, as in the authors' code.
        return self.encoder(F.interpolate(images, scale_factor=CONTEXT_SCALE, mode="bilinear", align_corners=False))

    def detail(self, windows: Tensor) -> Tensor:
        """Windows at full size (N, 3, h, w) -> their logits (N, C, h/4, w/4)."""
        return self.head(self.encoder(windows))

    def detail_windows(self, images: Tensor) -> Tensor:
        """(B, 3, H, W), H and W multiples of 8 -> logits (B, C, H/4, W/4) of all windows, averaged where they overlap."""
        boxes = self.boxes(*images.shape[-2:])
        windows = torch.cat([box.of(images) for box in boxes])
        # A teacher in training mode takes its batch statistics over all windows at once, as in the authors' code.
        parts = (windows,) if self.training else windows.split(WINDOW_BATCH)
        logits = torch.cat([self.detail(part) for part in parts]).unflatten(0, (len(boxes), -1))
        batch, classes = logits.shape[1:3]
        height, width = images.shape[-2] // STRIDE, images.shape[-1] // STRIDE
        total = logits.new_zeros(batch, classes, height, width)
        visits = logits.new_zeros(1, 1, height, width)
        for box, part in zip(boxes, logits, strict=True):
            cells = box.at_stride(STRIDE)
            cells.of(total).add_(part)
            cells.of(visits).add_(1)
        return total / visits

    def boxes(self, height: int, width: int) -> list[Box]:
        """Windows that cover an image, row by row; the last ones are shifted to end at its border."""
        return [
            Box(top, bottom, left, right)
            for top, bottom in _spans(height, self.detail_crop[0], overlap=self.overlap)
            for left, right in _spans(width, self.detail_crop[1], overlap=self.overlap)
        ]

    def fuse(self, context: Context, detail: Tensor, box: Box | None = None) -> Tensor:
        """Fuse context and detail at stride 4 of the full image, (B, C, H/4, W/4).

        Args:
            context: outputs for the whole image.
            detail: logits of the whole image, or of the window `box` alone.
            box: the window in pixels of the full image, multiples of 8; outside it only the context counts.
        """
        attention = context.attention
        if box is not None:
            mask = torch.zeros_like(attention[:, :1])
            box.at_stride(2 * STRIDE).of(mask).fill_(1)
            attention = attention * mask
        # Multiplied before upsampling, as in both the paper and the authors' code.
        coarse = _doubled((1 - attention) * context.logits)
        if box is not None:
            inserted = torch.zeros_like(coarse)
            box.at_stride(STRIDE).of(inserted).copy_(detail)
            detail = inserted
        return coarse + _doubled(attention) * detail

    def heads(self) -> tuple[nn.Module, ...]:
        """The randomly initialised parts, which learn at ten times the encoder's rate in the paper."""
        return (self.head, self.attention, *fresh_parts(self.encoder))

    def layers(self) -> tuple[list[nn.Parameter], ...]:
        """Of a plain vision transformer."""
        return layers_of(self.encoder)


def _spans(length: int, crop: int, *, overlap: bool) -> list[tuple[int, int]]:
    stride = crop // 2 if overlap else crop
    crop = min(crop, length)
    count = -(-(length - crop) // stride) + 1
    starts = [min(index * stride, length - crop) for index in range(count)]
    return [(start, start + crop) for start in starts]


def _doubled(maps: Tensor) -> Tensor:
    return F.interpolate(maps, scale_factor=1 / CONTEXT_SCALE, mode="bilinear", align_corners=False)


def _top_left(maps: Tensor, size: tuple[int, int]) -> Tensor:
    return maps[..., : size[0], : size[1]]


def hrda(labels: LabelSpace, options: HRDANetworkOptions | None = None) -> Segmenter:
    """Build the segmenter; weights are random until a checkpoint is loaded."""
    core = HRDANetwork(labels.count, options or HRDANetworkOptions())
    return Segmenter(core, labels, input_of(core.encoder), align_corners=False)


ENTRY: Final = NetworkEntry(
    name="hrda",
    title="HRDA",
    paper="Hoyer, Dai, Van Gool. HRDA: Context-Aware High-Resolution Domain-Adaptive Semantic Segmentation. "
    "ECCV 2022. arXiv:2204.13132",
    encoder=encoder_title,
    options=HRDANetworkOptions,
    build=hrda,
)
