"""Domain discriminators: predict which domain a map comes from, per patch or per position."""

from __future__ import annotations

import itertools

from torch import Tensor, nn


class PatchDiscriminator(nn.Sequential):
    """ADVENT's fully convolutional discriminator (also AdaptSegNet's): five 4x4 convolutions of stride 2.

    (B, channels, H, W) -> logits (B, 1, H/32, W/32), no norm, no sigmoid, LeakyReLU 0.2 between; an image of
    1024x512 gives a map of 32x16. Initialisation is PyTorch's, as in the authors' code. Keys are those of the
    released code (0, 2, 4, 6, 8).

    Args:
        channels: channels of the input map; the number of classes for self-information maps.
        width: channels after the first convolution, doubled by each of the next three.
    """

    def __init__(self, channels: int, width: int = 64) -> None:
        widths = (channels, width, 2 * width, 4 * width, 8 * width)
        layers: list[nn.Module] = []
        for inputs, outputs in itertools.pairwise(widths):
            layers += [nn.Conv2d(inputs, outputs, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
        super().__init__(*layers, nn.Conv2d(8 * width, 1, 4, stride=2, padding=1))

    def forward(self, input: Tensor) -> Tensor:
        """Maps -> domain logits; the convolutions refuse maps below 32 pixels a side."""
        return super().forward(input)


class FeatureDiscriminator(nn.Module):
    """CyCADA's discriminator of features or scores, one prediction per position: (B, channels, h, w) -> logits (B, 2, h, w).

    Three 1x1 convolutions with whole channels dropped between them (Hoffman et al., ICML 2018, arXiv:1711.03213;
    sizes from the authors' code). Class 1 is the source, class 0 the target. Keys are those of the authors' code.

    Args:
        channels: channels of the input map: 4096 for FCN-8s' `fc7`, the number of classes for scores.
        width: channels after the first convolution, halved by the next; None takes the authors' value for these channels.
    """

    def __init__(self, channels: int, width: int | None = None) -> None:
        super().__init__()
        width = width or (1024 if channels == 4096 else 512)
        self.D = nn.Sequential(
            nn.Conv2d(channels, width, 1),
            nn.Dropout2d(0.5),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width // 2, 1),
            nn.Dropout2d(0.5),
            nn.ReLU(inplace=True),
            nn.Conv2d(width // 2, 2, 1),
        )

    def forward(self, maps: Tensor) -> Tensor:
        """Score every position."""
        return self.D(maps)
