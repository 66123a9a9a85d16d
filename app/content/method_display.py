"""Title, colour, idea and paper of each method from its registry entry, so that they are the same on every page."""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass
from typing import Final

from sim2street.models.importers import FAMILIES
from sim2street.training.methods import METHODS


@dataclass(frozen=True)
class MethodDisplay:
    """What pages show for a method.

    Attributes:
        title: display name.
        colour: CSS hex colour.
        idea: one sentence; may be empty.
        paper: citation in one line, empty if there is no single paper.
    """

    title: str
    colour: str
    idea: str = ""
    paper: str = ""


OTHER_COLOURS: Final = ("#5bb0e0", "#e48fb0", "#6a5acd", "#2e8b57", "#b8860b")
"""Colours for methods without one in their entry."""


def display_of(method: str) -> MethodDisplay:
    """Return what pages show for a method by its name in configs; an unknown method keeps its name."""
    if method in METHODS:
        entry = METHODS[method]
        return MethodDisplay(entry.title, entry.colour or other_colour(method), entry.idea, entry.paper)
    family = next((family for family in FAMILIES.values() if family.method == method), None)
    return MethodDisplay(method if family is None else family.title, other_colour(method))


def display_of_title(title: str) -> MethodDisplay:
    """Return what pages show for a method, or the method of a variant, by a title in published tables.

    A variant's title begins with the method's, such as "ADVENT AdvEnt" or "MIC (HRDA)"; VFM-UDA++ is no variant of VFM-UDA.
    """
    begun = [
        name for name, entry in METHODS.items() if re.match(rf"{re.escape(entry.title)}(\s|$)", title, re.IGNORECASE)
    ]
    return display_of(max(begun, key=lambda name: len(METHODS[name].title), default=title))


def other_colour(method: str) -> str:
    """A colour that depends only on the method's name."""
    return OTHER_COLOURS[zlib.crc32(method.encode()) % len(OTHER_COLOURS)]
