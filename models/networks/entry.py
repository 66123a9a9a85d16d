"""What a network says about itself beside its code: one `ENTRY` per file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sim2street.models.labels import LabelSpace
from sim2street.models.options import Options
from sim2street.models.segmenter import Segmenter


@dataclass(frozen=True)
class NetworkEntry:
    """One entry of `NETWORKS`.

    Attributes:
        name: key in recipes, configs and `NETWORKS`.
        title: as people write it.
        paper: citation in a line; empty where there is no single one.
        encoder: options -> what its features come from, such as "ResNet-101 × 0.5", a reduced width included.
        options: everything that can be chosen; the defaults are the paper's.
        build: label space and options -> segmenter with random weights.
        classifies_masks: whether scores are of masks, so that their entropy cannot be compared with that of a softmax per
            pixel.
    """

    name: str
    title: str
    paper: str
    encoder: Callable[[Any], str]
    options: type[Options]
    build: Callable[[LabelSpace, Any], Segmenter]
    classifies_masks: bool = False


def with_width(name: str, width: float) -> str:
    """Name of an encoder with the share of its channels, such as "MiT-B0 × 0.75"."""
    return name if width == 1 else f"{name} × {width:g}"


def fault_of_entry(entry: Any) -> str | None:
    """What keeps an object of another package from being a network's entry, in words; None if nothing does."""
    if not isinstance(entry, NetworkEntry):
        return f"its entry point leads to a {type(entry).__name__}, expected a NetworkEntry"
    if not (isinstance(entry.options, type) and issubclass(entry.options, Options)):
        return "its options are not a subclass of Options"
    return None
