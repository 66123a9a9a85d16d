"""The input of one training step, so that data sets and methods do not depend on each other."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from sim2street.models.label_space import Members


@dataclass(frozen=True, eq=False)
class DomainPair:
    """A batch of labelled source images and a batch of target images, without target labels in any form.

    Attributes:
        source_images: (B, 3, H, W) float32 RGB in [0,1].
        source_labels: (B, H, W) int64, 255 for ignored pixels; each image in the network's classes or coarser ones.
        target_images: (B, 3, H', W') float32 RGB in [0,1]; (0, 3, H, W) if the method learns from the source only.
        source_members: for each source image, None if its labels are the network's classes; otherwise, for each label, the
            network's classes that it merges (CamVid, for oracles), whose summed probability it supervises.
        target_valid: (B, H', W') bool, False where pseudo labels are ignored: margins of the photo (such as the bonnet
            of the camera's car) and padding. None if all pixels are valid.
    """

    source_images: Tensor
    source_labels: Tensor
    target_images: Tensor
    source_members: tuple[Members | None, ...]
    target_valid: Tensor | None = None

    def __post_init__(self) -> None:
        images, labels, target = self.source_images, self.source_labels, self.target_images
        if images.ndim != 4 or target.ndim != 4 or images.shape[1] != 3 or target.shape[1] != 3:
            raise ValueError(f"images must be (B, 3, H, W); got {tuple(images.shape)} and {tuple(target.shape)}")
        if labels.shape != (images.shape[0], *images.shape[2:]):
            raise ValueError(f"labels of shape {tuple(labels.shape)} do not fit images of {tuple(images.shape)}")
        if not images.is_floating_point() or not target.is_floating_point() or labels.dtype != torch.int64:
            raise ValueError(
                f"expected float images and int64 labels; got {images.dtype}, {target.dtype}, {labels.dtype}"
            )
        if self.target_valid is not None and self.target_valid.shape != (target.shape[0], *target.shape[2:]):
            raise ValueError(f"a mask of {tuple(self.target_valid.shape)} does not fit images of {tuple(target.shape)}")
        if len(self.source_members) != images.shape[0]:
            raise ValueError(
                f"source_members has {len(self.source_members)} entries for {images.shape[0]} source images"
            )

    def to(self, device: torch.device | str) -> DomainPair:
        """Return the pair on another device."""
        return DomainPair(
            self.source_images.to(device),
            self.source_labels.to(device),
            self.target_images.to(device),
            self.source_members,
            None if self.target_valid is None else self.target_valid.to(device),
        )


class PairStream(Protocol):
    """A source of pairs for the training loop."""

    def stream(self, start: int = 0, *, workers: int = 0) -> Generator[DomainPair, None, None]:
        """Yield pairs number `start`, `start + 1`, ... without end, loaded by `workers` processes (0: by this one)."""
        ...
