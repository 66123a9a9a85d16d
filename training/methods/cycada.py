"""CyCADA: translate source images to the target's style and align the features of both (Hoffman et al., ICML 2018).

arXiv:1711.03213. G: source -> target and F: target -> source are the generators, D_T and D_S the image discriminators,
f the segmenter and D the discriminator of its scores. The five losses, with the constants of the authors' code:

task      CE(f(G(x_s)), y_s)                                                                        Eq. 1, on G(x_s)
image     2 · gan(D_T(G(x_s)), real) + gan(D_S(F(x_t)), real), against discriminators trained for the opposite       Eq. 2
cycle     10 · (|F(G(x_s)) - x_s| + |G(F(x_t)) - x_t|) + 5 · (|G(x_t) - x_t| + |F(x_s) - x_s|)                Eq. 3
semantic  CE(f_S(G(x_s)), y_s) + CE(f_S(F(x_t)), argmax f_S(x_t)), f_S the frozen source segmenter           Eq. 4
feature   0.1 · CE(D(f(x_t)), source), against D that tells f(G(x_s)) from f(x_t)                            Eq. 5

The paper's GTA5 experiment trains in stages, here the stages of a recipe: `phase = "translation"` (image and cycle; the
semantic loss is off for lack of memory), then "segmentation" on translated images, then "features". "joint" trains all of
them in every step, in the order of the authors' code. Every sub-step has its own optimiser step and affects only the
networks that it steps: the task loss does not train G.

Labels of D are source 1, target 0. f learns from D only while D is right at more than 60 % of the positions, averaged
over its last 100 steps, because a discriminator at chance level gives no useful gradient. The authors translate the whole
data set once; here each crop is translated as it is drawn, by the same frozen G. `sim2street translate` translates whole
images.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Final, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from sim2street.models.networks.cyclegan import Generator, PatchGAN
from sim2street.models.networks.discriminators import FeatureDiscriminator
from sim2street.models.segmenter import Segmenter, SegmenterOutput
from sim2street.training.methods.base import (
    WEIGHT_0,
    LossTerm,
    Method,
    MethodEntry,
    MethodOptions,
    Update,
    feature_channels,
    frozen,
    supervision,
)
from sim2street.training.methods.diagram import Arrow, Diagram, Node
from sim2street.training.methods.losses import Domain, cross_entropy, gan_loss, position_loss
from sim2street.training.methods.parts.image_pool import ImagePool
from sim2street.training.pair import DomainPair

GENERATORS = ("to_target", "to_source")
DISCRIMINATORS = ("discriminator_target", "discriminator_source")
REMEMBERED = 100
"""Steps over which the feature discriminator's accuracy is averaged."""


class CyCADAOptions(MethodOptions):
    """Phases, weights and sizes; the defaults are the authors' for GTA5 -> Cityscapes."""

    phase: Literal["translation", "segmentation", "features", "joint"] = Field(
        default="translation", description="What is trained; see the head of training/methods/cycada.py."
    )
    translated: bool = Field(default=True, description="Whether f sees translated source images; false is an ablation.")
    gan: Literal["lsgan", "log"] = Field(
        default="lsgan", description="Squared errors as in the code, or the paper's logs."
    )
    forward_weight: float = Field(
        default=2.0, ge=0, description="Weight of the image loss source -> target; 1 in the paper."
    )
    cycle_weight: float = Field(default=10.0, ge=0, description="Weight of the cycle loss.")
    identity_weight: float = Field(
        default=0.5, ge=0, description="Weight of the identity loss, relative to the cycle's."
    )
    semantic: Literal["labels", "hard", "soft"] = Field(
        default="labels",
        description="Target of f_S on translated source images: labels as in the code; hard: its predictions for the"
        " originals, as in the paper's equation; soft: the same with probabilities. Target images always use the latter two.",
    )
    semantic_weight: float = Field(
        default=0.0, ge=0, description="Weight of the semantic loss: 0 for GTA5, 1 for the paper's digits."
    )
    semantic_gate: float = Field(default=1.0, gt=0, description="Loss of f_S above which the semantic loss is off.")
    feature_weight: float = Field(default=0.1, ge=0, description="Weight of the feature loss in the segmenter.")
    accuracy_gate: float = Field(
        default=0.6, ge=0, le=1, description="Accuracy that D must exceed before f learns from it."
    )
    discriminator_input: Literal["scores", "fc7"] = Field(
        default="scores", description="Input of D: scores as with DRN, or the last features of FCN-8s."
    )
    discriminator_cell: int = Field(
        default=1,
        ge=1,
        le=64,
        description="Side in pixels of the cells over which D's input is averaged; above 1 for laptops.",
    )
    generator_width: int = Field(default=64, ge=4, le=128, description="Channels of the generators' first convolution.")
    generator_blocks: int = Field(default=9, ge=1, le=16, description="Residual blocks of the generators.")
    generator_dropout: bool = Field(default=True, description="Drop half of each block's activations in training.")
    discriminator_width: int = Field(
        default=64, ge=4, le=128, description="Channels of the image discriminators' first convolution."
    )
    pool: int = Field(
        default=50, ge=0, le=1000, description="Earlier translations that the image discriminators see again."
    )

    @property
    def translates(self) -> bool:
        """Whether generators are trained."""
        return self.phase in ("translation", "joint")

    @property
    def trains_segmenter(self) -> bool:
        """All phases but the translation train it."""
        return self.phase != "translation"


class CyCADA(Method):
    """The networks of one phase; f_S is the segmenter as it was at the start."""

    def __init__(self, segmenter: Segmenter, options: CyCADAOptions) -> None:
        o = options
        networks: dict[str, nn.Module] = {}
        if o.translates:
            for name in GENERATORS:
                networks[name] = Generator(o.generator_width, o.generator_blocks, dropout=o.generator_dropout)
            networks |= {name: PatchGAN(width=o.discriminator_width) for name in DISCRIMINATORS}
        if o.phase in ("features", "joint"):
            networks["discriminator"] = FeatureDiscriminator(
                segmenter.labels.count
                if o.discriminator_input == "scores"
                else feature_channels(segmenter, o.discriminator_input)
            )
        super().__init__(segmenter, **networks)
        self.options = options
        self.in_step = o.phase not in (
            "features",
            "joint",
        )  # in these phases the discriminator's accuracy decides which networks step
        # Used for translation; trained in an earlier stage.
        self.needs_extra_networks = o.phase in ("segmentation", "features") and o.translated
        if self.needs_extra_networks:
            self.to_target = Generator(o.generator_width, o.generator_blocks, dropout=o.generator_dropout)
            self.to_target.requires_grad_(False)
        if o.translates:
            self.pools = nn.ModuleList([ImagePool(o.pool), ImagePool(o.pool)])
        self.source_segmenter: Segmenter | None = None
        if o.translates and o.semantic_weight > 0:
            self.source_segmenter = copy.deepcopy(segmenter).requires_grad_(False)
        if not o.trains_segmenter:
            segmenter.requires_grad_(False)
            self.trained = (*GENERATORS, *DISCRIMINATORS)
        self.accuracies: Tensor
        self.discriminator_steps: Tensor
        self.register_buffer("accuracies", torch.zeros(REMEMBERED))
        self.register_buffer("discriminator_steps", torch.zeros((), dtype=torch.int64))

    @property
    def extra_networks(self) -> dict[str, nn.Module]:
        """The generators."""
        return {name: self.get_submodule(name) for name in GENERATORS if hasattr(self, name)}

    def train(self, mode: bool = True) -> CyCADA:
        """Switch modes; networks that are not trained stay in evaluation mode."""
        super().train(mode)
        if self.source_segmenter is not None:
            self.source_segmenter.eval()
        if self.needs_extra_networks:
            self.to_target.eval()
        if not self.options.trains_segmenter:
            self.segmenter.eval()
        return self

    def step(self, pair: DomainPair) -> Iterator[Update]:
        """The sub-steps of the phase, each with its own optimiser step."""
        if self.options.translates:
            yield from self.translation(pair)
        if not self.options.trains_segmenter:
            return
        translated = self.translated(pair)
        if self.options.phase in ("features", "joint"):
            yield from self.feature_adaptation(pair, translated)
        yield Update(supervision(self.segmenter(translated), pair, self.options), step=("segmenter",))

    def translation(self, pair: DomainPair) -> Iterator[Update]:
        """Generators against frozen image discriminators, then each discriminator on new and earlier translations."""
        o, gan = self.options, self.options.gan
        source, target = 2 * pair.source_images - 1, 2 * pair.target_images - 1
        to_target, to_source = (self.get_submodule(name) for name in GENERATORS)
        as_target, as_source = to_target(source), to_source(target)
        with (
            frozen(self.get_submodule("discriminator_target")) as discriminator_t,
            frozen(self.get_submodule("discriminator_source")) as discriminator_s,
        ):
            losses = {
                "translation/to_target": o.forward_weight * gan_loss(discriminator_t(as_target), True, gan),
                "translation/to_source": gan_loss(discriminator_s(as_source), True, gan),
            }
        if o.cycle_weight > 0:
            back = F.l1_loss(to_source(as_target), source) + F.l1_loss(to_target(as_source), target)
            losses["translation/cycle"] = o.cycle_weight * back
        if o.cycle_weight * o.identity_weight > 0:
            same = F.l1_loss(to_target(target), target) + F.l1_loss(to_source(source), source)
            losses["translation/identity"] = o.cycle_weight * o.identity_weight * same
        if self.source_segmenter is not None:
            semantic = self.semantic_loss(self.source_segmenter, pair, (as_target + 1) / 2, (as_source + 1) / 2)
            losses["translation/semantic"] = o.semantic_weight * semantic
        yield Update(losses, step=GENERATORS)

        for name, real, painted, pool in zip(
            DISCRIMINATORS, (target, source), (as_target, as_source), self.pools, strict=True
        ):
            assert isinstance(pool, ImagePool)
            discriminator, earlier = self.get_submodule(name), pool.exchange(painted)
            loss = 0.5 * (gan_loss(discriminator(real), True, gan) + gan_loss(discriminator(earlier), False, gan))
            yield Update({name: loss}, step=(name,))

    def semantic_loss(
        self, source_segmenter: Segmenter, pair: DomainPair, as_target: Tensor, as_source: Tensor
    ) -> Tensor:
        """Disagreement of f_S on images (B, 3, H, W) in [0,1] and their translations; 0 while its own loss is too high."""
        with torch.no_grad():
            said_of_source, said_of_target = (
                source_segmenter(pair.source_images).logits,
                source_segmenter(pair.target_images).logits,
            )
            own = cross_entropy(said_of_source, pair.source_labels, pair.source_members, self.options.reduction)
        if own > self.options.semantic_gate:
            return as_target.new_zeros(())
        says_of_source, says_of_target = source_segmenter(as_target).logits, source_segmenter(as_source).logits
        if self.options.semantic == "soft":
            return F.cross_entropy(says_of_source, said_of_source.softmax(dim=1)) + F.cross_entropy(
                says_of_target, said_of_target.softmax(dim=1)
            )
        of_target = F.cross_entropy(says_of_target, said_of_target.argmax(dim=1))
        if self.options.semantic == "hard":
            return F.cross_entropy(says_of_source, said_of_source.argmax(dim=1)) + of_target
        of_source = cross_entropy(says_of_source, pair.source_labels, pair.source_members, self.options.reduction)
        return of_source + of_target

    def feature_adaptation(self, pair: DomainPair, translated: Tensor) -> Iterator[Update]:
        """Train the feature discriminator; then, if it is accurate enough, the segmenter against it."""
        discriminator = self.get_submodule("discriminator")
        with torch.no_grad():
            source = self.seen(self.segmenter(translated))
        # Before torch 2.11, autocast would reuse the weights cast here, which have no gradient.
        torch.clear_autocast_cache()
        target = self.seen(self.segmenter(pair.target_images))
        of_source, of_target = discriminator(source), discriminator(target.detach())
        loss = 0.5 * (position_loss(of_source, Domain.SOURCE) + position_loss(of_target, Domain.TARGET))
        right = 0.5 * ((of_source.argmax(dim=1) == 1).float().mean() + (of_target.argmax(dim=1) == 0).float().mean())
        self.accuracies[self.discriminator_steps % REMEMBERED] = right.detach()
        self.discriminator_steps += 1
        yield Update({"discriminator": loss}, step=("discriminator",))
        if self.options.feature_weight > 0 and self.accuracy > self.options.accuracy_gate:
            with frozen(discriminator) as fixed:
                fooled = position_loss(fixed(target), Domain.SOURCE)
            yield Update({"feature": self.options.feature_weight * fooled}, step=("segmenter",))

    @property
    def accuracy(self) -> float:
        """Accuracy of the feature discriminator, averaged over its last 100 steps or fewer."""
        return float(self.accuracies.sum() / self.discriminator_steps.clamp(1, REMEMBERED))

    def seen(self, output: SegmenterOutput) -> Tensor:
        """The feature discriminator's input for an output, (B, C, h, w)."""
        maps = output.logits if self.options.discriminator_input == "scores" else output.features["fc7"]
        cell = self.options.discriminator_cell
        return maps if cell == 1 else F.avg_pool2d(maps, cell, ceil_mode=True)

    @torch.no_grad()
    def translated(self, pair: DomainPair) -> Tensor:
        """Source images translated by G, (B, 3, H, W) in [0,1], without a graph."""
        if not self.options.translated:
            return pair.source_images
        generator = self.get_submodule("to_target")
        was_training = generator.training
        painted = generator.eval()(2 * pair.source_images - 1)
        generator.train(was_training)
        return (painted + 1) / 2


ENTRY: Final = MethodEntry(
    name="cycada",
    method=CyCADA,
    options=CyCADAOptions,
    year=2018,
    title="CyCADA",
    colour="#17a398",
    paper="Hoffman, Tzeng, Park, Zhu, Isola, Saenko, Efros, Darrell. CyCADA: Cycle-Consistent Adversarial Domain"
    " Adaptation. ICML 2018. arXiv:1711.03213",
    idea="Translate source images to the target's style, train on those, then align what the network predicts for both.",
    adapts=True,
    explanation="Two generators learn to give images of one domain the look of the other. Translating there and back"
    " must return the original image, so its content survives and its labels stay valid. The segmenter is trained on"
    " translated source images. A discriminator then aligns its scores on source and target images.",
    terms=(
        LossTerm(
            "translated source images",
            "target images",
            "image discriminator",
            gan_loss,
            "forward_weight",
            r"w_\text{fwd}\,\ell\big(D_t(G(x_s)), 1\big) + \ell\big(D_s(F(x_t)), 1\big)",
        ),
        LossTerm(
            "images translated there and back",
            "the images",
            "mean absolute difference",
            CyCADA.translation,
            "cycle_weight",
            r"w_\text{cyc}\,\big(|F(G(x_s)) - x_s| + |G(F(x_t)) - x_t|\big)",
        ),
        LossTerm(
            "prediction of a translated image",
            "labels or prediction of the original",
            "cross-entropy",
            CyCADA.semantic_loss,
            "semantic_weight",
            r"w_\text{sem}\,\mathrm{CE}\big(S_0(G(x_s)),\, y_s\big)",
        ),
        LossTerm(
            "prediction of a translated source image",
            "its labels",
            "cross-entropy",
            supervision,
            formula=r"\mathrm{CE}\big(S(G(x_s)),\, y_s\big)",
        ),
        LossTerm(
            "scores of target images",
            "scores of translated source images",
            "discriminator",
            CyCADA.feature_adaptation,
            "feature_weight",
            r"w_\text{feat}\,\mathrm{CE}\big(D(S(x_t)),\, \text{source}\big)",
        ),
    ),
    control=WEIGHT_0,
    diagram=Diagram(
        {
            "source": Node("source image", 0, 1, "source image"),
            "target": Node("target image", 0, 2, "target image"),
            "generator": Node("generator to the target’s look", 1, 1, "trained"),
            "real": Node("a target image", 1, 0, "target image"),
            "judged": Node("image discriminator: real or translated?", 2, 0, "trained"),
            "translated": Node("translated image", 2, 1, "translated image"),
            "back": Node("generator back", 3, 0, "trained"),
            "cycle": Node("the source image again?", 4, 0, "measured"),
            "network": Node("network", 3, 1, "trained"),
            "prediction": Node("prediction", 4, 1, "source labels"),
            "loss": Node("cross-entropy with source labels", 5, 1, "measured"),
            "scores": Node("discriminator: whose scores?", 4, 2, "trained"),
        },
        (
            Arrow("source", "generator"),
            Arrow("generator", "translated"),
            Arrow("real", "judged"),
            Arrow("translated", "judged"),
            Arrow("translated", "back"),
            Arrow("back", "cycle"),
            Arrow("translated", "network"),
            Arrow("target", "network"),
            Arrow("network", "prediction"),
            Arrow("prediction", "loss"),
            Arrow("prediction", "scores"),
        ),
        "Target images take the same way in the opposite direction. The networks are trained in stages: first the two"
        " generators, then the network on translated images, then the same against the discriminator of its scores.",
    ),
)
