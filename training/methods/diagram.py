"""How a method works as nodes and arrows, for pages to draw.

A node stands at a step, which is the order of reading, and in a lane beside it. On a wide screen steps go to the right and
lanes down, on a phone steps go down and lanes to the right; so a diagram has at most three lanes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, get_args

Kind = Literal["trained", "fixed", "measured"]
"""A network that gradients train; one that they do not; what is minimised."""
Picture = Literal[
    "source image",
    "source labels",
    "translated image",
    "target image",
    "unused image",
    "target labels",
    "mixed image",
    "masked image",
    "marked image",
    "small image",
    "window",
    "source entropy",
    "target entropy",
    "attention",
    "features",
    "statistics",
]
"""What is drawn in place of a box: an image of a street, or what a network makes of it."""
PICTURES: Final[tuple[str, ...]] = get_args(Picture)


@dataclass(frozen=True)
class Node:
    """A part of a method.

    Attributes:
        text: what it is, in a few words.
        step: its place in the order of reading, from 0.
        lane: its place beside the others of its step, from 0; a half is between two lanes.
        look: what it is drawn as.
    """

    text: str
    step: int
    lane: float
    look: Kind | Picture


@dataclass(frozen=True)
class Arrow:
    """What goes from one node to another.

    Attributes:
        start: key of a node.
        end: key of another; of an earlier step for what comes back.
        text: what it carries, where the nodes leave that open.
        lane: along which it goes past other nodes; by default the lane of its start.
        carries: images and what becomes of them; a network's weights; or a gradient.
    """

    start: str
    end: str
    text: str = ""
    lane: float | None = None
    carries: Literal["data", "weights", "gradient"] = "data"


@dataclass(frozen=True)
class Diagram:
    """How a method works.

    Attributes:
        nodes: by a key that arrows name.
        arrows: between them.
        caption: what the drawing leaves out, in a sentence or two; may be empty.
    """

    nodes: Mapping[str, Node]
    arrows: tuple[Arrow, ...]
    caption: str = ""
