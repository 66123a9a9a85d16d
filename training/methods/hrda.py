"""HRDA: DAFormer's self-training at two resolutions (Hoyer et al., ECCV 2022, arXiv:2204.13132).

student g   sees the downscaled crop (context) and one random window at full size (detail), fused by attention
teacher h   sees the context and *all* overlapping windows of the same crop, fused everywhere               Sec. 3.4

    0.9 · CE(fused, y) + 0.1 · CE(detail, y in its window)             for source and mixed images          Eq. 9
    + 0.005 · feature distance of the context's encoder

Everything else is DAFormer's, in training/methods/daformer.py; the network is models/networks/hrda.py. Weights of mixed
images are cropped with the window. Margins of the target refer to the whole photo before cropping: the recipe's
`target_transform.margins` replaces DAFormer's rows of the crop.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
from pydantic import Field
from torch import Tensor

from sim2street.models.errors import ConfigError
from sim2street.models.networks.hrda import Box, HRDANetwork
from sim2street.models.segmenter import Segmenter
from sim2street.training.methods.base import (
    DISTANCE_FORMULA,
    MIXED_FORMULA,
    SUPERVISION_FORMULA,
    LossTerm,
    MethodEntry,
)
from sim2street.training.methods.daformer import DAFormer, DAFormerOptions
from sim2street.training.methods.diagram import Arrow, Diagram, Node
from sim2street.training.methods.losses import cross_entropy, weighted_cross_entropy
from sim2street.training.pair import DomainPair

GRID = 8
"""Windows begin at multiples of this many pixels: a cell of the context's logits."""


class HRDAOptions(DAFormerOptions):
    """DAFormer's options; the defaults are the paper's for GTA5 -> Cityscapes with crops of 1024x1024."""

    ignore_top: int = Field(
        default=0, ge=0, description="Rows at the top of the target crop with weight 0; see the margins."
    )
    ignore_bottom: int = Field(default=0, ge=0, description="Rows at the bottom with weight 0.")
    detail_weight: float = Field(
        default=0.1, ge=0, le=1, description="Weight of the detail loss; the fused loss has the rest."
    )


@dataclass(frozen=True)
class TwoScaleOutput:
    """The student's output for a batch at two resolutions.

    Attributes:
        features: of the context, by stage.
        fused: logits (B, C, H, W).
        detail: logits (B, C, h, w) of the window.
        box: the window.
    """

    features: dict[str, Tensor]
    fused: Tensor
    detail: Tensor
    box: Box


class HRDA(DAFormer):
    """DAFormer with a student at two resolutions."""

    def __init__(self, segmenter: Segmenter, options: HRDAOptions) -> None:
        self.check_network(segmenter)
        super().__init__(segmenter, options)
        self.detail_weight = options.detail_weight

    @staticmethod
    def check_network(segmenter: Segmenter) -> None:
        """Raise `ConfigError` for a network that the method cannot train."""
        if not isinstance(segmenter.core, HRDANetwork):
            raise ConfigError('Method hrda needs a network with context and detail: set network = "hrda".')

    def supervise(self, pair: DomainPair) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Fused and detail loss on source images, and the context's features."""
        output = self.two_scales(pair.source_images)
        how = pair.source_members, self.options.reduction, self.options.balance
        fused = cross_entropy(output.fused, pair.source_labels, *how)
        detail = cross_entropy(output.detail, output.box.of(pair.source_labels), *how)
        return self.shared("segmentation", fused, detail), output.features

    def imitate(self, term: str, images: Tensor, labels: Tensor, weights: Tensor) -> dict[str, Tensor]:
        """Fused and detail loss on images whose labels have weights."""
        output, balance = self.two_scales(images), self.options.balance
        fused = weighted_cross_entropy(output.fused, labels, weights, balance)
        detail = weighted_cross_entropy(output.detail, output.box.of(labels), output.box.of(weights), balance)
        return self.shared(term, fused, detail)

    def shared(self, term: str, fused: Tensor, detail: Tensor) -> dict[str, Tensor]:
        """Both losses with their shares."""
        return {term: (1 - self.detail_weight) * fused, f"{term}/detail": self.detail_weight * detail}

    def two_scales(self, images: Tensor) -> TwoScaleOutput:
        """Run the student on (B, 3, H, W) RGB in [0,1]: the downscaled crop, and one random window at full size."""
        core = self.segmenter.core
        assert isinstance(core, HRDANetwork)
        height, width = images.shape[-2:]
        if height % GRID or width % GRID:
            raise ConfigError(f"HRDA needs crops whose sides are multiples of {GRID} pixels; found {width}x{height}.")
        normalised = self.segmenter.normalise(images)
        context = core.context(normalised)
        box = random_window(height, width, core.detail_crop)
        detail = core.detail(box.of(normalised))
        fused = core.fuse(context, detail, box)
        size = (box.bottom - box.top, box.right - box.left)
        upsample = self.segmenter.upsample
        return TwoScaleOutput(context.features, upsample(fused, (height, width)), upsample(detail, size), box)


def random_window(height: int, width: int, crop: tuple[int, int]) -> Box:
    """A window of (height, width) `crop`, at most the image's own size, at a random place on the grid."""
    sides = []
    for length, wanted in ((height, crop[0]), (width, crop[1])):
        side = min(length, wanted)
        start = GRID * int(torch.randint((length - side) // GRID + 1, ()))
        sides += [start, start + side]
    return Box(*sides)


ENTRY: Final = MethodEntry(
    name="hrda",
    method=HRDA,
    options=HRDAOptions,
    year=2022,
    title="HRDA",
    colour="#b35cb8",
    paper="Hoyer, Dai, Van Gool. HRDA: Context-Aware High-Resolution Domain-Adaptive Semantic Segmentation."
    " ECCV 2022. arXiv:2204.13132",
    idea="See the whole image small and a part of it large, and learn which of the two to trust where.",
    adapts=True,
    mixes_labels=True,
    networks=("hrda",),
    explanation="Small objects need resolution and large ones need context, and memory does not allow both. The network sees"
    " the whole crop downscaled and one window of it at full resolution, and learns an attention map that chooses between the"
    " two at each pixel. The teacher fuses overlapping windows over the whole crop. The rest is DAFormer's self-training.",
    terms=(
        LossTerm(
            "fused prediction of a source image",
            "its labels",
            "cross-entropy",
            HRDA.supervise,
            formula=rf"(1 - w_d)\,{SUPERVISION_FORMULA}",
        ),
        LossTerm(
            "fused prediction of a mixed image",
            "source labels and the teacher's, mixed the same way",
            "cross-entropy, weighted by the teacher's confidence",
            HRDA.imitate,
            formula=rf"(1 - w_d)\,{MIXED_FORMULA}",
        ),
        LossTerm(
            "prediction of the window alone",
            "the labels in the window",
            "cross-entropy",
            HRDA.shared,
            "detail_weight",
            r"w_d\,\big[\mathrm{CE}(S_d(x_s), y_s) + q\,\mathrm{CE}(S_d(x_m), y_m)\big]",
        ),
        LossTerm(
            "features of things in source images",
            "the same in the pretrained encoder",
            "Euclidean distance",
            HRDA.feature_distance,
            "distance_weight",
            DISTANCE_FORMULA,
        ),
    ),
    diagram=Diagram(
        {
            "image": Node("image and a window of it", 0, 1, "marked image"),
            "context": Node("all of it, small", 1, 0, "small image"),
            "detail": Node("the window, full size", 1, 2, "window"),
            "network": Node("network", 2, 1, "trained"),
            "coarse": Node("context’s prediction", 3, 0, "target labels"),
            "attention": Node("attention: which to trust", 3, 1, "attention"),
            "fine": Node("detail’s prediction", 3, 2, "target labels"),
            "fused": Node("fused prediction", 4, 1, "target labels"),
            "loss": Node("cross-entropy", 5, 1, "measured"),
        },
        (
            Arrow("image", "context"),
            Arrow("image", "detail"),
            Arrow("context", "network"),
            Arrow("detail", "network"),
            Arrow("network", "coarse"),
            Arrow("network", "attention"),
            Arrow("network", "fine"),
            Arrow("coarse", "fused"),
            Arrow("attention", "fused"),
            Arrow("fine", "fused"),
            Arrow("fused", "loss"),
        ),
        "Labels, teacher and mixed images are DAFormer’s. The detail’s prediction also has a cross-entropy of its own.",
    ),
)
