"""sim2street predict: segment photos into a folder."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from sim2street.training.commands.arguments import check_device, chosen_checkpoints


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Describe the command."""
    parser = commands.add_parser("predict", help="segment photos")
    parser.add_argument("photos", nargs="+", metavar="PHOTO", help="photos, or folders of photos")
    parser.add_argument(
        "--checkpoint", action="append", metavar="NAME|DIR|REPO_ID", help="repeatable; default: the whole catalog"
    )
    parser.add_argument("--flip", action="store_true", help="average with the mirrored photo")
    parser.add_argument("--device", help="cuda, mps or cpu (default: the best available)")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write into")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Segment photos into a folder."""
    from sim2street.models.predictor import Predictor
    from sim2street.training.predict import photos_of, predict_photos
    from sim2street.training.selection import progress_bar

    photos = photos_of(options.photos)
    predictors = {
        name: Predictor.from_checkpoint(checkpoint, device=check_device(options.device), flip=options.flip)
        for name, checkpoint in chosen_checkpoints(options.checkpoint)
    }
    with progress_bar("segmenting") as progress:
        failures = predict_photos(photos, predictors, options.out, progress=progress)
    for failure in failures:
        print(f"error: {failure}", file=sys.stderr)
    print(f"{options.out}: {len(photos) - len(failures)} of {len(photos)} photos segmented.")
    return 2 if failures else 0
