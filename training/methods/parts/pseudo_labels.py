"""What a teacher says of target images, and how much it is to be believed (DAFormer Sec. 3.1, as in DACS)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Weighting = Literal["image", "pixel"]
"""Whom confidence weighs; see `pseudo_label`."""


@dataclass(frozen=True)
class PseudoLabels:
    """Labels and weights of a batch of target images.

    Attributes:
        labels: (B, H, W) int64, the likeliest class of every pixel.
        weights: (B, H, W) in [0,1]: `quality` at every pixel, or 1 at confident ones alone; 0 at ignored ones.
        quality: share of the *batch's* pixels whose top probability reaches the threshold, counted before any
            are ignored; a scalar.
    """

    labels: Tensor
    weights: Tensor
    quality: Tensor


def pseudo_label(
    logits: Tensor,
    threshold: float,
    ignore_top: int = 0,
    ignore_bottom: int = 0,
    valid: Tensor | None = None,
    weighting: Weighting = "image",
) -> PseudoLabels:
    """Turn a teacher's logits (B, C, H, W) of the unaugmented target images into pseudo labels; see below for the rest."""
    return label_of_probabilities(
        logits.detach().softmax(dim=1), threshold, ignore_top, ignore_bottom, valid, weighting
    )


def label_of_probabilities(
    probabilities: Tensor,
    threshold: float,
    ignore_top: int = 0,
    ignore_bottom: int = 0,
    valid: Tensor | None = None,
    weighting: Weighting = "image",
) -> PseudoLabels:
    """Turn what a teacher believes into pseudo labels.

    Args:
        probabilities: (B, C, H, W), of the unaugmented target images.
        threshold: top probability from which on a pixel counts as confident.
        ignore_top: rows of the crop whose weight is 0.
        ignore_bottom: the same at the lower edge, where the camera's own car is seen.
        valid: (B, H, W) bool, False where the whole photo has a margin or the crop was padded: weight 0 as well.
        weighting: "image" gives every pixel the share of confident ones (DACS, DAFormer); "pixel" gives confident
            ones 1 and the others 0 (as FixMatch does with whole images, arXiv:2001.07685, Eq. 4), so that what the
            teacher is unsure of is learnt from the source alone.
    """
    highest, labels = probabilities.max(dim=1)
    confident = (highest >= threshold).float()  # in bf16 a share would have two digits
    quality = confident.mean()
    weights = confident if weighting == "pixel" else quality.expand(labels.shape).clone()
    weights[:, :ignore_top] = 0
    weights[:, max(0, weights.shape[1] - ignore_bottom) :] = 0
    if valid is not None:
        weights = weights * valid
    return PseudoLabels(labels, weights, torch.as_tensor(quality))
