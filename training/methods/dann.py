"""DANN at every pixel: features from which no discriminator can tell the domain (Ganin et al., JMLR 2016, arXiv:1505.07818).

E(f, y, d) = L_y(f, y) - lambda L_d(f, d); features f and classifier y minimise it, the discriminator d maximises it.  Eq. 10
A gradient reversal R between f and d makes that one minimisation:

    CE(y(f(x_s)), y_s) + 1/2 CE(d(R(f(x_s))), source) + 1/2 CE(d(R(f(x_t))), target)
    R passes f(x) on and multiplies the gradient that comes back by -w_d · lambda
    lambda = 2 / (1 + exp(-gamma p)) - 1 at share p of the run                                               Eq. 14

The paper classifies whole images. Here the discriminator sees the deepest feature map position by position, as in FCNs in the
Wild (Hoffman et al., 2016, arXiv:1612.02649), with the architecture of CyCADA's feature discriminator. No paper reports
this benchmark. w_d is ours and applies in R only, so the discriminator's own gradient does not depend on it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Literal

from pydantic import Field
from torch import Tensor

from sim2street.models.networks.discriminators import FeatureDiscriminator
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
    feature_channels,
    supervision,
)
from sim2street.training.methods.diagram import Arrow, Diagram, Node
from sim2street.training.methods.losses import Domain, position_loss
from sim2street.training.methods.parts.gradient_reversal import reversal_factor, reverse_gradient
from sim2street.training.pair import DomainPair


class DANNOptions(MethodOptions):
    """Weights and the discriminator."""

    adversarial_weight: float = Field(
        default=0.01,
        ge=0,
        description="w_d: factor on the discriminator's gradient in the features when lambda is 1.",
    )
    gamma: float = Field(default=10.0, gt=0, description="How fast lambda rises from 0 to 1.")
    stage: Literal["stage3", "stage4"] = Field(default="stage4", description="Features that the discriminator sees.")
    discriminator_width: int = Field(
        default=512, ge=8, le=2048, description="Channels after the discriminator's first layer, halved by the next."
    )


class DANN(Method):
    """Source supervision and a feature discriminator behind a gradient reversal."""

    def __init__(self, segmenter: Segmenter, options: DANNOptions) -> None:
        channels = feature_channels(segmenter, options.stage)
        super().__init__(segmenter, discriminator=FeatureDiscriminator(channels, options.discriminator_width))
        self.options = options

    def step(self, pair: DomainPair) -> Iterator[Update]:
        """The source with its half of the discriminator's loss, then the target's half; both optimisers step at the end."""
        source = self.segmenter(pair.source_images)
        losses = supervision(source, pair, self.options)
        losses["discriminator/source"] = 0.5 * self.discriminator_loss(
            source.features[self.options.stage], Domain.SOURCE
        )
        yield Update(losses)
        target = self.segmenter(pair.target_images).features[self.options.stage]
        yield Update({"discriminator/target": 0.5 * self.discriminator_loss(target, Domain.TARGET)}, step=self.trained)

    def discriminator_loss(self, features: Tensor, domain: Domain) -> Tensor:
        """The discriminator's loss on features (B, D, h, w) of one domain, with the gradient reversed for the features."""
        factor = self.options.adversarial_weight * reversal_factor(self.progress, self.options.gamma)
        return position_loss(self.get_submodule("discriminator")(reverse_gradient(features, factor)), domain)


ENTRY: Final = MethodEntry(
    name="dann",
    method=DANN,
    options=DANNOptions,
    year=2016,
    title="DANN",
    colour="#c9a227",
    paper="Ganin, Ustinova, Ajakan, Germain, Larochelle, Laviolette, Marchand, Lempitsky. Domain-Adversarial Training"
    " of Neural Networks. JMLR 2016. arXiv:1505.07818",
    idea="Learn features from which a discriminator cannot tell, at any pixel, which domain they come from.",
    adapts=True,
    explanation="At every position of the feature map, a discriminator learns to tell whether the image is from the source"
    " or the target domain. Its gradient is reversed on the way back, so the encoder learns features that hide the domain. The"
    " weight of the reversed gradient grows from zero during training.",
    terms=(
        LossTerm(*SUPERVISION_TERM, supervision, formula=SUPERVISION_FORMULA),
        LossTerm(
            "features of both domains",
            "the domain they come from",
            "binary cross-entropy, its gradient reversed for the features",
            DANN.discriminator_loss,
            "adversarial_weight",
            r"\tfrac12 \textstyle\sum_{x \in \{x_s, x_t\}} \mathrm{CE}\big(D(R(\phi(x))),\, d_x\big)",
        ),
    ),
    control=WEIGHT_0,
    diagram=Diagram(
        {
            "source": Node("source image", 0, 0, "source image"),
            "target": Node("target image", 0, 1, "target image"),
            "encoder": Node("encoder", 1, 0.5, "trained"),
            "features": Node("features", 2, 0.5, "features"),
            "classifier": Node("classifier", 3, 0, "trained"),
            "discriminator": Node("discriminator", 3, 1, "trained"),
            "loss": Node("cross-entropy with source labels", 4, 0, "measured"),
            "domain": Node("source or target, at each position?", 4, 1, "measured"),
        },
        (
            Arrow("source", "encoder"),
            Arrow("target", "encoder"),
            Arrow("encoder", "features"),
            Arrow("features", "classifier"),
            Arrow("features", "discriminator"),
            Arrow("classifier", "loss"),
            Arrow("discriminator", "domain"),
            Arrow("discriminator", "encoder", "gradient × −λ", lane=1.55, carries="gradient"),
        ),
        "The discriminator learns to tell the domains apart. Its gradient is reversed on the way to the encoder, which so"
        " learns to hide them.",
    ),
)
