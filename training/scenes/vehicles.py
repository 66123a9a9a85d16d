"""Pictures of vehicles from all sides, rendered once per model and heading from their lofts."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np

from sim2street.training.scenes.canvas import Sprite
from sim2street.training.scenes.sketch import Sketch, folds_of
from sim2street.training.scenes.vehicle_shapes import GLASS, LABEL_OF_KIND, LIVERY, PAINT, TRIM, VehicleShape, shape

HEADINGS = 16
"""Pictures per half turn; the other half is the mirror image."""

VIEW_HEIGHT_METRES = 1.7
DISTANCES_METRES = {"near": 6.5, "far": 18.0}
LARGE_DISTANCES_METRES = {"near": 13.0, "far": 32.0}
SCALES = {"car": 44.0, "van": 40.0, "truck": 26.0, "bus": 24.0, "tram": 14.0}


class View:
    """Projects local vehicle points onto the sketch, seen from a heading and a distance."""

    def __init__(self, heading: float, distance: float) -> None:
        """Heading 0 shows the rear, pi the front, pi / 2 the right side, in radians."""
        self.cosine, self.sine = np.cos(heading), np.sin(heading)
        self.distance = distance
        # The camera's place in vehicle coordinates.
        self.eye = np.array([-distance * self.cosine, distance * self.sine, VIEW_HEIGHT_METRES])

    def project(self, points: np.ndarray) -> np.ndarray:
        """Turn (..., 3) local points into (..., 3): sketch x, sketch y, depth."""
        along, across, up = points[..., 0], points[..., 1], points[..., 2]
        sideways = across * self.cosine + along * self.sine
        depth = self.distance + along * self.cosine - across * self.sine
        depth = np.maximum(depth, 0.5)
        zoom = self.distance / depth
        ground = VIEW_HEIGHT_METRES - (VIEW_HEIGHT_METRES - up) * zoom
        return np.stack([sideways * zoom, ground, depth], -1)


def panel_colours(
    material: np.ndarray, normal: np.ndarray, to_eye: np.ndarray, livery: np.ndarray, room: float
) -> tuple[np.ndarray, np.ndarray]:
    """Shade body panels, all at once.

    Args:
        material: (...) materials of `vehicle_shapes`.
        normal: (..., 3) unit surface normals (along, across, up).
        to_eye: (..., 3) unit directions to the camera.
        livery: Colour of unpainted panels.
        room: Brightness of what is seen through the windows.

    Returns:
        (..., 3) colours in [0, 255] without paint, and (...) shares of paint added to them.
    """
    up = normal[..., 2]
    facing = np.maximum((normal * to_eye).sum(-1), 0.0)
    mirrored_up = 2 * facing * up - to_eye[..., 2]
    fresnel = 0.06 + 0.9 * (1 - facing) ** 4
    # Mirrored surroundings: bright sky above, dark street band at the horizon, grey road below.
    sky = np.clip(mirrored_up * 3.0 + 0.2, 0.0, 1.0)
    surroundings = 45 + 195 * sky - 25 * ((mirrored_up > 0) & (mirrored_up < 0.15))
    light = 0.7 + 0.42 * up - 0.12 * (up < -0.2)
    share = np.minimum(0.06 + 0.9 * fresnel + 0.3 * sky * np.maximum(up, 0.0), 0.8)
    glass = room * (1 - share) + surroundings * share
    trim = 38 * light + 0.05 * surroundings
    gloss = surroundings * (fresnel * 0.5 + 0.16 * sky)
    grey = np.select([material == GLASS, material == TRIM], [glass, trim], gloss)
    liveried = livery * light[..., None] + gloss[..., None] * 0.5
    colour = np.where((material == LIVERY)[..., None], liveried, grey[..., None])
    return np.clip(colour, 0, 255), np.where(material == PAINT, np.clip(light, 0.2, 1.0), 0.0)


def draw_wheel(
    sketch: Sketch,
    view: View,
    body: VehicleShape,
    axle: float,
    side: float,
    rng: np.random.Generator,
) -> None:
    """Draw arch, tyre and rim of a wheel on the side that faces the camera."""
    angle = np.linspace(0, 2 * np.pi, 18, endpoint=False)
    across = side * body.width / 2 * 1.0

    def disc(radius: float, offset: float) -> np.ndarray:
        points = np.stack(
            [
                axle + radius * np.cos(angle),
                np.full(18, across + side * offset),
                body.wheel_radius + radius * np.sin(angle),
            ],
            1,
        )
        return view.project(points)[:, :2]

    sketch.polygon(disc(body.wheel_radius * 1.16, -0.01), (14, 14, 15))
    sketch.polygon(disc(body.wheel_radius, 0.0), (30, 30, 31))
    rim = rng.uniform(55, 150)
    sketch.polygon(disc(body.wheel_radius * 0.64, 0.01), (rim, rim, rim))
    if rng.random() < 0.85:
        for turn in np.linspace(0, 2 * np.pi, 5, endpoint=False) + rng.uniform(0, 1):
            centre = np.array(
                [
                    axle + body.wheel_radius * 0.42 * np.cos(turn),
                    across,
                    body.wheel_radius * (1 + 0.42 * np.sin(turn)),
                ]
            )
            place = view.project(centre)
            sketch.disc((place[0], place[1]), 0.045, 0.06, (40, 40, 42))


def draw_end(sketch: Sketch, view: View, body: VehicleShape, front: bool, rng: np.random.Generator) -> None:
    """Draw lamps, plate, grille and bumper, and the window of box-shaped bodies, on one end."""
    sign = 1.0 if front else -1.0
    half = body.width / 2
    place = sign * body.length / 2

    def patch(left: float, right: float, low: float, high: float, depth: float = 0.0) -> np.ndarray:
        corners = [(left, low), (right, low), (right, high), (left, high)]
        points = np.array([(place - sign * depth, across, up) for across, up in corners])
        return view.project(points)[:, :2]

    boxy = body.kind in ("truck", "bus", "tram")
    sill = 0.24 if not boxy else 0.35
    bumper = (34, 34, 36) if rng.random() < 0.5 or boxy else None
    if bumper is not None:
        sketch.polygon(patch(-half * 0.92, half * 0.92, sill, sill + 0.24), bumper)
    else:
        sketch.polygon(patch(-half * 0.7, half * 0.7, sill, sill + 0.1), (25, 25, 26))
    if boxy and (front or body.kind != "truck"):
        low, high = (1.05, 2.35) if body.kind == "bus" else (1.3, min(body.height - 0.4, 2.5))
        sketch.polygon(patch(-half * 0.9, half * 0.9, low, high), (34, 40, 46))
        sketch.polygon(patch(-half * 0.9, half * 0.3, high - 0.45, high - 0.08), (88, 98, 108))
        if body.height > 4:
            sketch.polygon(patch(-half * 0.9, half * 0.9, 2.8, 3.8), (45, 52, 58))
        if body.kind != "truck" and front:
            top = min(body.height - 0.25, 2.8)
            sketch.polygon(patch(-half * 0.6, half * 0.6, top - 0.3, top), (20, 20, 18))
            sketch.polygon(patch(-half * 0.4, half * 0.3, top - 0.24, top - 0.07), (250, 190, 60), glow=0.9)
    if boxy and not front and body.kind == "truck":
        sketch.polygon(patch(-0.03, 0.03, 0.9, body.height - 0.1), (60, 60, 60))
    width, height = body.lamp_size
    for side in (-1.0, 1.0):
        outer, inner = side * half * 0.9, side * (half * 0.9 - width)
        left, right = min(outer, inner), max(outer, inner)
        low = body.lamp_height - height / 2
        inset = 0.06 if not boxy else 0.0
        if front:
            sketch.polygon(patch(left, right, low, low + height, inset), (205, 210, 212), glow=0.8)
            sketch.polygon(
                patch(left + 0.03, right - 0.03, low + 0.03, low + height * 0.6, inset),
                (120, 125, 130),
                glow=1.0,
            )
        else:
            red = (190, 28, 24)
            sketch.polygon(patch(left, right, low, low + height * 1.2, inset), red, glow=0.7)
            sketch.polygon(patch(left, right, low, low + height * 0.3, inset), (225, 150, 110), glow=0.3)
        mirror = side * half
        if front and not boxy:
            spot = view.project(np.array([body.length * 0.17, mirror * 1.08, body.belt + 0.08]))
            sketch.disc((spot[0], spot[1]), 0.1, 0.07, (30, 30, 32), paint=0.4)
    if front and body.grille > 0:
        low = body.lamp_height - body.grille / 2 - 0.03
        sketch.polygon(patch(-half * 0.5, half * 0.5, low, low + body.grille), (22, 22, 24))
        sketch.disc(
            tuple(view.project(np.array([place, 0, low + body.grille / 2]))[:2]),
            0.06,
            0.06,
            (170, 170, 172),
        )
    plate = (236, 236, 230) if front or rng.random() < 0.5 else (228, 198, 60)
    level = sill + (0.14 if front or rng.random() < 0.5 else 0.34)
    sketch.polygon(patch(-0.26, 0.26, level, level + 0.12), plate)
    sketch.polygon(patch(-0.2, 0.2, level + 0.035, level + 0.085), (70, 70, 66))


@cache
def vehicle(kind: str, number: int, heading: int, distance: str, folds: float = 0.0) -> Sprite:
    """Return a vehicle's picture; rendered once, then kept.

    Args:
        kind: Key of `MODELS_PER_KIND`.
        number: Model of that kind.
        heading: 0 shows the rear, HEADINGS the front, between them its right side.
        distance: "near" or "far", the perspective it is seen with.
        folds: contrast of what mirrors in its paint and glass.
    """
    body = shape(kind, number)
    rng = np.random.default_rng([8000, list(SCALES).index(kind), number])
    large = kind in ("truck", "bus", "tram")
    reach = (LARGE_DISTANCES_METRES if large else DISTANCES_METRES)[distance]
    if kind == "tram":
        reach *= 1.6
    angle = np.pi * heading / HEADINGS
    view = View(angle, reach)
    surface = view.project(body.points)
    left = float(-surface[..., 0].min()) + 0.25
    right = float(surface[..., 0].max()) + 0.25
    lowest = view.project(body.points * np.array([1.0, 1.0, 0.0]))[..., 1].min()
    top = float(surface[..., 1].max()) + 0.15
    sketch = Sketch(left, right, top, SCALES[kind], LABEL_OF_KIND[kind], below=0.15 - float(lowest))
    draw_underside(sketch, view, body)
    draw_panels(sketch, view, body, surface, rng.uniform(18, 60))
    if abs(np.cos(angle)) > 0.12:
        draw_end(sketch, view, body, bool(np.cos(angle) < 0), rng)
    if np.sin(angle) > 0.12:
        for axle in body.wheels:
            draw_wheel(sketch, view, body, axle, 1.0, rng)
    return sketch.sprite(rounded=0.05, grain=folds_of(sketch, number + 1000 * heading, 0.7 * folds, 1.7))


def draw_underside(sketch: Sketch, view: View, body: VehicleShape) -> None:
    """Draw tyres and the dark space below the body."""
    half = body.width / 2
    sill = float(body.points[..., 2].min()) + 0.1
    reach = body.length / 2 * 0.94
    corners = np.array(
        [
            [side * reach, across * half * 0.9, up]
            for side in (-1, 1)
            for across in (-1, 1)
            for up in (0.16 if body.wheels else 0.0, sill)
        ]
    )
    outline = view.project(corners)[:, :2].astype(np.float32)
    sketch.polygon(cv2.convexHull(outline)[:, 0], (13, 13, 14))
    angle = np.linspace(0, 2 * np.pi, 14, endpoint=False)
    for axle in body.wheels:
        for side in (-1.0, 1.0):
            for inward in np.linspace(0.24, 0.0, 5):
                points = np.stack(
                    [
                        axle + body.wheel_radius * np.cos(angle),
                        np.full(14, side * (half - inward)),
                        body.wheel_radius * (1 + np.sin(angle)),
                    ],
                    1,
                )
                sketch.polygon(view.project(points)[:, :2], (20, 20, 21))


def draw_panels(sketch: Sketch, view: View, body: VehicleShape, surface: np.ndarray, room: float) -> None:
    """Draw all body panels that face the camera, far ones first, and the nearer end cap."""
    points = body.points
    diagonal_a = points[1:, 1:] - points[:-1, :-1]
    diagonal_b = points[:-1, 1:] - points[1:, :-1]
    normal = np.cross(diagonal_b, diagonal_a)
    size = np.linalg.norm(normal, axis=-1, keepdims=True)
    normal = normal / np.maximum(size, 1e-9)
    centre = (points[1:, 1:] + points[:-1, :-1] + points[:-1, 1:] + points[1:, :-1]) / 4
    outward = centre - np.array([0.0, 0.0, body.belt * 0.9]) * 1.0
    flip = (normal[..., 1] * outward[..., 1] + normal[..., 2] * outward[..., 2]) < 0
    normal[flip] *= -1
    to_eye = view.eye - centre
    to_eye = to_eye / np.linalg.norm(to_eye, axis=-1, keepdims=True)
    facing = (normal * to_eye).sum(-1)
    depth = np.linalg.norm(view.eye - centre, axis=-1)
    front = bool(view.cosine < 0)
    end = -1 if front else 0
    direction = np.array([1.0 if front else -1.0, 0.0, 0.0])
    cap_centre = points[end].mean(0)
    cap_to_eye = (view.eye - cap_centre) / np.linalg.norm(view.eye - cap_centre)
    order = sorted(
        ((float(depth[i, j]), i, j) for i, j in zip(*np.nonzero(facing > -0.02), strict=True)),
        reverse=True,
    )
    # Cross-sections behind the panels close the slits between panels that only just face away.
    for ring in surface:
        sketch.polygon(ring[:, :2], (20, 20, 21), paint=0.3)
    colours, paints = panel_colours(body.materials, normal, to_eye, body.livery, room)
    corners = sketch.fixed(surface[..., :2])
    corners = np.stack([corners[:-1, :-1], corners[1:, :-1], corners[1:, 1:], corners[:-1, 1:]], 2)
    glass_glow = 0.35 if body.kind in ("bus", "tram") else 0.0
    for _, i, j in order:
        glow = glass_glow if body.materials[i, j] == GLASS else 0.0
        sketch.fill(corners[i, j], tuple(colours[i, j].tolist()), paint=float(paints[i, j]), glow=glow)
    cap = PAINT if body.kind != "truck" or front else LIVERY
    if float(direction @ cap_to_eye) > 0.02:
        colour, paint = panel_colours(np.array(cap), direction, cap_to_eye, body.livery, room)
        sketch.polygon(surface[end, :, :2], colour, paint=float(paint))
