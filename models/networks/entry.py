"""A network's description of itself: one `ENTRY` per file."""

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
        title: display name.
        paper: citation in one line; empty if there is no single paper.
        encoder: options -> name of its encoder, such as "ResNet-101 × 0.5", including a reduced width.
        options: class of its options; the defaults are the paper's.
        build: label space and options -> segmenter with random weights.
        classifies_masks: whether it scores masks, so that its entropy cannot be compared with that of a per-pixel
            softmax.
    """

    name: str
    title: str
    paper: str
    encoder: Callable[[Any], str]
    options: type[Options]
    build: Callable[[LabelSpace, Any], Segmenter]
    classifies_masks: bool = False


def with_width(name: str, width: float) -> str:
    """Name of an encoder with its width factor, such as "MiT-B0 × 0.75"."""
    return name if width == 1 else f"{name} × {width:g}"


def fault_of_entry(entry: Any) -> str | None:
    """Say why an object from another package cannot be a network's entry; None if it can."""
    if not isinstance(entry, NetworkEntry):
        return f"its entry point refers to a {type(entry).__name__}; expected a NetworkEntry"
    if not (isinstance(entry.options, type) and issubclass(entry.options, Options)):
        return "its options are not a subclass of Options"
    return None
