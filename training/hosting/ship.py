"""Ship: a finished run -> `models/shipped/<name>`, with metrics measured on exactly the stored weights.

    python -m sim2street.training.hosting.ship NAME --run RUN [--cityscapes DIR] [--camvid DIR]
    python -m sim2street.training.hosting.ship NAME [--cityscapes DIR] [--camvid DIR]      # scores shipped weights again

The weights are first stored in fp16 and then scored, so that anyone who downloads the folder can reproduce metrics.json.
The test sets are a hundred streets that no recipe trains on, in five looks, the first eight of them again on their own (a
test repeats these), and the val photos of Cityscapes and CamVid if available; metrics on unavailable photos are kept as
long as the weights do not change.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from sim2street.models.predictor import Predictor
from sim2street.models.storage.catalog import SHIPPED
from sim2street.models.storage.checkpoint import Checkpoint
from sim2street.models.storage.files import CARD, METRICS, RUN_FOLDER, write_json
from sim2street.training.config import load_recipe
from sim2street.training.datasets import open_dataset
from sim2street.training.datasets.base import SegmentationDataset
from sim2street.training.evaluate import evaluate
from sim2street.training.hosting.card import write_card
from sim2street.training.selection import progress_bar
from sim2street.training.translate import carry_generators

SCENE_SEED: Final = 2026
"""Streets that no recipe trains on."""
SCENE_COUNT: Final = 100
SCENE_SIZE: Final = (512, 256)
STYLES: Final = ("streets", "game", "randomised", "fog", "night")
PHOTOS: Final = ("cityscapes", "camvid")
"""Sets of real photos; their val splits are scored."""
REPEATED: Final = 8
"""Scenes that the drift test renders and scores again."""


def measured_sets(roots: Mapping[str, str | None]) -> dict[str, SegmentationDataset]:
    """The labelled test sets, by their names in metrics.json; `roots` are the folders of `PHOTOS`."""
    sets = {f"{name}/val": open_dataset(name, root, "val") for name, root in roots.items() if root}
    for style in STYLES:
        sets[f"street_scenes/{style}"] = scenes(style, SCENE_COUNT)
    sets[f"street_scenes/game ({REPEATED} scenes)"] = scenes("game", REPEATED)
    return sets


def scenes(style: str, count: int) -> SegmentationDataset:
    """Rendered scenes on which shipped checkpoints are scored."""
    return open_dataset("street_scenes", style=style, count=count, seed=SCENE_SEED, size=SCENE_SIZE)


def ship(run: Path, name: str, roots: Mapping[str, str | None]) -> Checkpoint:
    """Copy the checkpoint of a run, or in a folder of its own, to `models/shipped/<name>`, score it and write its card."""
    trained = Checkpoint.open(run / RUN_FOLDER if (run / RUN_FOLDER).exists() else run)
    recipe = load_recipe(trained.config.recipe)
    # The run may have started from a local folder; the recipe has the public name.
    config = trained.config.model_copy(update={"initialisation": recipe.initialisation})
    Checkpoint.save(SHIPPED / name, trained.load(), config)
    carry_generators(run, SHIPPED / name)
    return measure(name, recipe.about, roots)


def measure(name: str, about: str, roots: Mapping[str, str | None]) -> Checkpoint:
    """Score `models/shipped/<name>` and write its metrics and card."""
    shipped = Checkpoint.open(SHIPPED / name)
    sha = shipped.config.weights_sha256
    predictor = Predictor.from_checkpoint(shipped, device="cpu")
    earlier = {label: report for label, report in shipped.metrics.items() if report.get("weights_sha256") == sha}
    metrics: dict[str, Any] = {}
    for label, dataset in measured_sets(roots).items():
        with progress_bar(f"{name} on {label}") as progress:
            report = evaluate(predictor, dataset, weights_sha256=sha, progress=progress)
        metrics[label] = report.to_json()
        print(f"{name} on {label}: mIoU {100 * (report.miou or 0):.2f}", flush=True)
    metrics = {**{label: report for label, report in earlier.items() if label not in metrics}, **metrics}
    write_json(shipped.path / METRICS, metrics)
    (shipped.path / CARD).write_text(write_card(shipped.config, about, metrics), encoding="utf-8")
    return Checkpoint.open(shipped.path)


def main() -> int:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", help="name of the folder in models/shipped")
    parser.add_argument(
        "--run",
        type=Path,
        help="folder of a finished run, or of a checkpoint such as an average; without it, the shipped weights are scored again",
    )
    for name in PHOTOS:
        parser.add_argument(f"--{name}", metavar="DIR", help=f"folder of {name}; its val photos are scored too")
    options = parser.parse_args()
    roots = {name: getattr(options, name) for name in PHOTOS}
    if options.run is not None:
        ship(options.run, options.name, roots)
    else:
        recipe = load_recipe(Checkpoint.open(SHIPPED / options.name).config.recipe)
        measure(options.name, recipe.about, roots)
    return 0


if __name__ == "__main__":
    sys.exit(main())
