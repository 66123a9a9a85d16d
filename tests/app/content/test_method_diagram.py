"""Diagrams of methods: every method has one, whose text lies in the drawing, and whose lines touch no foreign node."""

from __future__ import annotations

import itertools
import re
from xml.etree import ElementTree

import pytest

from sim2street.app.content.method_diagram import drawing, in_words
from sim2street.app.content.method_explained import illustrated
from sim2street.app.content.pictograms import HEIGHT, WIDTH, pictogram
from sim2street.training.methods import METHODS
from sim2street.training.methods.diagram import PICTURES, Arrow, Diagram, Node

OWN = [name for name, entry in METHODS.items() if entry.method.__module__.startswith("sim2street.")]
SVG = "{http://www.w3.org/2000/svg}"
PHONE = 358
"""Pixels of a phone's page without its margins."""
LETTER = 3.3
"""Half of a letter's width at most, on average over a line, at 12 units."""

Rectangle = tuple[float, float, float, float]


def diagram_of(name: str) -> Diagram:
    diagram = METHODS[name].diagram
    assert diagram is not None, f"{name} has no diagram"
    return diagram


def drawn(name: str, way: str) -> ElementTree.Element:
    return ElementTree.fromstring(drawing(diagram_of(name), METHODS[name].title, way))  # pyright: ignore[reportArgumentType]


def view(svg: ElementTree.Element) -> Rectangle:
    left, top, width, height = map(float, svg.attrib["viewBox"].split())
    return left, top, left + width, top + height


def shapes(svg: ElementTree.Element) -> list[Rectangle]:
    """Boxes and pictures: left, top, right, bottom."""
    found = []
    for each in [*svg.findall(f"{SVG}rect"), *svg.findall(f"{SVG}svg")]:
        if each.get("class") != "frame":
            x, y, width, height = (float(each.attrib[name]) for name in ("x", "y", "width", "height"))
            found.append((x, y, x + width, y + height))
    return found


def texts(svg: ElementTree.Element) -> list[Rectangle]:
    found = []
    for each in svg.findall(f"{SVG}text"):
        x, y, half = float(each.attrib["x"]), float(each.attrib["y"]), LETTER * len(each.text or "")
        found.append((x - half, y - 9, x + half, y + 3))
    return found


def meet(one: Rectangle, other: Rectangle) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


@pytest.mark.parametrize("way", ["across", "down"])
@pytest.mark.parametrize("name", OWN)
def test_every_method_has_a_diagram_that_can_be_read(name: str, way: str) -> None:
    svg, diagram = drawn(name, way), diagram_of(name)
    left, top, right, bottom = view(svg)
    assert svg.findtext(f"{SVG}title") == METHODS[name].title
    assert svg.findtext(f"{SVG}desc") == in_words(diagram)
    written = " ".join(each.text or "" for each in svg.findall(f"{SVG}text"))
    assert all(node.text in written for node in diagram.nodes.values())
    for x0, y0, x1, y1 in [*texts(svg), *shapes(svg)]:
        assert left <= x0
        assert top <= y0
        assert x1 <= right
        assert y1 <= bottom
    nodes = shapes(svg)
    assert len(nodes) == len(diagram.nodes)
    assert not [(a, b) for place, a in enumerate(nodes) for b in nodes[:place] if meet(a, b)]
    written_at = texts(svg)
    assert not [(a, b) for place, a in enumerate(written_at) for b in written_at[:place] if meet(a, b)]
    if way == "down":  # text of 12 units is shown with 11 pixels or more
        assert 12 * PHONE / (right - left) >= 11


@pytest.mark.parametrize("way", ["across", "down"])
@pytest.mark.parametrize("name", OWN)
def test_lines_pass_beside_nodes_and_text(name: str, way: str) -> None:
    svg, diagram = drawn(name, way), diagram_of(name)
    lines = [path for group in svg.findall(f"{SVG}g") for path in group.findall(f"{SVG}path")]
    heads = [head for group in svg.findall(f"{SVG}g") for head in group.findall(f"{SVG}polygon")]
    assert len(lines) == len(heads) == len(diagram.arrows)
    inside = [*texts(svg), *((x0 + 1, y0 + 1, x1 - 1, y1 - 1) for x0, y0, x1, y1 in shapes(svg))]
    for line in lines:
        numbers = [float(each) for each in re.findall(r"-?[\d.]+(?:e-?\d+)?", line.attrib["d"])]
        corners = list(zip(numbers[::2], numbers[1::2], strict=True))
        for (x0, y0), (x1, y1) in itertools.pairwise(corners):
            part = (min(x0, x1), min(y0, y1), max(x0, x1) + 0.01, max(y0, y1) + 0.01)
            assert not [each for each in inside if meet(part, each)], line.attrib["d"]
    for head in heads:
        tip = tuple(map(float, head.attrib["points"].split()[0].split(",")))
        near = (tip[0] - 6, tip[1] - 6, tip[0] + 6, tip[1] + 6)
        assert [each for each in [*shapes(svg), *texts(svg)] if meet(near, each)]


@pytest.mark.parametrize("name", OWN)
def test_a_diagram_names_its_nodes_and_keeps_to_three_lanes(name: str) -> None:
    diagram = diagram_of(name)
    assert {key for arrow in diagram.arrows for key in (arrow.start, arrow.end)} <= diagram.nodes.keys()
    assert all(0 <= node.lane <= 2 and node.step >= 0 for node in diagram.nodes.values())
    assert "<figure" in illustrated(name)
    assert illustrated(name).count("<svg class=") == 2


@pytest.mark.parametrize("picture", PICTURES)
def test_every_picture_can_be_drawn(picture: str) -> None:
    svg = ElementTree.fromstring(f'<svg xmlns="{SVG[1:-1]}">{pictogram(picture, 3, 4)}</svg>')  # pyright: ignore[reportArgumentType]
    assert shapes(svg) == [(3, 4, 3 + WIDTH, 4 + HEIGHT)]
    assert len(list(svg.iter())) > 3


def test_words_of_others_are_escaped() -> None:
    nodes = {"a": Node("<i>a</i>", 0, 0, "trained"), "b": Node("b & c", 1, 0, "measured")}
    svg = drawing(Diagram(nodes, (Arrow("a", "b", '"quoted" <b>'),)), "<b>title</b>", "across")
    assert ElementTree.fromstring(svg).findtext(f"{SVG}desc") == 'From <i>a</i> to b & c ("quoted" <b>).'
    assert "<i>" not in svg
    assert "<b>" not in svg
