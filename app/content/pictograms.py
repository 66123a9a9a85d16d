"""Small pictures of a street for diagrams, as SVG: what a method reads, and what a network makes of it.

There are two scenes, one of the source and one of the target, and each is painted in several ways: by day, as renderings
are; at dusk, the target's look; in the colours of its classes; and as an entropy map. Everything is drawn by this file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from sim2street.training.methods.diagram import Picture

WIDTH: Final = 64
HEIGHT: Final = 36
"""Size of a picture in the units of the diagram."""

Paint = Mapping[str, str]

DAY: Final[Paint] = {
    "sky": "#c4e3f7",
    "building": "#d6c3a5",
    "tree": "#79b566",
    "pavement": "#c9c4bd",
    "road": "#8b939c",
    "car": "#d1495b",
    "person": "#7a4fc0",
}
DUSK: Final[Paint] = {
    "sky": "#8d9ab5",
    "building": "#656c7f",
    "tree": "#4a6357",
    "pavement": "#757884",
    "road": "#4d525e",
    "car": "#8f4a58",
    "person": "#5a4a7e",
}
CLASSES: Final[Paint] = {
    "sky": "#4682b4",
    "building": "#464646",
    "tree": "#6b8e23",
    "pavement": "#f423e8",
    "road": "#804080",
    "car": "#0000c8",
    "person": "#dc143c",
}
"""Cityscapes' colours."""
DARK, BRIGHT = "#161a22", "#ffd166"


def _rect(colour: str, x: float, y: float, width: float, height: float, more: str = "") -> str:
    return f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" fill="{colour}"{more}/>'


def _car(colour: str, x: float, y: float, more: str = "") -> str:
    body = f"M{x:g} {y + 8:g}v-4l2.5-1 2-3h7l2.5 3 2.5 1v4z"
    return f'<path d="{body}" fill="{colour}"{more}/>'


def _source(paint: Paint, more: str = "") -> str:
    """The scene of the source: houses on both sides, a tree on the right, a car on the left."""
    return (
        _rect(paint["sky"], 0, 0, WIDTH, HEIGHT)
        + _rect(paint["building"], -1, 6, 18, 17, more)
        + _rect(paint["building"], 50, 9, 15, 14, more)
        + f'<circle cx="43" cy="15" r="6.5" fill="{paint["tree"]}"{more}/>'
        + _rect(paint["pavement"], -1, 22, WIDTH + 2, 16, more)
        + f'<path d="M-8 37L26 21h12l36 16z" fill="{paint["road"]}"{more}/>'
        + _car(paint["car"], 13, 24, more)
    )


def _target(paint: Paint, more: str = "") -> str:
    """The scene of the target: a tall house, a tree in the middle, a person on the left, a car on the right."""
    return (
        _rect(paint["sky"], 0, 0, WIDTH, HEIGHT)
        + _rect(paint["building"], 44, 3, 21, 20, more)
        + _rect(paint["building"], -1, 11, 14, 12, more)
        + f'<circle cx="22" cy="15" r="7" fill="{paint["tree"]}"{more}/>'
        + _rect(paint["pavement"], -1, 22, WIDTH + 2, 16, more)
        + f'<path d="M0 37L28 20h11l32 17z" fill="{paint["road"]}"{more}/>'
        + _rect(paint["person"], 8, 20, 3.4, 9, more)
        + f'<circle cx="9.7" cy="18.4" r="1.9" fill="{paint["person"]}"{more}/>'
        + _car(paint["car"], 37, 24, more)
    )


def _plain(colour: str) -> Paint:
    return dict.fromkeys(CLASSES, colour)


def _entropy(scene: Callable[[Paint, str], str]) -> str:
    """An entropy map whose bright lines are where one thing ends and another begins."""
    return scene(_plain(DARK), f' stroke="{BRIGHT}" stroke-width="1"')


def _blurred_entropy() -> str:
    spots = ((10, 28, 9, 5), (24, 16, 9, 7), (42, 27, 11, 6), (54, 12, 9, 8), (31, 6, 8, 4))
    clouds = "".join(
        f'<ellipse cx="{x}" cy="{y}" rx="{rx}" ry="{ry}" fill="{BRIGHT}" opacity=".5"/>' for x, y, rx, ry in spots
    )
    return _entropy(_target) + clouds


def _mixed() -> str:
    """The target's scene with a car and a tree of the source's."""
    edge = ' stroke="#fff" stroke-width="1"'
    tree = f'<path d="M51.2 21v-6" stroke="#fff" stroke-width="2.4"/><circle cx="51" cy="13" r="6.5" fill="{DAY["tree"]}"{edge}/>'
    return _target(DUSK) + tree + _car(DAY["car"], 13, 24, edge)


def _masked() -> str:
    """The target's scene, of which a few blocks are left."""
    left = {(1, 0), (4, 0), (6, 1), (2, 2), (5, 2), (0, 3), (4, 1), (6, 3)}
    hidden = [(column, row) for row in range(4) for column in range(7) if (column, row) not in left]
    side, height = WIDTH / 7, HEIGHT / 4
    blocks = (_rect("#c3c8cf", column * side, row * height, side + 0.1, height + 0.1) for column, row in hidden)
    return _target(DUSK) + "".join(blocks)


def _marked() -> str:
    frame = '<rect x="33" y="19" width="24" height="14" fill="none" stroke="#fff" stroke-width="1.6"/>'
    return _target(DUSK) + frame


def _zoomed(inside: str, box: str, x: float, y: float, width: float, height: float) -> str:
    place = f'x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}"'
    return f'<svg {place} viewBox="{box}">{inside}</svg>'


def _small() -> str:
    return _zoomed(_target(DUSK), f"0 0 {WIDTH} {HEIGHT}", 14, 8, 36, 20.25)


def _window() -> str:
    return _zoomed(_target(DUSK), "33 19 24 13.5", 0, 0, WIDTH, HEIGHT)


def _attention() -> str:
    """Bright where the detail is trusted: at small things."""
    paint = {**_plain("#262c36"), "person": "#f2f4f6", "car": "#dfe3e8", "tree": "#8a94a0", "building": "#4a5360"}
    return _target(paint)


def _features() -> str:
    slabs = (
        f'<path d="M{x} {y}l14-6v22l-14 6z" fill="var(--method)" fill-opacity="{opacity}" stroke="var(--method)"/>'
        for x, y, opacity in ((10, 10, 0.2), (21, 10, 0.35), (32, 10, 0.5), (43, 10, 0.65))
    )
    return "".join(slabs)


def _statistics() -> str:
    """Two bell curves: of the source, dashed, and of the target."""
    bell = "c8 0 8-22 16-22s8 22 16 22"
    return (
        f'<path d="M3 31{bell}" fill="none" stroke="currentColor" stroke-width="1.4" stroke-dasharray="3 2.5" opacity=".6"/>'
        f'<path d="M25 31{bell}" fill="var(--method)" fill-opacity=".25" stroke="var(--method)" stroke-width="1.6"/>'
        '<path d="M1 31.7h62" stroke="currentColor" opacity=".5"/>'
    )


_FRAMED: Final[dict[Picture, Callable[[], str]]] = {
    "source image": lambda: _source(DAY),
    "source labels": lambda: _source(CLASSES),
    "translated image": lambda: _source(DUSK),
    "target image": lambda: _target(DUSK),
    "unused image": lambda: f'<g opacity=".35">{_target(DUSK)}</g>',
    "target labels": lambda: _target(CLASSES),
    "mixed image": _mixed,
    "masked image": _masked,
    "marked image": _marked,
    "window": _window,
    "source entropy": lambda: _entropy(_source),
    "target entropy": _blurred_entropy,
    "attention": _attention,
}
_BARE: Final[dict[Picture, Callable[[], str]]] = {
    "small image": _small,
    "features": _features,
    "statistics": _statistics,
}


def pictogram(picture: Picture, x: float, y: float) -> str:
    """A picture as an SVG element whose upper left corner is at a place of the diagram."""
    paint = _FRAMED.get(picture) or _BARE[picture]
    frame = ""
    if picture in _FRAMED:
        frame = f'<rect x="{x:g}" y="{y:g}" width="{WIDTH}" height="{HEIGHT}" class="frame"/>'
    return _zoomed(paint(), f"0 0 {WIDTH} {HEIGHT}", x, y, WIDTH, HEIGHT) + frame
