"""FCN-8s on VGG-16 (Long et al., CVPR 2015, arXiv:1411.4038), CyCADA's first network.

VGG-16 without batch norm, with its two fully connected layers as convolutions, and three scores at strides 32, 16 and 8 that
are summed after fixed bilinear upsampling. As in CyCADA's code, the skips use pool4 and pool3 scaled by 0.01 and 0.0001.
"""

from __future__ import annotations

from typing import Final

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from sim2street.models.labels import LabelSpace
from sim2street.models.networks.entry import NetworkEntry, with_width
from sim2street.models.options import Options
from sim2street.models.segmenter import IMAGENET, Core, Segmenter

STAGES: Final = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
PADDING: Final = 99
"""Padding of the input; with the first convolution's 1 it adds up to the paper's 100, so any input size yields a score."""
POOL4_SCALE: Final = 0.01
POOL3_SCALE: Final = 0.0001
POOL4_OFFSET: Final = 5
POOL3_OFFSET: Final = 9
SCORE_OFFSET: Final = 31


class FCN8sOptions(Options):
    """Options of `fcn8s`; the defaults are the paper's network."""

    width: float = Field(default=1.0, gt=0, le=1, description="Factor on all channels; below 1 for laptops.")
    dropout: float = Field(
        default=0.5, ge=0, lt=1, description="Probability of dropping a whole channel after each wide layer."
    )


class BilinearUpsampling(nn.Module):
    """Transposed convolution with a fixed bilinear kernel per class: (B, C, h, w) -> (B, C, f (h + 1), f (w + 1)).

    The kernel is a buffer for all pairs of classes rather than depth-wise, because released files store it that way.
    """

    def __init__(self, classes: int, factor: int) -> None:
        super().__init__()
        self.factor = factor
        side = 2 * factor
        line = 1 - (torch.arange(side) - (factor - 0.5)).abs() / factor
        weight = torch.zeros(classes, classes, side, side)
        weight[range(classes), range(classes)] = line[:, None] * line[None]
        self.weight: Tensor
        self.register_buffer("weight", weight)

    def forward(self, scores: Tensor) -> Tensor:
        """Upsample."""
        return F.conv_transpose2d(scores, self.weight, stride=self.factor)


class FCN8s(Core):
    """Bare network: normalised (B, 3, H, W) -> `main` (B, C, H, W), `stage1`..`stage5` after each pooling, and `fc7`.

    Stages refer to the padded image. `fc7`, the last map before the classifier, is the input of CyCADA's feature
    discriminator. Keys are those of the authors' code, except the upsampling kernels.
    """

    def __init__(self, classes: int, options: FCN8sOptions) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        self.pools: list[int] = []
        for stage in STAGES:
            for base in stage:
                width = max(4, int(base * options.width))
                layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU(inplace=True)]
                channels = width
            self.pools.append(len(layers))
            layers.append(nn.MaxPool2d(2, 2, ceil_mode=True))
        self.vgg = nn.Sequential(*layers)
        wide = max(8, int(4096 * options.width))
        self.vgg_head = nn.Sequential(
            nn.Conv2d(channels, wide, 7),
            nn.ReLU(inplace=True),
            nn.Dropout2d(options.dropout),
            nn.Conv2d(wide, wide, 1),
            nn.ReLU(inplace=True),
            nn.Dropout2d(options.dropout),
            nn.Conv2d(wide, classes, 1),
        )
        self.score_pool4 = nn.Conv2d(max(4, int(512 * options.width)), classes, 1)
        self.score_pool3 = nn.Conv2d(max(4, int(256 * options.width)), classes, 1)
        for layer in (self.score_pool4, self.score_pool3):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)  # pyright: ignore[reportArgumentType]  # there is one
        self.upscore2 = BilinearUpsampling(classes, 2)
        self.upscore8 = BilinearUpsampling(classes, 8)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Scores at the image's own size."""
        maps = F.pad(images, (PADDING,) * 4)
        outputs: dict[str, Tensor] = {}
        for index, layer in enumerate(self.vgg):
            maps = layer(maps)
            if index in self.pools:
                outputs[f"stage{self.pools.index(index) + 1}"] = maps
        outputs["fc7"] = self.vgg_head[:-1](maps)
        score = self.upscore2(self.vgg_head[-1](outputs["fc7"]))
        score = score + _cropped(self.score_pool4(POOL4_SCALE * outputs["stage4"]), score, POOL4_OFFSET)
        score = self.upscore2(score)
        score = score + _cropped(self.score_pool3(POOL3_SCALE * outputs["stage3"]), score, POOL3_OFFSET)
        outputs["main"] = outputs["logits"] = _cropped(self.upscore8(score), images, SCORE_OFFSET)
        return outputs

    def heads(self) -> tuple[nn.Module, ...]:
        """The classifiers, which ImageNet weights do not cover."""
        return (self.vgg_head[-1], self.score_pool4, self.score_pool3)


def _cropped(maps: Tensor, to: Tensor, offset: int) -> Tensor:
    """The part of `maps` that begins at `offset` and has the height and width of `to`."""
    height, width = to.shape[-2:]
    return maps[..., offset : offset + height, offset : offset + width]


def fcn8s(labels: LabelSpace, options: FCN8sOptions | None = None) -> Segmenter:
    """Build the segmenter; weights are random until a checkpoint is loaded."""
    # Scores already have the image's size, so the kind of upsampling does not matter.
    return Segmenter(FCN8s(labels.count, options or FCN8sOptions()), labels, IMAGENET)


ENTRY: Final = NetworkEntry(
    name="fcn8s",
    title="FCN-8s",
    paper="Long, Shelhamer, Darrell. Fully Convolutional Networks for Semantic Segmentation. CVPR 2015. "
    "arXiv:1411.4038",
    encoder=lambda options: with_width("VGG-16", options.width),
    options=FCN8sOptions,
    build=fcn8s,
)
