"""Measure seconds per photo of every shipped checkpoint against its forward pass, to find the cost of everything else.

python -m benchmarks.prediction [--size 1024x512] [--repeats 5]
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time

import numpy as np
import torch

from benchmarks.machine import machine_line
from benchmarks.script import run
from sim2street.models.predictor import Predictor
from sim2street.models.storage.catalog import catalog
from sim2street.training.commands.arguments import parse_positive, parse_size


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=parse_size, default=(1024, 512))
    parser.add_argument("--repeats", type=parse_positive, default=5)
    options = parser.parse_args()
    width, height = options.size
    photo = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    print(machine_line())
    print(f"{width}x{height}, median of {options.repeats}; network = forward pass at the checkpoint's own size")
    print("| checkpoint | seconds per photo | network alone | ratio |\n|---|---|---|---|")
    for entry in catalog():
        if entry.checkpoint is None:
            continue
        predictor = Predictor.from_checkpoint(entry.checkpoint)
        predictor(photo)
        image = predictor._image(photo, 1.0, False)
        whole, network = [], []
        for _ in range(options.repeats):  # alternating, so that the machine's load affects both equally
            whole.append(predictor(photo).seconds)
            start = time.perf_counter()
            with torch.inference_mode():
                predictor._logits(image).sum().item()
            network.append(time.perf_counter() - start)
        total, alone = statistics.median(whole), statistics.median(network)
        print(f"| {entry.name} | {total:.3f} | {alone:.3f} | {total / alone:.2f} |")


if __name__ == "__main__":
    sys.exit(run(main))
