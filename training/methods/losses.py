"""Pure tensor functions that more than one paper uses.

Shapes: B batch, C classes, H x W image, h x w a discriminator's map. Probabilities are softmax over dim 1.
"""

from __future__ import annotations

import enum
import math
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from sim2street.models.labels import IGNORE, label_space

Reduction = Literal["valid", "all"]
"""Pixels that a cross-entropy is averaged over."""


class Domain(enum.Enum):
    """Which domain a map comes from. The value is the discriminator's label in ADVENT's released code."""

    SOURCE = 0
    TARGET = 1


def cross_entropy(
    logits: Tensor, labels: Tensor, spaces: tuple[str, ...] = (), reduction: Reduction = "valid"
) -> Tensor:
    """Cross-entropy of a batch.

    Args:
        logits: (B, 19, H, W).
        labels: (B, H, W) int64, 255 ignored.
        spaces: label space of each picture; a merged class (CamVid) is supervised through the sum of its members'
            probabilities. Empty means Cityscapes' 19 throughout.
        reduction: "valid" averages over the labelled pixels, as ADVENT's code does; "all" over all pixels, which
            ignored ones dilute, as DAFormer's does.

    Returns:
        Scalar; 0 with a gradient of 0 where every pixel is ignored.
    """
    pixels = labels.numel() if reduction == "all" else (labels != IGNORE).sum().clamp(min=1)
    if all(space == "cityscapes19" for space in spaces):
        return F.cross_entropy(*_rows(logits, labels), ignore_index=IGNORE, reduction="sum") / pixels
    # Sums over an image do not fit into half precision, whatever autocast gave.
    total = logits.new_zeros((), dtype=torch.float32)
    for picture, truth, space in zip(logits.float().log_softmax(dim=1), labels, spaces, strict=True):
        members = label_space(space).members
        merged = torch.stack([picture[list(group)].logsumexp(dim=0) for group in members])
        total = total + F.nll_loss(merged[None], truth[None], ignore_index=IGNORE, reduction="sum")
    return total / pixels


def weighted_cross_entropy(logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """Cross-entropy of each pixel times its weight, averaged over *all* pixels of the batch (DAFormer's code).

    Args:
        logits: (B, C, H, W).
        labels: (B, H, W) int64, 255 counts 0.
        weights: (B, H, W).
    """
    losses = F.cross_entropy(*_rows(logits, labels), ignore_index=IGNORE, reduction="none")
    return (losses * weights.flatten()).mean()


def _rows(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """One pixel a row, (B * H * W, C) and (B * H * W).

    Of channels-last logits that is a view; log_softmax over dim 1 would first copy them into another order.
    """
    return logits.permute(0, 2, 3, 1).flatten(0, 2), labels.flatten()


def self_information(probabilities: Tensor) -> Tensor:
    """Weighted self-information -p log2 p / log2 C per class: (B, C, H, W) -> (B, C, H, W), ADVENT Sec. 3.2.

    The constant 1e-30 inside the logarithm is the authors'.
    """
    return -probabilities * torch.log2(probabilities + 1e-30) / math.log2(probabilities.shape[1])


def entropy(probabilities: Tensor) -> Tensor:
    """Normalised entropy per pixel: (B, C, H, W) -> (B, H, W) in [0,1], ADVENT Eq. 2."""
    return self_information(probabilities).sum(dim=1)


def domain_loss(verdict: Tensor, domain: Domain) -> Tensor:
    """Binary cross-entropy of a discriminator's logits, any shape, against one domain throughout."""
    return F.binary_cross_entropy_with_logits(verdict, torch.full_like(verdict, float(domain.value)))


def position_loss(verdict: Tensor, domain: Domain) -> Tensor:
    """Cross-entropy of a two-way discriminator (B, 2, h, w) against one domain throughout, averaged over all positions.

    Class 1 is the source and class 0 the target, as in CyCADA's released code; the other way round is the same game.
    """
    truth = torch.full_like(verdict[:, 0], 1 if domain is Domain.SOURCE else 0, dtype=torch.int64)
    return F.cross_entropy(verdict.float(), truth)


def gan_loss(verdict: Tensor, real: bool, form: Literal["lsgan", "log"] = "lsgan") -> Tensor:
    """How far a discriminator's scores, any shape, are from real (1) or painted (0).

    Squared error as in CycleGAN's code ("lsgan"), or the binary cross-entropy of logits ("log").
    """
    truth = torch.full_like(verdict, float(real))
    return F.mse_loss(verdict, truth) if form == "lsgan" else F.binary_cross_entropy_with_logits(verdict, truth)
