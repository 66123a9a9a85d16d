"""What a family of released checkpoints has to say about its files."""

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
        title: the network, for people.
        network: key in `NETWORKS`.
        options: of the network; what the authors' code has fixed and what the shapes say.
        weights: those that belong to the evaluated network, under the authors' keys.
        rename: the authors' key -> ours.
        window: how photos are shown to the network.
        protocol: how the authors measure.
        left_out: tensors that were not even looked at, by reason.
        order: which of the file's outputs each of Cityscapes' 19 classes is.
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
        title: as people write it.
        year: of the paper.
        method: key of the method that trained these weights, as in `config.json`.
        licence: of the released weights, as far as the authors state it.
        page: where the authors release them.
        recognises: whether weights look like this family's, rightly named or not.
        plan: weights -> plan. Raises `CheckpointError` if they cannot be this family's.
        has_teacher: whether training keeps a moving average as a teacher, which is not the network that is evaluated.
        hub_files: names of the weights in the authors' repositories on the Hub, the better first; none where the
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
    """Whether for each of `starts` some key begins with it."""
    return all(any(key.startswith(start) for key in weights) for start in starts)
