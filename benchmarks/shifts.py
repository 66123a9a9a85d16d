"""Measure how much of its clean mIoU a source-only checkpoint loses in each look, which is the strength of the shift.

Run from the repository root: python -m benchmarks.shifts [--checkpoint NAME] [--set FOG_VISIBILITY_METRES=60 ...]

Strengths are set once, so that the final source-only checkpoint loses 30 to 50 % on these development streets, and then
frozen. The streets used for tables have another seed and are never used for this.
"""

from __future__ import annotations

import argparse
import sys

from benchmarks.machine import machine_line
from benchmarks.script import run
from sim2street.models.predictor import Predictor
from sim2street.models.storage.catalog import find_checkpoint
from sim2street.training.commands.arguments import parse_positive
from sim2street.training.datasets import open_dataset
from sim2street.training.evaluate import evaluate
from sim2street.training.scenes import styles

DEVELOPMENT_SEED = 77
SHIFTED = ("fog", "night", "rain", "overcast")


def main() -> None:
    """Print the clean mIoU, and for each look the mIoU and the share of it that is lost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", action="append", help="default: source_only_game and source_only_game_mit")
    parser.add_argument("--style", action="append", choices=SHIFTED, help="default all")
    parser.add_argument("--scenes", type=parse_positive, default=100, help="streets per look")
    parser.add_argument(
        "--set", action="append", default=[], metavar="CONSTANT=VALUE", help="of sim2street.training.scenes.styles"
    )
    options = parser.parse_args()
    for change in options.set:
        constant, _, value = change.partition("=")
        if not isinstance(getattr(styles, constant, None), float):
            parser.error(f"sim2street.training.scenes.styles has no strength {constant!r}")
        setattr(styles, constant, float(value))
    print(f"{machine_line()}; {options.scenes} development streets, seed {DEVELOPMENT_SEED}; {options.set}")
    for name in options.checkpoint or ["source_only_game", "source_only_game_mit"]:
        predictor = Predictor.from_checkpoint(find_checkpoint(name))
        clean = score(predictor, "game", options.scenes)
        print(f"{name}: game {100 * clean:.1f}", flush=True)
        for style in options.style or SHIFTED:
            shifted = score(predictor, style, options.scenes)
            print(f"    {style:<9} {100 * shifted:5.1f}, {100 * (1 - shifted / clean):3.0f} % lost", flush=True)


def score(predictor: Predictor, style: str, count: int) -> float:
    """Return the mIoU on development streets in one look."""
    dataset = open_dataset("street_scenes", style=style, count=count, seed=DEVELOPMENT_SEED, size=(384, 288))
    miou = evaluate(predictor, dataset).miou
    assert miou is not None, "street scenes are labelled"
    return miou


if __name__ == "__main__":
    sys.exit(run(main))
