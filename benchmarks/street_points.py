"""Score checkpoints on points labelled by hand in photos taken at night and in fog, rain and snow.

Run from the repository root: python -m benchmarks.street_points FOLDER CHECKPOINT [CHECKPOINT ...]

`street_points.json` lists 22 photos by file name without suffix, each with its condition and its points [x, y, class], where x and y
are shares of width and height. Most photos are from ACDC's test set, BDD100K and Dark Zurich. The points were chosen before any
prediction was looked at, and well inside all but thin objects: since borders do not count, percentages are higher than pixel
accuracy would be. FOLDER may contain the photos in any subfolders and sizes; those that it lacks are left out.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.script import run
from sim2street.models.errors import DatasetError
from sim2street.models.labels import CITYSCAPES19
from sim2street.models.photo import SUFFIXES, read_photo
from sim2street.models.predictor import Predictor
from sim2street.models.storage.catalog import find_checkpoint

POINTS: Final = Path(__file__).with_suffix(".json")
CONDITIONS: Final = ("night", "fog", "rain", "snow", "day")
ADVERSE: Final = CONDITIONS[:4]
Tally = Counter[tuple[str, bool]]
"""Numbers of points by condition and by whether the network is right."""


def main() -> None:
    """Print a table with a row for each checkpoint."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("checkpoints", nargs="+", metavar="CHECKPOINT")
    options = parser.parse_args()
    known = json.loads(POINTS.read_text(encoding="utf-8"))
    photos = find_photos(options.folder, known)
    print(f"{len(photos)} of {len(known)} photos. Percent of points with the right class, and the number of points.\n")
    print(f"| checkpoint | all but day | {' | '.join(CONDITIONS)} |\n|---{'|---' * (1 + len(CONDITIONS))}|")
    for name in options.checkpoints:
        predictor = Predictor.from_checkpoint(find_checkpoint(name))
        tally: Tally = Counter()
        for stem, path in photos.items():
            labels = predictor(read_photo(path), with_entropy=False).labels
            tally += named(np.asarray(labels), known[stem])
        groups = (ADVERSE, *((each,) for each in CONDITIONS))
        print(f"| {name} | {' | '.join(share(tally, group) for group in groups)} |", flush=True)


def find_photos(folder: Path, known: dict[str, Any]) -> dict[str, Path]:
    """The photos below a folder that have points, by their names without suffix; a prefix ending in two underscores does not count.

    Raises:
        DatasetError: there is none.
    """
    files = (path for path in sorted(folder.rglob("*")) if path.suffix.lower() in SUFFIXES)
    found = {path.stem.rpartition("__")[2]: path for path in files}
    photos = {stem: found[stem] for stem in known if stem in found}
    if not photos:
        raise DatasetError(f"{folder} has none of the photos in {POINTS.name}, such as {next(iter(known))}.jpg.")
    return photos


def named(labels: NDArray[np.uint8], photo: dict[str, Any]) -> Tally:
    """Count the points of a photo by whether (H, W) labels, of Cityscapes' 19 classes, agree with the class given by hand."""
    height, width = labels.shape
    return Counter(
        (photo["condition"], CITYSCAPES19.names[labels[int(y * height), int(x * width)]] == name)
        for x, y, name in photo["points"]
    )


def share(tally: Tally, conditions: tuple[str, ...]) -> str:
    """Percentage of the points in these conditions, with their number."""
    right, wrong = (sum(tally[each, is_right] for each in conditions) for is_right in (True, False))
    return f"{100 * right / (right + wrong):.1f} ({right + wrong})" if right + wrong else "–"


if __name__ == "__main__":
    sys.exit(run(main))
