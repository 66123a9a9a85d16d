"""Feature distances on thing classes: keep what a pretrained encoder knows of cars and people (DAFormer Sec. 3.4)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from sim2street.models.labels import IGNORE

THINGS = (6, 7, 11, 12, 13, 14, 15, 16, 17, 18)
"""Train ids of traffic light and sign, person to bicycle."""
MINIMUM_RATIO = 0.75
CLASSES = 19


def cell_labels(labels: Tensor, size: tuple[int, int]) -> Tensor:
    """Labels (B, H, W) as a feature map of (height, width) sees them: (B, h, w), 255 where no class fills its cell.

    A cell takes the class that covers at least three quarters of its pixels, ignored ones counted among them.
    """
    classes = torch.where(labels == IGNORE, CLASSES, labels)
    # Not F.one_hot: its eight bytes a class and pixel took a tenth of a training step on a CPU.
    shares = (classes[:, None] == torch.arange(CLASSES + 1, device=classes.device)[:, None, None]).float()
    share, label = F.adaptive_avg_pool2d(shares, size).max(dim=1)
    return torch.where((share < MINIMUM_RATIO) | (label == CLASSES), IGNORE, label)


def is_thing(cells: Tensor) -> Tensor:
    """Where cell labels are of a thing class: bool, the same shape."""
    return torch.isin(cells, torch.tensor(THINGS, device=cells.device))


def feature_distance(features: Tensor, anchor: Tensor, labels: Tensor) -> Tensor:
    """Mean Euclidean distance of features to a frozen encoder's over the cells of things, DAFormer Eq. 6 to 8.

    Args:
        features: (B, D, h, w) of the student.
        anchor: (B, D, h, w) of the frozen encoder for the same images.
        labels: (B, H, W) of these images.

    Returns:
        Scalar; 0 without a gradient where there is no such cell. The authors' code gives NaN there.
    """
    things = is_thing(cell_labels(labels, (features.shape[-2], features.shape[-1])))
    if not things.any():
        return features.new_zeros(())
    return (features - anchor).norm(dim=1)[things].mean()


def class_mean_distance(source: Tensor, source_labels: Tensor, target: Tensor, target_labels: Tensor) -> Tensor:
    """Mean over thing classes of the distance between the class's mean feature in the source and in the target.

    The variant of this project's brief, not the paper's. Target labels are pseudo labels; classes that either side
    lacks are skipped.

    Args:
        source: (B, D, h, w) features of source images.
        source_labels: (B, H, W).
        target: (B, D, h, w) features of target images.
        target_labels: (B, H', W') pseudo labels.

    Returns:
        Scalar; 0 without a gradient where no thing class is on both sides.
    """
    means = [
        class_means(features, cell_labels(labels, (features.shape[-2], features.shape[-1])))
        for features, labels in ((source, source_labels), (target, target_labels))
    ]
    shared = sorted(means[0].keys() & means[1].keys())
    if not shared:
        return source.new_zeros(())
    return torch.stack([(means[0][thing] - means[1][thing]).norm() for thing in shared]).mean()


def class_means(features: Tensor, cells: Tensor) -> dict[int, Tensor]:
    """Mean feature (D,) of each thing class among the cells (B, h, w)."""
    vectors = features.permute(0, 2, 3, 1)
    return {thing: vectors[cells == thing].mean(dim=0) for thing in THINGS if bool((cells == thing).any())}
