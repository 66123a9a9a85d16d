"""MIC: predict the teacher's labels of a target image from a masked copy of it (Hoyer et al., CVPR 2023, arXiv:2212.01322).

    x_m = M · augment(x_t), M keeps each block of 64x64 pixels with probability 0.3                    Eq. 4, 5
    + q-weighted CE(g(x_m), y_t), with the teacher's y_t and q for the unmasked x_t                    Eq. 6, 7

The loss is added to HRDA's if the network is hrda, and to DAFormer's on any other; everything else is unchanged. Masked
blocks are zero after normalisation, which is the mean colour of the network's statistics. The colour jitter and blur of
the masked image are drawn independently of those of the mixed one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from typing import Final

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from sim2street.models.networks.hrda import HRDANetwork
from sim2street.models.segmenter import Segmenter
from sim2street.training.methods.adabn import statistics_kept
from sim2street.training.methods.base import (
    DISTANCE_FORMULA,
    MIXED_FORMULA,
    SUPERVISION_FORMULA,
    LossTerm,
    MethodEntry,
    Update,
)
from sim2street.training.methods.daformer import DAFormer
from sim2street.training.methods.diagram import Arrow, Diagram, Node
from sim2street.training.methods.hrda import HRDA, HRDAOptions
from sim2street.training.methods.parts.pseudo_labels import PseudoLabels
from sim2street.training.methods.parts.strong_augmentation import augment
from sim2street.training.pair import DomainPair


class MICOptions(HRDAOptions):
    """HRDA's options and the mask, whose lengths apply to both 1024x1024 crops (HRDA) and 512x512 crops (DAFormer)."""

    mask_block: int = Field(
        default=64, ge=1, le=1024, description="Side in pixels of the blocks that are kept or masked."
    )
    mask_ratio: float = Field(default=0.7, ge=0, lt=1, description="Probability that a block is masked.")
    mask_weight: float = Field(default=1.0, ge=0, description="Weight of the masked loss.")
    masked_statistics: bool = Field(
        default=True,
        description="Whether masked images count in the running statistics of batch norms, of which the paper's network has few.",
    )


class MIC(HRDA):
    """HRDA or DAFormer, depending on the network, with masked image consistency."""

    def __init__(self, segmenter: Segmenter, options: MICOptions) -> None:
        super().__init__(segmenter, options)
        self.mask = options
        self.looks_twice = isinstance(segmenter.core, HRDANetwork)

    @staticmethod
    def check_network(segmenter: Segmenter) -> None:
        """Any network will do."""

    def supervise(self, pair: DomainPair) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """HRDA's losses on its network, DAFormer's on others."""
        return super().supervise(pair) if self.looks_twice else DAFormer.supervise(self, pair)

    def imitate(self, term: str, images: Tensor, labels: Tensor, weights: Tensor) -> dict[str, Tensor]:
        """HRDA's losses on its network, DAFormer's on others."""
        if self.looks_twice:
            return super().imitate(term, images, labels, weights)
        return DAFormer.imitate(self, term, images, labels, weights)

    def adapt(self, pair: DomainPair, pseudo: PseudoLabels) -> Iterator[Update]:
        """The mixed images, then the masked ones, in one optimiser step."""
        for update in super().adapt(pair, pseudo):
            yield Update(update.losses)
        masked = self.masked(augment(pair.target_images, self.options.jitter))
        with nullcontext() if self.mask.masked_statistics else statistics_kept(self.segmenter):
            losses = self.imitate("masked", masked, pseudo.labels, pseudo.weights)
        yield Update({term: self.mask.mask_weight * loss for term, loss in losses.items()}, step=("segmenter",))

    def masked(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) RGB in [0,1] with blocks replaced by the network's mean colour."""
        return hidden(images, block_mask(images, self.mask.mask_block, self.mask.mask_ratio), self.segmenter)


def block_mask(images: Tensor, block: int, ratio: float) -> Tensor:
    """Which pixels are kept, (B, 1, H, W) bool: whole blocks, each masked independently with probability `ratio`."""
    batch, _, height, width = images.shape
    cells = (max(1, round(height / block)), max(1, round(width / block)))
    kept = torch.rand(batch, 1, *cells, device=images.device) > ratio
    return F.interpolate(kept.float(), size=(height, width), mode="nearest").bool()


def hidden(images: Tensor, keep: Tensor, segmenter: Segmenter) -> Tensor:
    """Images (B, 3, H, W) RGB in [0,1] with the network's mean colour outside `keep`, (B, 1, H, W) bool."""
    mean = segmenter.mean / segmenter.normalisation.scale
    if segmenter.normalisation.order == "bgr":
        mean = mean.flip(1)
    return torch.where(keep, images, mean)


ENTRY: Final = MethodEntry(
    name="mic",
    method=MIC,
    options=MICOptions,
    year=2023,
    title="MIC",
    colour="#d1495b",
    paper="Hoyer, Dai, Wang, Van Gool. MIC: Masked Image Consistency for Context-Enhanced Domain Adaptation."
    " CVPR 2023. arXiv:2212.01322",
    idea="Mask most of a target image and predict what the teacher sees in the whole image.",
    adapts=True,
    mixes_labels=True,
    explanation="The teacher labels the whole target image. The network must predict the same labels with most blocks of the"
    " image masked, so it learns to use context. This is added to HRDA's self-training, or to DAFormer's on a network with one"
    " resolution.",
    terms=(
        LossTerm(
            "prediction of a source image", "its labels", "cross-entropy", MIC.supervise, formula=SUPERVISION_FORMULA
        ),
        LossTerm(
            "prediction of a mixed image",
            "source labels and the teacher's, mixed the same way",
            "cross-entropy, weighted by the teacher's confidence",
            MIC.imitate,
            formula=MIXED_FORMULA,
        ),
        LossTerm(
            "prediction of a target image with masked blocks",
            "the teacher's labels of the whole image",
            "cross-entropy, weighted by the teacher's confidence",
            MIC.adapt,
            "mask_weight",
            r"w\,q\,\mathrm{CE}\big(S(M \odot x_t),\, \hat{y}_t\big)",
        ),
        LossTerm(
            "features of things in source images",
            "the same in the pretrained encoder",
            "Euclidean distance",
            MIC.feature_distance,
            "distance_weight",
            DISTANCE_FORMULA,
        ),
    ),
    diagram=Diagram(
        {
            "target": Node("target image", 0, 0.5, "target image"),
            "masked": Node("most of it masked", 1, 0, "masked image"),
            "network": Node("network", 2, 0, "trained"),
            "prediction": Node("prediction", 3, 0, "target labels"),
            "teacher": Node("teacher, a moving average", 2, 1, "fixed"),
            "pseudo": Node("its labels of the whole", 3, 1, "target labels"),
            "loss": Node("cross-entropy", 4, 0.5, "measured"),
        },
        (
            Arrow("target", "masked"),
            Arrow("target", "teacher", lane=1),
            Arrow("masked", "network"),
            Arrow("network", "prediction"),
            Arrow("network", "teacher", carries="weights"),
            Arrow("teacher", "pseudo"),
            Arrow("prediction", "loss"),
            Arrow("pseudo", "loss"),
        ),
        "The loss counts as much as the teacher is confident, and is added to those of DAFormer or HRDA.",
    ),
)
