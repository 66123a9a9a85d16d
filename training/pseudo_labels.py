"""Pseudo-labels: write the confident predictions of one or more checkpoints on photos as a labelled folder.

DIR/images/<photo>.png    the upright photo, without metadata
DIR/labels/<photo>.png    its classes in the label space's stored values, 255 where the confidence is below the threshold
DIR/data.toml             describes the folder, so that recipes and commands can read it with `dataset = "folder"`
DIR/classes.json          the label space, if it is not one of the project's
DIR/pseudo_labels.json    checkpoints and settings; running an interrupted command again continues it

DAFormer weights a whole picture by the share of its pixels above the threshold. Label images have no weights, so the threshold
is applied to each pixel: one for all classes, or one for each class so that every class keeps the same share of its pixels
(class-balanced self-training, Zou et al., ECCV 2018, arXiv:1810.07911).
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from sim2street.models.errors import ConfigError, DatasetError, PhotoError, Sim2StreetError, UnreadableError
from sim2street.models.label_space import IGNORE, LabelSpace
from sim2street.models.labels import LABEL_SPACES
from sim2street.models.photo import read_photo
from sim2street.models.predictor import Predictor
from sim2street.models.storage.files import read_json, visible, write_json, write_whole
from sim2street.training.datasets.labelled_folder import DATA_FILE
from sim2street.training.datasets.writer import is_whole_png, to_png
from sim2street.training.imagenet_evidence import ImageNetEvidence
from sim2street.training.predict import free_names

MANIFEST: Final = "pseudo_labels.json"
CLASSES: Final = "classes.json"
THRESHOLD: Final = 0.968
"""The threshold of DAFormer and the papers that build on it."""
SAMPLE: Final = 200
"""About so many photos, evenly spread, set what is relative to the others."""
BINS: Final = 50_000
"""Confidences are sorted into so many bins."""
SMALLEST: Final = 1e-6
"""Probabilities below this count as this when evidence is added to their logarithms."""


@dataclass
class Labeller:
    """What labels photos: the mean of networks, an ImageNet classifier if wanted, and the confidence from which labels are kept.

    Attributes:
        predictors: networks with the same classes, whose probabilities are averaged.
        thresholds: (C,) smallest probability, in [0,1], at which a pixel's class is kept.
        evidence: a second opinion on some classes.
        evidence_weight: logits gain this times the evidence.
        ignored_bottom: share of the rows, in [0,1), that stay unlabelled, such as those of the camera car's bonnet. DAFormer
            ignores its teacher there as well.
    """

    predictors: Sequence[Predictor]
    thresholds: NDArray[np.float32]
    evidence: ImageNetEvidence | None = None
    evidence_weight: float = 0.0
    ignored_bottom: float = 0.0

    @property
    def space(self) -> LabelSpace:
        """The classes of the labels."""
        return self.predictors[0].segmenter.labels

    def sure_labels(self, photo: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Label (H, W, 3) uint8 RGB: (H, W) uint8, 255 where the likeliest class does not reach its threshold."""
        labels, confidence = self.likeliest(photo)
        sure = confidence >= self.thresholds[labels]
        sure[round((1 - self.ignored_bottom) * len(sure)) :] = False
        return np.where(sure, labels, np.uint8(IGNORE)).astype(np.uint8)

    def likeliest(self, photo: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """The likeliest class of each pixel of (H, W, 3) uint8 RGB, and its probability: (H, W) uint8 and float32."""
        predictions = [predictor(photo, with_entropy=False) for predictor in self.predictors]
        if len(predictions) == 1 and self.evidence is None:
            return predictions[0].labels, predictions[0].confidence
        mean = torch.from_numpy(predictions[0].probabilities / len(predictions))
        for each in predictions[1:]:  # one after the other: of a photo of 12 megapixels each takes a gigabyte
            mean += torch.from_numpy(each.probabilities) / len(predictions)
        if self.evidence is not None:
            logits = mean.clamp(min=SMALLEST).log() + self.evidence_weight * self.evidence(photo).cpu()
            mean = logits.softmax(0)
        confidence, labels = mean.max(0)
        return labels.numpy().astype(np.uint8), confidence.numpy()

    def keep_share(self, share: float, photos: Iterable[NDArray[np.uint8]]) -> None:
        """Set the thresholds so that each class keeps the most confident `share`, in (0,1], of its pixels in these photos.

        Raises:
            ConfigError: the share is out of range.
        """
        if not 0 < share <= 1:
            raise ConfigError(f"The share is {share:g}; expected more than 0 and at most 1.")
        counts = np.zeros((self.space.count, BINS), np.int64)
        for photo in photos:
            labels, confidence = self.likeliest(photo)
            bins = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
            flat = labels.astype(np.int64).ravel() * BINS + bins.ravel()
            counts += np.bincount(flat, minlength=counts.size).reshape(counts.shape)
        from_the_top = counts[:, ::-1].cumsum(1)
        kept_bins = (from_the_top < share * from_the_top[:, -1:]).sum(1)
        self.thresholds = np.maximum(0, (BINS - 1 - kept_bins) / BINS).astype(np.float32)


@dataclass
class Exported:
    """The result of an export.

    Attributes:
        made: number of photos exported now.
        kept: number of photos that were already there.
        counts: (C,) pixels of each class in the photos exported now.
        unsure: pixels below the threshold in the photos exported now.
        unread: a sentence for each photo that could not be read.
    """

    made: int
    kept: int
    counts: NDArray[np.int64]
    unsure: int = 0
    unread: list[str] = field(default_factory=list)


def prepare(labeller: Labeller, photos: Sequence[str], share: float | None) -> None:
    """Let a labeller see a sample of the photos, if its evidence or its thresholds are relative to the others.

    Args:
        labeller: gets the usual level of its evidence and, if there is a share, its thresholds.
        photos: paths of all photos; those that cannot be read are left out.
        share: share of each class's pixels to keep, or None to leave the thresholds as they are.

    Raises:
        ConfigError: the share is out of range.
        PhotoError: no photo of the sample can be read.
    """
    if labeller.evidence is None and share is None:
        return
    sample = photos[:: max(1, len(photos) // SAMPLE)]
    if next(_readable(sample), None) is None:
        raise PhotoError(
            f"None of the {len(sample)} photos that set the thresholds can be read; the first is {sample[0]}. Remove what is"
            " not a photo."
        )
    if labeller.evidence is not None:
        labeller.evidence.learn_usual(_readable(sample))
    if share is not None:
        labeller.keep_share(share, _readable(sample))


def export_pseudo_labels(
    settings: dict[str, Any],
    labeller: Labeller,
    photos: Sequence[str],
    out: Path,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Exported:
    """Write confident predictions as a labelled folder.

    Args:
        settings: identifies the weights and settings of `labeller`; all labels in a folder come from the same.
        labeller: labels the photos.
        photos: paths of the photos.
        out: folder to write to.
        progress: called with photos done and photos in all.

    Raises:
        DatasetError: the folder was written with other settings, or contains something else.
    """
    space = labeller.space
    _claim(out, settings)
    _describe(out, space)
    exported = Exported(0, 0, np.zeros(space.count, np.int64))
    for number, (source, name) in enumerate(zip(photos, free_names(photos), strict=True), start=1):
        files = out / "images" / f"{name}.png", out / "labels" / f"{name}.png"
        if all(map(is_whole_png, files)):
            exported.kept += 1
        else:
            try:
                photo = read_photo(source).pixels
            except Sim2StreetError as error:
                exported.unread.append(str(error))
            else:
                labels = labeller.sure_labels(photo)
                exported.counts += np.bincount(labels.ravel(), minlength=IGNORE + 1)[: space.count]
                exported.unsure += int((labels == IGNORE).sum())
                for file, pixels in zip(files, (photo, space.to_values(labels)), strict=True):
                    file.parent.mkdir(parents=True, exist_ok=True)
                    write_whole(file, to_png(pixels))
                exported.made += 1
        if progress is not None:
            progress(number, len(photos))
    return exported


def _readable(paths: Sequence[str]) -> Iterator[NDArray[np.uint8]]:
    """Read one photo after the other as (H, W, 3) uint8 RGB; those that cannot be read are left out."""
    for path in paths:
        with contextlib.suppress(Sim2StreetError):
            yield read_photo(path).pixels


def _describe(out: Path, space: LabelSpace) -> None:
    """Write `data.toml`, and the label space if it is not one of the project's."""
    named = space.name
    if LABEL_SPACES.get(space.name) != space:
        named = CLASSES
        write_json(out / CLASSES, space.to_json())
    text = f"# Written by `sim2street export-pseudo-labels`; {MANIFEST} names the checkpoints.\nlabel_space = {json.dumps(named)}\n"
    write_whole(out / DATA_FILE, f'{text}read_by = "value"\n'.encode())


def _claim(out: Path, settings: dict[str, Any]) -> None:
    """Record the settings in the folder, or raise `DatasetError` if it has other settings or other contents."""
    manifest = out / MANIFEST
    if manifest.exists():
        try:
            found = read_json(manifest)
        except UnreadableError:
            found = None
        if found != settings:
            raise DatasetError(
                f"{out.absolute()} was written with another checkpoint or other settings. Export into another folder, or delete"
                " this one."
            )
    elif out.exists() and (not out.is_dir() or visible(out)):
        raise DatasetError(
            f"{out.absolute()} is not empty and was not written by this command. Export into a new or an empty folder."
        )
    out.mkdir(parents=True, exist_ok=True)
    write_json(manifest, settings)
