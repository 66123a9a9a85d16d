"""A method, a network and a data set that another package adds; docs/extending.md quotes parts of it.

The method is self-training on ClassMix images without DAFormer's feature distance, as in DACS (Tranheden et al., WACV
2021, arXiv:2007.08702): a moving average of the network labels target images, onto which source classes are pasted.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from sim2street.models.labels import CITYSCAPES19, IGNORE, LabelSpace
from sim2street.models.networks.entry import NetworkEntry
from sim2street.models.options import Options
from sim2street.models.segmenter import Core, Segmenter
from sim2street.training.datasets.base import FolderDataset, label_table
from sim2street.training.methods.base import Method, MethodEntry, MethodOptions, Update, supervision
from sim2street.training.methods.losses import weighted_cross_entropy
from sim2street.training.methods.parts.class_mix import choose_classes, class_mask, mix
from sim2street.training.methods.parts.pseudo_labels import pseudo_label
from sim2street.training.methods.parts.teacher import Teacher
from sim2street.training.pair import DomainPair


class ClassMixOptions(MethodOptions):
    """The paper's values."""

    momentum: float = Field(default=0.99, ge=0, lt=1, description="Of the teacher's moving average.")
    threshold: float = Field(default=0.968, ge=0, le=1, description="Confidence above which a pixel counts.")


class ClassMix(Method):
    """Source supervision, and pseudo labels on mixed images."""

    def __init__(self, segmenter: Segmenter, options: ClassMixOptions) -> None:
        super().__init__(segmenter)
        self.options = options
        self.teacher = Teacher(segmenter, options.momentum)

    def step(self, pair: DomainPair) -> Iterator[Update]:
        """One optimiser step on the source images and on as many mixed ones."""
        yield Update(supervision(self.segmenter(pair.source_images), pair, self.options))
        pseudo = pseudo_label(self.teacher(pair.target_images).logits, self.options.threshold)
        mask = class_mask(pair.source_labels, choose_classes(pair.source_labels))
        logits = self.segmenter(mix(mask, pair.source_images, pair.target_images)).logits
        labels = mix(mask, pair.source_labels, pseudo.labels)
        weights = mix(mask, torch.ones_like(pseudo.weights), pseudo.weights)
        yield Update({"mixed": weighted_cross_entropy(logits, labels, weights)}, step=("segmenter",))

    def after_step(self, step: int) -> None:
        """Move the teacher."""
        self.teacher.follow(self.segmenter, step + 1)


METHOD = MethodEntry(
    name="class_mix",
    title="ClassMix",
    paper="Tranheden, Olsson, Pinto, Svensson. DACS: Domain Adaptation via Cross-Domain Mixed Sampling. WACV 2021."
    " arXiv:2007.08702",
    idea="Self-training on target images onto which half of the source's classes are pasted.",
    year=2021,
    method=ClassMix,
    options=ClassMixOptions,
    adapts=True,
    mixes_labels=True,
)


class TinyOptions(Options):
    """Its width."""

    channels: int = Field(default=8, ge=4, le=64, description="Of the only hidden layer.")


class TinyCore(Core):
    """Two convolutions at a quarter of the resolution."""

    def __init__(self, classes: int, channels: int) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(3, channels, 7, stride=4, padding=3), nn.ReLU())
        self.head = nn.Conv2d(channels, classes, 1)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Normalised (B, 3, H, W) -> `main` logits and `stage4` features at stride 4."""
        features = self.encoder(images)
        return {"stage4": features, "main": self.head(features)}

    def heads(self) -> tuple[nn.Module, ...]:
        """The classifier."""
        return (self.head,)


def build_tiny(labels: LabelSpace, options: TinyOptions) -> Segmenter:
    """Build the segmenter with random weights."""
    return Segmenter(TinyCore(labels.count, options.channels), labels)


NETWORK = NetworkEntry(
    name="tiny",
    title="Tiny",
    paper="",
    encoder=lambda options: f"{options.channels} channels",
    options=TinyOptions,
    build=build_tiny,
)


class Stripes(FolderDataset):
    """Photos in `photos/`, train ids of the same name in `ids/`."""

    name = "stripes"
    title = "Stripes"
    terms = "Made up for a test; free of rights."
    labels = CITYSCAPES19
    splits = ("all",)
    labelled_splits = ("all",)
    gallery = ("all",)
    root_variable = "SIM2STREET_STRIPES"
    how_to_get = "Run the test that writes it."
    table = label_table({value: value for value in range(CITYSCAPES19.count)})

    def __init__(self, root: str | Path | None = None, split: str = "all", *, labelled: bool = True) -> None:
        super().__init__(root, split, labelled=labelled)

    def list_files(self) -> tuple[tuple[str, ...], tuple[Path, ...], tuple[Path, ...]]:
        photos = tuple(sorted((self.root / "photos").glob("*.png")))
        self.refuse_empty(photos, self.root / "photos" / "*.png")
        labels = tuple(self.root / "ids" / photo.name for photo in photos)
        return tuple(photo.stem for photo in photos), photos, labels if self.labelled else ()


def write_stripes(root: Path, count: int = 4) -> None:
    """Write pictures of 64x64 pixels whose left half is road and whose right half is sky."""
    from PIL import Image

    for folder in ("photos", "ids"):
        (root / folder).mkdir(parents=True)
    ids = np.full((64, 64), 0, np.uint8)
    ids[:, 32:], ids[0] = 10, IGNORE
    generator: Any = np.random.default_rng(0)
    for number in range(count):
        photo = generator.integers(0, 256, (64, 64, 3)).astype(np.uint8)
        Image.fromarray(photo).save(root / "photos" / f"{number}.png")
        Image.fromarray(ids).save(root / "ids" / f"{number}.png")
