"""Translate a data set with the generator of a CyCADA run, to look at the result or to train on it.

    OUT/leftImg8bit/<split>/<set>/*_leftImg8bit.png   translated pictures
    OUT/gtFine/<split>/<set>/*_gtFine_labelIds.png    their labels, if the set has Cityscapes' classes
    OUT/preview.png                                   the first pictures, original above translated
    OUT/translation.json                              generator and data set; the folder can be used for no others

The layout is Cityscapes', so a recipe reads it with `dataset = "cityscapes"`. Running an interrupted command again continues
it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from sim2street.models.errors import CheckpointError, ConfigError, DatasetError
from sim2street.models.labels import CITYSCAPES19, label_ids_from_train_ids
from sim2street.models.networks.cyclegan import Generator
from sim2street.models.predictor import best_device
from sim2street.models.storage.files import CONFIG, RUN_FOLDER, sha256_of, visible, write_json, write_whole
from sim2street.training.config import RunConfig
from sim2street.training.datasets.base import Progress, SegmentationDataset, resize_labels
from sim2street.training.datasets.cityscapes import LABEL_SUFFIX, PHOTO_SUFFIX
from sim2street.training.datasets.transforms import resize_photo
from sim2street.training.datasets.writer import is_whole_png, to_png
from sim2street.training.methods.cycada import CyCADAOptions
from sim2street.training.renamed import with_current_names
from sim2street.training.run.extra_networks import extra_networks_of, load_extra_networks, save_extra_networks

Direction = Literal["to_target", "to_source"]
CARRIED: Final = "generators"
"""Folder inside a checkpoint's with the generators that it carries."""
MANIFEST: Final = "translation.json"
PREVIEWED: Final = 8


def folder_of_generator(run: Path, direction: Direction = "to_target") -> Path | None:
    """Folder from which `open_generator` can open a generator: `run` itself or a folder in it, such as that of a stage.

    Args:
        run: folder of a run, or of a checkpoint that carries its generators (`carry_generators`).
        direction: "to_target" or "to_source".

    Returns:
        The folder, or None if no folder has the generator.
    """
    stages = sorted(folder for folder in run.iterdir() if folder.is_dir()) if run.is_dir() else []
    folders = (
        folder for folder in (run, *stages) if (extra_networks_of(folder) / f"{direction}.safetensors").is_file()
    )
    return next(folders, None)


def generator_of_checkpoint(checkpoint: Path, direction: Direction = "to_target") -> Path | None:
    """Like `folder_of_generator` for a checkpoint: it may carry generators itself, or lie in the run that trained them."""
    carried = folder_of_generator(checkpoint, direction)
    if carried is None and checkpoint.name == RUN_FOLDER:
        return folder_of_generator(checkpoint.parent, direction)
    return carried


def carry_generators(run: Path, checkpoint: Path) -> None:
    """Copy the generators of a run, if it has any, into a checkpoint's folder, in fp16, so that they go with it."""
    directions: tuple[Direction, ...] = ("to_target", "to_source")
    for direction in directions:
        folder = folder_of_generator(run, direction)
        if folder is None:
            continue
        save_extra_networks({direction: open_generator(folder, direction).half()}, checkpoint / CARRIED)
        write_json(checkpoint / CARRIED / CONFIG, _trained_by(folder).model_dump(mode="json"))


def open_generator(run: Path, direction: Direction = "to_target") -> Generator:
    """Load a generator of a CyCADA run, in evaluation mode.

    Args:
        run: folder of the run, or of its stage that trained the generators.
        direction: "to_target" or "to_source".

    Raises:
        ConfigError: the folder does not contain a CyCADA run.
        CheckpointError: the generator is missing or damaged.
    """
    config = _trained_by(run)
    options = CyCADAOptions.parse(config.method_options, where="method_options")
    generator = Generator(options.generator_width, options.generator_blocks, dropout=options.generator_dropout)
    load_extra_networks({direction: generator}, run)
    return generator.eval()


def _trained_by(run: Path) -> RunConfig:
    """The configuration of the stage that trained a run's generators; raises as `open_generator` does."""
    try:
        config = RunConfig.read(run / CONFIG)
    except ConfigError as error:
        raise ConfigError(f"{run} does not contain a run: {error}") from error
    if config.stages:
        config = next(iter(config.resolve_stages().values()))
    if config.method != "cycada":
        raise ConfigError(f"{run} is a run of {config.method}; only runs of cycada have generators.")
    return config


def translate(
    run: Path,
    dataset: SegmentationDataset,
    out: Path,
    *,
    direction: Direction = "to_target",
    split: str = "train",
    width: int | None = None,
    device: str | None = None,
    progress: Progress | None = None,
) -> int:
    """Translate a data set into a folder.

    Args:
        run: folder of the run, or of its stage that trained the generators.
        dataset: the data set to translate.
        out: folder to write to.
        direction: "to_target" makes source pictures look like target ones, "to_source" the reverse.
        split: name of the folder below leftImg8bit and gtFine.
        width: width in pixels to which pictures are resized first, keeping the aspect ratio; CyCADA uses 1024. None keeps
            their size.
        device: PyTorch device; None takes the best available one.
        progress: called after each picture with pictures done and pictures in all.

    Returns:
        Number of pictures translated now; the others were already there.

    Raises:
        ConfigError: see `open_generator`.
        CheckpointError: see `open_generator`; or the generator's output contains NaN or infinity.
        DatasetError: the folder was written with other settings, or contains something else.
    """
    place = torch.device(device) if device else best_device()
    generator = open_generator(run, direction).to(place)
    with_labels = dataset.labelled and dataset.labels == CITYSCAPES19
    settings = {
        "generator": sha256_of(extra_networks_of(run) / f"{direction}.safetensors"),
        "direction": direction,
        "data": dataset.fingerprint(),
        "width": width,
        "split": split,
    }
    _claim(out, settings)
    photos, labels = (out / kind / split / dataset.name for kind in ("leftImg8bit", "gtFine"))
    preview: list[NDArray[np.uint8]] = []
    painted_now = 0
    for index in range(len(dataset)):
        key = f"{dataset.name}_000000_{index:06d}"
        photo_file, label_file = photos / f"{key}{PHOTO_SUFFIX}", labels / f"{key}{LABEL_SUFFIX}"
        there = is_whole_png(photo_file) and (is_whole_png(label_file) or not with_labels)
        if not there or len(preview) < PREVIEWED:
            sample = dataset.read(index) if with_labels else None
            photo = dataset.read_photo(index) if sample is None else sample.photo
            if width is not None:
                photo = resize_photo(photo, (width, round(photo.shape[0] * width / photo.shape[1])), "bicubic")
            painted = translate_photo(generator, photo)
            if len(preview) < PREVIEWED:
                preview.append(np.concatenate([photo, painted]))
            if not there:
                painted_now += 1
                if sample is not None:
                    truth = resize_labels(sample.labels, (photo.shape[1], photo.shape[0]))
                    label_file.parent.mkdir(parents=True, exist_ok=True)
                    write_whole(label_file, to_png(label_ids_from_train_ids(truth)))
                photo_file.parent.mkdir(parents=True, exist_ok=True)
                write_whole(photo_file, to_png(painted))
        if progress is not None:
            progress(index + 1, len(dataset))
    if preview:
        heights = {pair.shape[0] for pair in preview}
        write_whole(out / "preview.png", to_png(np.concatenate([p for p in preview if p.shape[0] == max(heights)], 1)))
    return painted_now


@torch.inference_mode()
def translate_photo(generator: Generator, photo: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Translate (H, W, 3) uint8 RGB of any size; it is padded to multiples of 4 for the network and cropped again.

    Raises:
        CheckpointError: the output contains NaN or infinity.
    """
    height, width = photo.shape[:2]
    device = next(generator.parameters()).device
    # Copied, because pictures of a data set may be read-only.
    images = torch.from_numpy(photo.copy()).to(device).permute(2, 0, 1)[None].float() / 127.5 - 1
    images = F.pad(images, (0, -width % 4, 0, -height % 4), mode="replicate")
    painted = generator(images)[0, :, :height, :width].permute(1, 2, 0)
    if not painted.isfinite().all():
        raise CheckpointError(
            "The generator's output contains NaN or infinity, so its run diverged. Train it again, or use another run."
        )
    return ((painted + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).cpu().numpy()


def _claim(out: Path, settings: dict[str, object]) -> None:
    """Record the settings in the folder, or raise `DatasetError` if it has other settings or other contents."""
    manifest = out / MANIFEST
    if manifest.exists():
        try:
            found = with_current_names(json.loads(manifest.read_text(encoding="utf-8")))
        except (ValueError, RecursionError):
            found = None
        if found != settings:
            differing = [key for key in settings if not isinstance(found, dict) or found.get(key) != settings[key]]
            raise DatasetError(
                f"{out.absolute()} was written with other settings ({', '.join(differing)} differ). Translate into another"
                " folder, or delete this one."
            )
    elif out.exists() and visible(out):
        raise DatasetError(
            f"{out.absolute()} is not empty and has no {MANIFEST}, so it was not written by this command. Translate into"
            " another folder."
        )
    else:
        out.mkdir(parents=True, exist_ok=True)
        write_json(manifest, settings)
