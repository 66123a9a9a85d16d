"""Domain discriminators: which domain does a map come from, one verdict per patch."""

from __future__ import annotations

import itertools

from torch import Tensor, nn


class PatchDiscriminator(nn.Sequential):
    """ADVENT's fully convolutional discriminator (also AdaptSegNet's): five 4x4 convolutions of stride 2.

    (B, channels, H, W) -> logits (B, 1, H/32, W/32), no norm, no sigmoid, LeakyReLU 0.2 between; a picture of
    1024x512 gives a map of 32x16. Initialisation is PyTorch's, as in the authors' code. Keys are those of the
    released code (0, 2, 4, 6, 8).

    Args:
        channels: of the map judged; the number of classes for self-information maps.
        width: channels after the first convolution, doubled by each of the next three.
    """

    def __init__(self, channels: int, width: int = 64) -> None:
        widths = (channels, width, 2 * width, 4 * width, 8 * width)
        layers: list[nn.Module] = []
        for inputs, outputs in itertools.pairwise(widths):
            layers += [nn.Conv2d(inputs, outputs, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
        super().__init__(*layers, nn.Conv2d(8 * width, 1, 4, stride=2, padding=1))

    def forward(self, input: Tensor) -> Tensor:
        """Maps -> domain logits; small maps are refused by the convolutions below 32 pixels a side."""
        return super().forward(input)
