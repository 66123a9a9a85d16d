"""DAFormer: self-training that preserves a transformer's features of rare things (Hoyer et al., CVPR 2022, arXiv:2111.14887).

teacher h      parameters follow the student g: h <- a h + (1 - a) g, a = min(1 - 1/(t+1), 0.999)          Eq. 4
pseudo labels  y_t = argmax h(x_t), one weight q = share of pixels with max h(x_t) >= 0.968                Eq. 2, 3
mix            half of the source's classes pasted onto the target, then colour jitter and blur             Sec. 3.1

student g      CE(g(x_s), y_s) + 0.005 · mean over thing cells of |F_g(x_s) - F_anchor(x_s)|               Eq. 5 to 8
               + q-weighted CE(g(x_mix), y_mix)                                                            Eq. 1

q is one number for the whole batch, as in the authors' code; `weighting = "pixel"`, which weights each pixel by its own
confidence, is a variant of this project.

Both cross-entropies are means over *all* pixels, ignored ones included, as in the authors' code. Rare class sampling
and the warm-up of the learning rate, the paper's other two strategies, are settings of the recipe.

The anchor of the feature distance is the encoder that the run started from: "imagenet", as in the paper, for ImageNet
weights, and "rendered" for a start that was pretrained on rendered scenes. "class_mean", a variant of this project,
compares class means of source and target and has no anchor.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Final, Literal

import torch
from pydantic import Field
from torch import Tensor

from sim2street.models.errors import ConfigError
from sim2street.models.segmenter import Segmenter
from sim2street.training.methods.base import (
    DISTANCE_FORMULA,
    MIXED_FORMULA,
    SUPERVISION_FORMULA,
    SUPERVISION_TERM,
    LossTerm,
    Method,
    MethodEntry,
    MethodOptions,
    Reduction,
    Update,
    supervision,
)
from sim2street.training.methods.diagram import Arrow, Diagram, Node
from sim2street.training.methods.losses import weighted_cross_entropy
from sim2street.training.methods.parts.class_mix import choose_classes, class_mask, mix
from sim2street.training.methods.parts.feature_distance import class_mean_distance, feature_distance
from sim2street.training.methods.parts.pseudo_labels import PseudoLabels, Weighting, pseudo_label
from sim2street.training.methods.parts.strong_augmentation import augment
from sim2street.training.methods.parts.teacher import Teacher
from sim2street.training.pair import DomainPair


class DAFormerOptions(MethodOptions):
    """The defaults are the paper's for GTA5 -> Cityscapes; lengths in pixels belong to 512x512 crops."""

    reduction: Reduction = Field(default="all", description="Pixels that a cross-entropy is averaged over.")
    teacher_momentum: float = Field(default=0.999, ge=0, lt=1, description="a: momentum of the teacher.")
    threshold: float = Field(default=0.968, gt=0, le=1, description="Top probability of a confident pixel.")
    weighting: Weighting = Field(
        default="image",
        description="How confidence weights pixels: all by the share of confident ones, or each by its own confidence.",
    )
    ignore_top: int = Field(default=15, ge=0, description="Rows at the top of the target crop with weight 0.")
    ignore_bottom: int = Field(
        default=120, ge=0, description="Rows at the bottom with weight 0, which show the camera's own car."
    )
    jitter: float = Field(default=0.2, ge=0, le=0.5, description="Strength of the mixed images' colour jitter.")
    distance: Literal["imagenet", "rendered", "class_mean", "none"] = Field(
        default="imagenet",
        description="Anchor of the features of things; see the head of training/methods/daformer.py.",
    )
    distance_weight: float = Field(default=0.005, ge=0, description="Weight of the feature distance.")
    distance_stage: Literal["stage1", "stage2", "stage3", "stage4"] = Field(
        default="stage4", description="Features compared; in small crops a cell of stage 4 holds a whole car."
    )

    def check_start(self, initialisation: str) -> None:
        """Check that the initialisation is what the anchor's name says."""
        is_checkpoint = initialisation not in ("random", "imagenet")
        fits = {"imagenet": initialisation == "imagenet", "rendered": is_checkpoint}
        if self.distance_weight > 0 and not fits.get(self.distance, True):
            raise ConfigError(
                f"method_options.distance is {self.distance!r}, but the run starts from {initialisation!r}, and the anchor"
                " is the initial encoder. Use imagenet with initialisation imagenet, rendered with a checkpoint"
                " trained on rendered scenes, or class_mean or none."
            )


class DAFormer(Method):
    """Student, teacher and, for the feature distance, the encoder as it was at the start."""

    def __init__(self, segmenter: Segmenter, options: DAFormerOptions) -> None:
        if options.distance != "none" and options.distance_weight > 0 and not segmenter.core.has_encoder:
            raise ConfigError(
                f"method_options.distance is {options.distance!r}, but this network has no separate encoder whose features"
                " could be compared. Set it to none, or use the network daformer, segformer, hrda or deeplab_v2."
            )
        super().__init__(segmenter)
        self.options = options
        self.teacher = Teacher(segmenter, options.teacher_momentum)
        anchored = options.distance in ("imagenet", "rendered") and options.distance_weight > 0
        self.anchor = copy.deepcopy(segmenter).requires_grad_(False) if anchored else None

    def train(self, mode: bool = True) -> DAFormer:
        """Switch modes; the anchor stays in evaluation mode."""
        super().train(mode)
        if self.anchor is not None:
            self.anchor.eval()
        return self

    def step(self, pair: DomainPair) -> Iterator[Update]:
        """Source with feature distance, then the mixed images; one optimiser step at the end."""
        options = self.options
        if any(members is not None for members in pair.source_members):
            raise ConfigError(
                f"DAFormer mixes source labels with pseudo labels: every source must have the network's"
                f" {self.segmenter.labels.count} classes ({self.segmenter.labels.name}), or finer ones."
            )
        pseudo = self.pseudo_labels(pair)
        losses, features = self.supervise(pair)
        if options.distance != "none" and options.distance_weight > 0:
            losses["feature_distance"] = options.distance_weight * self.feature_distance(features, pair, pseudo)
        yield Update(losses)

        yield from self.adapt(pair, pseudo)

    def adapt(self, pair: DomainPair, pseudo: PseudoLabels) -> Iterator[Update]:
        """Losses on pseudo labels; the optimiser steps at the end."""
        images, labels, weights = self.mixed(pair, pseudo)
        images = augment(images, self.options.jitter)
        yield Update(self.imitate("self_training", images, labels, weights), step=("segmenter",))

    def pseudo_labels(self, pair: DomainPair) -> PseudoLabels:
        """The teacher's pseudo labels for the unaugmented target images."""
        options = self.options
        logits = self.teacher(pair.target_images).logits
        return pseudo_label(
            logits,
            options.threshold,
            options.ignore_top,
            options.ignore_bottom,
            pair.target_valid,
            options.weighting,
        )

    def supervise(self, pair: DomainPair) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The student's losses on labelled source images, and its features of them by stage."""
        output = self.segmenter(pair.source_images)
        return supervision(output, pair, self.options), output.features

    def imitate(self, term: str, images: Tensor, labels: Tensor, weights: Tensor) -> dict[str, Tensor]:
        """The student's loss, named `term`, on images (B, 3, H, W) with labels and pixel weights (B, H, W)."""
        return {term: weighted_cross_entropy(self.segmenter(images).logits, labels, weights, self.options.balance)}

    def feature_distance(self, by_stage: dict[str, Tensor], pair: DomainPair, pseudo: PseudoLabels) -> Tensor:
        """The unweighted distance of the chosen kind from the student's source features, a scalar."""
        features = by_stage[self.options.distance_stage]
        if self.anchor is None:
            target = self.segmenter.encode(pair.target_images)[self.options.distance_stage]
            return class_mean_distance(features, pair.source_labels, target, pseudo.labels, self.segmenter.labels)
        with torch.no_grad():
            anchor = self.anchor.encode(pair.source_images)[self.options.distance_stage]
        return feature_distance(features, anchor, pair.source_labels, self.segmenter.labels)

    def mixed(self, pair: DomainPair, pseudo: PseudoLabels) -> tuple[Tensor, Tensor, Tensor]:
        """Target images (B, 3, H, W) with source classes pasted onto them, and their labels and weights (B, H, W)."""
        self.refuse_sizes(pair)
        mask = class_mask(pair.source_labels, choose_classes(pair.source_labels))
        return (
            mix(mask, pair.source_images, pair.target_images),
            mix(mask, pair.source_labels, pseudo.labels),
            mix(mask, torch.ones_like(pseudo.weights), pseudo.weights),
        )

    @staticmethod
    def refuse_sizes(pair: DomainPair) -> None:
        """Raise `ConfigError` if source pixels cannot be pasted onto target images."""
        if pair.source_images.shape != pair.target_images.shape:
            raise ConfigError(
                "DAFormer pastes source pixels onto target images, so their crops must have the same size; found"
                f" {tuple(pair.source_images.shape[2:])} and {tuple(pair.target_images.shape[2:])}."
            )

    def after_step(self, step: int) -> None:
        """Update the teacher, as the authors do at the start of the next step."""
        self.teacher.follow(self.segmenter, step + 1)


ENTRY: Final = MethodEntry(
    name="daformer",
    method=DAFormer,
    options=DAFormerOptions,
    year=2022,
    title="DAFormer",
    colour="#4c78dd",
    paper="Hoyer, Dai, Van Gool. DAFormer: Improving Network Architectures and Training Strategies for"
    " Domain-Adaptive Semantic Segmentation. CVPR 2022. arXiv:2111.14887",
    idea="Self-training: a moving average of the network labels target images, onto which source objects are pasted.",
    adapts=True,
    mixes_labels=True,
    explanation="The teacher is a moving average of the network, so it changes slowly and its labels are steadier. Half of a"
    " source image's classes are pasted, with their labels, onto a target image that the teacher has labelled, and the"
    " network learns from the mix. Features of objects are kept close to those of the pretrained encoder, so that training on"
    " synthetic images does not erase what it knows of rare objects.",
    terms=(
        LossTerm(*SUPERVISION_TERM, DAFormer.supervise, formula=SUPERVISION_FORMULA),
        LossTerm(
            "prediction of a mixed image",
            "source labels and the teacher's, mixed the same way",
            "cross-entropy, weighted by the teacher's confidence",
            DAFormer.imitate,
            formula=MIXED_FORMULA,
        ),
        LossTerm(
            "features of things in source images",
            "the same in the pretrained encoder",
            "Euclidean distance",
            DAFormer.feature_distance,
            "distance_weight",
            DISTANCE_FORMULA,
        ),
    ),
    diagram=Diagram(
        {
            "source": Node("source image and labels", 0, 0, "source image"),
            "target": Node("target image", 0, 2, "target image"),
            "teacher": Node("teacher, a moving average", 1, 2, "fixed"),
            "pseudo": Node("its labels", 2, 2, "target labels"),
            "mixed": Node("source objects on the target image", 2, 1, "mixed image"),
            "anchor": Node("pretrained encoder", 3, 0, "fixed"),
            "network": Node("network", 3, 1, "trained"),
            "distance": Node("distance of object features", 4, 0, "measured"),
            "loss": Node("cross-entropy with mixed labels", 4, 1, "measured"),
        },
        (
            Arrow("target", "teacher"),
            Arrow("teacher", "pseudo"),
            Arrow("pseudo", "mixed"),
            Arrow("source", "mixed"),
            Arrow("source", "anchor"),
            Arrow("source", "network"),
            Arrow("mixed", "network"),
            Arrow("anchor", "distance"),
            Arrow("network", "distance"),
            Arrow("network", "loss"),
            Arrow("network", "teacher", lane=2.58, carries="weights"),
        ),
        "Mixed pixels count as much as the teacher is confident. Source images are also learnt from with their own labels.",
    ),
)
