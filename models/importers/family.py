"""The description that a family of released checkpoints gives of its files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from torch import Tensor

from sim2street.models.importers.keys import Rename
from sim2street.models.labels import CITYSCAPES19
from sim2street.models.storage.checkpoint import Window
from sim2street.models.storage.origin import Protocol

Weights = Mapping[str, Tensor]

CAFFE_BYTES: Final = "BGR bytes minus (104.00698793, 116.66876762, 122.67891434)"
IMAGENET_STATISTICS: Final = "RGB in [0,1], ImageNet's mean and standard deviation"


@dataclass(frozen=True)
class Plan:
    """How one file becomes a checkpoint.

    Attributes:
        title: display name of the network.
        network: key in `NETWORKS`.
        options: the network's options, from the authors' code and the shapes.
        weights: those of the evaluated network, under the authors' keys.
        rename: the authors' key -> ours.
        window: how photos are presented to the network.
        protocol: the authors' evaluation protocol.
        left_out: number of tensors that were skipped, by reason.
        order: for each of Cityscapes' 19 classes, the index of the file's output.
    """

    title: str
    network: str
    options: dict[str, Any]
    weights: Weights
    rename: Rename
    window: Window
    protocol: Protocol
    left_out: Counter[str] = field(default_factory=Counter)
    order: list[int] = field(default_factory=lambda: list(range(CITYSCAPES19.count)))


@dataclass(frozen=True)
class Family:
    """One entry of `FAMILIES`.

    Attributes:
        title: display name.
        year: of the paper.
        method: key of the method that trained these weights, as in `config.json`.
        licence: of the released weights, as far as the authors state it.
        page: where the authors release them.
        recognises: whether weights look like this family's, even if some keys are wrong.
        plan: weights -> plan. Raises `CheckpointError` if they cannot belong to this family.
        has_teacher: whether training keeps a moving average as a teacher, which is not the network that is evaluated.
        hub_files: names of the weights in the authors' repositories on the Hub, in order of preference; empty if the
            authors have no repositories there.
    """

    title: str
    year: int
    method: str
    licence: str
    page: str
    recognises: Callable[[Weights], bool]
    plan: Callable[[Weights], Plan]
    has_teacher: bool = False
    hub_files: tuple[str, ...] = ()


def has(weights: Weights, *starts: str) -> bool:
    """Whether every one of `starts` is a prefix of some key."""
    return all(any(key.startswith(start) for key in weights) for start in starts)
