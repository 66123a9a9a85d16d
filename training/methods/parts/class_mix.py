"""ClassMix: half of the source's classes pasted onto a target image (Olsson et al., WACV 2021, arXiv:2007.07936)."""

from __future__ import annotations

import torch
from torch import Tensor


def choose_classes(labels: Tensor) -> list[Tensor]:
    """Draw, for every image, half of the values that occur in the whole batch, rounded up.

    As in DAFormer's code, 255 counts as a value like any other.

    Args:
        labels: (B, H, W) int64 source labels.

    Returns:
        One tensor of chosen values per image.
    """
    candidates = labels.unique()
    count = (len(candidates) + 1) // 2
    return [candidates[torch.randperm(len(candidates))[:count].to(candidates.device)] for _ in labels]


def class_mask(labels: Tensor, chosen: list[Tensor]) -> Tensor:
    """Where each image's labels (B, H, W) have one of its chosen values: (B, H, W) bool."""
    return torch.stack([torch.isin(each, values) for each, values in zip(labels, chosen, strict=True)])


def mix(mask: Tensor, source: Tensor, target: Tensor) -> Tensor:
    """Source where the mask (B, H, W) is set, target elsewhere; both (B, H, W) or (B, D, H, W)."""
    return torch.where(mask[:, None] if source.ndim == 4 else mask, source, target)
