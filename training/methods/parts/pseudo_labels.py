"""A teacher's pseudo-labels for target images, and their weights (DAFormer Sec. 3.1, as in DACS)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from sim2street.training.methods.losses import softmax

Weighting = Literal["image", "pixel"]
"""Whether confidence weights whole images or pixels; see `pseudo_label`."""


@dataclass(frozen=True)
class PseudoLabels:
    """Labels and weights of a batch of target images.

    Attributes:
        labels: (B, H, W) int64, the most likely class of every pixel.
        weights: (B, H, W) in [0,1]: `quality` at every pixel, or 1 at confident pixels only; 0 at ignored ones.
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
    """Turn a teacher's logits (B, C, H, W) for the unaugmented target images into pseudo-labels; see `label_of_probabilities`."""
    return label_of_probabilities(softmax(logits.detach()), threshold, ignore_top, ignore_bottom, valid, weighting)


def label_of_probabilities(
    probabilities: Tensor,
    threshold: float,
    ignore_top: int = 0,
    ignore_bottom: int = 0,
    valid: Tensor | None = None,
    weighting: Weighting = "image",
) -> PseudoLabels:
    """Turn a teacher's probabilities into pseudo-labels.

    Args:
        probabilities: (B, C, H, W), for the unaugmented target images.
        threshold: lowest top probability of a confident pixel.
        ignore_top: rows at the top of the crop with weight 0.
        ignore_bottom: rows at the bottom with weight 0, which show the camera's own car.
        valid: (B, H, W) bool, False in the margins of the photo and in padding: these also get weight 0.
        weighting: "image" weights every pixel by the share of confident ones (DACS, DAFormer); "pixel" weights
            confident pixels by 1 and others by 0 (as FixMatch does with whole images, arXiv:2001.07685, Eq. 4), so that
            pixels of which the teacher is unsure are learnt from the source only.
    """
    highest, labels = probabilities.max(dim=1)
    confident = (highest >= threshold).float()  # in bf16 a share would have only two digits
    quality = confident.mean()
    weights = confident if weighting == "pixel" else quality.expand(labels.shape).clone()
    weights[:, :ignore_top] = 0
    weights[:, max(0, weights.shape[1] - ignore_bottom) :] = 0
    if valid is not None:
        weights = weights * valid
    return PseudoLabels(labels, weights, torch.as_tensor(quality))
