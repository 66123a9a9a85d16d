"""Measure training steps per second of the demo recipes, and the share of loading pairs.

    python -m benchmarks.training_step [--steps 10] [RECIPE ...]

Renders 16 scenes first, so that sampling works as in a run; ADVENT's target is rendered too if CamVid is missing.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.machine import machine_line
from benchmarks.script import run
from sim2street.training.commands.arguments import parse_positive
from sim2street.training.config import RunConfig, load_recipe
from sim2street.training.run.loop import Run

SOURCE = ["sources.0.count=16", "evaluations=[]", "workers=0"]
TARGET = ["target={dataset='street_scenes', style='randomised', count=16, seed=3, size=[384, 288], store=[384, 288]}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipes", nargs="*", default=["demo_source_only_game", "demo_advent_game_to_camvid"])
    parser.add_argument("--steps", type=parse_positive, default=10)
    options = parser.parse_args()
    print(machine_line())
    print("| recipe | images per step | seconds per step | of these loading | images/s |\n|---|---|---|---|---|")
    for name in options.recipes:
        config = load_recipe(name, SOURCE)
        if config.target is not None:
            config = load_recipe(name, SOURCE + TARGET)
        print(measure(config, options.steps))


def measure(config: RunConfig, steps: int) -> str:
    """One row: complete steps, and loading pairs alone, in the same process."""
    with tempfile.TemporaryDirectory() as folder:
        run = Run(config, Path(folder), resume=False)
        stream = run.pairs.stream(0)
        run.take_step(stream)  # allocations and kernel selection
        start = time.perf_counter()
        for _ in range(steps):
            run.take_step(stream)
        whole = (time.perf_counter() - start) / steps
        start = time.perf_counter()
        for _ in range(steps):
            next(stream)
        loading = (time.perf_counter() - start) / steps
        if run.journal is not None:
            run.journal.close()
    images = config.batch * (1 if config.target is None else 2)
    return f"| {config.name} | {images} | {whole:.2f} | {loading:.2f} | {images / whole:.1f} |"


if __name__ == "__main__":
    sys.exit(run(main))
