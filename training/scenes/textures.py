"""Tileable noise and colour draws that every painter shares."""

from __future__ import annotations

import bisect
import colorsys
from collections.abc import Sequence
from functools import cache
from typing import TypeVar

import numpy as np

TILE = 512
"""Side of every noise tile in pixels; a power of two so that indices wrap with a mask."""

Option = TypeVar("Option")

Colour = np.ndarray
"""Three float32 values (red, green, blue), display-referred, in [0, 255]."""


@cache
def noise(seed: int, exponent: float) -> np.ndarray:
    """Return tileable noise with a power-law spectrum.

    Args:
        seed: Which tile; equal arguments give the same tile in every process.
        exponent: Fall of the amplitude with frequency. 0 is white grain, 1 a rough surface,
            1.8 soft clouds.

    Returns:
        float32 array of shape (TILE, TILE), mean 0, standard deviation 1, read-only.
    """
    random = np.random.default_rng([7001, seed])
    spectrum = np.fft.rfft2(random.standard_normal((TILE, TILE)))
    frequency = np.hypot(np.fft.fftfreq(TILE)[:, None], np.fft.rfftfreq(TILE)[None]) * TILE
    frequency[0, 0] = np.inf
    tile = np.fft.irfft2(spectrum / frequency**exponent, s=(TILE, TILE))
    tile = ((tile - tile.mean()) / tile.std()).astype(np.float32)
    tile.setflags(write=False)
    return tile


def noise_patch(random: np.random.Generator, height: int, width: int, seed: int, exponent: float) -> np.ndarray:
    """Cut a patch of (height, width) from a noise tile at a random place, wrapping around."""
    tile = noise(seed, exponent)
    top, left = (int(offset) for offset in random.integers(0, TILE, 2))
    if top + height <= TILE and left + width <= TILE:
        return tile[top : top + height, left : left + width]
    rows = (np.arange(height) + top) & (TILE - 1)
    columns = (np.arange(width) + left) & (TILE - 1)
    return tile[rows[:, None], columns[None]]


def pick(random: np.random.Generator, options: Sequence[Option]) -> Option:
    """Choose one of the options; draws as `random.choice` does, at a fifth of its cost."""
    return options[int(random.integers(len(options)))]


def pick_weighted(random: np.random.Generator, options: Sequence[Option], shares: tuple[float, ...]) -> Option:
    """Choose one of the options by their shares; draws as `random.choice` does."""
    return options[bisect.bisect_right(cumulated(shares), random.random())]


@cache
def cumulated(shares: tuple[float, ...]) -> list[float]:
    """Return the running sum of shares, 1 at its end."""
    sums = np.cumsum(shares)
    return (sums / sums[-1]).tolist()


def hsv(
    random: np.random.Generator,
    hue: tuple[float, float],
    saturation: tuple[float, float],
    value: tuple[float, float],
) -> Colour:
    """Draw a colour with hue, saturation and value uniform in the given ranges (all in [0, 1]).

    The hue range may leave [0, 1]; it wraps, so (-0.03, 0.04) is red.
    """
    red, green, blue = colorsys.hsv_to_rgb(
        random.uniform(*hue) % 1.0, random.uniform(*saturation), random.uniform(*value)
    )
    return np.array([red, green, blue], np.float32) * 255.0


def as_scalar(colour: Colour | tuple[float, ...], gain: float = 1.0) -> tuple[float, ...]:
    """Turn a colour into the tuple that OpenCV drawing calls take, clipped to [0, 255]."""
    return tuple(min(255.0, max(0.0, float(channel) * gain)) for channel in colour)


def to_bytes(values: np.ndarray) -> np.ndarray:
    """Clip to [0, 255] and convert to uint8."""
    return np.clip(values, 0, 255).astype(np.uint8)
