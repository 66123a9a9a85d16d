"""sim2street evaluate: score checkpoints on a labelled data set."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

from sim2street.models.errors import ConfigError
from sim2street.training.commands.arguments import add_data_set, check_device, chosen_checkpoints, open_named


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Describe the command."""
    parser = commands.add_parser("evaluate", help="score checkpoints on a labelled data set")
    add_data_set(parser, scenes=100)
    parser.add_argument(
        "--checkpoint", action="append", metavar="NAME|DIR|REPO_ID", help="repeatable; default the whole catalog"
    )
    parser.add_argument(
        "--classes",
        choices=("synthia16", "synthia13", "cityscapes17"),
        help="count only these of Cityscapes' classes: SYNTHIA's 16 or 13, or 17 without pole and rider",
    )
    parser.add_argument("--flip", action="store_true", help="average with the mirrored photo")
    parser.add_argument("--device", help="cuda, mps or cpu (default the best there is)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Score checkpoints and print, or write, their figures."""
    from sim2street.models.labels import CITYSCAPES19
    from sim2street.models.predictor import Predictor
    from sim2street.models.storage.files import write_json
    from sim2street.training.evaluate import SUBSETS, evaluate
    from sim2street.training.selection import progress_bar

    dataset = open_named(options)
    if options.classes is not None and dataset.labels != CITYSCAPES19:
        raise ConfigError(f"--classes is a part of Cityscapes' 19; {options.dataset} has {dataset.labels.name}.")
    if options.json is not None:  # an hour of scoring should not end at a folder that cannot be written
        options.json.parent.mkdir(parents=True, exist_ok=True)
        if options.json.is_dir():
            raise ConfigError(f"--json {options.json} is a folder; name the file to write.")
        with tempfile.TemporaryFile(dir=options.json.parent):  # figures that are there stay until there are others
            pass
    results: dict[str, Any] = {}
    for name, checkpoint in chosen_checkpoints(options.checkpoint):
        predictor = Predictor.from_checkpoint(checkpoint, device=check_device(options.device), flip=options.flip)
        with progress_bar(f"scoring {name}") as progress:
            sha = checkpoint.config.weights_sha256
            report = evaluate(predictor, dataset, weights_sha256=sha, progress=progress)
        if options.classes is not None:
            report = report.over(SUBSETS[options.classes])
        results[name] = report.to_json()
        miou = "–" if report.miou is None else f"{100 * report.miou:.2f}"
        print(
            f"{name}: mIoU {miou} ({report.label_space}, {report.images} images, {report.seconds_per_image:.2f} s each)"
        )
        for label, iou in report.iou_per_class.items():
            print(f"    {label:14s} {'–' if iou is None else f'{100 * iou:.1f}'}")
        if options.json is not None:
            write_json(options.json, results)
    return 0
