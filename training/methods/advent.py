"""ADVENT: target entropy maps should look like source entropy maps (Vu et al., CVPR 2019, arXiv:1811.12833).

I(x) = -P log2 P / log2 C, the weighted self-information map of P = softmax S(x)                        Sec. 3.2

segmenter      CE(S(x_s), y_s) + w_adv · BCE(D(I(x_t)), source)                                         AdvEnt
                               + w_ent · mean entropy of S(x_t)                                         MinEnt
                               + w_cp  · sum_c max(0, mu · p_s(c) - mean_hw P_t(c))                     class prior
discriminator  1/2 BCE(D(I(x_s)), source) + 1/2 BCE(D(I(x_t)), target)

Every term except the prior also applies to the auxiliary classifier, with a fifth of the weight and its own
discriminator. Labels follow the authors' code, source 0 and target 1; the paper's equations number them the other
way round, which is equivalent. The published 45.5 ("AdvEnt+MinEnt") averages the logits of two trained networks;
training with both terms at once, which is possible here, is not the same.

Two options are variants of this project: `map = "probability_times_entropy"` (P_c times the total entropy) and
`saturating = true` (maximise the discriminator's loss instead of minimising it on flipped labels).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from sim2street.models.networks.discriminators import PatchDiscriminator
from sim2street.models.segmenter import Segmenter
from sim2street.training.methods.base import (
    SUPERVISION_FORMULA,
    SUPERVISION_TERM,
    WEIGHT_0,
    LossTerm,
    Method,
    MethodEntry,
    MethodOptions,
    Update,
    frozen,
    supervision,
)
from sim2street.training.methods.diagram import Arrow, Diagram, Node
from sim2street.training.methods.losses import Domain, domain_loss, entropy, self_information, softmax
from sim2street.training.pair import DomainPair

AUXILIARY_SHARE = 0.2
"""Weight of the auxiliary classifier's target terms relative to the main one's: 0.0002 / 0.001 in the code."""


class ADVENTOptions(MethodOptions):
    """Weights and variants; the defaults are AdvEnt for GTA5 -> Cityscapes."""

    adversarial_weight: float = Field(default=1e-3, ge=0, description="w_adv; 0 trains no discriminator.")
    entropy_weight: float = Field(default=0.0, ge=0, description="w_ent; MinEnt is 0.001 with adversarial_weight 0.")
    prior_weight: float = Field(
        default=0.0, ge=0, description="w_cp, used by the paper for SYNTHIA only; its value is not given."
    )
    prior_ratio: float = Field(
        default=0.5, ge=0, le=1, description="mu: how much rarer than in the source a class may get."
    )
    map: Literal["self_information", "probability_times_entropy"] = Field(
        default="self_information", description="What the discriminator sees."
    )
    saturating: bool = Field(
        default=False, description="Maximise the discriminator's loss on the target, the min-max form."
    )
    discriminator_width: int = Field(
        default=64, ge=4, le=512, description="Channels after the discriminator's first layer."
    )


class ADVENT(Method):
    """AdvEnt, MinEnt and the class-ratio prior, each by its weight."""

    def __init__(self, segmenter: Segmenter, options: ADVENTOptions) -> None:
        discriminators: dict[str, nn.Module] = {}
        if options.adversarial_weight > 0:
            for head in ("discriminator", "discriminator_auxiliary")[: 1 + has_auxiliary(segmenter)]:
                discriminators[head] = PatchDiscriminator(segmenter.labels.count, options.discriminator_width)
        super().__init__(segmenter, **discriminators)
        self.options = options
        self.source_counts: Tensor
        # Histogram of all source labels seen so far; the paper takes it from the whole set beforehand.
        self.register_buffer("source_counts", torch.zeros(segmenter.labels.count, dtype=torch.int64))

    def step(self, pair: DomainPair) -> Iterator[Update]:
        """Source supervision, target terms, discriminators; all optimisers step once at the end."""
        options = self.options
        source = self.segmenter(pair.source_images)
        yield Update(supervision(source, pair, options))
        if options.prior_weight > 0:
            counted = pair.source_labels[pair.source_labels < len(self.source_counts)]
            self.source_counts += torch.bincount(counted, minlength=len(self.source_counts))

        target = self.segmenter(pair.target_images)
        seen: dict[tuple[Domain, str], Tensor] = {}
        losses: dict[str, Tensor] = {}
        for head, share, logits in heads(target.logits, target.auxiliary):
            probabilities = softmax(logits)
            if options.adversarial_weight > 0:
                maps = self.discriminator_input(probabilities)
                seen[Domain.TARGET, head] = maps.detach()
                with frozen(self.get_submodule(f"discriminator{head}")) as fixed:
                    verdict = fixed(maps)
                fooled = (
                    -domain_loss(verdict, Domain.TARGET) if options.saturating else domain_loss(verdict, Domain.SOURCE)
                )
                losses[f"adversarial{head}"] = share * options.adversarial_weight * fooled
            if options.entropy_weight > 0:
                losses[f"entropy{head}"] = share * options.entropy_weight * entropy(probabilities).mean()
            if options.prior_weight > 0 and not head:
                losses["prior"] = options.prior_weight * self.prior_violation(probabilities)
        if losses:
            yield Update(losses)

        if options.adversarial_weight > 0:
            for head, _, logits in heads(source.logits, source.auxiliary):
                seen[Domain.SOURCE, head] = self.discriminator_input(softmax(logits.detach()))
            for domain in (Domain.SOURCE, Domain.TARGET):
                for head, _, _ in heads(source.logits, source.auxiliary):
                    verdict = self.get_submodule(f"discriminator{head}")(seen.pop((domain, head)))
                    name = f"discriminator{head}/{domain.name.lower()}"
                    yield Update({name: 0.5 * domain_loss(verdict, domain)})
        yield Update(step=self.trained)

    def discriminator_input(self, probabilities: Tensor) -> Tensor:
        """The map that the discriminator sees: (B, C, H, W) -> (B, C, H, W)."""
        if self.options.map == "probability_times_entropy":
            return probabilities * entropy(probabilities)[:, None]
        return self_information(probabilities)

    def prior_violation(self, probabilities: Tensor) -> Tensor:
        """Sum over classes of how far the predicted share falls below `prior_ratio` of the source's share."""
        source_share = (self.source_counts / self.source_counts.sum().clamp(min=1)).to(probabilities.dtype)
        predicted_share = probabilities.mean(dim=(0, 2, 3))
        return (self.options.prior_ratio * source_share - predicted_share).clamp(min=0).sum()


def has_auxiliary(segmenter: Segmenter) -> bool:
    """Whether the network has a second classifier."""
    return segmenter.core.has_auxiliary


def heads(main: Tensor, auxiliary: Tensor | None) -> Iterator[tuple[str, float, Tensor]]:
    """Each classifier's name suffix, share of the weights, and logits."""
    yield "", 1.0, main
    if auxiliary is not None:
        yield "_auxiliary", AUXILIARY_SHARE, auxiliary


ENTRY: Final = MethodEntry(
    name="advent",
    method=ADVENT,
    options=ADVENTOptions,
    year=2019,
    title="ADVENT",
    colour="#e07b39",
    paper="Vu, Jain, Bucher, Cord, Pérez. ADVENT: Adversarial Entropy Minimization for Domain Adaptation in"
    " Semantic Segmentation. CVPR 2019. arXiv:1811.12833",
    idea="Make the entropy maps of target predictions indistinguishable from those of source predictions.",
    adapts=True,
    explanation="On source images a network is certain except along object boundaries; on target images it is uncertain"
    " everywhere. A discriminator sees the entropy of every class at every pixel, and the network learns to produce target"
    " entropy maps that look like source ones.",
    terms=(
        LossTerm(*SUPERVISION_TERM, supervision, formula=SUPERVISION_FORMULA),
        LossTerm(
            "entropy maps of target images",
            "entropy maps of source images",
            "discriminator",
            ADVENT.discriminator_input,
            "adversarial_weight",
            r"w_\text{adv}\,\mathrm{BCE}\big(D(I(S(x_t))),\, \text{source}\big)",
        ),
        LossTerm(
            "entropy of target predictions",
            "zero",
            "mean over the pixels",
            entropy,
            "entropy_weight",
            r"w_\text{ent}\;\overline{H(S(x_t))}",
        ),
        LossTerm(
            "class shares in target predictions",
            "class shares in source labels",
            "what falls short",
            ADVENT.prior_violation,
            "prior_weight",
            r"w_\text{cp} \textstyle\sum_c \max\big(0,\, \mu\,p_s(c) - \overline{S_c(x_t)}\big)",
        ),
    ),
    control=WEIGHT_0,
    diagram=Diagram(
        {
            "source": Node("source image", 0, 0, "source image"),
            "target": Node("target image", 0, 1, "target image"),
            "network": Node("network", 1, 0.5, "trained"),
            "source_labels": Node("prediction", 2, 0, "source labels"),
            "target_labels": Node("prediction", 2, 1, "target labels"),
            "source_entropy": Node("entropy: along the edges", 3, 0, "source entropy"),
            "target_entropy": Node("entropy: everywhere", 3, 1, "target entropy"),
            "discriminator": Node("discriminator: whose entropy?", 4, 0.5, "trained"),
        },
        (
            Arrow("source", "network"),
            Arrow("target", "network"),
            Arrow("network", "source_labels"),
            Arrow("network", "target_labels"),
            Arrow("source_labels", "source_entropy"),
            Arrow("target_labels", "target_entropy"),
            Arrow("source_entropy", "discriminator"),
            Arrow("target_entropy", "discriminator"),
            Arrow("discriminator", "network", "target maps should pass as source maps", lane=1.55, carries="gradient"),
        ),
        "Source images are also learnt from with their labels.",
    ),
)
