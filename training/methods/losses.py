"""Pure tensor functions that more than one paper uses.

Shapes: B batch, C classes, H x W image, h x w a discriminator's map. Probabilities are softmax over dim 1.
"""

from __future__ import annotations

import enum
import math
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from sim2street.models.label_space import IGNORE, Members

Reduction = Literal["valid", "all"]
"""Pixels that a cross-entropy is averaged over."""


class Domain(enum.Enum):
    """Which domain a map comes from. The value is the discriminator's label in ADVENT's released code."""

    SOURCE = 0
    TARGET = 1


def class_weights(labels: Tensor, classes: int, balance: float) -> Tensor:
    """Weights (C,) of a batch's classes, n_c^-balance of its n_c pixels, scaled so that the labelled pixels' mean weight is 1.

    In effect the logits of rare classes rise by `balance` times minus the logarithm of their frequency, as Menon et al. (ICLR
    2021, arXiv:2007.07314) do with the frequencies of a whole data set.

    Args:
        labels: (..., H, W) int64, 255 ignored.
        classes: C.
        balance: 0 weights all pixels alike, 1 all classes.
    """
    pixels = torch.bincount(labels.flatten(), minlength=IGNORE + 1)[:classes].float()
    weights = pixels.clamp(min=1) ** -balance
    return weights * (pixels.sum().clamp(min=1) / (weights * pixels).sum().clamp(min=1e-12))


def cross_entropy(
    logits: Tensor,
    labels: Tensor,
    members: tuple[Members | None, ...] = (),
    reduction: Reduction = "valid",
    balance: float = 0.0,
) -> Tensor:
    """Cross-entropy of a batch.

    Args:
        logits: (B, C, H, W).
        labels: (B, H, W) int64, 255 ignored.
        members: for each image None, or for each label the classes that it merges (CamVid): the label is then
            supervised through the sum of their probabilities, and ignored if it merges none. Empty means None throughout.
        reduction: "valid" averages over the labelled pixels, as ADVENT's code does; "all" averages over all pixels,
            ignored ones included, as DAFormer's does.
        balance: see `class_weights`; of merged labels each image counts by itself.

    Returns:
        Scalar; 0 with a gradient of 0 if every pixel is ignored.
    """
    pixels = labels.numel() if reduction == "all" else (labels != IGNORE).sum().clamp(min=1)
    if all(groups is None for groups in members):
        weights = class_weights(labels, logits.shape[1], balance).to(logits) if balance else None
        return F.cross_entropy(*_rows(logits, labels), weights, ignore_index=IGNORE, reduction="sum") / pixels
    # In fp32, because sums over an image overflow half precision.
    total = logits.new_zeros((), dtype=torch.float32)
    for picture, truth, groups in zip(logits.float().log_softmax(dim=1), labels, members, strict=True):
        if groups is not None:
            picture, truth = _merged(picture, truth, groups)
        weights = class_weights(truth, len(picture), balance) if balance else None
        total = total + F.nll_loss(picture[None], truth[None], weights, ignore_index=IGNORE, reduction="sum")
    return total / pixels


def _merged(picture: Tensor, truth: Tensor, groups: Members) -> tuple[Tensor, Tensor]:
    """Log probabilities (C, H, W) of merged classes, and labels (H, W) with classes that merge none ignored."""
    nothing = torch.tensor([label for label, group in enumerate(groups) if not group], device=truth.device)
    truth = torch.where(torch.isin(truth, nothing), IGNORE, truth)
    merged = [picture[list(group)].logsumexp(dim=0) if group else torch.zeros_like(picture[0]) for group in groups]
    return torch.stack(merged), truth


def weighted_cross_entropy(logits: Tensor, labels: Tensor, weights: Tensor, balance: float = 0.0) -> Tensor:
    """Cross-entropy of each pixel times its weight, averaged over *all* pixels of the batch (DAFormer's code).

    Args:
        logits: (B, C, H, W).
        labels: (B, H, W) int64; pixels with 255 count as 0.
        weights: (B, H, W).
        balance: see `class_weights`.
    """
    classes = class_weights(labels, logits.shape[1], balance).to(logits) if balance else None
    losses = F.cross_entropy(*_rows(logits, labels), classes, ignore_index=IGNORE, reduction="none")
    return (losses * weights.flatten()).mean()


def _rows(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Flatten to one pixel per row, (B * H * W, C) and (B * H * W).

    For channels-last logits this is a view, whereas log_softmax over dim 1 would first copy them into another order.
    """
    return logits.permute(0, 2, 3, 1).flatten(0, 2), labels.flatten()


def softmax(logits: Tensor) -> Tensor:
    """Probabilities (B, C, H, W) of logits, in the order of memory that the logits have.

    `softmax(dim=1)` of channels-last logits copies them into another order, and what follows copies them back.
    """
    if logits.is_contiguous():
        return logits.softmax(dim=1)
    return logits.permute(0, 2, 3, 1).softmax(dim=-1).permute(0, 3, 1, 2)


def self_information(probabilities: Tensor) -> Tensor:
    """Weighted self-information -p log2 p / log2 C per class: (B, C, H, W) -> (B, C, H, W), ADVENT Sec. 3.2.

    The constant 1e-30 inside the logarithm is the authors'.
    """
    return _SelfInformation.apply(probabilities.float())


class _SelfInformation(torch.autograd.Function):
    """Makes two maps of the probabilities' size forwards and one backwards, where separate operations make nine."""

    @staticmethod
    def forward(ctx: Any, probabilities: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        logs = (probabilities + 1e-30).log2_()
        ctx.save_for_backward(logs)
        ctx.scale = -1 / math.log2(probabilities.shape[1])
        return torch.mul(probabilities, logs).mul_(ctx.scale)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        # The derivative's p / (p + 1e-30) is 1 to float32's last digit, except of p below 1e-22.
        (logs,) = ctx.saved_tensors
        return logs.add(1 / math.log(2)).mul_(gradient).mul_(ctx.scale)


def entropy(probabilities: Tensor) -> Tensor:
    """Normalised entropy per pixel: (B, C, H, W) -> (B, H, W) in [0,1], ADVENT Eq. 2."""
    return self_information(probabilities).sum(dim=1)


def domain_loss(verdict: Tensor, domain: Domain) -> Tensor:
    """Binary cross-entropy of a discriminator's logits, any shape, against one domain throughout."""
    return F.binary_cross_entropy_with_logits(verdict, torch.full_like(verdict, float(domain.value)))


def position_loss(verdict: Tensor, domain: Domain) -> Tensor:
    """Cross-entropy of a two-way discriminator (B, 2, h, w) against one domain throughout, averaged over all positions.

    Class 1 is the source and class 0 the target, as in CyCADA's released code; the other way round is equivalent.
    """
    truth = torch.full_like(verdict[:, 0], 1 if domain is Domain.SOURCE else 0, dtype=torch.int64)
    return F.cross_entropy(verdict.float(), truth)


def gan_loss(verdict: Tensor, real: bool, form: Literal["lsgan", "log"] = "lsgan") -> Tensor:
    """Distance of a discriminator's scores, any shape, from real (1) or generated (0).

    Squared error as in CycleGAN's code ("lsgan"), or the binary cross-entropy of logits ("log").
    """
    truth = torch.full_like(verdict, float(real))
    return F.mse_loss(verdict, truth) if form == "lsgan" else F.binary_cross_entropy_with_logits(verdict, truth)
