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
FAINT: Final = np.float32(2.0**-40)
"""A sum of powers below which there is more to lose by rounding than 1e-6 of the entropy."""
ROUNDING: Final = np.float32(3 * 2**22 + 127)
"""Adding it to a float32 leaves the nearest whole number, plus 127, in the lowest bits, as an exponent is stored."""
# 2^f for f in [-1/2, 1/2], by Chebyshev polynomials: relative error 2e-7 as float32 computes it.
P0, P1, P2, P3, P4, P5 = (np.float32(each) for each in _coefficients(np.exp2, -0.5, 0.5, 5))
# log2(1 + f) for f in [0, 1].
L0, L1, L2, L3, L4, L5, L6, L7 = (np.float32(each) for each in _coefficients(lambda f: np.log2(1 + f), 0, 1, 7))

Where = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]
"""Two input cells for each output, and the share of the second."""


def _passed(
    relative: Any,
    rows: Any,
    columns: Any,
    group: Any,
    merged: int,
    labels: Any,
    shares: Any,
    entropy: Any,
    top: int,
    bottom: int,
) -> None:
    """Fill rows of (T, H, W) `labels` and `shares`, and of (H, W) `entropy` if it has any; see `likeliest`.

    `relative` are logits for powers of two, of which 0 is the highest of a cell. Upsampled, none exceeds 0, so that powers are
    taken of them without looking for the highest first.
    """
    above, below, down = rows
    left, right, across = columns
    classes, width, chosen = relative.shape[0], len(left), len(labels)
    scale = np.float32(1 / np.log2(classes))
    upper, lower = np.empty((classes, BLOCK), np.float32), np.empty((classes, BLOCK), np.float32)
    slope, raised = np.empty((classes, BLOCK), np.float32), np.empty((classes, BLOCK), np.float32)
    level = np.zeros((classes, BLOCK), np.float32)
    sums = np.empty((merged + 1, BLOCK), np.float32)  # the last one of classes that merge into none
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
                    _widen(relative, in_upper, left, right, across, start, size, upper)
                if below[y] != in_lower:
                    in_lower = below[y]
                    _widen(relative, in_lower, left, right, across, start, size, lower)
                for c in range(classes):
                    for x in range(size):
                        slope[c, x] = lower[c, x] - upper[c, x]
            with_entropy = len(entropy) > 0
            if with_entropy:
                _exponentiated_with_mean(upper, slope, down[y], group, size, sums, total, mean)
            else:
                _exponentiated(upper, slope, down[y], group, size, sums, total)
            if _has_faint(total, size):
                _raised(upper, slope, down[y], size, best, raised)
                if with_entropy:
                    _exponentiated_with_mean(raised, level, ONE, group, size, sums, total, mean)
                else:
                    _exponentiated(raised, level, ONE, group, size, sums, total)
            if with_entropy:
                _entropy(total, mean, scale, size, entropy[y, start:])
            for t in range(chosen):
                _best(sums, merged, total, size, best, label, labels[t, y, start:], shares[t, y, start:])
                if t + 1 < chosen:
                    for x in range(size):
                        sums[label[x], x] = STRUCK


# Loops over columns are in functions of their own, whose few arrays the compiler can tell apart: it computes sixteen columns
# at once then.


def _widen(relative: Any, row: int, left: Any, right: Any, across: Any, start: int, size: int, out: Any) -> None:
    """One row of logits, upsampled to some columns."""
    end = start + size
    for c in range(len(relative)):
        _gathered(relative[c, row], left[start:end], right[start:end], across[start:end], out[c, :size])


def _gathered(cells: Any, left: Any, right: Any, across: Any, out: Any) -> None:
    """Between two cells for each output."""
    for x in range(len(out)):
        first = cells[left[x]]
        out[x] = first + (cells[right[x]] - first) * across[x]


def _power(exponent: Any) -> Any:
    """Two to the power of a number of at most 0; of one too low for float32 the smallest power."""
    exponent = LOWEST if exponent < LOWEST else exponent  # NaN stays
    rounded = exponent + ROUNDING
    f = exponent - (rounded - ROUNDING)
    power = _as_float(_as_int(rounded) << 23)
    return power * (P0 + f * (P1 + f * (P2 + f * (P3 + f * (P4 + f * P5)))))


def _exponentiated(upper: Any, slope: Any, share: Any, group: Any, size: int, sums: Any, total: Any) -> None:
    """Powers of two of `upper + slope * share`, summed over the classes of each group and over all."""
    total[:size] = ZERO
    sums[:, :size] = ZERO
    for c in range(len(upper)):
        into = group[c]
        for x in range(size):
            value = _power(upper[c, x] + slope[c, x] * share)
            sums[into, x] += value
            total[x] += value


def _exponentiated_with_mean(
    upper: Any, slope: Any, share: Any, group: Any, size: int, sums: Any, total: Any, mean: Any
) -> None:
    """`_exponentiated`, and the sum of each power times its exponent."""
    total[:size] = ZERO
    mean[:size] = ZERO
    sums[:, :size] = ZERO
    for c in range(len(upper)):
        into = group[c]
        for x in range(size):
            exponent = upper[c, x] + slope[c, x] * share
            value = _power(exponent)
            sums[into, x] += value
            total[x] += value
            mean[x] += value * exponent


def _has_faint(total: Any, size: int) -> bool:
    """Whether a column's highest logit is so far below 0 that precision is lost.

    That takes neighbouring cells which are certain of different classes, and excludes each other's.
    """
    faint = 0
    for x in range(size):
        faint += total[x] < FAINT
    return faint > 0


def _raised(upper: Any, slope: Any, share: Any, size: int, best: Any, out: Any) -> None:
    """`upper + slope * share` such that each column's highest is 0."""
    best[:size] = LEAST
    for c in range(len(upper)):
        for x in range(size):
            value = upper[c, x] + slope[c, x] * share
            out[c, x] = value
            best[x] = value if value > best[x] else best[x]
    for c in range(len(upper)):
        for x in range(size):
            out[c, x] -= best[x]


def _entropy(total: Any, mean: Any, scale: Any, size: int, out: Any) -> None:
    """Shannon entropy, times `scale`, of powers of two: from their sum, and that of each times its exponent."""
    for x in range(size):
        bits = _as_int(total[x])
        f = _as_float(bits & 0x7FFFFF | 0x3F800000) - ONE
        log = L3 + f * (L4 + f * (L5 + f * (L6 + f * L7)))
        log = np.float32((bits >> 23) - 127) + (L0 + f * (L1 + f * (L2 + f * log)))
        value = (log - mean[x] / total[x]) * scale
        value = ZERO if value < ZERO else value
        out[x] = ONE if value > ONE else value


def _best(sums: Any, count: int, total: Any, size: int, best: Any, label: Any, labels: Any, shares: Any) -> None:
    """The largest of the first sums in each column, of equals the first, and its share of the total."""
    for x in range(size):
        best[x] = sums[0, x]
        label[x] = 0
    for c in range(1, count):
        for x in range(size):
            is_more = sums[c, x] > best[x]
            best[x] = sums[c, x] if is_more else best[x]
            label[x] = c if is_more else label[x]
    for x in range(size):
        labels[x] = label[x]
    for x in range(size):
        shares[x] = best[x] / total[x]


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


def compiled(function: Any) -> Any:
    """A function of numbers and arrays, compiled when it is first called."""
    options = {"nogil": True, "error_model": "numpy", "fastmath": {"contract"}}
    try:
        return njit(cache=True, **options)(function)
    except RuntimeError:  # no folder to keep compiled code in can be written
        return njit(**options)(function)


_gathered, _power = compiled(_gathered), compiled(_power)
_widen, _exponentiated = compiled(_widen), compiled(_exponentiated)
_exponentiated_with_mean = compiled(_exponentiated_with_mean)
_has_faint, _raised, _entropy, _best = (compiled(each) for each in (_has_faint, _raised, _entropy, _best))
_passed = compiled(_passed)
_counted = compiled(_counted)


def likeliest(
    logits: NDArray[np.float32],
    rows: Where,
    columns: Where,
    group: NDArray[np.int64],
    merged: int,
    count: int,
    threads: int,
    with_entropy: bool,
) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.float32] | None]:
    """The likeliest classes at chosen pixels of upsampled logits, and the entropy.

    Args:
        logits: (C, h, w).
        rows: where the H chosen rows read.
        columns: where the W chosen columns read.
        group: (C,) class into which each class merges, `merged` for none.
        merged: how many classes there are after merging.
        count: T, how many classes are listed, the likeliest first and of equals the lower.
        threads: to compute on.
        with_entropy: whether to compute it, which takes an eighth of the time.

    Returns:
        (T, H, W) classes, (T, H, W) their probabilities, and (H, W) Shannon entropy / log C of the unmerged classes.
    """
    height, width = len(rows[0]), len(columns[0])
    labels, shares = np.empty((count, height, width), np.uint8), np.empty((count, height, width), np.float32)
    entropy = np.empty((height, width) if with_entropy else (0, 0), np.float32)
    relative = (logits - logits.max(axis=0)) * LOG2_E
    edges = [height * number // threads for number in range(threads + 1)]

    def fill(top: int, bottom: int) -> None:
        _passed(relative, rows, columns, group, merged, labels, shares, entropy, top, bottom)

    if threads == 1:
        fill(0, height)
    else:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(fill, edges[:-1], edges[1:]))
    return labels, shares, entropy if with_entropy else None


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
