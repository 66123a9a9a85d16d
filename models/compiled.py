"""The strips of `prediction` in compiled code: upsampling, softmax, likeliest classes and entropy in one pass.

Importing this module needs Numba, the extra `fast`; `prediction` does so where it is installed. The first call of a new
version compiles for some seconds; what comes out is kept on disk. Sums are taken in another order than in PyTorch, so
shares and entropies differ by less than 1e-5, and labels only where two classes are that close.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

BLOCK: Final = 128
"""Columns handled at a time: 19 classes of them, in three buffers, fit into a processor's first-level cache."""

# Numba computes in float64 wherever a constant is one.
ZERO, HALF, ONE, STRUCK = (np.float32(value) for value in (0, 0.5, 1, -1))
LOWEST, LOG2_E = np.float32(-87), np.float32(1.4426950408889634)
ROUNDING: Final = np.float32(12582912)
"""1.5 * 2^23: adding and subtracting it rounds a float32 to a whole number."""
MANTISSA, BIAS = np.float32(1 << 23), np.float32(127 << 23)
# 2^f for f in [-1/2, 1/2], the Taylor series to the sixth power: relative error 2e-8.
P1, P2, P3, P4, P5, P6 = (np.float32(np.log(2) ** n / np.prod(np.arange(1.0, n + 1))) for n in range(1, 7))

Where = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]
"""Two input cells for each output, and the share of the second."""


def _passed(
    logits: Any,
    rows: Any,
    columns: Any,
    group: Any,
    count: int,
    labels: Any,
    shares: Any,
    sums: Any,
    means: Any,
    top: int,
    bottom: int,
) -> None:
    """Fill rows of (T, H, W) `labels` and `shares`, and of (H, W) `sums` and `means` for the entropy; see `likeliest`."""
    above, below, down = rows
    left, right, across = columns
    classes, width, chosen = logits.shape[0], len(left), len(labels)
    upper, lower = np.empty((classes, BLOCK), np.float32), np.empty((classes, BLOCK), np.float32)
    values, merged = np.empty((classes, BLOCK), np.float32), np.empty((count, BLOCK), np.float32)
    best, total, mean = np.empty(BLOCK, np.float32), np.empty(BLOCK, np.float32), np.empty(BLOCK, np.float32)
    drop, label, bits = np.empty(BLOCK, np.float32), np.empty(BLOCK, np.int32), np.empty(BLOCK, np.int32)
    power = bits.view(np.float32)
    for start in range(0, width, BLOCK):
        size = min(BLOCK, width - start)
        in_upper, in_lower = -1, -1
        for y in range(top, bottom):
            if above[y] == in_lower:
                upper, lower = lower, upper
                in_upper, in_lower = in_lower, in_upper
            if above[y] != in_upper:
                in_upper = above[y]
                _widen(logits, in_upper, left, right, across, start, size, upper)
            if below[y] != in_lower:
                in_lower = below[y]
                _widen(logits, in_lower, left, right, across, start, size, lower)
            share = down[y]
            for x in range(size):
                best[x] = upper[0, x] + (lower[0, x] - upper[0, x]) * share
                total[x] = ZERO
                mean[x] = ZERO
            for c in range(classes):
                for x in range(size):
                    value = upper[c, x] + (lower[c, x] - upper[c, x]) * share
                    values[c, x] = value
                    best[x] = value if value > best[x] else best[x]
            for c in range(classes):
                for x in range(size):
                    below_best = values[c, x] - best[x]
                    below_best = LOWEST if below_best < LOWEST else below_best  # NaN stays
                    exponent = below_best * LOG2_E
                    whole = (exponent + ROUNDING) - ROUNDING
                    f = exponent - whole
                    bits[x] = np.int32(whole * MANTISSA + BIAS)
                    drop[x] = below_best
                    values[c, x] = ONE + f * (P1 + f * (P2 + f * (P3 + f * (P4 + f * (P5 + f * P6)))))
                for x in range(size):
                    value = values[c, x] * power[x]
                    values[c, x] = value
                    total[x] += value
                    mean[x] += value * drop[x]
            for x in range(size):
                sums[y, start + x] = total[x]
                means[y, start + x] = mean[x] / total[x]
            candidates = values
            if len(group) > 0:
                candidates = merged
                merged[:, :size] = ZERO
                for c in range(classes):
                    into = group[c]
                    if into >= 0:
                        for x in range(size):
                            merged[into, x] += values[c, x]
            for t in range(chosen):
                for x in range(size):
                    best[x] = candidates[0, x]
                    label[x] = 0
                for c in range(1, len(candidates)):
                    for x in range(size):
                        is_more = candidates[c, x] > best[x]
                        best[x] = candidates[c, x] if is_more else best[x]
                        label[x] = c if is_more else label[x]
                for x in range(size):
                    labels[t, y, start + x] = label[x]
                    shares[t, y, start + x] = best[x] / total[x]
                if t + 1 < chosen:
                    for x in range(size):
                        candidates[label[x], x] = STRUCK


def _widen(logits: Any, row: int, left: Any, right: Any, across: Any, start: int, size: int, out: Any) -> None:
    """One row of logits, upsampled to some columns."""
    for c in range(len(out)):
        for x in range(size):
            first = logits[c, row, left[start + x]]
            out[c, x] = first + (logits[c, row, right[start + x]] - first) * across[start + x]


def _compiled(function: Any) -> Any:
    options = {"nogil": True, "error_model": "numpy", "fastmath": {"contract"}}
    try:
        return njit(cache=True, **options)(function)
    except RuntimeError:  # no folder to keep compiled code in can be written
        return njit(**options)(function)


_widen = _compiled(_widen)
_passed = _compiled(_passed)


def likeliest(
    logits: NDArray[np.float32],
    rows: Where,
    columns: Where,
    group: NDArray[np.int64],
    merged: int,
    count: int,
    threads: int,
) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.float32]]:
    """The likeliest classes at chosen pixels of upsampled logits, and the entropy.

    Args:
        logits: (C, h, w).
        rows: where the H chosen rows read.
        columns: where the W chosen columns read.
        group: (C,) class into which each class merges, -1 for none; empty where nothing merges.
        merged: how many classes there are after merging, 0 where nothing merges.
        count: T, how many classes are listed, the likeliest first and of equals the lower.
        threads: to compute on.

    Returns:
        (T, H, W) classes, (T, H, W) their probabilities, and (H, W) Shannon entropy / log C of the unmerged classes.
    """
    height, width = len(rows[0]), len(columns[0])
    labels, shares = np.empty((count, height, width), np.uint8), np.empty((count, height, width), np.float32)
    sums, means = np.empty((height, width), np.float32), np.empty((height, width), np.float32)
    edges = [height * number // threads for number in range(threads + 1)]

    def fill(top: int, bottom: int) -> None:
        _passed(logits, rows, columns, group, merged, labels, shares, sums, means, top, bottom)

    if threads == 1:
        fill(0, height)
    else:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(fill, edges[:-1], edges[1:]))
    entropy = np.log(sums, out=sums)
    entropy -= means
    entropy *= np.float32(1 / np.log(len(logits)))
    return labels, shares, np.clip(entropy, 0, 1, out=entropy)
