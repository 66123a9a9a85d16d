"""DAFormer's network: a Mix Transformer and a context-aware fusion head (Hoyer et al., CVPR 2022, arXiv:2111.14887).

The head (Sec. 3.2) projects all four stages to the same width, stacks them at stride 4 and fuses them with parallel
depth-wise separable convolutions of several dilations, which combines distant context with local detail.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Annotated, Any, Final, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from sim2street.models.labels import LabelSpace
from sim2street.models.networks.encoders import (
    STAGES,
    Encoder,
    EncoderOptions,
    build_encoder,
    dims_of,
    encoder_title,
    fresh_parts,
    input_of,
    layers_of,
    multiple_of,
)
from sim2street.models.networks.entry import NetworkEntry
from sim2street.models.networks.fusing import ConvNormAct, fused, merge_projections, project
from sim2street.models.networks.inference import is_recorded
from sim2street.models.segmenter import Core, Segmenter


class DAFormerNetworkOptions(EncoderOptions):
    """Options of `daformer`; the defaults are the paper's network."""

    channels: int = Field(default=256, ge=8, le=2048, description="Width of the head; below 256 for laptops.")
    dilations: tuple[Annotated[int, Field(ge=1, le=256)], ...] = Field(
        default=(1, 6, 12, 18),
        min_length=1,
        max_length=8,
        description="Dilations of the head's parallel convolutions; 1 is a plain 1x1 convolution.",
    )
    fuse_kernel: Literal[1, 3] = Field(
        default=3, description="Side of the convolution that fuses the branches; 3 in the paper, 1 for laptops."
    )
    dropout: float = Field(
        default=0.1, ge=0, lt=1, description="Probability of dropping a whole channel before the classifier."
    )


ONEDNN_DILATION: Final = 6
"""Largest dilation for which PyTorch's depth-wise convolution on a processor is quick in inference; beyond, it is oneDNN's
reference code, nine times slower."""
STRIP_VALUES: Final = 1 << 19
"""Values of maps that are convolved at a time by shifting them, 2 MB."""


class DilatedDepthwise(nn.Conv2d):
    """Dilated depth-wise 3x3 convolution: (B, D, h, w) -> (B, D, h, w).

    PyTorch's processor kernel is fast for small dilations only, and its gradients are slow for all. Beyond them, nine shifted
    maps are added. `sim2street bench depth-wise` compares them with PyTorch's kernel.
    """

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__(channels, channels, 3, padding=dilation, dilation=dilation, groups=channels, bias=False)

    def forward(self, input: Tensor) -> Tensor:
        """Convolve; accelerators and exported networks use the ordinary convolution."""
        dilation = self.dilation[0]
        if is_recorded() or input.device.type != "cpu" or dilation >= max(input.shape[-2:]):
            return super().forward(input)
        if torch.is_autocast_enabled("cpu"):
            return super().forward(input)
        if not torch.is_grad_enabled():
            return _convolved(input, self.weight, self.bias, dilation)
        maps: Tensor = _Depthwise.apply(input, self.weight, dilation)
        return maps if self.bias is None else maps + self.bias[:, None, None]


class _Depthwise(torch.autograd.Function):
    """A dilated depth-wise 3x3 convolution of the same size and its gradients, each from the same two ways to compute it."""

    @staticmethod
    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, input: Tensor, weight: Tensor, dilation: int
    ) -> Tensor:
        ctx.save_for_backward(input, weight)
        ctx.dilation = dilation
        return _convolved(input, weight, None, dilation)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        input, weight = ctx.saved_tensors
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        of_taps = weight.new_zeros(3, 3, weight.shape[0])
        for row, column, maps, seen in _meetings(gradient, input, ctx.dilation):
            of_taps[row, column] += (maps * seen).sum(dim=(0, 1, 2))
        # Turned by half a circle, the taps lead from every output back to its inputs.
        of_input = _convolved(gradient, weight.flip(2, 3), None, ctx.dilation)
        return of_input, of_taps.permute(2, 0, 1)[:, None], None


def _convolved(input: Tensor, weight: Tensor, bias: Tensor | None, dilation: int) -> Tensor:
    """(B, D, h, w) maps convolved with (D, 1, 3, 3) weights; there is a bias (D,) where a norm was merged."""
    if dilation <= ONEDNN_DILATION:
        return F.conv2d(input, weight, bias, padding=dilation, dilation=dilation, groups=len(weight))
    taps = weight.permute(2, 3, 1, 0).reshape(3, 3, -1)
    total = torch.empty_like(input, memory_format=torch.channels_last)
    total.zero_() if bias is None else total.copy_(bias[:, None, None])
    for row, column, maps, seen in _meetings(total, input, dilation):
        maps.addcmul_(seen, taps[row, column])
    return total


def _meetings(outputs: Tensor, inputs: Tensor, dilation: int) -> Iterator[tuple[int, int, Tensor, Tensor]]:
    """For each tap, the parts of outputs and of inputs that it connects, some rows at a time.

    Yields:
        The tap's row and column, and views of both (B, D, h, w) as (B, n, m, D).
    """
    maps, given = outputs.permute(0, 2, 3, 1), inputs.permute(0, 2, 3, 1)
    batch, height, width, channels = maps.shape
    rows = max(1, STRIP_VALUES // (batch * width * channels))
    for top in range(0, height, rows):
        for row, column in itertools.product(range(3), range(3)):
            down, right = (row - 1) * dilation, (column - 1) * dilation
            ys = slice(max(top, -down), min(top + rows, height, height - down))
            xs = slice(max(0, -right), min(width, width - right))
            if ys.start < ys.stop and xs.start < xs.stop:
                seen = given[:, ys.start + down : ys.stop + down, xs.start + right : xs.stop + right]
                yield row, column, maps[:, ys, xs], seen


def context_branch(channels: int, outputs: int, dilation: int) -> nn.Module:
    """One of the parallel paths: a 1x1 convolution, or a dilated depth-wise 3x3 and then a 1x1."""
    if dilation == 1:
        return ConvNormAct(channels, outputs, 1)
    depthwise = nn.Sequential(DilatedDepthwise(channels, dilation), nn.BatchNorm2d(channels), nn.ReLU())
    return nn.Sequential(depthwise, ConvNormAct(channels, outputs, 1))


class DAFormerHead(nn.Module):
    """Feature maps by stage -> logits at stride 4, (B, K, H/4, W/4)."""

    def __init__(self, dims: tuple[int, ...], classes: int, options: DAFormerNetworkOptions) -> None:
        super().__init__()
        channels, stacked = options.channels, options.channels * len(dims)
        self.projections = nn.ModuleList(nn.Conv2d(dim, channels, 1) for dim in dims)
        self.branches = nn.ModuleList(context_branch(stacked, channels, dilation) for dilation in options.dilations)
        self.fuse = ConvNormAct(channels * len(options.dilations), channels, options.fuse_kernel)
        self.dropout = nn.Dropout2d(options.dropout)
        self.classify = nn.Conv2d(channels, classes, 1)
        nn.init.normal_(self.classify.weight, std=0.01)
        nn.init.zeros_(self.classify.bias)  # pyright: ignore[reportArgumentType]  # there is one

    def forward(self, features: dict[str, Tensor]) -> Tensor:
        """Project, stack from stage 1 to 4, convolve at several dilations, fuse, classify."""
        maps, shape = [features[name] for name in STAGES], features["stage1"].shape
        stacked = project(self.projections, maps, shape)
        context = [
            fused(self.projections, branch, maps, shape) if isinstance(branch, ConvNormAct) else branch(stacked)
            for branch in self.branches
        ]
        context = torch.cat(context, dim=1)
        return self.classify(self.dropout(self.fuse(context)))

    def merge_projections(self) -> None:
        """For prediction alone."""
        for branch in self.branches:
            if isinstance(branch, ConvNormAct):
                merge_projections(self.projections, branch)


class EncoderAndHead(Core):
    """Bare network: normalised (B, 3, H, W) -> `stage1`..`stage4` and `main` (also under its name in papers, `logits`)."""

    has_encoder = True

    def __init__(self, encoder: Encoder, head: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = head
        self.multiple = multiple_of(encoder)

    def encode(self, images: Tensor) -> dict[str, Tensor]:
        """Only the feature maps."""
        return self.encoder(images)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Features and logits at their native strides."""
        features = self.encode(images)
        logits = self.head(features)
        return {**features, "main": logits, "logits": logits}

    def heads(self) -> tuple[nn.Module, ...]:
        """The randomly initialised part, which learns at ten times the encoder's rate in the paper."""
        return (self.head, *fresh_parts(self.encoder))

    def layers(self) -> tuple[list[nn.Parameter], ...]:
        """Of a plain vision transformer."""
        return layers_of(self.encoder)


def daformer(labels: LabelSpace, options: DAFormerNetworkOptions | None = None) -> Segmenter:
    """Build the segmenter; weights are random until a checkpoint is loaded."""
    options = options or DAFormerNetworkOptions()
    encoder = build_encoder(options)
    core = EncoderAndHead(encoder, DAFormerHead(dims_of(encoder, options), labels.count, options))
    return Segmenter(core, labels, input_of(encoder), align_corners=False)


ENTRY: Final = NetworkEntry(
    name="daformer",
    title="DAFormer",
    paper="Hoyer, Dai, Van Gool. DAFormer: Improving Network Architectures and Training Strategies for "
    "Domain-Adaptive Semantic Segmentation. CVPR 2022. arXiv:2111.14887",
    encoder=encoder_title,
    options=DAFormerNetworkOptions,
    build=daformer,
)
