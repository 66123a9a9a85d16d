"""What a small vision transformer costs beside the ImageNet encoder of the recipes to real streets, in seconds of one core.

Processor time is measured, not time on the clock, so that other work on the machine disturbs less.

    python -m benchmarks.small_encoders
"""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import Final

import torch

from sim2street.models.networks import build
from sim2street.training.config import load_recipe

RECIPES: Final = ("demo_game_to_fog__vfm_uda_vit", "streets_to_cityscapes__daformer_lite0")
SIDE: Final = 112
BATCH: Final = 4
REPEATS: Final = 7


def seconds(work: Callable[[], object]) -> float:
    """Median processor time after one run that is not counted."""
    taken = []
    for _ in range(REPEATS + 1):
        began = time.process_time()
        work()
        taken.append(time.process_time() - began)
    return median(taken[1:])


def main() -> None:
    torch.set_num_threads(1)
    for name in RECIPES:
        recipe = load_recipe(name)
        segmenter = build(recipe.network, options=recipe.network_options).train()
        crops = torch.rand(BATCH, 3, SIDE, SIDE)
        step = seconds(lambda network=segmenter, images=crops: network(images).logits.square().mean().backward())
        segmenter.eval()
        with torch.inference_mode():
            crop = seconds(lambda network=segmenter, images=crops: network(images[:1]))
        millions = sum(value.numel() for value in segmenter.parameters()) / 1e6
        print(
            f"{name}: {millions:.1f} million parameters; forward and backward of {BATCH} crops of {SIDE}x{SIDE}"
            f" {step:.3f} s, prediction of one {crop:.3f} s"
        )


if __name__ == "__main__":
    main()
