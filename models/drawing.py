"""Pictures of a prediction: labels laid over the photo, entropy as a heatmap on one scale for all."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

# matplotlib's inferno (CC0) at nine even steps: perceptually uniform, readable in grey and by the colour-blind.
HEAT: Final = np.array(
    [
        (0, 0, 4),
        (31, 12, 72),
        (85, 15, 109),
        (136, 34, 106),
        (186, 54, 85),
        (227, 89, 51),
        (249, 140, 10),
        (249, 201, 50),
        (252, 255, 164),
    ],
    np.float32,
)
"""(9, 3) RGB for values 0, 1/8, ... 1."""


def overlay(
    photo: NDArray[np.uint8], colours: NDArray[np.uint8], labels: NDArray[np.uint8], opacity: float = 0.6
) -> NDArray[np.uint8]:
    """Blend (H, W, 3) label colours over a photo; pixels labelled 255 show the photo alone."""
    mixed = photo * (1 - opacity) + colours * opacity
    return np.where((labels == 255)[..., None], photo, np.rint(mixed)).astype(np.uint8)


def heatmap(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    """(H, W) values in [0,1] -> (H, W, 3) uint8 RGB; values outside are clipped, NaN is black."""
    steps = np.linspace(0, 1, len(HEAT))
    levels = np.linspace(0, 1, 256)
    table = np.stack([np.interp(levels, steps, HEAT[:, channel]) for channel in range(3)], axis=1)
    index = np.rint(np.clip(np.nan_to_num(values), 0, 1) * 255).astype(np.uint8)
    return np.rint(table).astype(np.uint8)[index]
