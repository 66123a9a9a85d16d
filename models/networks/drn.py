"""DRN-C-26, a dilated residual network (Yu et al., CVPR 2017, arXiv:1705.09914, Fig. 5), CyCADA's second network.

It has three strides instead of five, with dilation in place of the others; two final stages without shortcuts remove the
gridding that dilation causes. One 1x1 convolution scores the classes at stride 8.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from sim2street.models.labels import LabelSpace
from sim2street.models.networks.entry import NetworkEntry, with_width
from sim2street.models.options import Options
from sim2street.models.segmenter import IMAGENET, Core, Segmenter


@dataclass(frozen=True)
class Level:
    """One stage: blocks of two 3x3 convolutions."""

    channels: int
    blocks: int
    stride: int = 1
    dilation: int = 1
    residual: bool = True


LEVELS: Final = (
    Level(16, 1),
    Level(32, 1, stride=2),
    Level(64, 2, stride=2),
    Level(128, 2, stride=2),
    Level(256, 2, dilation=2),
    Level(512, 2, dilation=4),
    Level(512, 1, dilation=2, residual=False),
    Level(512, 1, residual=False),
)


class DRNOptions(Options):
    """Options of `drn`; the defaults are the paper's DRN-C-26."""

    width: float = Field(default=1.0, gt=0, le=1, description="Factor on all channels; below 1 for laptops.")


class GroupwiseConv2d(nn.Conv2d):
    """A convolution that, in evaluation on a CPU, sums its products in groups of 32 channels.

    oneDNN may sum all of them sequentially. Without AVX-512, the logits, which reach 111, then differed by 3.5e-4 from those
    in float64; with groups they differ by 1.1e-4, as the authors' numbers do, at no extra cost.
    """

    group = 32

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, D, h / stride, w / stride)."""
        if self.training or input.device.type != "cpu" or self.in_channels <= self.group:
            return super().forward(input)
        parts = zip(input.split(self.group, dim=1), self.weight.split(self.group, dim=1), strict=True)
        total = None
        for some, weight in parts:
            bias = self.bias if total is None else None
            part = F.conv2d(some, weight, bias, self.stride, self.padding, self.dilation)
            total = part if total is None else total + part
        assert total is not None
        return total


class BasicBlock(nn.Module):
    """Two dilated 3x3 convolutions with batch norm, and a shortcut if the level is residual."""

    def __init__(self, channels: int, outputs: int, level: Level, stride: int) -> None:
        super().__init__()
        dilation = level.dilation
        self.conv1 = GroupwiseConv2d(channels, outputs, 3, stride, padding=dilation, dilation=dilation, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = GroupwiseConv2d(outputs, outputs, 3, padding=dilation, dilation=dilation, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.residual = level.residual
        self.downsample: nn.Module | None = None
        if stride != 1 or channels != outputs:
            self.downsample = nn.Sequential(
                nn.Conv2d(channels, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, maps: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, D, h / stride, w / stride)."""
        inner = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(maps)))))
        if self.residual:
            inner = inner + (maps if self.downsample is None else self.downsample(maps))
        return torch.relu(inner)


class DRN(Core):
    """Bare network: normalised (B, 3, H, W) -> `stage1`..`stage8` and `main`, (B, C, ceil(H/8), ceil(W/8)).

    Keys are those of the authors' code: `conv1`, `bn1`, `layer1`..`layer8`, and `fc` for the classifier.
    """

    def __init__(self, classes: int, options: DRNOptions) -> None:
        super().__init__()
        widths = [max(4, int(level.channels * options.width)) for level in LEVELS]
        self.conv1 = nn.Conv2d(3, widths[0], 7, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        channels = widths[0]
        for number, (level, width) in enumerate(zip(LEVELS, widths, strict=True), start=1):
            blocks = []
            for block in range(level.blocks):
                blocks.append(BasicBlock(channels, width, level, level.stride if block == 0 else 1))
                channels = width
            self.add_module(f"layer{number}", nn.Sequential(*blocks))
        self.fc = nn.Conv2d(channels, classes, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Features and logits at their native strides."""
        maps = torch.relu(self.bn1(self.conv1(images)))
        outputs: dict[str, Tensor] = {}
        for number in range(1, len(LEVELS) + 1):
            maps = getattr(self, f"layer{number}")(maps)
            outputs[f"stage{number}"] = maps
        outputs["main"] = outputs["logits"] = self.fc(maps)
        return outputs

    def heads(self) -> tuple[nn.Module, ...]:
        """The classifier, which ImageNet weights do not cover."""
        return (self.fc,)


def drn(labels: LabelSpace, options: DRNOptions | None = None) -> Segmenter:
    """Build the segmenter; weights are random until a checkpoint is loaded."""
    # The authors upsample with aligned corners (eightfold, to the image's size).
    return Segmenter(DRN(labels.count, options or DRNOptions()), labels, IMAGENET, align_corners=True)


ENTRY: Final = NetworkEntry(
    name="drn",
    title="DRN-C-26",
    paper="Yu, Koltun, Funkhouser. Dilated Residual Networks. CVPR 2017. arXiv:1705.09914",
    encoder=lambda options: with_width("DRN-C-26", options.width),
    options=DRNOptions,
    build=drn,
)
