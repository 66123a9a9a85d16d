"""Measure how many street scenes one core renders per second in each style.

Run from the repository root: python -m benchmarks.rendering
"""

from __future__ import annotations

import argparse
import sys
import time

import cv2

from benchmarks.machine import machine_line
from benchmarks.script import run
from sim2street.training.commands.arguments import parse_count, parse_positive
from sim2street.training.datasets.street_scenes import STYLES, render


def measure(style: str, scenes: int, warm_up: int, size: tuple[int, int]) -> float:
    """Return images per second of CPU time, after the sprite pools have been filled."""
    for index in range(warm_up):
        render(style, index, size=size)
    started = time.process_time()
    for index in range(scenes):
        render(style, index, size=size)
    return scenes / (time.process_time() - started)


def main() -> None:
    """Print one line per style."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenes", type=parse_positive, default=100, help="scenes to time per style")
    parser.add_argument("--warm-up", type=parse_count, default=100, help="scenes rendered before timing")
    parser.add_argument("--width", type=parse_positive, default=512, help="width in pixels")
    parser.add_argument("--height", type=parse_positive, default=256, help="height in pixels")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    print(f"{machine_line()}; one core is used, processor time")
    for style in STYLES:
        size = (options.width, options.height)
        speed = measure(style, options.scenes, options.warm_up, size)
        print(f"{style:<11} {speed:6.1f} images/s at {options.width}x{options.height}")


if __name__ == "__main__":
    sys.exit(run(main))
