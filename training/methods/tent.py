"""TENT makes a trained network more certain of the photos at hand (Wang et al., ICLR 2021, arXiv:2006.10726).

min over gamma, beta of all batch norms:  mean over pixels of  H(P) = -sum_c P_c log P_c,  P = softmax S(x_t)

Batch norms use the statistics of the current batch, as in the authors' code. A checkpoint needs fixed ones: the plain average
over the batches seen, as in AdaBN, which `training/adapt.py` estimates once more with the adapted network.
The authors' code: Adam at 1e-3, betas (0.9, 0.999), no weight decay, one step a batch, one pass over the data.

More certain does not mean more accurate. Predicting one class everywhere makes the entropy small too, and on segmentation the
method often gains nothing or does harm (Yi et al., 2023, arXiv:2310.05341).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from torch import Tensor

from sim2street.models.errors import ConfigError
from sim2street.models.segmenter import Segmenter
from sim2street.training.methods.adabn import AdaBN, AdaBNOptions, batch_norms
from sim2street.training.methods.base import LossTerm, MethodEntry, Update
from sim2street.training.methods.diagram import Arrow, Diagram, Node
from sim2street.training.pair import DomainPair


class TENTOptions(AdaBNOptions):
    """Nothing beyond what all methods have."""


class TENT(AdaBN):
    """AdaBN whose scales and shifts follow the gradient of the entropy.

    Raises:
        ConfigError: the network has no batch norm with a scale and a shift.
    """

    def __init__(self, segmenter: Segmenter, options: TENTOptions) -> None:
        super().__init__(segmenter, options)
        norms = [norm for norm in batch_norms(segmenter) if norm.affine]
        if not norms:
            raise ConfigError(
                "TENT trains the scales and shifts of batch norms, and this network has none. Choose another checkpoint."
            )
        for norm in norms:
            norm.requires_grad_(True)
        self.trained = ("segmenter",)

    def step(self, pair: DomainPair) -> Iterator[Update]:
        """One step down the entropy of one batch of target images."""
        logits = self.segmenter(pair.target_images).logits
        yield Update({"entropy": shannon_entropy(logits).mean()}, step=("segmenter",))


def shannon_entropy(logits: Tensor) -> Tensor:
    """Entropy of the softmax in nats: (B, C, H, W) -> (B, H, W)."""
    return -(logits.softmax(dim=1) * logits.log_softmax(dim=1)).sum(dim=1)


ENTRY: Final = MethodEntry(
    name="tent",
    method=TENT,
    options=TENTOptions,
    year=2021,
    title="TENT",
    colour="#9aa53a",
    paper="Wang, Shelhamer, Liu, Olshausen, Darrell. Tent: Fully Test-Time Adaptation by Entropy Minimization. ICLR 2021."
    " arXiv:2006.10726",
    idea="Make a trained network more certain of the photos at hand, by the scales and shifts of its batch norms alone.",
    adapts=True,
    explanation="Nothing but the trained network and unlabelled photos is needed. Each step normalises by the statistics of"
    " the photo at hand and moves the scale and shift of every batch norm so that the predictions become more certain."
    " More certain does not mean more accurate: compare before and after, and keep the original.",
    terms=(
        LossTerm(
            "entropy of target predictions",
            "zero",
            "mean over the pixels",
            shannon_entropy,
            formula=r"\overline{H(S(x_t))}",
        ),
    ),
    diagram=Diagram(
        {
            "photo": Node("photo at hand", 0, 0, "target image"),
            "network": Node("trained network", 1, 0, "fixed"),
            "prediction": Node("prediction", 2, 0, "target labels"),
            "entropy": Node("entropy map", 3, 0, "target entropy"),
            "loss": Node("its mean, to be small", 4, 0, "measured"),
        },
        (
            Arrow("photo", "network"),
            Arrow("network", "prediction"),
            Arrow("prediction", "entropy"),
            Arrow("entropy", "loss"),
            Arrow("loss", "network", "scales and shifts of batch norms only", lane=0.65, carries="gradient"),
        ),
    ),
)
