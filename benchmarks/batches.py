"""Measure what it gains to send photos of one size through a network together.

python -m benchmarks.batches [CHECKPOINT ...] [--size 512x256] [--batch 2 4 8] [--repeats 5]
"""

from __future__ import annotations

import argparse
import statistics
import sys

import numpy as np

from benchmarks.machine import machine_line
from benchmarks.script import run
from sim2street.models.predictor import Predictor
from sim2street.training.commands.arguments import chosen_checkpoints, parse_positive, parse_size


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoints", nargs="*", help="default: all")
    parser.add_argument("--size", type=parse_size, default=(512, 256))
    parser.add_argument("--batch", type=parse_positive, nargs="+", default=[2, 4, 8])
    parser.add_argument("--repeats", type=parse_positive, default=5)
    options = parser.parse_args()
    width, height = options.size
    photo = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    counts = [1, *options.batch]
    print(machine_line())
    print(f"{width}x{height}, seconds per photo, median of {options.repeats}")
    print("| checkpoint | one by one | " + " | ".join(f"{count} together" for count in options.batch) + " |")
    print("|---" * (len(counts) + 1) + "|")
    for name, checkpoint in chosen_checkpoints(options.checkpoints):
        predictor = Predictor.from_checkpoint(checkpoint)
        seconds: dict[int, list[float]] = {count: [] for count in counts}
        for number in range(options.repeats + 1):  # in turn, so that other work on the machine affects all equally
            for count in counts:
                taken = predictor.batch([photo] * count)[0].seconds
                if number:  # the first round warms up
                    seconds[count].append(taken)
        print(
            f"| {name} | " + " | ".join(f"{statistics.median(seconds[count]):.4f}" for count in counts) + " |",
            flush=True,
        )


if __name__ == "__main__":
    sys.exit(run(main))
