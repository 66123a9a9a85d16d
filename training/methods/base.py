"""What a method is to the loop: named networks, and a step that says what to minimise and whom to update.

    for update in method.step(pair):
        backward(sum of update.losses)                   # gradients accumulate
        step and zero the optimisers that update.step names
    method.after_step(step)

A method never sees optimisers, devices or target labels. Terms that share a graph go into one `Update`; each graph
is freed before the next is built.
"""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn

from sim2street.models.errors import ConfigError
from sim2street.models.options import Options
from sim2street.models.segmenter import Segmenter, SegmenterOutput
from sim2street.training.methods.losses import Reduction, cross_entropy
from sim2street.training.pair import DomainPair

PROBE_SIDE = 64


@dataclass(frozen=True)
class Update:
    """One backward pass, then the optimisers to step.

    Attributes:
        losses: named scalars, already weighted; their sum is minimised. May be empty.
        step: networks whose optimisers are stepped and zeroed afterwards; none = gradients go on accumulating.
    """

    losses: dict[str, Tensor] = field(default_factory=dict)
    step: tuple[str, ...] = ()


class MethodOptions(Options):
    """Options that every method has."""

    auxiliary_weight: float = Field(
        default=0.1, ge=0, description="Weight of the auxiliary classifier's cross-entropy."
    )
    reduction: Reduction = Field(
        default="valid", description="Pixels that a cross-entropy is averaged over: labelled ones, or all."
    )

    @property
    def trains_segmenter(self) -> bool:
        """Whether gradients change the segmenter with these options, where the method trains anything."""
        return True

    def check_start(self, initialisation: str) -> None:
        """Refuse with `ConfigError` a start of the run that these options cannot go with."""


class Method(nn.Module, ABC):
    """Base of all methods.

    Args:
        segmenter: the network that is trained for use.
        networks: further trained networks, each with an optimiser of its name.

    Attributes:
        progress: share of the run's steps that are done, in [0,1); the loop sets it before every step.
        needs_extra_networks: whether its extra networks must come from an earlier run.
        in_step: whether all pairs give the same updates, each network's optimiser stepping once. Where not, nothing can
            be averaged over several processes or accumulated pairs.
    """

    progress: float = 0.0
    needs_extra_networks: bool = False
    in_step: bool = True

    def __init__(self, segmenter: Segmenter, **networks: nn.Module) -> None:
        super().__init__()
        self.segmenter = segmenter
        self.trained = ("segmenter", *networks)
        for name, network in networks.items():
            self.add_module(name, network)

    @property
    def networks(self) -> dict[str, nn.Module]:
        """The trained networks by name."""
        return {name: getattr(self, name) for name in self.trained}

    @property
    def extra_networks(self) -> dict[str, nn.Module]:
        """Networks beside the segmenter that are of use after the run: kept with it, and taken over by later stages."""
        return {}

    @abstractmethod
    def step(self, pair: DomainPair) -> Iterator[Update]:
        """Yield the updates of one training step."""

    def after_step(self, step: int) -> None:
        """Called once the optimisers of step number `step` have stepped; teachers move here."""


@dataclass(frozen=True)
class LossTerm:
    """One thing that a method compares, for people; what is minimised is what `code` computes.

    Attributes:
        of: what is compared, such as "prediction of a source picture".
        against: what it should be like, such as "its labels".
        by: how the difference is measured, such as "cross-entropy".
        code: the function or method that computes it.
        weight: option that weighs it; empty where nothing does.
    """

    of: str
    against: str
    by: str
    code: Callable[..., Any]
    weight: str = ""


@dataclass(frozen=True)
class MethodEntry:
    """All that is known of a method beyond its code: one per file, as `ENTRY`.

    Attributes:
        name: key in recipes, configs and `METHODS`.
        method: the class, called with a segmenter and its options.
        options: their class; the defaults are the paper's.
        title: as people write it.
        paper: citation in a line, empty where there is no single one.
        idea: one sentence.
        adapts: whether it needs unlabelled target images.
        colour: CSS hex colour on every page; empty takes one that depends on the name alone.
        year: of the paper, by which methods are listed; None stands first.
        trains: whether gradients change any weight.
        networks: those that it can train; empty for all.
        mixes_labels: whether source labels are mixed with pseudo labels, so that both need the same classes.
        explanation: how it works, in two or three sentences after the idea.
        terms: what it compares, in the order of the paper; pages draw them as a figure.
    """

    name: str
    method: Callable[[Segmenter, Any], Method]
    options: type[MethodOptions]
    title: str
    paper: str
    idea: str
    adapts: bool
    colour: str = ""
    year: int | None = None
    trains: bool = True
    networks: tuple[str, ...] = ()
    mixes_labels: bool = False
    explanation: str = ""
    terms: tuple[LossTerm, ...] = ()


def fault_of_entry(entry: Any) -> str | None:
    """What keeps an object of another package from being a method's entry, in words; None if nothing does."""
    if not isinstance(entry, MethodEntry):
        return f"its entry point leads to a {type(entry).__name__}, expected a MethodEntry"
    if not (isinstance(entry.options, type) and issubclass(entry.options, MethodOptions)):
        return "its options are not a subclass of MethodOptions"
    return None


SUPERVISION_TERM = "prediction of a source picture", "its labels", "cross-entropy"
"""What all methods but AdaBN compare first: the arguments of a `LossTerm` up to its code."""


def supervision(output: SegmenterOutput, pair: DomainPair, options: MethodOptions) -> dict[str, Tensor]:
    """Cross-entropy of the main classifier and, weighted, of the auxiliary one against the source labels."""

    def loss(logits: Tensor) -> Tensor:
        return cross_entropy(logits, pair.source_labels, pair.source_members, options.reduction)

    losses = {"segmentation": loss(output.logits)}
    if output.auxiliary is not None and options.auxiliary_weight > 0:
        losses["segmentation/auxiliary"] = options.auxiliary_weight * loss(output.auxiliary)
    return losses


def feature_channels(segmenter: Segmenter, name: str) -> int:
    """Channels of the feature map of that name, found out on a blank picture.

    Raises:
        ConfigError: the network has none of that name.
    """
    was_training = segmenter.training
    with torch.no_grad():
        features = segmenter.eval()(torch.zeros(1, 3, PROBE_SIDE, PROBE_SIDE)).features
    segmenter.train(was_training)
    if name not in features:
        raise ConfigError(f"The network has no features {name!r} for a discriminator; it has {', '.join(features)}.")
    return features[name].shape[1]


@contextlib.contextmanager
def frozen(network: nn.Module) -> Iterator[nn.Module]:
    """Within the block the network passes gradients through but collects none."""
    before = [(parameter, parameter.requires_grad) for parameter in network.parameters()]
    network.requires_grad_(False)
    try:
        yield network
    finally:
        for parameter, required in before:
            parameter.requires_grad_(required)
