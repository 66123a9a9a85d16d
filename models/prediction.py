"""Prediction: what one segmenter says of one photo, made one way only so that its parts can never disagree."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sim2street.models.labels import LabelSpace

STRIP = 1 << 20
"""Pixels handled at a time: temporaries of a 12-megapixel photo stay small."""


@dataclass(frozen=True, eq=False)
class Prediction:
    """Per-pixel answer at the upright photo's size.

    Attributes:
        probabilities: (C, H, W) float32, summing to one over C.
        labels: (H, W) uint8, the most probable class.
        entropy: (H, W) float32 in [0,1]: Shannon entropy / log C. 0 is certain, 1 is uniform.
        space: what the C classes are.
        seconds: wall-clock time from photo to all of these, without loading the network.
    """

    probabilities: NDArray[np.float32]
    labels: NDArray[np.uint8]
    entropy: NDArray[np.float32]
    space: LabelSpace
    seconds: float

    @classmethod
    def from_probabilities(
        cls, probabilities: NDArray[np.float32] | Tensor, space: LabelSpace, seconds: float
    ) -> Prediction:
        """Derive labels and entropy from (C, H, W) probabilities, on the device that they are on.

        Raises:
            ValueError: the first axis is not the number of classes of `space`.
        """
        if probabilities.ndim != 3 or probabilities.shape[0] != space.count:
            raise ValueError(
                f"probabilities have shape {tuple(probabilities.shape)}; {space.name} needs ({space.count}, H, W)"
            )
        if not isinstance(probabilities, Tensor):  # of an array as the rest of the project has them nothing is copied
            probabilities = torch.from_numpy(np.require(probabilities, np.float32, ["C", "W"]))
        given = probabilities.detach().float()
        count, height, width = given.shape
        labels = torch.empty((height, width), dtype=torch.uint8, device=given.device)
        entropy = torch.empty((height, width), dtype=torch.float32, device=given.device)
        rows = max(1, STRIP // width)
        for top in range(0, height, rows):
            strip = given[:, top : top + rows]
            labels[top : top + rows] = strip.max(dim=0).indices  # the first of equals; faster than argmax
            # p log p -> 0 as p -> 0; the clamp only keeps the logarithm finite. torch.special.entr takes three times as long.
            nats = strip.clamp_min(1e-30).log_().mul_(strip).sum(dim=0).neg_()
            entropy[top : top + rows] = nats.div_(math.log(count)).clamp_(0, 1).add_(0.0)  # no -0
        return cls(given.cpu().numpy(), labels.cpu().numpy(), entropy.cpu().numpy(), space, seconds)

    @property
    def confidence(self) -> NDArray[np.float32]:
        """(H, W) float32: probability of the predicted class."""
        return self.probabilities.max(axis=0)

    def in_space(self, space: LabelSpace) -> Prediction:
        """The same answer in coarser classes: probabilities of merged classes are summed, then the best is taken.

        A space that only leaves classes out (SYNTHIA's) changes nothing: it is scored within the 19.
        """
        if space.name == self.space.name or not space.is_merged:
            return self
        return Prediction.from_probabilities(space.merge_probabilities(self.probabilities), space, self.seconds)
