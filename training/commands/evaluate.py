"""sim2street evaluate: score checkpoints, or predictions that were made elsewhere, on a labelled data set."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from sim2street.models.errors import ConfigError
from sim2street.training.commands.arguments import add_data_set, check_device, chosen_checkpoints, open_named

if TYPE_CHECKING:
    from sim2street.training.datasets.base import SegmentationDataset
    from sim2street.training.evaluate import Report


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Describe the command."""
    parser = commands.add_parser("evaluate", help="score checkpoints, or others' predictions, on a labelled data set")
    add_data_set(parser, scenes=100)
    parser.add_argument(
        "--checkpoint", action="append", metavar="NAME|DIR|REPO_ID", help="repeatable; default the whole catalog"
    )
    parser.add_argument(
        "--predictions",
        action="append",
        type=_named_folder,
        metavar="[NAME=]DIR",
        help="a folder of label images or npz probabilities, named like the photos; repeatable, and without"
        " --checkpoint no checkpoint is scored",
    )
    parser.add_argument(
        "--incomplete", action="store_true", help="score predictions although some are missing or cannot be used"
    )
    parser.add_argument(
        "--classes",
        choices=("synthia16", "synthia13", "cityscapes17"),
        help="count only these of Cityscapes' classes: SYNTHIA's 16 or 13, or 17 without pole and rider",
    )
    parser.add_argument("--flip", action="store_true", help="average with the mirrored photo")
    parser.add_argument("--device", help="cuda, mps or cpu (default: the best available)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures")
    parser.add_argument(
        "--table",
        type=Path,
        metavar="FILE",
        help="add them to a table that the Benchmark page shows (SIM2STREET_RESULTS)",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Score, and print or write the figures."""
    from sim2street.models.labels import CITYSCAPES19
    from sim2street.models.storage.files import write_json
    from sim2street.training.evaluate import SUBSETS
    from sim2street.training.evaluation_table import add_to_table

    dataset = open_named(options)
    if options.classes is not None and dataset.labels != CITYSCAPES19:
        raise ConfigError(f"--classes is a part of Cityscapes' 19; {options.dataset} has {dataset.labels.name}.")
    for file in (options.json, options.table):
        _refuse_unwritable(file)
    label = "/".join(part for part in (options.dataset, options.split or options.style) if part)
    results: dict[str, tuple[Report, str]] = {}
    titles: dict[str, str] = {}
    for name, title, report, maker in _reports(options, dataset):
        if options.classes is not None:
            report = report.over(SUBSETS[options.classes])
        results[name], titles[name] = (report, maker), title
        _say(name, report)
        if options.json is not None:
            write_json(options.json, {key: each.to_json() for key, (each, _) in results.items()})
        if options.table is not None:
            add_to_table(options.table, dataset, label, results, titles)
    return 0


def _named_folder(text: str) -> tuple[str, str]:
    """Read `rein=DIR` as its two parts; a folder alone has its own name."""
    name, equals, folder = text.partition("=")
    if equals and name and folder and "/" not in name:
        return name, folder
    return Path(text).name or text, text


def _reports(options: argparse.Namespace, dataset: SegmentationDataset) -> Iterator[tuple[str, str, Report, str]]:
    """Name, title, figures and what made them, of one entrant after the other."""
    from sim2street.models.predictor import Predictor
    from sim2street.training.evaluate import evaluate, evaluate_predictions
    from sim2street.training.external_predictions import PredictionFolder
    from sim2street.training.selection import progress_bar

    for name, folder in options.predictions or ():
        predictions = PredictionFolder(folder, dataset)
        with progress_bar(f"scoring {name}") as progress:
            report, faults = evaluate_predictions(predictions, incomplete=options.incomplete, progress=progress)
        unmatched = list(predictions.unmatched())
        said = [
            *faults.describe(),
            *([f"{len(unmatched)} for no photo of the set: {unmatched[0]}"] if unmatched else []),
        ]
        for sentence in said:
            print(f"{name}: {sentence}.", file=sys.stderr)
        yield name, name, report, "predictions"
    for name, checkpoint in (
        chosen_checkpoints(options.checkpoint) if options.checkpoint or not options.predictions else ()
    ):
        predictor = Predictor.from_checkpoint(checkpoint, device=check_device(options.device), flip=options.flip)
        with progress_bar(f"scoring {name}") as progress:
            config = checkpoint.config
            report = evaluate(predictor, dataset, weights_sha256=config.weights_sha256, progress=progress)
            yield name, config.title, report, config.network


def _refuse_unwritable(file: Path | None) -> None:
    """Raise before an hour of scoring ends at a file that cannot be written."""
    if file is None:
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    if file.is_dir():
        raise ConfigError(f"{file} is a folder; name the file to write.")
    try:
        with tempfile.TemporaryFile(dir=file.parent):  # figures that are there stay until there are others
            pass
    except OSError as error:
        error.filename = str(file)  # instead of the temporary file, of which the user knows nothing
        raise


def _say(name: str, report: Report) -> None:
    miou = "–" if report.miou is None else f"{100 * report.miou:.2f}"
    pace = "" if report.seconds_per_image is None else f", {report.seconds_per_image:.2f} s each"
    print(f"{name}: mIoU {miou} ({report.label_space}, {report.images} images{pace})")
    for label, iou in report.iou_per_class.items():
        print(f"    {label:14s} {'–' if iou is None else f'{100 * iou:.1f}'}")
