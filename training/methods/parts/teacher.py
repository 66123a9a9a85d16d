"""A mean teacher: its weights are a moving average of the student's (Tarvainen and Valpola, 2017, arXiv:1703.01780)."""

from __future__ import annotations

import copy

import torch
from timm.layers import DropPath
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd

from sim2street.models.segmenter import Segmenter, SegmenterOutput


class Teacher(nn.Module):
    """Frozen copy of a student that follows it and never receives a gradient.

    As in DAFormer's code, only parameters are averaged, batch norm uses the statistics of the current batch, and dropout
    is off.

    Args:
        student: the network to copy now and to follow.
        momentum: largest share of the old weights that is kept; the first steps keep less.
    """

    def __init__(self, student: Segmenter, momentum: float) -> None:
        super().__init__()
        self.momentum = momentum
        self.segmenter = copy.deepcopy(student).requires_grad_(False)

    def train(self, mode: bool = True) -> Teacher:
        """Switch modes; dropout and stochastic depth stay off in both."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, _DropoutNd | DropPath):
                module.eval()
        return self

    @torch.no_grad()
    def forward(self, images: Tensor) -> SegmenterOutput:
        """Segment (B, 3, H, W) RGB in [0,1] without gradients."""
        return self.segmenter(images)

    @torch.no_grad()
    def follow(self, student: Segmenter, step: int) -> None:
        """Average in the student's weights at the start of step `step`; step 0 copies them."""
        keep = teacher_momentum(step, self.momentum)
        for mine, theirs in zip(self.segmenter.parameters(), student.parameters(), strict=True):
            mine.lerp_(theirs.to(mine.dtype), 1 - keep)


def teacher_momentum(step: int, largest: float = 0.999) -> float:
    """Share of the old weights that is kept at `step`: min(1 - 1 / (step + 1), largest)."""
    return min(1 - 1 / (step + 1), largest)
