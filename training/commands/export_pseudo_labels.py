"""sim2street export-pseudo-labels: write what checkpoints are sure of as a labelled folder."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sim2street.models.errors import ConfigError
from sim2street.training.commands.arguments import check_device, parse_number

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
        "--with",
        dest="others",
        action="append",
        default=[],
        metavar="NAME|DIR|REPO_ID",
        help="average with the probabilities of another checkpoint; repeatable",
    )
    kept = parser.add_mutually_exclusive_group()
    kept.add_argument(
        "--threshold", type=parse_number, help="probability from which on a label is kept (default 0.968)"
    )
    kept.add_argument(
        "--share", type=parse_number, help="keep this share of each class's pixels instead, the most confident"
    )
    parser.add_argument(
        "--imagenet-evidence",
        type=parse_number,
        default=0.0,
        metavar="WEIGHT",
        help="add this times what an ImageNet classifier sees of buses, bicycles, signs and the like (0.5 is a start)",
    )
    parser.add_argument(
        "--ignore-bottom",
        type=parse_number,
        default=0.0,
        metavar="SHARE",
        help="leave this share of each photo's rows unlabelled, such as 0.18 where a camera car's bonnet is in sight",
    )
    parser.add_argument(
        "--scales", type=parse_number, nargs="+", default=[1.0], help="average over these sizes (default 1)"
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
    import numpy as np

    from sim2street.training.imagenet_evidence import ImageNetEvidence
    from sim2street.training.predict import photos_of
    from sim2street.training.pseudo_labels import THRESHOLD, Labeller, export_pseudo_labels, prepare
    from sim2street.training.selection import progress_bar

    threshold = THRESHOLD if options.threshold is None else options.threshold
    if not 0 <= threshold <= 1:
        raise ConfigError(f"The threshold is {threshold:g}; expected a probability from 0 to 1.")
    if not 0 <= options.ignore_bottom < 1:
        raise ConfigError(
            f"--ignore-bottom is {options.ignore_bottom:g}; expected a share of the rows from 0 to less than 1."
        )
    if not 0 <= options.imagenet_evidence <= 10:
        raise ConfigError(f"--imagenet-evidence is {options.imagenet_evidence:g}; expected a weight from 0 to 10.")
    photos = photos_of(options.photos)
    networks = [_first_network(options), *(_network(name, options) for name in options.others)]
    predictors = [predictor for predictor, _, _ in networks]
    space = predictors[0].segmenter.labels
    _refuse_other_classes(predictors, options.others)
    labeller = Labeller(predictors, np.full(space.count, threshold, np.float32), ignored_bottom=options.ignore_bottom)
    if options.imagenet_evidence:
        labeller.evidence_weight = options.imagenet_evidence
        labeller.evidence = ImageNetEvidence(space, predictors[0].device)
    for _, _, used in networks:
        print(f"Labelling with {used}.")
    prepare(labeller, photos, options.share)
    settings = {
        "checkpoint": "+".join(sha256 for _, sha256, _ in networks),
        "flip": options.flip,
        **({"threshold": threshold} if options.share is None else {"share": options.share}),
        **({"scales": options.scales} if options.scales != [1.0] else {}),
        **({"ignored_bottom": options.ignore_bottom} if options.ignore_bottom else {}),
        **({"imagenet_evidence": options.imagenet_evidence} if options.imagenet_evidence else {}),
    }
    with progress_bar("labelling") as progress:
        exported = export_pseudo_labels(settings, labeller, photos, options.out, progress=progress)
    for sentence in exported.unread:
        print(f"left out: {sentence}", file=sys.stderr)
    print(f"{options.out}: {exported.made} photos labelled, {exported.kept} already there.")
    total = int(exported.counts.sum()) + exported.unsure
    if total:
        shares = [(100 * int(count) / total, name) for count, name in zip(exported.counts, space.names, strict=True)]
        shown = ", ".join(f"{name} {share:.1f}" for share, name in sorted(shares, reverse=True) if share)
        absent = ", ".join(name for share, name in shares if not share)
        print(f"Labelled pixels, percent: {shown or 'none'}; {100 * exported.unsure / total:.1f} below the threshold.")
        if absent:
            print(f"Never sure of: {absent}. A network trained on these labels alone cannot learn these classes.")
    return 2 if exported.unread else 0


def _first_network(options: argparse.Namespace) -> tuple[Predictor, str, str]:
    """The network of the checkpoint, or the mean teacher of the run; see `_network`."""
    if not options.teacher:
        return _network(options.checkpoint, options)
    from sim2street.models.predictor import Predictor
    from sim2street.models.storage.files import sha256_of
    from sim2street.training.run.mean_teacher import load_teacher

    segmenter, config, state = load_teacher(Path(options.checkpoint))
    return Predictor(segmenter, config.window, **_how(options)), sha256_of(state), f"the mean teacher of {state}"


def _network(name: str, options: argparse.Namespace) -> tuple[Predictor, str, str]:
    """A checkpoint's network, what identifies its weights, and which one it is in words."""
    from sim2street.models.predictor import Predictor
    from sim2street.models.storage.catalog import find_checkpoint

    checkpoint = find_checkpoint(name)
    used = f"the network of {checkpoint.path}, {checkpoint.config.method} at step {checkpoint.config.step}"
    return Predictor.from_checkpoint(checkpoint, **_how(options)), checkpoint.config.weights_sha256, used


def _how(options: argparse.Namespace) -> dict[str, Any]:
    return {"device": check_device(options.device), "flip": options.flip, "scales": tuple(options.scales)}


def _refuse_other_classes(predictors: list[Predictor], others: list[str]) -> None:
    space = predictors[0].segmenter.labels
    for predictor, name in zip(predictors[1:], others, strict=True):
        if predictor.segmenter.labels != space:
            raise ConfigError(
                f"{name} predicts the classes of {predictor.segmenter.labels.name}, the first checkpoint those of"
                f" {space.name}. Networks can be averaged only if they predict the same classes."
            )
