"""Make docs/images/adaptation.png: streets in fog where adaptation helps most, and where it helps least.

    python docs/adaptation.py [--before NAME] [--after NAME] [--style fog]

From a hundred streets that no recipe trains on, it shows the two with the largest and the two with the smallest change in pixel
accuracy from the unadapted checkpoint to the adapted one: photo, ground truth, before, after.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from sim2street.models.labels import CITYSCAPES19  # noqa: E402
from sim2street.models.predictor import Predictor  # noqa: E402
from sim2street.models.storage.catalog import find_checkpoint  # noqa: E402
from sim2street.training.datasets import open_dataset  # noqa: E402

SEED, COUNT, SIZE = 2026, 100, (384, 288)
MARGIN, CAPTION = 6, 22


def main() -> None:
    """Rank the streets and draw four of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", default="source_only_game_mit")
    parser.add_argument("--after", default="daformer_game_and_randomised_to_fog_mit")
    parser.add_argument("--style", default="fog")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "images" / "adaptation.png")
    options = parser.parse_args()
    streets = open_dataset("street_scenes", style=options.style, count=COUNT, seed=SEED, size=SIZE)
    checkpoints = [find_checkpoint(name) for name in (options.before, options.after)]
    networks = [Predictor.from_checkpoint(checkpoint) for checkpoint in checkpoints]
    changes: list[float] = []
    for index in range(COUNT):
        sample = streets.read(index)
        before, after = (accuracy(network(sample.photo).labels, sample.labels) for network in networks)
        changes.append(after - before)
    order = np.argsort(changes)
    rows = [int(index) for index in (order[-1], order[-2], order[1], order[0])]
    width, height = SIZE
    sheet = Image.new("RGB", (4 * (width + MARGIN) - MARGIN, len(rows) * (height + CAPTION + MARGIN) - MARGIN), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(14)
    for row, index in enumerate(rows):
        sample = streets.read(index)
        maps = [sample.labels, *(network(sample.photo).labels for network in networks)]
        scores = [f"{100 * accuracy(each, sample.labels):.0f} % of pixels right" for each in maps[1:]]
        titles = [
            f"street {index} in {options.style}",
            "ground truth",
            *(f"{each.config.title}: {score}" for each, score in zip(checkpoints, scores, strict=True)),
        ]
        pictures = [sample.photo, *(CITYSCAPES19.colourise(each) for each in maps)]
        for column, (title, picture) in enumerate(zip(titles, pictures, strict=True)):
            left, top = column * (width + MARGIN), row * (height + CAPTION + MARGIN)
            draw.text((left, top + 2), title, fill="black", font=font)
            sheet.paste(Image.fromarray(picture), (left, top + CAPTION))
        print(f"street {index}: {100 * changes[index]:+.1f} points")
    helped = sum(change > 0 for change in changes)
    print(f"{helped} of {COUNT} streets improve; accuracy changes by {100 * np.mean(changes):.1f} points on average")
    sheet.quantize(128).save(options.out, optimize=True)


def accuracy(predicted: np.ndarray, truth: np.ndarray) -> float:
    """Share of the labelled pixels that are correct."""
    labelled = truth != CITYSCAPES19.ignore_index
    return float((predicted == truth)[labelled].mean())


if __name__ == "__main__":
    main()
