"""What this processor can do at most on one thread: matrix products, copies, and PNGs of planes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.rounds import Spread, in_turns
from sim2street.app.content.panes import encode_plane

SIDE: Final = 1024
"""Of the matrices; their product takes 2 GFLOP."""
COPIED: Final = 256 * 2**20
"""Bytes, far more than caches hold."""


def limits(rounds: int) -> tuple[float, str]:
    """The rate of fp32 matrix products, in FLOP a millisecond, and a sentence with all limits."""
    left, right = torch.randn(SIDE, SIDE), torch.randn(SIDE, SIDE)
    here, there = torch.ones(COPIED // 4), torch.zeros(COPIED // 4)
    plane = np.kron(np.random.default_rng(0).integers(0, 19, (32, 64), np.uint8), np.ones((16, 16), np.uint8))
    taken = in_turns(
        {"product": lambda: left @ right, "copy": lambda: there.copy_(here), "png": lambda: encode_plane(plane)}, rounds
    )
    product, copy, png = (Spread.of(taken[name]).median for name in ("product", "copy", "png"))
    rate = 2 * SIDE**3 / product
    return rate, (
        f"Limits of one thread: fp32 matrix products {rate / 1e6:.0f} GFLOP/s, copies {2 * COPIED / copy / 1e6:.1f} GB/s"
        f" (read and written), PNG of a plane in squares of one class {plane.size / png / 1e3:.0f} MB/s."
    )


def flop_of(call: Callable[[], object]) -> int:
    """Floating-point operations of the matrix products, attentions and convolutions in a call, by their definition.

    Layers that compute the same with fewer exceed the rate of matrix products by what they save. With gradients none do.
    """
    with FlopCounterMode(display=False) as counter, torch.enable_grad():
        call()
    return counter.get_total_flops()
