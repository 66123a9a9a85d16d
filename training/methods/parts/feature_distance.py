"""Feature distances on thing classes, which preserve a pretrained encoder's features of cars and people (DAFormer Sec. 3.4)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from sim2street.models.label_space import IGNORE, LabelSpace

MINIMUM_RATIO = 0.75


def cell_labels(labels: Tensor, size: tuple[int, int], count: int) -> Tensor:
    """Downsample labels (B, H, W) of `count` classes to a feature map of (height, width): (B, h, w), 255 for mixed cells.

    A cell takes the class that covers at least three quarters of its pixels, ignored pixels included in the count.
    """
    classes = torch.where(labels == IGNORE, count, labels)
    # Not F.one_hot, whose eight bytes per class and pixel took a tenth of a training step on a CPU.
    shares = (classes[:, None] == torch.arange(count + 1, device=classes.device)[:, None, None]).float()
    share, label = F.adaptive_avg_pool2d(shares, size).max(dim=1)
    return torch.where((share < MINIMUM_RATIO) | (label == count), IGNORE, label)


def is_thing(cells: Tensor, space: LabelSpace) -> Tensor:
    """Which cell labels belong to thing classes: bool, the same shape."""
    return torch.isin(cells, torch.tensor(space.things, device=cells.device))


def feature_distance(features: Tensor, anchor: Tensor, labels: Tensor, space: LabelSpace) -> Tensor:
    """Mean Euclidean distance of features to a frozen encoder's over the cells of things, DAFormer Eq. 6 to 8.

    Args:
        features: (B, D, h, w) of the student.
        anchor: (B, D, h, w) of the frozen encoder for the same images.
        labels: (B, H, W) of these images, in `space`.
        space: defines which classes are things.

    Returns:
        Scalar; 0 without a gradient if there is no such cell, where the authors' code gives NaN.
    """
    things = is_thing(cell_labels(labels, (features.shape[-2], features.shape[-1]), space.count), space)
    if not things.any():
        return features.new_zeros(())
    return (features - anchor).norm(dim=1)[things].mean()


def class_mean_distance(
    source: Tensor, source_labels: Tensor, target: Tensor, target_labels: Tensor, space: LabelSpace
) -> Tensor:
    """Mean over thing classes of the distance between the class's mean feature in the source and in the target.

    A variant of this project, not the paper's. Target labels are pseudo labels; classes missing on either side are
    skipped.

    Args:
        source: (B, D, h, w) features of source images.
        source_labels: (B, H, W).
        target: (B, D, h, w) features of target images.
        target_labels: (B, H', W') pseudo labels.
        space: label space of both; defines which classes are things.

    Returns:
        Scalar; 0 without a gradient if no thing class is on both sides.
    """
    means = [
        class_means(features, cell_labels(labels, (features.shape[-2], features.shape[-1]), space.count), space)
        for features, labels in ((source, source_labels), (target, target_labels))
    ]
    shared = sorted(means[0].keys() & means[1].keys())
    if not shared:
        return source.new_zeros(())
    return torch.stack([(means[0][thing] - means[1][thing]).norm() for thing in shared]).mean()


def class_means(features: Tensor, cells: Tensor, space: LabelSpace) -> dict[int, Tensor]:
    """Mean feature (D,) of each thing class among the cells (B, h, w)."""
    vectors = features.permute(0, 2, 3, 1)
    return {thing: vectors[cells == thing].mean(dim=0) for thing in space.things if bool((cells == thing).any())}
