"""Compare this project's dilated depth-wise convolutions of DAFormer's head with PyTorch's own.

    python -m benchmarks.depthwise [--repeats 20]

Both alternate in one process, channels last, one thread, at the size of a training step of the demo recipes.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable

import torch
from torch.nn import functional as F

from benchmarks.machine import machine_line
from benchmarks.script import run
from sim2street.models.networks.daformer import DilatedDepthwise
from sim2street.training.commands.arguments import parse_positive

SHAPE = (4, 192, 40, 56)
DILATIONS = (3, 6)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=parse_positive, default=20)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(machine_line())
    print("| dilation | direction | PyTorch, ms | here, ms | ratio |\n|---|---|---|---|---|")
    for dilation in DILATIONS:
        maps = torch.randn(SHAPE).to(memory_format=torch.channels_last).requires_grad_()
        layer = DilatedDepthwise(SHAPE[1], dilation)
        gradient = torch.randn(SHAPE).to(memory_format=torch.channels_last)

        def theirs(maps: torch.Tensor = maps, layer: DilatedDepthwise = layer) -> torch.Tensor:
            return F.conv2d(maps, layer.weight, padding=layer.padding, dilation=layer.dilation, groups=layer.groups)

        def ours(maps: torch.Tensor = maps, layer: DilatedDepthwise = layer) -> torch.Tensor:
            return layer(maps)

        def trained(convolve: Callable[[], torch.Tensor], gradient: torch.Tensor = gradient) -> None:
            convolve().backward(gradient)

        with torch.no_grad():
            print(row(dilation, "forward", theirs, ours, options.repeats))
        print(row(dilation, "forward, backward", lambda: trained(theirs), lambda: trained(ours), options.repeats))


def row(dilation: int, direction: str, theirs: Callable[[], object], ours: Callable[[], object], repeats: int) -> str:
    """Medians of alternating calls."""
    seconds: dict[Callable[[], object], list[float]] = {theirs: [], ours: []}
    for _ in range(repeats + 1):
        for call, taken in seconds.items():
            start = time.perf_counter()
            call()
            taken.append(time.perf_counter() - start)
    slow, fast = (1000 * statistics.median(taken[1:]) for taken in seconds.values())
    return f"| {dilation} | {direction} | {slow:.1f} | {fast:.1f} | {slow / fast:.1f} |"


if __name__ == "__main__":
    sys.exit(run(main))
