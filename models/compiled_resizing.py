"""Resizing as Pillow does, byte for byte, in a quarter of its time.

Importing this module needs Numba, the extra `fast`; `compiled_code` says whether it is loaded.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sim2street.models.compiled import compiled

ROWS: Final = 64
"""Rows resized along the width at a time; pixels of one column are stored side by side then, so that sixteen are computed at
once."""
FRACTION: Final = 22
"""Bits after the point of Pillow's weights, which leave 8 for a pixel and 2 for sums beyond its range."""
HALF: Final = np.int32(1 << (FRACTION - 1))


class Taps(NamedTuple):
    """What each output reads along one side: from `first` on `number` inputs, with the (outputs, most) `weights`."""

    first: NDArray[np.int64]
    number: NDArray[np.int64]
    weights: NDArray[np.int32]


def resized(
    pixels: NDArray[np.uint8], size: tuple[int, int], resampling: Literal["bilinear", "bicubic"]
) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 RGB -> (height, width, 3) for a size of (width, height), as `PIL.Image.resize` does."""
    height, width = pixels.shape[:2]
    rows = np.ascontiguousarray(pixels).reshape(height, -1)
    if width != size[0]:
        narrowed = np.empty((height, 3 * size[0]), np.uint8)
        _resized_along_width(rows, *_taps(width, size[0], resampling), narrowed)
        rows = narrowed
    if height != size[1]:
        lowered = np.empty((size[1], rows.shape[1]), np.uint8)
        _resized_along_height(rows, *_taps(height, size[1], resampling), lowered)
        rows = lowered
    return rows.reshape(size[1], size[0], 3)


def _taps(length: int, size: int, resampling: Literal["bilinear", "bicubic"]) -> Taps:
    """Pillow's: a filter that widens when it shrinks, cut off at the border; weights of an output sum to one."""
    scale = length / size
    widened = max(scale, 1.0)
    reach, weigh = FILTERS[resampling]
    reach = reach * widened
    centres = (np.arange(size) + 0.5) * scale
    first = np.maximum((centres - reach + 0.5).astype(np.int64), 0)
    count = np.minimum((centres + reach + 0.5).astype(np.int64), length) - first
    places = np.arange(2 * math.ceil(reach) + 1)
    weights = weigh(np.abs((places + first[:, None] - centres[:, None] + 0.5) * (1 / widened)))
    weights[places >= count[:, None]] = 0
    total = np.zeros(size)
    for column in weights.T:  # in Pillow's order, on which the last bit depends
        total += column
    weights = weights / total[:, None] * (1 << FRACTION)
    return Taps(first, count, np.trunc(weights + np.copysign(0.5, weights)).astype(np.int32))


def _triangle(distances: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.maximum(1 - distances, 0)


def _cubic(distances: NDArray[np.float64]) -> NDArray[np.float64]:
    a = -0.5
    near = ((a + 2) * distances - (a + 3)) * distances * distances + 1
    far = (((distances - 5) * distances + 8) * distances - 4) * a
    return np.where(distances < 1, near, np.where(distances < 2, far, 0.0))


FILTERS: Final[dict[str, tuple[float, Callable[[NDArray[np.float64]], NDArray[np.float64]]]]] = {
    "bilinear": (1.0, _triangle),
    "bicubic": (2.0, _cubic),
}
"""How far each reaches when it enlarges, and its weights by distance."""


def _resized_along_width(rows: Any, first: Any, count: Any, weights: Any, out: Any) -> None:
    """(H, 3W) rows -> (H, 3w)."""
    height, width = rows.shape[0], rows.shape[1] // 3
    columns = np.empty((width, 3 * ROWS), np.uint8)
    results = np.empty((len(first), 3 * ROWS), np.uint8)
    sums = np.empty(3 * ROWS, np.int32)
    for top in range(0, height, ROWS):
        some = min(ROWS, height - top)
        for y in range(some):
            row = rows[top + y]
            for x in range(width):
                column = columns[x]
                for c in range(3):
                    column[3 * y + c] = row[3 * x + c]
        for x in range(len(first)):
            sums[:] = HALF
            for tap in range(count[x]):
                _add(sums, columns[first[x] + tap], weights[x, tap])
            _round(sums, results[x])
        for y in range(some):
            row = out[top + y]
            for x in range(len(first)):
                result = results[x]
                for c in range(3):
                    row[3 * x + c] = result[3 * y + c]


def _resized_along_height(rows: Any, first: Any, count: Any, weights: Any, out: Any) -> None:
    """(H, 3W) rows -> (h, 3W)."""
    sums = np.empty(rows.shape[1], np.int32)
    for y in range(len(first)):
        sums[:] = HALF
        for tap in range(count[y]):
            _add(sums, rows[first[y] + tap], weights[y, tap])
        _round(sums, out[y])


def _add(sums: Any, values: Any, weight: Any) -> None:
    for i in range(len(sums)):
        sums[i] += values[i] * weight


def _round(sums: Any, out: Any) -> None:
    """Whole numbers of the sums, no less than 0 and no more than 255."""
    for i in range(len(sums)):
        value = sums[i] >> FRACTION
        value = value if value > 0 else 0
        out[i] = value if value < 255 else 255


_add, _round = compiled(_add), compiled(_round)
_resized_along_width, _resized_along_height = compiled(_resized_along_width), compiled(_resized_along_height)
