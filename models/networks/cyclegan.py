"""CycleGAN's generator and discriminator (Zhu et al., ICCV 2017, arXiv:1703.10593, Sec. 7.1), as CyCADA uses them.

Images are in [-1, 1]. Instance norm has no weights and keeps no statistics, so the convolutions before it have a bias. Keys
are those of the authors' code. All convolutions are initialised from N(0, 0.02), biases with 0.
"""

from __future__ import annotations

from typing import Final

from torch import Tensor, nn

BLOCKS: Final = 9
"""Residual blocks of the generator for images of 256 pixels and more."""


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with reflection padding and a shortcut."""

    def __init__(self, channels: int, *, dropout: bool) -> None:
        super().__init__()
        layers: list[nn.Module] = [
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3),
            nn.InstanceNorm2d(channels),
            nn.ReLU(inplace=True),
            *([nn.Dropout(0.5)] if dropout else []),
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3),
            nn.InstanceNorm2d(channels),
        ]
        self.conv_block = nn.Sequential(*layers)

    def forward(self, maps: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, C, h, w)."""
        return maps + self.conv_block(maps)


class Generator(nn.Module):
    """Translates images of one domain into another: (B, 3, H, W) in [-1, 1] -> the same, H and W multiples of 4.

    Args:
        width: channels of the first convolution; the paper's is 64.
        blocks: residual blocks in the middle.
        dropout: whether to drop half of each block's activations in training, as CyCADA does by default; CycleGAN does not.
    """

    def __init__(self, width: int = 64, blocks: int = BLOCKS, *, dropout: bool = False) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.ReflectionPad2d(3), nn.Conv2d(3, width, 7), *_normed(width)]
        for channels in (width, 2 * width):
            layers += [nn.Conv2d(channels, 2 * channels, 3, stride=2, padding=1), *_normed(2 * channels)]
        layers += [ResidualBlock(4 * width, dropout=dropout) for _ in range(blocks)]
        for channels in (4 * width, 2 * width):
            up = nn.ConvTranspose2d(channels, channels // 2, 3, stride=2, padding=1, output_padding=1)
            layers += [up, *_normed(channels // 2)]
        self.model = nn.Sequential(*layers, nn.ReflectionPad2d(3), nn.Conv2d(width, 3, 7), nn.Tanh())
        self.apply(initialise)

    def forward(self, images: Tensor) -> Tensor:
        """Translate."""
        height, width = images.shape[-2:]
        if height % 4 or width % 4:
            raise ValueError(f"images measure {width}x{height} pixels; both sides must be multiples of 4")
        return self.model(images)


class PatchGAN(nn.Module):
    """Scores patches of 70x70 pixels: (B, 3, H, W) in [-1, 1] -> one score per patch, (B, 1, H/8 - 2, W/8 - 2).

    Args:
        channels: channels of the input image.
        width: channels after the first convolution, doubled by each of the next three.
    """

    def __init__(self, channels: int = 3, width: int = 64) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(channels, width, 4, stride=2, padding=1), nn.LeakyReLU(0.2, inplace=True)]
        for step, stride in enumerate((2, 2, 1)):
            inputs, outputs = width * 2**step, width * 2 ** (step + 1)
            layers += [
                nn.Conv2d(inputs, outputs, 4, stride=stride, padding=1),
                nn.InstanceNorm2d(outputs),
                nn.LeakyReLU(0.2, inplace=True),
            ]
        self.model = nn.Sequential(*layers, nn.Conv2d(8 * width, 1, 4, stride=1, padding=1))
        self.apply(initialise)

    def forward(self, images: Tensor) -> Tensor:
        """Score patches."""
        return self.model(images)


def initialise(module: nn.Module) -> None:
    """N(0, 0.02) for convolutions, 0 for their biases."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def _normed(channels: int) -> tuple[nn.Module, nn.Module]:
    return nn.InstanceNorm2d(channels), nn.ReLU(inplace=True)
