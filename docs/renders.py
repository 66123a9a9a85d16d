"""Make docs/images/renders.png: what the renderer draws of the classes that networks miss on real photos, before and after.

    python docs/renders.py

For each class, among streets that no recipe trains on, it shows the one with most pixels of the class in the look `game`, and
likewise in `streets`, whose content is modelled on real photos: photo and ground truth of both.
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
from sim2street.training.datasets import open_dataset  # noqa: E402

SEED, COUNT, SIZE = 2026, 60, (320, 160)
LOOKS = ("game", "streets")
CLASSES = ("wall", "fence", "traffic light", "traffic sign", "person", "rider", "truck", "bus", "motorcycle", "bicycle")
MARGIN, CAPTION = 6, 22


def main() -> None:
    """Find the streets and draw them, a row for each class."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "images" / "renders.png")
    options = parser.parse_args()
    numbers = [CITYSCAPES19.names.index(name) for name in CLASSES]
    width, height = SIZE
    sheet_size = 2 * len(LOOKS) * (width + MARGIN) - MARGIN, len(CLASSES) * (height + CAPTION + MARGIN) - MARGIN
    sheet = Image.new("RGB", sheet_size, "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    for place, look in enumerate(LOOKS):
        streets = open_dataset("street_scenes", style=look, count=COUNT, seed=SEED, size=SIZE)
        pixels = np.stack([np.bincount(streets.read(index).labels.ravel(), minlength=256) for index in range(COUNT)])
        for row, (name, number) in enumerate(zip(CLASSES, numbers, strict=True)):
            index = int(pixels[:, number].argmax())
            sample = streets.read(index)
            share = 100 * pixels[:, number].sum() / pixels[:, : CITYSCAPES19.count].sum()
            titles = (f"{name} in {look}: {share:.2f} % of all pixels", f"ground truth of street {index}")
            for column, (title, picture) in enumerate(
                zip(titles, (sample.photo, CITYSCAPES19.colourise(sample.labels)), strict=True)
            ):
                left, top = (2 * place + column) * (width + MARGIN), row * (height + CAPTION + MARGIN)
                draw.text((left, top + 2), title, fill="black", font=font)
                sheet.paste(Image.fromarray(picture), (left, top + CAPTION))
            print(titles[0])
    sheet.quantize(128).save(options.out, optimize=True)


if __name__ == "__main__":
    main()
