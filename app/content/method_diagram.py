"""Draw a method's diagram as SVG, once with its steps to the right and once, for phones, with its steps down.

Both come from the same description; the page's style shows the one that fits. Colours are the page's own and the method's.
"""

from __future__ import annotations

import itertools
import math
import textwrap
from dataclasses import dataclass
from typing import Final, Literal, cast

from sim2street.app.content import escape
from sim2street.app.content.pictograms import HEIGHT, WIDTH, pictogram
from sim2street.training.methods.diagram import PICTURES, Arrow, Diagram, Node, Picture

Way = Literal["across", "down"]
Point = tuple[float, float]

BOX: Final = 106
"""Width of a box; pictures' captions have as much."""
LETTERS: Final = 17
"""Letters in a line of text, which is 12 units high: so many that a line fits into a box in any common font."""
LINE: Final = 14
PADDING: Final = 9
STEP: Final[dict[Way, float]] = {"across": 144, "down": 104}
LANE: Final[dict[Way, float]] = {"across": 102, "down": 113}
TWO_LANES: Final = 140
"""Units from lane to lane on a phone where there are no more than two, so that arrows have room between them."""
MARGIN: Final = 6
HEAD: Final = 7
"""Length of an arrow's head."""
CORNER: Final = 8
NEAR: Final = 0.43
"""Where lines from afar turn, in steps from a node's middle."""
AIR: Final = 3
"""Between a picture and an arrow."""
SCALE: Final = 1.12
"""Pixels per unit where there is room."""

STYLE: Final = """
<style>
.method .diagram { margin: 1rem 0 1.2rem; }
.method .diagram svg { display: block; max-width: 100%; height: auto; }
.method .diagram svg.down { display: none; }
.method .diagram text { fill: currentColor; font-size: 12px; text-anchor: middle; }
.method .diagram .frame { fill: none; stroke: currentColor; stroke-opacity: .35; }
.method .diagram .trained { fill: var(--method); fill-opacity: .16; stroke: var(--method); stroke-width: 1.5; }
.method .diagram .fixed { fill: none; stroke: currentColor; stroke-opacity: .6; stroke-width: 1.3; stroke-dasharray: 4 3; }
.method .diagram .measured { fill: none; stroke: var(--method); stroke-width: 1.5; }
.method .diagram g[class] path { stroke: currentColor; stroke-width: 1.3; fill: none; }
.method .diagram g[class] polygon { fill: currentColor; }
.method .diagram .data { opacity: .65; }
.method .diagram .weights { opacity: .8; }
.method .diagram g.weights path { stroke-dasharray: 5 4; }
.method .diagram g.gradient polygon { fill: var(--method); }
.method .diagram g.gradient path { stroke: var(--method); stroke-width: 1.9; stroke-dasharray: 1.5 4; stroke-linecap: round; }
.method .diagram figcaption { margin-top: .5rem; font-size: .88rem; opacity: .75; max-width: 46rem; }
@media (max-width: 700px) {
  .method .diagram svg.across { display: none; }
  .method .diagram svg.down { display: block; }
}
</style>
"""


@dataclass(frozen=True)
class _Grid:
    """Which way steps go, and the units from step to step and from lane to lane."""

    way: Way
    step: float
    lane: float

    @classmethod
    def of(cls, diagram: Diagram, way: Way) -> _Grid:
        few = way == "down" and max(node.lane for node in diagram.nodes.values()) <= 1
        return cls(way, STEP[way], TWO_LANES if few else LANE[way])


@dataclass(frozen=True)
class _Placed:
    """A node at its place; all in units of the drawing, which a phone shows at about a pixel each."""

    node: Node
    lines: tuple[str, ...]
    x: float
    y: float
    left: float
    right: float
    top: float
    bottom: float

    @property
    def is_picture(self) -> bool:
        return self.node.look in PICTURES

    def port(self, side: str) -> Point:
        """Where arrows begin or end on a side: "left", "right", "top" or "bottom"."""
        air = AIR if self.is_picture else 0
        places = {
            "left": (self.left - air, self.y),
            "right": (self.right + air, self.y),
            "top": (self.x, self.top - air),
            "bottom": (self.x, self.bottom + air),
        }
        return places[side]


def diagram_html(diagram: Diagram, title: str) -> str:
    """A diagram as an HTML figure, for pages that have `STYLE` and, as `--method`, the method's colour.

    Args:
        diagram: what is drawn.
        title: of the drawing, for those who do not see it.
    """
    drawings = "".join(drawing(diagram, title, way) for way in ("across", "down"))
    said = " ".join(part for part in (diagram.caption, *_legend(diagram)) if part)
    return f'<figure class="diagram">{drawings}<figcaption>{escape.html(said)}</figcaption></figure>'


def drawing(diagram: Diagram, title: str, way: Way) -> str:
    """A diagram as one SVG element.

    Args:
        diagram: what is drawn.
        title: its title.
        way: where steps go.
    """
    grid = _Grid.of(diagram, way)
    placed = {key: _place(node, grid) for key, node in diagram.nodes.items()}
    routes = [(arrow, _route(arrow, placed, grid)) for arrow in diagram.arrows]
    labels = [label for arrow, points in routes if arrow.text for label in _label(arrow.text, points)]
    xs = [x for _, points in routes for x, _ in points] + [part for each in placed.values() for part in _span(each)]
    ys = [y for _, points in routes for _, y in points] + [
        y for each in placed.values() for y in (each.top, each.bottom)
    ]
    xs += [x + sign * half for _, x, _, half in labels for sign in (-1, 1)]
    ys += [y + part for _, _, y, _ in labels for part in (-11, 4)]
    left, top = min(xs) - MARGIN, min(ys) - MARGIN
    width, height = max(xs) + MARGIN - left, max(ys) + MARGIN - top
    parts = [
        # One group for each kind of arrows, as its opacity should not add up where two of them run together.
        *(f'<g class="{kind}">{lines}</g>' for kind, lines in _by_kind(routes).items()),
        *(_node(each) for each in placed.values()),
        *(f'<text x="{x:g}" y="{y:g}">{escape.html(text)}</text>' for text, x, y, _ in labels),
    ]
    return (
        f'<svg class="{way}" width="{SCALE * width:.0f}" viewBox="{left:g} {top:g} {width:g} {height:g}" role="img" aria-label="{escape.html(title)}"'
        f' xmlns="http://www.w3.org/2000/svg"><title>{escape.html(title)}</title>'
        f"<desc>{escape.html(in_words(diagram))}</desc>{''.join(parts)}</svg>"
    )


def in_words(diagram: Diagram) -> str:
    """What the arrows of a diagram say, as a sentence each."""
    said = []
    for arrow in diagram.arrows:
        carried = f" ({arrow.text})" if arrow.text else ""
        start, end = (diagram.nodes[key].text for key in (arrow.start, arrow.end))
        said.append(f"From {start} to {end}{carried}.")
    return " ".join(said)


def _legend(diagram: Diagram) -> list[str]:
    looks = {node.look for node in diagram.nodes.values()}
    carried = {arrow.carries for arrow in diagram.arrows}
    kinds = {
        "filled boxes are trained": "trained" in looks,
        "dashed boxes are not trained by gradients": "fixed" in looks,
        "dashed arrows carry weights": "weights" in carried,
        "dotted arrows carry a gradient": "gradient" in carried,
    }
    said = ", ".join(words for words, applies in kinds.items() if applies)
    return [f"{said[0].upper()}{said[1:]}."] if said else []


def _place(node: Node, grid: _Grid) -> _Placed:
    lines = tuple(textwrap.wrap(node.text, LETTERS))
    along, beside = node.step * grid.step, node.lane * grid.lane
    x, y = (along, beside) if grid.way == "across" else (beside, along)
    if node.look in PICTURES:
        caption = LINE * len(lines) + 4
        if grid.way == "down":  # the middle of picture and caption is at the step
            y -= caption / 2
        return _Placed(node, lines, x, y, x - WIDTH / 2, x + WIDTH / 2, y - HEIGHT / 2, y + HEIGHT / 2 + caption)
    half = (LINE * len(lines) + 2 * PADDING) / 2
    return _Placed(node, lines, x, y, x - BOX / 2, x + BOX / 2, y - half, y + half)


def _span(each: _Placed) -> Point:
    """Left and right end of a node with its text."""
    half = max([each.right - each.x, *(_half_width(line) for line in each.lines)])
    return each.x - half, each.x + half


def _half_width(text: str) -> float:
    """Half of a text's width at most, in any common font."""
    return 3.3 * len(text)


def _route(arrow: Arrow, placed: dict[str, _Placed], grid: _Grid) -> list[Point]:
    """The corners of an arrow's line, from border to border."""
    start, end = placed[arrow.start], placed[arrow.end]
    across = grid.way == "across"
    forward, back = ("right", "left") if across else ("bottom", "top")
    before, behind = ("top", "bottom") if across else ("left", "right")  # lower and higher lanes

    def point(along: float, beside: float) -> Point:
        return (along, beside) if across else (beside, along)

    def flat(place: Point) -> Point:
        """(along, beside) of a point."""
        return place if across else (place[1], place[0])

    if end.node.step == start.node.step:
        sides = (behind, before) if end.node.lane > start.node.lane else (before, behind)
        first, last = flat(start.port(sides[0])), flat(end.port(sides[1]))
        # A picture's middle is not that of its box; the line keeps to the picture's.
        along = first[0] if start.is_picture or not end.is_picture else last[0]
        return [point(along, first[1]), point(along, last[1])]
    if end.node.step < start.node.step:
        lane = _lane(arrow, start) * grid.lane
        side = behind if lane > max(start.node.lane, end.node.lane) * grid.lane else before
        first, last = flat(start.port(side)), flat(end.port(side))
        return [point(*first), point(first[0], lane), point(last[0], lane), point(*last)]
    first, last = flat(start.port(forward)), flat(end.port(back))
    lane = first[1] if arrow.lane is None else arrow.lane * grid.lane
    # Lines from afar turn closer to the node, beside those that turn halfway between neighbours.
    turn = 0.5 if end.node.step == start.node.step + 1 else NEAR
    early, late = (start.node.step + turn) * grid.step, (end.node.step - turn) * grid.step
    corners = [first, (early, first[1]), (early, lane), (late, lane), (late, last[1]), last]
    return [point(*corner) for corner in _without_repetition(corners)]


def _lane(arrow: Arrow, start: _Placed) -> float:
    return start.node.lane + 1 if arrow.lane is None else arrow.lane


def _without_repetition(corners: list[Point]) -> list[Point]:
    """The corners at which a line turns."""
    kept = [corners[0]]
    for corner, following in zip(corners[1:], [*corners[2:], None], strict=True):
        if math.dist(corner, kept[-1]) < 0.5:
            continue
        if following is not None and _turns_not(kept[-1], corner, following):
            continue
        kept.append(corner)
    return kept


def _turns_not(one: Point, two: Point, three: Point) -> bool:
    return one[0] == two[0] == three[0] or one[1] == two[1] == three[1]


def _label(text: str, points: list[Point]) -> list[tuple[str, float, float, float]]:
    """Lines of a label beside the longest part of an arrow: text, middle, baseline and half of the width."""
    (x0, y0), (x1, y1) = max(itertools.pairwise(points), key=lambda ends: math.dist(*ends))
    x, y = (x0 + x1) / 2, (y0 + y1) / 2
    if y0 == y1:
        room = max(LETTERS, int(abs(x1 - x0) / 6.6))
        lines = textwrap.wrap(text, room)
        return [(line, x, y + 14 + LINE * place, _half_width(line)) for place, line in enumerate(lines)]
    lines = textwrap.wrap(text, 9)
    top = y - LINE * (len(lines) - 1) / 2 + 4
    half = max(map(_half_width, lines))
    return [(line, x + half + 4, top + LINE * place, half) for place, line in enumerate(lines)]


def _by_kind(routes: list[tuple[Arrow, list[Point]]]) -> dict[str, str]:
    """The drawn arrows by what they carry."""
    drawn: dict[str, str] = {}
    for arrow, points in routes:
        drawn[arrow.carries] = drawn.get(arrow.carries, "") + _arrow(points)
    return drawn


def _arrow(points: list[Point]) -> str:
    (x0, y0), (x1, y1) = points[-2:]
    length = math.dist(points[-2], points[-1])
    ahead = ((x1 - x0) / length, (y1 - y0) / length)
    neck = (x1 - HEAD * ahead[0], y1 - HEAD * ahead[1])
    wings = [(neck[0] + sign * 4 * ahead[1], neck[1] - sign * 4 * ahead[0]) for sign in (1, -1)]
    head = " ".join(f"{x:g},{y:g}" for x, y in ((x1, y1), *wings))
    return f'<path d="{_path([*points[:-1], neck])}"/><polygon points="{head}"/>'


def _path(points: list[Point]) -> str:
    """A line with round corners."""
    drawn = [f"M{points[0][0]:g} {points[0][1]:g}"]
    for before, corner, after in zip(points, points[1:], points[2:], strict=False):
        radius = min(CORNER, math.dist(before, corner) / 2, math.dist(corner, after) / 2)
        inward, outward = _towards(corner, before, radius), _towards(corner, after, radius)
        drawn.append(f"L{inward[0]:g} {inward[1]:g}Q{corner[0]:g} {corner[1]:g} {outward[0]:g} {outward[1]:g}")
    drawn.append(f"L{points[-1][0]:g} {points[-1][1]:g}")
    return "".join(drawn)


def _towards(start: Point, end: Point, length: float) -> Point:
    share = length / math.dist(start, end)
    return start[0] + share * (end[0] - start[0]), start[1] + share * (end[1] - start[1])


def _node(each: _Placed) -> str:
    if each.is_picture:
        shape = pictogram(cast(Picture, each.node.look), each.left, each.top)
        first = each.y + HEIGHT / 2 + LINE
    else:
        radius = (each.bottom - each.top) / 2 if each.node.look == "measured" else 7
        shape = (
            f'<rect class="{each.node.look}" x="{each.left:g}" y="{each.top:g}" width="{BOX}"'
            f' height="{each.bottom - each.top:g}" rx="{min(radius, 20):g}"/>'
        )
        first = each.y - LINE * (len(each.lines) - 1) / 2 + 4
    texts = (
        f'<text x="{each.x:g}" y="{first + LINE * place:g}">{escape.html(line)}</text>'
        for place, line in enumerate(each.lines)
    )
    return shape + "".join(texts)
