"""Who is who: title, colour, idea and paper of each method, as its own registry entry says them.

Whatever else stands beside it, a method is called, explained and coloured alike on every page.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Final

from sim2street.models.importers import FAMILIES
from sim2street.training.methods import METHODS


@dataclass(frozen=True)
class Identity:
    """What pages say of a method.

    Attributes:
        title: as people write it.
        colour: CSS hex colour.
        idea: one sentence; empty where nobody wrote one.
        paper: citation in a line, empty where there is no single one.
    """

    title: str
    colour: str
    idea: str = ""
    paper: str = ""


OTHER_COLOURS: Final = ("#5bb0e0", "#e48fb0", "#6a5acd", "#2e8b57", "#b8860b")
"""For methods whose entry names no colour."""


def identity(method: str) -> Identity:
    """Who a method is, by its name in configs; an unknown one keeps its name."""
    if method in METHODS:
        entry = METHODS[method]
        return Identity(entry.title, entry.colour or other_colour(method), entry.idea, entry.paper)
    family = next((family for family in FAMILIES.values() if family.method == method), None)
    return Identity(method if family is None else family.title, other_colour(method))


def identity_of_title(title: str) -> Identity:
    """Who is meant by a title, as published tables write it."""
    known = next((name for name, entry in METHODS.items() if entry.title.lower() == title.lower()), title)
    return identity(known)


def other_colour(method: str) -> str:
    """A colour that depends on the method's name alone."""
    return OTHER_COLOURS[zlib.crc32(method.encode()) % len(OTHER_COLOURS)]
