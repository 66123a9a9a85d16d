"""sim2street export-pseudo-labels: write what a checkpoint is sure of as a labelled folder."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from sim2street.training.commands.arguments import check_device

if TYPE_CHECKING:
    from sim2street.models.predictor import Predictor


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Describe the command."""
    parser = commands.add_parser(
        "export-pseudo-labels", help="write a checkpoint's confident labels of photos as a labelled folder"
    )
    parser.add_argument("checkpoint", metavar="NAME|DIR|REPO_ID")
    parser.add_argument("photos", nargs="+", metavar="PHOTO", help="photos, folders of photos, or patterns")
    parser.add_argument(
        "--threshold", type=float, default=0.968, help="probability from which on a label is kept (default 0.968)"
    )
    parser.add_argument(
        "--teacher",
        action="store_true",
        help="use the mean teacher in the saved state of a run, whose folder is given in place of the checkpoint",
    )
    parser.add_argument("--flip", action="store_true", help="average with the mirrored photo")
    parser.add_argument("--device", help="cuda, mps or cpu (default: the best available)")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to fill; resumable")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Write a labelled folder and say what is in it."""
    from sim2street.training.predict import photos_of
    from sim2street.training.pseudo_labels import export_pseudo_labels
    from sim2street.training.selection import progress_bar

    photos = photos_of(options.photos)
    predictor, weights_sha256, used = _chosen_network(options)
    print(f"Labelling with {used}.")
    with progress_bar("labelling") as progress:
        exported = export_pseudo_labels(
            weights_sha256, predictor, photos, options.out, threshold=options.threshold, progress=progress
        )
    for sentence in exported.unread:
        print(f"error: {sentence}", file=sys.stderr)
    print(f"{options.out}: {exported.made} photos labelled, {exported.kept} already there.")
    total = int(exported.counts.sum()) + exported.unsure
    if total:
        names = predictor.segmenter.labels.names
        shares = [(100 * int(count) / total, name) for count, name in zip(exported.counts, names, strict=True)]
        shown = ", ".join(f"{name} {share:.1f}" for share, name in sorted(shares, reverse=True) if share)
        absent = ", ".join(name for share, name in shares if not share)
        print(f"Labelled pixels, percent: {shown or 'none'}; {100 * exported.unsure / total:.1f} below the threshold.")
        if absent:
            print(f"Never sure of: {absent}. Who learns from these labels alone will not learn these classes.")
    return 2 if exported.unread else 0


def _chosen_network(options: argparse.Namespace) -> tuple[Predictor, str, str]:
    """The network to label with, what identifies its weights, and which one it is in words."""
    from sim2street.models.predictor import Predictor
    from sim2street.models.storage.catalog import find_checkpoint
    from sim2street.models.storage.files import sha256_of
    from sim2street.training.run.mean_teacher import load_teacher

    how = {"device": check_device(options.device), "flip": options.flip}
    if options.teacher:
        segmenter, config, state = load_teacher(Path(options.checkpoint))
        return Predictor(segmenter, config.window, **how), sha256_of(state), f"the mean teacher of {state}"
    checkpoint = find_checkpoint(options.checkpoint)
    used = f"the network of {checkpoint.path}, {checkpoint.config.method} at step {checkpoint.config.step}"
    return Predictor.from_checkpoint(checkpoint, **how), checkpoint.config.weights_sha256, used
