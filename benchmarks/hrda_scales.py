"""Measure HRDA's two scales separately: mIoU of context alone, of detail alone, and of both fused.

Run from the repository root: python -m benchmarks.hrda_scales [--checkpoint NAME] [--style fog]

If the fused figure is below the context's, the attention trusts the worse detail too much. The streets are the
development streets of `benchmarks.shifts`.
"""

from __future__ import annotations

import argparse
import copy
import sys
from typing import Literal

from torch import Tensor, nn

from benchmarks.machine import machine_line
from benchmarks.script import run
from benchmarks.shifts import score
from sim2street.models.networks.hrda import HRDANetwork
from sim2street.models.predictor import Predictor
from sim2street.models.storage.catalog import find_checkpoint
from sim2street.training.commands.arguments import parse_positive

Scale = Literal["context", "detail", "main"]
TITLES: dict[Scale, str] = {"context": "context alone", "detail": "detail alone", "main": "fused"}


class OneScale(nn.Module):
    """An HRDA network that returns one of its outputs and records the attention.

    Args:
        core: the bare network, (B, 3, H, W) -> outputs.
        scale: the output to return as `main`.
    """

    def __init__(self, core: HRDANetwork, scale: Scale) -> None:
        super().__init__()
        self.core = core
        self.scale: Scale = scale
        self.attentions: list[float] = []

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Normalised (B, 3, H, W) -> `main` alone, at the stride of its scale."""
        outputs = self.core(images)
        self.attentions.append(float(outputs["attention"].mean()))
        return {"main": outputs[self.scale]}


def main() -> None:
    """Print a table of three rows, and the mean attention."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", default="hrda_streets_to_cityscapes")
    parser.add_argument("--style", default="fog")
    parser.add_argument("--scenes", type=parse_positive, default=50)
    options = parser.parse_args()
    checkpoint = find_checkpoint(options.checkpoint)
    segmenter = checkpoint.load()
    if not isinstance(segmenter.core, HRDANetwork):
        parser.error(f"{options.checkpoint} has the network {checkpoint.config.network}; expected hrda.")
    print(machine_line())
    print(f"{options.checkpoint}, {options.scenes} streets in {options.style}, mIoU in percent\n| | mIoU |\n|---|---|")
    attentions: list[float] = []
    for scale, title in TITLES.items():
        one = copy.deepcopy(segmenter)
        one.core = OneScale(segmenter.core, scale)
        predictor = Predictor(one, checkpoint.config.window)
        print(f"| {title} | {100 * score(predictor, options.style, options.scenes):.1f} |", flush=True)
        attentions = one.core.attentions
    print(f"mean attention {sum(attentions) / len(attentions):.2f}: 0 is the context alone, 1 the detail")


if __name__ == "__main__":
    sys.exit(run(main))
