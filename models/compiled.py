"""The strips of `prediction` in compiled code: upsampling, softmax, likeliest classes and entropy in one pass.

Importing this module needs Numba, the extra `fast`; `prediction` does so where it is installed. The first call of a new
version compiles for some seconds; what comes out is kept on disk. Sums are taken in another order than in PyTorch, so
shares and entropies differ by less than 1e-5, and labels only where two classes are that close.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import numpy as np
from numba import njit, types
from numba.extending import intrinsic
from numpy.typing import NDArray

BLOCK: Final = 512
"""Columns handled at a time: few enough for a processor's second-level cache, and enough that loops over them rarely start."""


def _coefficients(function: Callable[..., Any], low: float, high: float, degree: int) -> NDArray[np.float64]:
    """A polynomial close to a function between two numbers, lowest power first."""
    nodes = (low + high + (high - low) * np.cos(np.pi * (np.arange(64) + 0.5) / 64)) / 2
    found = np.polynomial.Chebyshev.fit(nodes, function(nodes), degree, domain=[low, high])
    return np.asarray(found.convert(kind=np.polynomial.Polynomial).coef, np.float64)


# Numba computes in float64 wherever a constant is one.
ZERO, ONE, STRUCK, LEAST = (np.float32(value) for value in (0, 1, -1, -np.inf))
LOG2_E: Final = np.float32(1.4426950408889634)
LOWEST: Final = np.float32(-126)
"""Exponent of the smallest power of two that float32 stores in full."""
ROUNDING: Final = np.float32(3 * 2**22 + 127)
"""Adding it to a float32 leaves the nearest whole number, plus 127, in the lowest bits, as an exponent is stored."""
# 2^f for f in [-1/2, 1/2], by Chebyshev polynomials: relative error 2e-7 as float32 computes it.
P0, P1, P2, P3, P4, P5 = (np.float32(each) for each in _coefficients(np.exp2, -0.5, 0.5, 5))
# log2(1 + f) for f in [0, 1].
L0, L1, L2, L3, L4, L5, L6, L7 = (np.float32(each) for each in _coefficients(lambda f: np.log2(1 + f), 0, 1, 7))

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
    entropy: Any,
    top: int,
    bottom: int,
) -> None:
    """Fill rows of (T, H, W) `labels` and `shares`, and of (H, W) `entropy`; see `likeliest`."""
    above, below, down = rows
    left, right, across = columns
    classes, width, chosen = logits.shape[0], len(left), len(labels)
    scale = np.float32(1 / np.log2(logits.shape[0]))
    merges = len(group) > 0
    upper, lower = np.empty((classes, BLOCK), np.float32), np.empty((classes, BLOCK), np.float32)
    slope, values = np.empty((classes, BLOCK), np.float32), np.empty((classes, BLOCK), np.float32)
    merged = np.empty((count, BLOCK), np.float32)
    best, total, mean = np.empty(BLOCK, np.float32), np.empty(BLOCK, np.float32), np.empty(BLOCK, np.float32)
    label = np.empty(BLOCK, np.int32)
    for start in range(0, width, BLOCK):
        size = min(BLOCK, width - start)
        in_upper, in_lower = -1, -1
        for y in range(top, bottom):
            if above[y] != in_upper or below[y] != in_lower:
                if above[y] == in_lower:
                    upper, lower = lower, upper
                    in_upper, in_lower = in_lower, in_upper
                if above[y] != in_upper:
                    in_upper = above[y]
                    _widen(logits, in_upper, left, right, across, start, size, upper)
                if below[y] != in_lower:
                    in_lower = below[y]
                    _widen(logits, in_lower, left, right, across, start, size, lower)
                for c in range(classes):
                    for x in range(size):
                        slope[c, x] = lower[c, x] - upper[c, x]
            share = down[y]
            for x in range(size):
                best[x] = LEAST
                label[x] = 0
                total[x] = ZERO
                mean[x] = ZERO
            for c in range(classes):
                for x in range(size):
                    value = upper[c, x] + slope[c, x] * share
                    values[c, x] = value
                    is_more = value > best[x]
                    best[x] = value if is_more else best[x]
                    label[x] = c if is_more else label[x]
            for c in range(classes):
                for x in range(size):
                    exponent = values[c, x] - best[x]
                    exponent = LOWEST if exponent < LOWEST else exponent  # NaN stays
                    rounded = exponent + ROUNDING
                    f = exponent - (rounded - ROUNDING)
                    power = _as_float(_as_int(rounded) << 23)
                    value = power * (P0 + f * (P1 + f * (P2 + f * (P3 + f * (P4 + f * P5)))))
                    values[c, x] = value
                    total[x] += value
                    mean[x] += value * exponent
            for x in range(size):
                bits = _as_int(total[x])
                f = _as_float(bits & 0x7FFFFF | 0x3F800000) - ONE
                log = L3 + f * (L4 + f * (L5 + f * (L6 + f * L7)))
                log = np.float32((bits >> 23) - 127) + (L0 + f * (L1 + f * (L2 + f * log)))
                value = (log - mean[x] / total[x]) * scale
                value = ZERO if value < ZERO else value
                entropy[y, start + x] = ONE if value > ONE else value
            if not merges and chosen == 1:
                for x in range(size):
                    labels[0, y, start + x] = label[x] if total[x] == total[x] else 0  # NaN counts as the first class
                    shares[0, y, start + x] = ONE / total[x]
                continue
            candidates = values
            if merges:
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
    """One row of logits, upsampled to some columns, such that the softmax is one of powers of two."""
    for c in range(len(logits)):
        for x in range(size):
            first = logits[c, row, left[start + x]]
            out[c, x] = (first + (logits[c, row, right[start + x]] - first) * across[start + x]) * LOG2_E


def _counted(labels: Any, predicted: Any, confidence: Any, table: Any, pairs: Any, pixels: Any, sums: Any) -> None:
    """Add N pixels to (K, 256) `pairs`, and to (2, bins) `pixels` and (bins,) `sums`; see `count`."""
    bins = len(sums)
    for i in range(len(labels)):
        truth, said, share = table[labels[i]], predicted[i], np.float64(confidence[i])
        if truth >= len(pairs):
            continue
        place = np.int64(np.ceil(share * bins)) - 1
        place = min(max(place, 0), bins - 1)  # NaN counts in the first bin, and makes its sum NaN
        pairs[truth, said] += 1
        pixels[np.int64(truth != said), place] += 1
        sums[place] += share


def _cast(to: Any, of: Any) -> Any:
    """A function of compiled code that takes the bits of one type for those of another."""

    @intrinsic
    def cast(context: Any, value: Any) -> Any:  # Numba calls it with types, and compiles what it returns
        def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return builder.bitcast(arguments[0], context.get_value_type(to))

        return to(of), code

    return cast


_as_float, _as_int = _cast(types.float32, types.int32), _cast(types.int32, types.float32)


def _compiled(function: Any) -> Any:
    options = {"nogil": True, "error_model": "numpy", "fastmath": {"contract"}}
    try:
        return njit(cache=True, **options)(function)
    except RuntimeError:  # no folder to keep compiled code in can be written
        return njit(**options)(function)


_widen = _compiled(_widen)
_counted = _compiled(_counted)
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
    entropy = np.empty((height, width), np.float32)
    edges = [height * number // threads for number in range(threads + 1)]

    def fill(top: int, bottom: int) -> None:
        _passed(logits, rows, columns, group, merged, labels, shares, entropy, top, bottom)

    if threads == 1:
        fill(0, height)
    else:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(fill, edges[:-1], edges[1:]))
    return labels, shares, entropy


def count(
    labels: NDArray[np.uint8],
    predicted: NDArray[np.uint8],
    confidence: NDArray[np.float32],
    table: NDArray[np.uint8],
    classes: int,
    bins: int,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Compare predictions with ground truth, as `metrics.confusion_matrix` and `metrics.Calibration` do, in one pass.

    Args:
        labels: ground truth of any shape.
        predicted: of the same shape.
        confidence: in [0,1], of the same shape.
        table: (256,) true class of each value in `labels`; others than the first K are not counted.
        classes: K.
        bins: of the calibration.

    Returns:
        (K, 256) pixels per true and predicted class; (2, bins) pixels per bin, the right ones first; (bins,) the sums of
        their confidence.

    Raises:
        ValueError: the shapes differ.
    """
    if not labels.shape == predicted.shape == confidence.shape:
        raise ValueError(
            f"labels have shape {labels.shape}, predictions {predicted.shape}, confidence {confidence.shape}; they must match"
        )
    pairs, pixels, sums = np.zeros((classes, 256), np.int64), np.zeros((2, bins), np.int64), np.zeros(bins)
    _counted(labels.ravel(), predicted.ravel(), confidence.ravel(), table, pairs, pixels, sums)
    return pairs, pixels, sums
