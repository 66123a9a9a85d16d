"""The interface between a method and the loop: named networks, and a step that yields losses and networks to update.

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
from sim2street.training.methods.diagram import Diagram
from sim2street.training.methods.losses import Reduction, cross_entropy
from sim2street.training.pair import DomainPair

PROBE_SIDE = 64


@dataclass(frozen=True)
class Update:
    """One backward pass, then the optimisers to step.

    Attributes:
        losses: named scalars, already weighted; their sum is minimised. May be empty.
        step: networks whose optimisers are stepped and zeroed afterwards; if empty, gradients keep accumulating.
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

    balance: float = Field(
        default=0,
        ge=0,
        le=1,
        description="Exponent of a class's inverse frequency in the batch, by which its pixels count in segmentation and"
        " self-training losses; not part of the papers, where it is 0.",
    )

    @property
    def trains_segmenter(self) -> bool:
        """Whether training changes the segmenter with these options."""
        return True

    def check_start(self, initialisation: str) -> None:
        """Raise `ConfigError` if these options do not allow this initialisation."""


class Method(nn.Module, ABC):
    """Base of all methods.

    Args:
        segmenter: the network that the checkpoint will contain.
        networks: further trained networks, each with an optimiser of the same name.

    Attributes:
        progress: fraction of the run's steps taken, in [0,1); the loop sets it before every step.
        needs_extra_networks: whether its extra networks must come from an earlier run.
        in_step: whether all pairs give the same updates, with each network's optimiser stepping once. If not, gradients
            cannot be averaged over several processes or accumulated pairs.
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
        """Further networks that are useful after the run: saved with it, and loaded by later stages."""
        return {}

    @abstractmethod
    def step(self, pair: DomainPair) -> Iterator[Update]:
        """Yield the updates of one training step."""

    def after_step(self, step: int) -> None:
        """Called after the optimisers of step number `step` have stepped; teachers are updated here."""


@dataclass(frozen=True)
class LossTerm:
    """A readable description of one loss term; `code` computes the term itself.

    Attributes:
        of: what is compared, such as "prediction of a source image".
        against: what it is compared with, such as "its labels".
        by: how the difference is measured, such as "cross-entropy".
        code: the function or method that computes it.
        weight: name of the option that weights it; empty if there is none.
        formula: the term in LaTeX, with its weight; empty if nothing is minimised.
    """

    of: str
    against: str
    by: str
    code: Callable[..., Any]
    weight: str = ""
    formula: str = ""


@dataclass(frozen=True)
class MethodEntry:
    """A method's description beyond its code: one per file, as `ENTRY`.

    Attributes:
        name: key in recipes, configs and `METHODS`.
        method: the class, called with a segmenter and its options.
        options: class of the options; the defaults are the paper's.
        title: display name.
        paper: one-line citation, empty if there is no single paper.
        idea: the idea in one sentence.
        adapts: whether it needs unlabelled target images.
        colour: CSS hex colour on every page; if empty, a colour is derived from the name.
        year: year of the paper, by which methods are sorted; None sorts first.
        trains: whether gradients change any weight.
        networks: names of the networks that it can train; empty for all.
        mixes_labels: whether source labels are mixed with pseudo labels, so that both need the same classes.
        explanation: how it works, in two or three sentences after the idea.
        terms: what it compares, in the order of the paper.
        control: which training without the method's own loss its gains must exceed, and why, with Markdown links.
        diagram: how it works, as pages draw it; None for no drawing.
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
    control: str = ""
    diagram: Diagram | None = None


def fault_of_entry(entry: Any) -> str | None:
    """Why an object of another package cannot be used as a method's entry; None if it can."""
    if not isinstance(entry, MethodEntry):
        return f"its entry point leads to a {type(entry).__name__}, expected a MethodEntry"
    if not (isinstance(entry.options, type) and issubclass(entry.options, MethodOptions)):
        return "its options are not a subclass of MethodOptions"
    return None


SUPERVISION_TERM = "prediction of a source image", "its labels", "cross-entropy"
"""The first loss term of all methods except AdaBN: the arguments of a `LossTerm` before its code."""

SUPERVISION_FORMULA = r"\mathrm{CE}\big(S(x_s),\, y_s\big)"
MIXED_FORMULA = r"q\,\mathrm{CE}\big(S(x_m),\, y_m\big)"
DISTANCE_FORMULA = r"w\;\overline{\lVert \phi(x_s) - \phi_0(x_s) \rVert}"
"""Formulas of terms that several methods have."""

WEIGHT_0 = (
    "An adversarial loss of weight 0 is not the same as no adaptation: in training, target images still pass through the"
    " network and move its batch-norm statistics. A user of AdaptSegNet"
    " [reported this in 2019](https://github.com/wasidennis/AdaptSegNet/issues/25): about 41 % mIoU with weight 0, where"
    " source-only is quoted at 36. The tables measured here have this control: only what a method gains beyond it is its own."
)
"""`control` of the adversarial methods."""


def supervision(output: SegmenterOutput, pair: DomainPair, options: MethodOptions) -> dict[str, Tensor]:
    """Cross-entropy of the main classifier and, weighted, of the auxiliary one against the source labels."""

    def loss(logits: Tensor) -> Tensor:
        return cross_entropy(logits, pair.source_labels, pair.source_members, options.reduction, options.balance)

    losses = {"segmentation": loss(output.logits)}
    if output.auxiliary is not None and options.auxiliary_weight > 0:
        losses["segmentation/auxiliary"] = options.auxiliary_weight * loss(output.auxiliary)
    return losses


def feature_channels(segmenter: Segmenter, name: str) -> int:
    """Channels of the named feature map, determined by running the network on a blank image.

    Raises:
        ConfigError: the network has no feature map of that name.
    """
    was_training = segmenter.training
    with torch.no_grad():
        features = segmenter.eval()(torch.zeros(1, 3, PROBE_SIDE, PROBE_SIDE)).features
    segmenter.train(was_training)
    if name not in features:
        raise ConfigError(
            f"The network has no features {name!r} for a discriminator. Choose one of {', '.join(features)}."
        )
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
