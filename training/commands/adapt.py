"""sim2street adapt: adapt a checkpoint to photos without labels, at test time."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sim2street.models.errors import ConfigError
from sim2street.training.commands.arguments import check_device, parse_number, parse_positive

if TYPE_CHECKING:
    from sim2street.models.storage.checkpoint import Checkpoint
    from sim2street.training.datasets.base import SegmentationDataset
    from sim2street.training.evaluate import Report


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Describe the command."""
    parser = commands.add_parser("adapt", help="adapt a checkpoint to your photos without labels; writes a new one")
    parser.add_argument("checkpoint", metavar="NAME|DIR|REPO_ID", help="to start from; it stays as it is")
    parser.add_argument("photos", nargs="+", metavar="PHOTOS", help="photos, or folders of photos")
    parser.add_argument("--method", choices=("adabn", "tent"), default="tent", help="default tent")
    parser.add_argument("--passes", type=parse_positive, default=1, help="how often TENT sees each photo (default 1)")
    parser.add_argument("--rate", type=parse_number, default=1e-3, help="TENT's learning rate (default 0.001)")
    parser.add_argument(
        "--labelled",
        type=Path,
        metavar="DIR",
        help="a labelled folder (docs/own_data.md) to score before and after; nothing learns from it",
    )
    parser.add_argument("--label-space", help="of that folder: a name or a file (default: as its data.toml says)")
    parser.add_argument("--device", help="cuda, mps or cpu (default: the best available)")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the new checkpoint")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Adapt, write the new checkpoint, and say what changed."""
    from sim2street.models.predictor import Predictor
    from sim2street.models.storage.catalog import find_checkpoint
    from sim2street.models.storage.checkpoint import Checkpoint
    from sim2street.training.adapt import AdaptOptions, adapt, adapted_config, compare, summary
    from sim2street.training.datasets import open_dataset
    from sim2street.training.hosting.card import write_card
    from sim2street.training.predict import photos_of
    from sim2street.training.selection import progress_bar

    how = AdaptOptions(options.method, options.passes, options.rate)
    original = find_checkpoint(options.checkpoint)
    if options.out.exists() and (not options.out.is_dir() or any(options.out.iterdir())):
        raise ConfigError(
            f"{options.out} is there already; name a new folder with --out. The original is never changed."
        )
    chosen = {} if options.label_space is None else {"classes": options.label_space}
    labelled = None if options.labelled is None else open_dataset("folder", options.labelled, **chosen)
    photos, device = photos_of(options.photos), check_device(options.device)
    before = Predictor.from_checkpoint(original, device=device)
    predictor = Predictor(original.load(), original.config.window, device=device)
    with progress_bar("adapting") as progress:
        adaptation = adapt(predictor, photos, how, progress=progress)
    for sentence in adaptation.unread:
        print(f"left out: {sentence}", file=sys.stderr)
    config = adapted_config(original, adaptation)
    written = Checkpoint.save(options.out, adaptation.apply(original.load()), config)

    after = Predictor.from_checkpoint(written, device=device)
    with progress_bar("comparing") as progress:
        said = [summary(compare(before, after, photos, progress=progress))]
    metrics: dict[str, Any] = {}
    if labelled is not None:
        assert options.labelled is not None
        sentence, report = _scored(before, after, labelled, written)
        said.append(sentence)
        metrics[f"folder/{options.labelled.resolve().name}"] = report.to_json()
    about = f"{_how(original, how, adaptation.photos)} {' '.join(said)} Compare with the original."
    Checkpoint.save(options.out, written.segmenter, config, metrics=metrics, card=write_card(config, about, metrics))
    print(f"{options.out}: {config.title}.", *said, sep="\n")
    print(f"Compare both. The original is unchanged; to undo, use {options.checkpoint}.")
    return 0


def _scored(before: Any, after: Any, labelled: SegmentationDataset, written: Checkpoint) -> tuple[str, Report]:
    """Before and after in a sentence, and the report of the adapted network."""
    from sim2street.training.evaluate import evaluate
    from sim2street.training.selection import progress_bar

    with progress_bar("scoring the original") as progress:
        first = evaluate(before, labelled, progress=progress)
    with progress_bar("scoring the adapted one") as progress:
        second = evaluate(after, labelled, weights_sha256=written.config.weights_sha256, progress=progress)
    figures = [("–" if each.miou is None else f"{100 * each.miou:.2f}") for each in (first, second)]
    where = f"{len(labelled)} labelled photos ({second.label_space})"
    return f"mIoU on {where}: {figures[0]} before and {figures[1]} after.", second


def _how(original: Checkpoint, how: Any, photos: int) -> str:
    from sim2street.training.methods import METHODS

    weights = original.config.weights_sha256[:12]
    steps = (
        f", Adam at {how.rate:g}, {how.passes} pass{'' if how.passes == 1 else 'es'}" if how.method == "tent" else ""
    )
    return (
        f"The weights of {original.config.title} (sha256 {weights}…), whose batch norms were adapted at test time to"
        f" {photos} photo{'' if photos == 1 else 's'} without labels ({METHODS[how.method].title}{steps})."
    )
