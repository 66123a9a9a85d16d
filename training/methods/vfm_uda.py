"""VFM-UDA: DAFormer's self-training and MIC's masking for a foundation model (Englert et al., CVPRW 2024, arXiv:2406.09896).

    source   CE(g(jitter(x_s)), y_s), mean over labelled pixels
    mixed    q-weighted CE(g(augment(mix(x_s, jitter(x_t)))), mix(y_s, y_t))                as DAFormer, Eq. 1
    masked   q-weighted CE(g(augment(x_t), tokens hidden), y_t)                             as MIC, Eq. 6, 7

y_t and q come from the teacher's mean over a target image and its mirror image. Differences from DAFormer and MIC: there
is no feature distance, tokens of patches are masked instead of blocks of pixels, pasted pixels without a label have weight
0, and source and target images first get their own colour jitter, except for pasted source pixels.

The constants are those of the authors' released configuration. Each of the three losses has its own backward pass.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Literal, cast

import torch
from pydantic import Field
from torch import Tensor

from sim2street.models.labels import IGNORE
from sim2street.models.networks.vfm_uda import VFMUDANetwork
from sim2street.models.segmenter import Segmenter
from sim2street.training.methods.base import (
    MIXED_FORMULA,
    SUPERVISION_FORMULA,
    LossTerm,
    MethodEntry,
    Reduction,
    Update,
    supervision,
)
from sim2street.training.methods.daformer import DAFormer, DAFormerOptions
from sim2street.training.methods.diagram import Arrow, Diagram, Node
from sim2street.training.methods.losses import weighted_cross_entropy
from sim2street.training.methods.parts.class_mix import choose_classes, class_mask, mix
from sim2street.training.methods.parts.pseudo_labels import PseudoLabels, label_of_probabilities
from sim2street.training.methods.parts.strong_augmentation import augment, jitter_colours
from sim2street.training.pair import DomainPair

JITTER_PROBABILITY: Final = 0.9
"""Probability that an image gets the first jitter."""
JITTER: Final = (32 / 255, 0.5, 0.5, 0.05)
"""Strength of its brightness, contrast, saturation and hue changes."""


class VFMUDAOptions(DAFormerOptions):
    """The defaults are the released configuration's for 1024x1024 crops; the border is `target_transform.margins`."""

    reduction: Reduction = Field(default="valid", description="Pixels over which the source cross-entropy is averaged.")
    ignore_top: int = Field(default=0, ge=0, description="Rows at the top of the target crop with weight 0.")
    ignore_bottom: int = Field(default=0, ge=0, description="Rows at the bottom with weight 0.")
    distance: Literal["imagenet", "rendered", "class_mean", "none"] = Field(
        default="none", description="As DAFormer's; the released configuration has none."
    )
    mask_ratio: float = Field(default=0.7, ge=0, lt=1, description="Probability that a patch's token is masked.")
    mask_weight: float = Field(default=1.0, ge=0, description="Weight of the masked loss.")


class VFMUDA(DAFormer):
    """Student and teacher."""

    def __init__(self, segmenter: Segmenter, options: VFMUDAOptions) -> None:
        super().__init__(segmenter, options)
        self.mask = options

    def pseudo_labels(self, pair: DomainPair) -> PseudoLabels:
        """The teacher's pseudo labels, averaged over the unaugmented target images and their mirror images."""
        images, options = pair.target_images, self.options
        plain = self.teacher(images).logits.softmax(dim=1)
        mirrored = self.teacher(images.flip(-1)).logits.softmax(dim=1).flip(-1)
        return label_of_probabilities(
            (plain + mirrored) / 2,
            options.threshold,
            options.ignore_top,
            options.ignore_bottom,
            pair.target_valid,
            options.weighting,
        )

    def supervise(self, pair: DomainPair) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The student's loss on jittered source images, and its features for them."""
        output = self.segmenter(often_jittered(pair.source_images))
        return supervision(output, pair, self.options), output.features

    def mixed(self, pair: DomainPair, pseudo: PseudoLabels) -> tuple[Tensor, Tensor, Tensor]:
        """Jittered target images (B, 3, H, W) with plain source classes pasted on, their labels and weights (B, H, W)."""
        self.refuse_sizes(pair)
        mask = class_mask(pair.source_labels, choose_classes(pair.source_labels))
        labelled = (pair.source_labels != IGNORE).to(pseudo.weights.dtype)
        return (
            mix(mask, pair.source_images, often_jittered(pair.target_images)),
            mix(mask, pair.source_labels, pseudo.labels),
            mix(mask, labelled, pseudo.weights),
        )

    def adapt(self, pair: DomainPair, pseudo: PseudoLabels) -> Iterator[Update]:
        """The mixed images, then the masked ones, in one optimiser step."""
        for update in super().adapt(pair, pseudo):
            yield Update(update.losses)
        logits = self.masked_logits(augment(pair.target_images, self.options.jitter))
        loss = weighted_cross_entropy(logits, pseudo.labels, pseudo.weights, self.options.balance)
        yield Update({"masked": self.mask.mask_weight * loss}, step=("segmenter",))

    def masked_logits(self, images: Tensor) -> Tensor:
        """The student's logits (B, C, H, W) for (B, 3, H, W) RGB in [0,1] with masked patches."""
        core = cast(VFMUDANetwork, self.segmenter.core)
        outputs = core(self.segmenter.normalise(images), hide=self.mask.mask_ratio)
        return self.segmenter.upsample(outputs["main"], images.shape[-2:])


def often_jittered(images: Tensor) -> Tensor:
    """(B, 3, H, W) RGB in [0,1], each image jittered with `JITTER_PROBABILITY`."""
    chosen = (torch.rand(len(images)) < JITTER_PROBABILITY).tolist()
    return torch.stack(
        [jitter_colours(image, JITTER) if yes else image for image, yes in zip(images, chosen, strict=True)]
    )


ENTRY: Final = MethodEntry(
    name="vfm_uda",
    method=VFMUDA,
    options=VFMUDAOptions,
    year=2024,
    title="VFM-UDA",
    colour="#7a4fc0",
    paper="Englert, Piva, Kerssies, de Geus, Dubbelman. Exploring the Benefits of Vision Foundation Models for"
    " Unsupervised Domain Adaptation. CVPR Workshops 2024. arXiv:2406.09896",
    idea="Start from a vision foundation model; self-training with pasted source objects and masked patches.",
    adapts=True,
    networks=("vfm_uda",),
    mixes_labels=True,
    explanation="Training starts from a vision foundation model instead of an ImageNet encoder. The network then learns from a"
    " teacher's labels on target images with pasted source objects, as in DAFormer, and on target images with most patches"
    " masked, as in MIC.",
    terms=(
        LossTerm(
            "prediction of a source image", "its labels", "cross-entropy", VFMUDA.supervise, formula=SUPERVISION_FORMULA
        ),
        LossTerm(
            "prediction of a mixed image",
            "source labels and the teacher's, mixed the same way",
            "cross-entropy, weighted by the teacher's confidence",
            VFMUDA.imitate,
            formula=MIXED_FORMULA,
        ),
        LossTerm(
            "prediction of a target image with masked patches",
            "the teacher's labels of the whole image",
            "cross-entropy, weighted by the teacher's confidence",
            VFMUDA.adapt,
            "mask_weight",
            r"w\,q\,\mathrm{CE}\big(S(M \odot x_t),\, \hat{y}_t\big)",
        ),
    ),
    diagram=Diagram(
        {
            "source": Node("source image and labels", 0, 0, "source image"),
            "target": Node("target image", 0, 1, "target image"),
            "mixed": Node("source objects on the target image", 1, 0, "mixed image"),
            "masked": Node("most patches masked", 1, 1, "masked image"),
            "network": Node("network, begun as a foundation model", 2, 0.5, "trained"),
            "teacher": Node("teacher, a moving average", 2, 2, "fixed"),
            "prediction": Node("predictions", 3, 0.5, "target labels"),
            "pseudo": Node("its labels", 3, 2, "target labels"),
            "loss": Node("cross-entropy", 4, 0.5, "measured"),
        },
        (
            Arrow("source", "mixed"),
            Arrow("target", "mixed"),
            Arrow("target", "masked"),
            Arrow("target", "teacher", lane=2),
            Arrow("mixed", "network"),
            Arrow("masked", "network"),
            Arrow("network", "prediction"),
            Arrow("network", "teacher", carries="weights"),
            Arrow("teacher", "pseudo"),
            Arrow("prediction", "loss"),
            Arrow("pseudo", "loss"),
        ),
        "Pasted pixels keep their source labels. Source images are also learnt from with their own labels.",
    ),
)
