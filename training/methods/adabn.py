"""AdaBN: batch-norm statistics re-estimated on target images (Li et al., 2016, arXiv:1603.04779).

Nothing is trained: each step passes a batch of target images through the network, and running means and variances
become the plain average over all batches. Part of what adversarial methods gain comes from this alone, so every table
lists it as a control.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Final

import torch
from torch import nn

from sim2street.models.segmenter import Segmenter
from sim2street.training.methods.base import LossTerm, Method, MethodEntry, MethodOptions, Update
from sim2street.training.methods.diagram import Arrow, Diagram, Node
from sim2street.training.pair import DomainPair


class AdaBNOptions(MethodOptions):
    """No options beyond those of all methods."""


class AdaBN(Method):
    """Discard the source's statistics and average the target's."""

    in_step = False  # statistics of several processes would not be averaged

    def __init__(self, segmenter: Segmenter, options: AdaBNOptions) -> None:
        super().__init__(segmenter.requires_grad_(False))
        self.options = options
        self.trained = ()
        for norm in batch_norms(segmenter):
            norm.reset_running_stats()
            norm.momentum = None  # the plain average over all batches seen

    def train(self, mode: bool = True) -> AdaBN:
        """Switch modes: only batch norms ever train, so dropout stays off."""
        super().train(False)
        for norm in batch_norms(self.segmenter):
            norm.train(mode)
        return self

    def step(self, pair: DomainPair) -> Iterator[Update]:
        """Pass one batch of target images through the network."""
        with torch.no_grad():
            self.segmenter(pair.target_images)
        yield Update()


def recalibrate(segmenter: Segmenter, pairs: Iterable[DomainPair]) -> None:
    """Replace the batch-norm statistics of a trained segmenter with those of the pairs' target images.

    Statistics gathered in training also include mixed and masked images, which do not look like photos.
    """
    method = AdaBN(segmenter, AdaBNOptions())
    method.train()
    for pair in pairs:
        for _ in method.step(pair):
            pass
    method.eval()


@contextmanager
def statistics_kept(network: nn.Module) -> Iterator[None]:
    """Within it, batch norms in training normalise by their batch as always, but leave their running statistics as they are."""
    norms = batch_norms(network)
    momenta = [norm.momentum for norm in norms]
    try:
        for norm in norms:
            norm.momentum = 0.0
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum


def batch_norms(network: nn.Module) -> list[nn.BatchNorm2d]:
    """All batch norms of a network."""
    return [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]


ENTRY: Final = MethodEntry(
    name="adabn",
    method=AdaBN,
    options=AdaBNOptions,
    year=2016,
    title="AdaBN",
    colour="#8a5a33",
    paper="Li, Wang, Shi, Liu, Hou. Revisiting Batch Normalization For Practical Domain Adaptation. 2016."
    " arXiv:1603.04779",
    idea="Train nothing; re-estimate batch-norm statistics on target images.",
    adapts=True,
    trains=False,
    explanation="Batch norm scales activations by means and variances collected on source images. AdaBN collects them"
    " again on target images and changes no weight. Part of what adversarial methods gain comes from this alone, so every"
    " table lists it beside them as a control.",
    terms=(
        LossTerm(
            "activations of target images", "running means and variances", "average over all batches", recalibrate
        ),
    ),
    diagram=Diagram(
        {
            "target": Node("target images", 0, 0, "target image"),
            "network": Node("trained network, weights kept", 1, 0, "fixed"),
            "activations": Node("activations at each batch norm", 2, 0, "features"),
            "statistics": Node("their means and variances", 3, 0, "statistics"),
        },
        (
            Arrow("target", "network"),
            Arrow("network", "activations"),
            Arrow("activations", "statistics"),
            Arrow("statistics", "network", "replace the source’s", lane=0.7, carries="weights"),
        ),
    ),
)
