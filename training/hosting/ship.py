"""Ship: a finished run -> `models/shipped/<name>` with the figures of exactly the stored weights.

    python -m sim2street.training.hosting.ship RUN NAME [--camvid DIR]

The weights are stored in fp16 first and then scored, so that metrics.json holds what anyone measures who downloads
the folder. Scored are a hundred streets that no recipe trains on, in four looks, the first eight of them again on their
own (a test repeats these), and CamVid's val photos where they are to be had.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any, Final

from sim2street.models.predictor import Predictor
from sim2street.models.storage.catalog import SHIPPED
from sim2street.models.storage.checkpoint import Checkpoint
from sim2street.models.storage.files import CARD, CONFIG, METRICS, RUN_FOLDER, write_json
from sim2street.training.config import RunConfig
from sim2street.training.datasets import open_dataset
from sim2street.training.datasets.base import SegmentationDataset
from sim2street.training.evaluate import evaluate
from sim2street.training.hosting.card import write_card
from sim2street.training.selection import progress_bar

SCENE_SEED: Final = 2026
"""Streets that no recipe trains on."""
SCENE_COUNT: Final = 100
SCENE_SIZE: Final = (512, 256)
STYLES: Final = ("game", "randomised", "fog", "night")
REPEATED: Final = 8
"""Scenes that the drift test renders and scores again."""


def measured_sets(camvid: str | None) -> dict[str, SegmentationDataset]:
    """The labelled sets of metrics.json by the names under which their figures stand."""
    sets: dict[str, SegmentationDataset] = {}
    if camvid:
        sets["camvid/val"] = open_dataset("camvid", camvid, "val")
    for style in STYLES:
        sets[f"street_scenes/{style}"] = scenes(style, SCENE_COUNT)
    sets[f"street_scenes/game ({REPEATED} scenes)"] = scenes("game", REPEATED)
    return sets


def scenes(style: str, count: int) -> SegmentationDataset:
    """Rendered scenes on which shipped checkpoints are scored."""
    return open_dataset("street_scenes", style=style, count=count, seed=SCENE_SEED, size=SCENE_SIZE)


def ship(run: Path, name: str, camvid: str | None) -> Checkpoint:
    """Copy the run's checkpoint to `models/shipped/<name>`, score it and write its card."""
    trained = Checkpoint.open(run / RUN_FOLDER)
    about = RunConfig.read(run / CONFIG).about
    shipped = Checkpoint.save(SHIPPED / name, trained.load(), trained.config)
    predictor = Predictor.from_checkpoint(shipped, device="cpu")
    metrics: dict[str, Any] = {}
    for label, dataset in measured_sets(camvid).items():
        with progress_bar(f"{name} on {label}") as progress:
            report = evaluate(predictor, dataset, weights_sha256=shipped.config.weights_sha256, progress=progress)
        metrics[label] = report.to_json()
        print(f"{name} on {label}: mIoU {100 * (report.miou or 0):.2f}", flush=True)
    write_json(shipped.path / METRICS, metrics)
    (shipped.path / CARD).write_text(write_card(shipped.config, about, metrics), encoding="utf-8")
    return Checkpoint.open(shipped.path)


def main() -> int:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("name")
    parser.add_argument("--camvid", help="folder of CamVid in SegNet's layout")
    options = parser.parse_args()
    ship(options.run, options.name, options.camvid)
    return 0


if __name__ == "__main__":
    sys.exit(main())
