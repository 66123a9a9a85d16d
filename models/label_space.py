"""LabelSpace: what the values of a label image mean, read from a TOML or JSON file.

    name = "three_kinds"                 # letters, digits and _
    ignore = [255]                       # stored values without a class; always includes 255
    ignore_colours = ["#000000"]         # colours without a class, in coloured label images

    [[classes]]                          # 2 to 255, in the order of their labels 0, 1, 2, ...
    name = "ground"
    colour = "#804080"                   # or [128, 64, 128]; chosen automatically if left out
    values = [7, 8]                      # stored in greyscale or palette label images; by default the class's index
    thing = false                        # countable, such as cars and signs
    members = { cityscapes19 = ["road", "sidewalk"] }   # classes of finer spaces that make up this one

`members` maps a finer space to this one: the probabilities of its classes are summed. A class without a counterpart in
the finer space has no members there. Two spaces made of the same finer space are compared through it.
"""

from __future__ import annotations

import colorsys
import json
import re
import tomllib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Final, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field, model_validator

from sim2street.models.errors import ConfigError, LabelError
from sim2street.models.options import Options

IGNORE: Final = 255
"""Label of pixels that are neither trained on nor scored, in every space."""
MAX_BYTES: Final = 2**20
"""Size limit in bytes of a label space's file."""

Members = tuple[tuple[int, ...], ...]
"""For each class the labels of a finer space that make it up."""


def _from_hex(value: Any) -> Any:
    """Convert `#rrggbb` to three numbers; what is no text is left for pydantic to validate."""
    if not isinstance(value, str):
        return value
    if not re.fullmatch("#?[0-9a-fA-F]{6}", value):
        raise ValueError("expected a colour such as '#804080' or [128, 64, 128]")
    return tuple(bytes.fromhex(value.removeprefix("#")))


Byte = Annotated[int, Field(ge=0, le=255)]
Colour = Annotated[tuple[Byte, Byte, Byte], BeforeValidator(_from_hex)]


class ClassOptions(Options):
    """One class in a label space file."""

    name: str = Field(min_length=1, max_length=60)
    colour: Colour | None = Field(default=None, description="RGB; by default an unused colour.")
    values: tuple[Byte, ...] | None = Field(
        default=None, min_length=1, description="Values in label images; by default the class's index."
    )
    thing: bool = Field(default=False, description="Countable; used by DAFormer's feature distance.")
    members: dict[str, tuple[str, ...]] = Field(
        default_factory=dict, description="For each finer space, its classes that make up this one."
    )


class LabelSpaceOptions(Options):
    """The content of a label space file."""

    name: str = Field(pattern=r"^[a-z0-9_]{1,40}$", examples=["my_classes"])
    classes: tuple[ClassOptions, ...] = Field(min_length=2, max_length=255)
    ignore: tuple[Byte, ...] = Field(default=(), description="Stored values without a class, besides 255.")
    ignore_colours: tuple[Colour, ...] = Field(default=(), description="Colours without a class.")

    @model_validator(mode="after")
    def _unambiguous(self) -> Self:
        _refuse_doubled("class is called", (entry.name for entry in self.classes))
        _refuse_doubled("class has the colour", (entry.colour for entry in self.classes if entry.colour))
        _refuse_doubled("class has the value", (value for group in self._values() for value in group))
        taken = {value for group in self._values() for value in group}
        if stray := sorted(taken & {*self.ignore, IGNORE}):
            raise ValueError(f"the value {stray[0]} belongs to a class and is also ignored; remove it from one of them")
        if stray := {entry.colour for entry in self.classes} & set(self.ignore_colours):
            raise ValueError(
                f"the colour {hex_colour(stray.pop() or (0, 0, 0))} belongs to a class and is also ignored; remove it from one of them"
            )
        for space in {name for entry in self.classes for name in entry.members}:
            _refuse_doubled(
                f"class is made of {space}'s",
                (member for entry in self.classes for member in entry.members.get(space, ())),
            )
        return self

    def _values(self) -> list[tuple[int, ...]]:
        return [(place,) if each.values is None else each.values for place, each in enumerate(self.classes)]

    def build(self) -> LabelSpace:
        """The label space that the file describes."""
        finer = {name for entry in self.classes for name in entry.members}
        return LabelSpace(
            name=self.name,
            names=tuple(entry.name for entry in self.classes),
            colours=_completed([entry.colour for entry in self.classes], self.ignore_colours),
            values=tuple(self._values()),
            ignored_values=(*sorted({*self.ignore, IGNORE}),),
            ignored_colours=self.ignore_colours,
            things=tuple(place for place, entry in enumerate(self.classes) if entry.thing),
            made_of={name: tuple(entry.members.get(name, ()) for entry in self.classes) for name in sorted(finer)},
        )


@dataclass(frozen=True)
class LabelSpace:
    """Names and colours of a set of classes, their values in files, and the finer classes that make them up.

    Two spaces are equal if all these attributes are equal.

    Attributes:
        name: as written in configs and reports.
        names: class names, in the order of their labels 0..count-1.
        colours: RGB of each class, 0 to 255.
        values: for each class the values that label images store.
        ignored_values: stored values of pixels without a class.
        ignored_colours: RGB of pixels without a class in coloured label images.
        things: labels of countable classes.
        made_of: name of a finer space -> for each class, the names of the finer classes that make it up.
    """

    name: str
    names: tuple[str, ...]
    colours: tuple[tuple[int, int, int], ...] = field(repr=False)
    values: tuple[tuple[int, ...], ...] = field(repr=False)
    ignored_values: tuple[int, ...] = field(default=(IGNORE,), repr=False)
    ignored_colours: tuple[tuple[int, int, int], ...] = field(default=(), repr=False)
    things: tuple[int, ...] = field(default=(), repr=False)
    made_of: Mapping[str, tuple[tuple[str, ...], ...]] = field(default_factory=dict, repr=False, hash=False)

    @property
    def count(self) -> int:
        """Number of classes."""
        return len(self.names)

    @property
    def ignore_index(self) -> int:
        """Label of pixels that are neither trained on nor scored."""
        return IGNORE

    @cached_property
    def palette(self) -> NDArray[np.uint8]:
        """The colours as (count, 3) uint8 RGB."""
        table = np.array(self.colours, np.uint8)
        table.flags.writeable = False
        return table

    @property
    def meaning(self) -> dict[int, int]:
        """Stored value -> label; 255 for ignored values."""
        labels = {value: label for label, group in enumerate(self.values) for value in group}
        return {**labels, **dict.fromkeys(self.ignored_values, IGNORE)}

    @classmethod
    def parse(cls, values: Mapping[str, Any], *, where: str) -> LabelSpace:
        """Build a space from plain values, as read from TOML or JSON.

        Raises:
            LabelError: a key or value is wrong, or two classes share a name, colour, value or member.
        """
        try:
            return LabelSpaceOptions.parse(values, where=where).build()
        except ConfigError as error:
            raise LabelError(str(error)) from error

    def to_json(self) -> dict[str, Any]:
        """Plain values from which `parse` makes an equal space."""
        classes = [
            {
                "name": name,
                "colour": hex_colour(colour),
                "values": list(values),
                "thing": place in self.things,
                "members": {finer: list(groups[place]) for finer, groups in self.made_of.items() if groups[place]},
            }
            for place, (name, colour, values) in enumerate(zip(self.names, self.colours, self.values, strict=True))
        ]
        colours = [hex_colour(colour) for colour in self.ignored_colours]
        return {
            "name": self.name, "ignore": list(self.ignored_values), "ignore_colours": colours, "classes": classes,
        }  # fmt: skip

    def members_in(self, finer: LabelSpace) -> Members | None:
        """For each class, the labels of `finer` that make it up; None if there is no mapping.

        `finer` may also be a subset of this space's classes. If `made_of` does not mention `finer`, a still finer space
        that makes up both is used: a class of `finer` then belongs to the class here that contains all of its members,
        and to none if no class contains any.

        Raises:
            LabelError: this space names a class of `finer` that does not exist.
        """
        if finer.is_part_of(self):
            return tuple((finer.names.index(name),) if name in finer.names else () for name in self.names)
        groups = self.made_of.get(finer.name)
        if groups is None:
            shared = [name for name in self.made_of if name in finer.made_of]
            return next((found for name in shared if (found := self._members_through(name, finer)) is not None), None)
        if missing := {name for group in groups for name in group} - set(finer.names):
            raise LabelError(
                f"{self.name} is made of {finer.name}'s class {min(missing)!r}, which {finer.name} does not have;"
                f" its classes are {', '.join(finer.names)}."
            )
        return tuple(tuple(finer.names.index(name) for name in group) for group in groups)

    def _members_through(self, shared: str, finer: LabelSpace) -> Members | None:
        """`members_in` by way of the space called `shared`; None if a class of `finer` would have to be split."""
        owners = {name: label for label, group in enumerate(self.made_of[shared]) for name in group}
        members: list[list[int]] = [[] for _ in self.names]
        for label, group in enumerate(finer.made_of[shared]):
            found = {owners.get(name) for name in group}
            if len(found) > 1:
                return None
            owner = next(iter(found), None)
            if owner is not None:
                members[owner].append(label)
        return tuple(map(tuple, members)) if any(members) else None

    def require_members(self, finer: LabelSpace) -> Members:
        """Return `members_in(finer)`, or raise a `LabelError` that says how to define the mapping."""
        members = self.members_in(finer)
        if members is None:
            raise LabelError(
                f"The {finer.count} classes of {finer.name} cannot be merged into the {self.count} of {self.name}. Add"
                f" members = {{ {finer.name} = [...] }} to the classes of {self.name}."
            )
        return members

    def is_part_of(self, other: LabelSpace) -> bool:
        """Whether this space is a subset of the classes of `other`, as SYNTHIA's 16 are of Cityscapes' 19."""
        return self == other or self.made_of.get(other.name) == tuple((name,) for name in self.names)

    def takes(self, other: LabelSpace) -> bool:
        """Whether `relabel` can convert labels of `other` to this space."""
        return self.members_in(other) is not None

    def relabel(self, labels: NDArray[np.uint8], other: LabelSpace) -> NDArray[np.uint8]:
        """Convert uint8 labels of any shape from `other` to this space; pixels without a class here become 255.

        Raises:
            LabelError: `other` is neither a finer space nor a subset of this one.
        """
        table = np.full(256, IGNORE, np.uint8)
        for label, group in enumerate(self.require_members(other)):
            table[list(group)] = label
        return table[labels]

    def colourise(self, labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Draw (H, W) labels as (H, W, 3) uint8 RGB; ignored and unknown pixels are black."""
        table = np.zeros((256, 3), np.uint8)
        table[: self.count] = self.palette
        return table[labels]

    def to_values(self, labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Convert (H, W) uint8 labels to stored values, the inverse of `from_values`."""
        table = np.full(256, IGNORE, np.uint8)
        table[: self.count] = [group[0] for group in self.values]
        return table[labels]

    def from_values(self, stored: NDArray[np.uint8], *, source: str) -> NDArray[np.uint8]:
        """Convert (H, W) uint8 values from label images to labels.

        Raises:
            LabelError: a value belongs to no class and is not ignored.
        """
        table = np.full(256, -1, np.int16)
        table[list(self.meaning)] = list(self.meaning.values())
        labels = table[stored]
        if (labels < 0).any():
            raise LabelError(self._foreign_values(stored[labels < 0], source))
        return labels.astype(np.uint8)

    def from_colours(self, pixels: NDArray[np.uint8], *, source: str) -> NDArray[np.uint8]:
        """Convert a coloured label image, (H, W, 3) uint8 RGB, to (H, W) uint8 labels.

        Black is ignored unless a class is black.

        Raises:
            LabelError: a colour belongs to no class and is not ignored; the nearest class is named.
        """
        known = {colour: IGNORE for colour in [(0, 0, 0), *self.ignored_colours]}
        known |= {colour: label for label, colour in enumerate(self.colours)}
        packed = _packed(pixels)
        found, places = np.unique(packed, return_inverse=True)
        labels = {int(_packed(np.array(colour, np.uint8))): label for colour, label in known.items()}
        table = np.array([labels.get(value, -1) for value in found.tolist()], np.int16)
        if (table < 0).any():
            counts = np.bincount(places.ravel(), minlength=len(found))
            raise LabelError(self._foreign_colours(found[table < 0], counts[table < 0], packed.size, source))
        return table[places.reshape(packed.shape)].astype(np.uint8)

    def check(self, labels: NDArray[np.uint8], *, source: str = "the label image") -> None:
        """Raise `LabelError` if a value is neither a class of this space nor the ignore value."""
        found = np.unique(labels)
        foreign = found[(found >= self.count) & (found != IGNORE)]
        if foreign.size:
            shown = ", ".join(map(str, foreign[:5]))
            raise LabelError(
                f"Found the values {shown} in {source}; {self.name} has the classes 0 to {self.count - 1} and"
                f" {IGNORE} for unlabelled. Check whether the image uses another label space or stores colours."
            )

    def _foreign_values(self, foreign: NDArray[np.uint8], source: str) -> str:
        values, counts = np.unique(foreign, return_counts=True)
        shown = ", ".join(f"{value} ({count} pixels)" for value, count in zip(values[:5], counts[:5], strict=True))
        known = sorted(value for group in self.values for value in group)
        nearest = min(known, key=lambda value: abs(value - int(values[0])))
        owner = next(name for name, group in zip(self.names, self.values, strict=True) if nearest in group)
        return (
            f"Found the values {shown} in {source}; {self.name} has {_shown(known)}, and"
            f" {', '.join(map(str, self.ignored_values))} for unlabelled. The nearest to {values[0]} is {nearest},"
            f" {owner!r}. Check whether the image belongs to another data set, or add the values to a class or to ignore."
        )

    def _foreign_colours(self, foreign: NDArray[np.int32], counts: NDArray[np.int64], pixels: int, source: str) -> str:
        order = np.argsort(-counts, kind="stable")[:3]
        shown = []
        for packed, count in zip(foreign[order].tolist(), counts[order].tolist(), strict=True):
            colour = (packed >> 16, packed >> 8 & 255, packed & 255)
            distances = np.abs(self.palette.astype(int) - colour).sum(axis=1)
            near = int(distances.argmin())
            shown.append(
                f"{hex_colour(colour)} ({count} pixels, nearest is {self.names[near]!r}, {hex_colour(self.colours[near])})"
            )
        hint = " This many colours suggest a lossy format such as JPEG, or resizing." if len(foreign) > 64 else ""
        if (foreign % 0x010101 == 0).all():
            hint = ' All of them are grey: if they are class numbers, set read_by = "value".'
        return (
            f"Found {len(foreign)} colours in {source} that belong to no class of {self.name}, in {counts.sum()} of"
            f" {pixels} pixels: {', '.join(shown)}.{hint} Add them to classes or to ignore_colours."
        )


def read_label_space(path: str | Path) -> LabelSpace:
    """Read a label space from a TOML or JSON file.

    Raises:
        LabelError: the file cannot be read, or its content is invalid.
    """
    return LabelSpace.parse(read_table(path), where=str(path))


def read_table(path: str | Path) -> dict[str, Any]:
    """Read a JSON file (suffix .json) or a TOML file (any other) as a table.

    Raises:
        LabelError: the file cannot be read, exceeds `MAX_BYTES`, or is not a table.
    """
    path = Path(path)
    kind = "JSON" if path.suffix.lower() == ".json" else "TOML"
    try:
        if path.stat().st_size > MAX_BYTES:
            raise LabelError(f"{path} has {path.stat().st_size / 2**20:.0f} MB; the limit for {kind} is 1 MB.")
        text = path.read_text(encoding="utf-8-sig")
        content = json.loads(text) if kind == "JSON" else tomllib.loads(text)
    except (OSError, ValueError, RecursionError) as error:
        raise LabelError(f"{path} cannot be read as {kind}: {error}.") from error
    if not isinstance(content, dict):
        raise LabelError(
            f"{path} contains a {type(content).__name__}; expected a table with the keys name and classes."
        )
    return content


def hex_colour(colour: tuple[int, int, int]) -> str:
    """Format RGB, 0 to 255, as `#rrggbb`."""
    return "#{:02x}{:02x}{:02x}".format(*colour)


def _completed(
    given: list[tuple[int, int, int] | None], taken: Iterable[tuple[int, int, int]]
) -> tuple[tuple[int, int, int], ...]:
    """Replace missing colours by unused ones of distinct hues."""
    used = {(0, 0, 0), *taken, *(colour for colour in given if colour is not None)}
    drawn = _hues()
    colours = []
    for colour in given:
        chosen = colour or next(each for each in drawn if each not in used)
        used.add(chosen)
        colours.append(chosen)
    return tuple(colours)


def _hues() -> Iterable[tuple[int, int, int]]:
    """Yield endless colours; consecutive hues are a golden ratio of the colour circle apart."""
    number = 0
    while True:
        lightness = (0.5, 0.35, 0.65)[number // 12 % 3]
        red, green, blue = colorsys.hls_to_rgb(number * 0.618034 % 1, lightness, 0.65)
        yield round(255 * red), round(255 * green), round(255 * blue)
        number += 1


def _packed(pixels: NDArray[np.uint8]) -> NDArray[np.int32]:
    """Pack (..., 3) uint8 RGB into one number per pixel."""
    wide = pixels.astype(np.int32)
    return wide[..., 0] << 16 | wide[..., 1] << 8 | wide[..., 2]


def _refuse_doubled(what: str, values: Iterable[object]) -> None:
    doubled = [value for value, count in Counter(values).items() if count > 1]
    if doubled:
        shown = hex_colour(doubled[0]) if isinstance(doubled[0], tuple) else repr(doubled[0])  # pyright: ignore[reportArgumentType]
        raise ValueError(f"more than one {what} {shown}; each may belong to one class only")


def _shown(values: list[int]) -> str:
    """Format sorted numbers, consecutive ones as `0 to 18`."""
    if values == list(range(values[0], values[-1] + 1)):
        return f"{values[0]} to {values[-1]}"
    return ", ".join(map(str, values[:30])) + (", ..." if len(values) > 30 else "")
