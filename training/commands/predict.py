"""sim2street predict: segment photos and videos into a folder."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from sim2street.models.errors import ConfigError
from sim2street.training.commands.arguments import check_device, chosen_checkpoints, parse_count, parse_positive

if TYPE_CHECKING:
    from sim2street.models.predictor import Predictor
    from sim2street.models.segmenter import Segmenter
    from sim2street.models.storage.checkpoint import CheckpointConfig


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Describe the command."""
    parser = commands.add_parser("predict", help="segment photos and videos")
    parser.add_argument(
        "photos",
        nargs="*",
        metavar="PHOTO",
        help="photos or videos, folders of them, or patterns such as 'day/**/*.jpg'",
    )
    parser.add_argument(
        "--checkpoint",
        action="append",
        metavar="NAME|DIR|REPO_ID|FILE",
        help="repeatable; default: the whole catalog; FILE is an exported one, for --engine",
    )
    parser.add_argument(
        "--camera", type=parse_count, metavar="N", help="record this camera first (0 is the first), then segment it"
    )
    parser.add_argument(
        "--seconds", type=parse_positive, metavar="S", help="how long to record the camera (default 10 seconds)"
    )
    parser.add_argument("--flip", action="store_true", help="average with the mirrored photo")
    parser.add_argument(
        "--batch",
        type=parse_positive,
        metavar="N",
        help="photos of one size that go through a network together (default 8 on a GPU, 1 on a CPU)",
    )
    parser.add_argument("--device", help="cuda, mps or cpu (default: the best available)")
    parser.add_argument(
        "--engine",
        choices=("onnxruntime", "openvino"),
        help="run networks on the CPU in this engine instead of PyTorch; needs the extra export or openvino",
    )
    parser.add_argument(
        "--precision",
        choices=("fp32", "bf16"),
        default="fp32",
        help="bf16 is faster on GPUs and processors that compute in it, and changes some labels in a thousand",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write into; resumable")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Segment photos and videos into a folder."""
    from sim2street.models.errors import Sim2StreetError
    from sim2street.models.photo import SUFFIXES
    from sim2street.models.predictor import Predictor
    from sim2street.training.predict import checkpoint_folders, free_names, photos_of, predict_photos, usual_batch
    from sim2street.training.selection import progress_bar
    from sim2street.training.video import VIDEO_SUFFIXES, is_video, predict_video

    if options.seconds is not None and options.camera is None:
        raise ConfigError("--seconds says how long to record a camera; add --camera 0, or leave it out.")
    if not options.photos and options.camera is None:
        raise ConfigError("There is nothing to segment. Give photos, videos, folders or patterns, or --camera 0.")
    if options.camera is not None:
        options.photos.append(str(_recorded(options)))
    sources = photos_of(options.photos, (*SUFFIXES, *VIDEO_SUFFIXES))
    names = dict(zip(sources, free_names(sources), strict=True))
    photos, videos = ([each for each in sources if is_video(each) == wanted] for wanted in (False, True))
    predictors, made_by = {}, {}
    for name, segmenter, config in _chosen_networks(options):
        device = "cpu" if options.engine else options.device
        predictors[name] = Predictor(
            segmenter, config.window, device=device, flip=options.flip, precision=options.precision
        )
        _refuse_emulation(predictors[name], options)
        settings = [options.engine, "flip" if options.flip else None, "bf16" if options.precision == "bf16" else None]
        made_by[name] = ", ".join([config.weights_sha256, *filter(None, settings)])
    if not predictors:
        raise ConfigError(f"No checkpoint of the catalog can be exported for {options.engine}. Leave out --engine.")
    failures: list[str] = []
    if photos:
        with progress_bar("segmenting") as progress:
            batch = options.batch or usual_batch(next(iter(predictors.values())).device)
            failures = predict_photos(
                photos, predictors, options.out, names=names, made_by=made_by, batch=batch, progress=progress
            )
        print(f"{options.out}: {len(photos) - len(failures)} of {len(photos)} photos segmented.")
    folders = checkpoint_folders(predictors)
    readers = {folders[name]: predictor for name, predictor in predictors.items()}
    makers = {folders[name]: by for name, by in made_by.items()}
    for video in videos:
        place = options.out / names[video]
        try:
            with progress_bar(f"segmenting {Path(video).name}") as progress:
                fault = predict_video(Path(video), readers, makers, place, progress=progress)
        except Sim2StreetError as error:
            failures.append(str(error))
        else:
            print(f"{place}: side_by_side.mp4, and of each checkpoint overlay.mp4 and labels.")
            failures += [fault] if fault else []
    for failure in failures:
        print(f"error: {failure}", file=sys.stderr)
    return 2 if failures else 0


def _refuse_emulation(predictor: Predictor, options: argparse.Namespace) -> None:
    """Raise `ConfigError` where bf16 is asked for and would have no effect."""
    from sim2street.models.predictor import has_bf16

    if options.precision == "fp32":
        return
    if options.engine is not None:
        raise ConfigError("--engine computes in the precision of the exported network. Leave out --precision bf16.")
    if not has_bf16(predictor.device.type):
        raise ConfigError(
            f"The device {predictor.device.type} does not compute in bf16, as far as PyTorch can tell; it"
            " takes an NVIDIA GPU since Ampere, or a processor with AVX512-BF16 or AMX. Leave out --precision bf16."
        )


def _chosen_networks(options: argparse.Namespace) -> Iterator[tuple[str, Segmenter, CheckpointConfig]]:
    """By its name as given, each chosen network, in the chosen engine."""
    import torch

    from sim2street.models.networks.for_prediction import for_prediction
    from sim2street.models.predictor import best_device

    files = [name for name in options.checkpoint or () if Path(name).is_file()]
    if options.engine is not None:
        yield from _in_engine(options, files)
        return
    if files:
        raise ConfigError(
            f"{files[0]} is a file, not a checkpoint's folder. Add --engine if it is an exported network."
        )
    device = torch.device(check_device(options.device) or best_device())
    for name, checkpoint in chosen_checkpoints(options.checkpoint):
        yield name, for_prediction(checkpoint.load(), device), checkpoint.config


def _in_engine(options: argparse.Namespace, files: list[str]) -> Iterator[tuple[str, Segmenter, CheckpointConfig]]:
    """Exported files, and checkpoints, which are exported now; of the whole catalog, those that can be."""
    from sim2street.models.exported import FORMATS, format_of, open_exported
    from sim2street.training.export import in_engine

    if options.device not in (None, "cpu"):
        raise ConfigError(f"--engine predicts on the CPU. Leave out --device {options.device}, or --engine.")
    FORMATS[format_of(options.engine)].require()
    for name in files:
        segmenter, card = open_exported(Path(name), options.engine)
        yield name, segmenter, card.config
    names = [name for name in options.checkpoint or () if name not in files]
    for name, checkpoint in chosen_checkpoints(names) if names or not files else ():
        try:
            yield name, in_engine(checkpoint, options.engine), checkpoint.config
        except ConfigError as error:
            if names:
                raise
            print(f"left out {name}: {error}", file=sys.stderr)


def _recorded(options: argparse.Namespace) -> Path:
    """The video recorded from the camera, called after the time so that none is replaced."""
    from sim2street.training.camera import record
    from sim2street.training.selection import progress_bar

    clip = options.out / "recorded" / f"camera{options.camera}_{time.strftime('%Y%m%d_%H%M%S')}.mp4"
    with progress_bar("recording") as progress:
        frames = record(options.camera, options.seconds or 10, clip, progress=progress)
    print(f"{clip}: {frames} frames recorded.")
    return clip
