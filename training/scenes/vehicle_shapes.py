"""Bodies of road vehicles as rounded lofts: outlines, sections and materials.

A body is a stack of cross-sections along its length. Local axes: `along` forward, `across` to the
vehicle's right, `up`; metres; the origin is on the ground below the middle.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from sim2street.training.scenes import train_ids
from sim2street.training.scenes.textures import Colour, hsv

PAINT, GLASS, TRIM, LIVERY = 0, 1, 2, 3
"""Materials of body panels: instance paint, glass, black plastic, the model's own colour."""

MODELS_PER_KIND = {"car": 30, "van": 8, "truck": 12, "bus": 10, "tram": 6}
LABEL_OF_KIND = {
    "car": train_ids.CAR,
    "van": train_ids.CAR,
    "truck": train_ids.TRUCK,
    "bus": train_ids.BUS,
    "tram": train_ids.TRAIN,
}
SIDE_POINTS = 9


@dataclass(frozen=True)
class VehicleShape:
    """Geometry and materials of one model.

    Attributes:
        kind: One of `MODELS_PER_KIND`.
        length: Overall length in metres.
        width: Overall width in metres.
        height: Overall height in metres.
        points: (stations, ring, 3) surface points (along, across, up).
        materials: (stations - 1, ring - 1) material of each panel.
        wheel_radius: Metres.
        wheels: Positions of the axles along the body in metres.
        belt: Height of the lower window edge in metres.
        livery: Colour of panels that take no instance paint.
        lamp_height: Height of the lamps in metres.
        lamp_size: Width and height of a lamp in metres.
        grille: Height of the grille in metres; 0 has none.
    """

    kind: str
    length: float
    width: float
    height: float
    points: np.ndarray
    materials: np.ndarray
    wheel_radius: float
    wheels: tuple[float, ...]
    belt: float
    livery: Colour
    lamp_height: float
    lamp_size: tuple[float, float]
    grille: float


def section(half: float, half_roof: float, sill: float, belt: float, roof: float, bulge: float) -> np.ndarray:
    """Points of the left half of a cross-section from the sill to the roof's middle: (9, 2)."""
    rise = roof - belt
    return np.array(
        [
            [-half * 0.93, sill],
            [-half * (0.98 + bulge), sill + 0.3 * (belt - sill)],
            [-half * (1.0 + bulge), sill + 0.62 * (belt - sill)],
            [-half * 0.985, belt - 0.04],
            [-half * 0.94, belt],
            [-(half * 0.94 + half_roof) / 2 * 1.02, belt + 0.55 * rise],
            [-half_roof, belt + 0.93 * rise],
            [-half_roof * 0.6, belt + 0.99 * rise],
            [0.0, roof],
        ]
    )


def car_shape(random: np.random.Generator, kind: str) -> VehicleShape:
    """Draw a passenger car (or van): hatchback, saloon, estate, off-roader, small or old."""
    body = str(random.choice(["hatch", "hatch", "saloon", "estate", "suv", "mini"]))
    if kind == "van":
        body = "van"
    length = {"hatch": 4.0, "saloon": 4.6, "estate": 4.6, "suv": 4.5, "mini": 3.5, "van": 5.2}[body]
    height = {"hatch": 1.46, "saloon": 1.43, "estate": 1.48, "suv": 1.74, "mini": 1.5, "van": 2.2}[body]
    length *= random.uniform(0.95, 1.06)
    height *= random.uniform(0.96, 1.05)
    width = random.uniform(1.64, 1.84) + (0.15 if kind == "van" else 0.0)
    belt = height * random.uniform(0.6, 0.66)
    bonnet = belt * random.uniform(0.86, 0.97)
    sill = random.uniform(0.2, 0.3) + (0.08 if body == "suv" else 0)
    half = length / 2
    # Stations of the greenhouse, as shares of the length from the rear.
    rear_foot = {"saloon": 0.2, "van": 0.01}.get(body, 0.02)
    rear_top = rear_foot + {"saloon": 0.13, "hatch": 0.1, "mini": 0.07, "van": 0.02}.get(body, 0.06)
    front_foot = random.uniform(0.7, 0.76) + (0.1 if body == "van" else 0)
    front_top = front_foot - random.uniform(0.13, 0.18)
    squared = random.random() < 0.25
    narrow = random.uniform(0.74, 0.82) + (0.1 if body == "van" else 0)
    shares = np.unique(np.concatenate([np.linspace(0, 1, 25), [rear_foot, rear_top, front_top, front_foot]]))
    rings, roofs = [], []
    for share in shares:
        end = min(share, 1 - share)
        taper = 1.0 - (0.05 if squared else 0.16) * max(0.0, 1 - end / 0.12) ** 2
        belt_here = belt
        if share > front_foot:
            drop = (share - front_foot) / (1 - front_foot)
            belt_here = bonnet + (belt - bonnet) * (1 - drop) ** 2 - (0.02 if squared else 0.14) * drop**3
        if share < rear_foot and body == "saloon":
            belt_here = belt * 1.03
        if end < 0.03 and not squared:
            belt_here -= 0.06 * (1 - end / 0.03)
        cover = np.interp(share, [rear_foot, rear_top, front_top, front_foot], [0, 1, 1, 0], 0, 0)
        if share <= rear_foot or share >= front_foot:
            cover = 0.0
        crown = height - 0.05 * (2 * (share - 0.45)) ** 2
        roof = belt_here + 0.03 + cover * (crown - belt_here - 0.03)
        roof_half = width / 2 * (narrow * cover + 0.85 * (1 - cover)) * taper
        ring = section(width / 2 * taper, roof_half, sill + 0.06 * (end < 0.05), belt_here, roof, 0.015)
        rings.append(ring)
        roofs.append(cover)
    materials = np.full((len(shares) - 1, 2 * SIDE_POINTS - 2), PAINT, np.int64)
    pillar = front_top - (front_top - rear_top) * random.uniform(0.4, 0.5)
    for i in range(len(shares) - 1):
        middle = (shares[i] + shares[i + 1]) / 2
        covered = rear_foot < middle < front_foot
        sloped = middle < rear_top or middle > front_top
        if covered and sloped:
            back = middle < rear_top
            if not (body == "van" and back):
                materials[i, 6:10] = GLASS
            if not back:
                materials[i, 4:6] = materials[i, 10:12] = GLASS if middle < front_top + 0.07 else PAINT
        if covered and not sloped and abs(middle - pillar) > 0.012:
            windowed = middle > rear_top + 0.02 and (body != "van" or middle > front_top - 0.16)
            if windowed:
                materials[i, 4:6] = materials[i, 10:12] = GLASS
    if random.random() < 0.4:
        materials[:, 0] = materials[:, -1] = TRIM
    return pack(
        kind,
        shares,
        rings,
        materials,
        (length, width, height),
        belt,
        wheel=random.uniform(0.29, 0.34) + (0.05 if body == "suv" else 0),
        wheels=(-half + random.uniform(0.62, 0.8), half - random.uniform(0.72, 0.88)),
        livery=hsv(random, (0, 1), (0, 0.3), (0.1, 0.9)),
        lamp_height=bonnet - random.uniform(0.12, 0.22),
        lamp_size=(random.uniform(0.2, 0.36), random.uniform(0.12, 0.26)),
        grille=random.uniform(0.08, 0.22),
    )


def box_shape(random: np.random.Generator, kind: str, modern: bool) -> VehicleShape:
    """Draw a bus, tram or truck: a long box with rounded edges, its cab and its windows; modern ones have wide panes."""
    length, height, width = {
        "bus": (random.uniform(9.5, 12.0), random.choice([3.0, 3.1, 4.2]), 2.5),
        "tram": (random.uniform(18.0, 28.0), random.uniform(3.3, 3.7), 2.6),
        "truck": (random.uniform(5.8, 9.5), random.uniform(2.7, 3.8), random.uniform(2.1, 2.5)),
    }[kind]
    sill = {"bus": 0.3, "tram": 0.25, "truck": 0.65}[kind]
    belt = {"bus": 1.25, "tram": 1.3, "truck": 1.3}[kind]
    if modern:
        belt -= random.uniform(0.1, 0.35)
    shares = np.linspace(0, 1, 41)
    cab_start = 1 - 2.0 / length
    cab_height = min(height, random.uniform(2.3, 3.0))
    flatbed = kind == "truck" and random.random() < 0.2
    rings = []
    materials = np.full((len(shares) - 1, 2 * SIDE_POINTS - 2), PAINT, np.int64)
    if kind == "truck":
        materials[:] = LIVERY
    step = random.integers(2, 5) if not modern else random.integers(5, 14)
    doors = {round(40 * share) for share in (0.12, 0.5, 0.88)} if modern else set()
    for i, share in enumerate(shares):
        end = min(share, 1 - share) * length
        taper = 1 - 0.05 * max(0.0, 1 - end / 0.4) ** 2
        top = height
        if kind == "truck":
            top = cab_height if share > cab_start else (1.5 if flatbed else height)
        if kind == "tram" or (kind == "bus" and share > 0.5):
            top -= (0.5 if kind == "tram" else 0.12) * max(0.0, 1 - end / 0.7) ** 2
        roof_half = width / 2 * (0.93 if kind != "truck" or share > cab_start else 0.99) * taper
        rings.append(section(width / 2 * taper, roof_half, sill, min(belt, top - 0.1), top, 0.0))
        if i == len(shares) - 1:
            continue
        if kind == "truck" and share > cab_start:
            materials[i] = PAINT
            if cab_start + 0.25 / length < share < 1 - 0.45 / length:
                materials[i, 4:6] = materials[i, 10:12] = GLASS
        if kind in ("bus", "tram"):
            if i % step and 0.02 < share < 0.97:
                materials[i, 4] = materials[i, 11] = GLASS
                if height > 4:
                    materials[i, 5] = materials[i, 10] = GLASS if share > 0.03 else PAINT
            if random.random() < 0.05 and not modern:
                materials[i, 1:4] = GLASS
            if {i, i - 1} & doors:
                materials[i, 1:5] = materials[i, -5:-1] = GLASS
    if kind != "truck" and random.random() < 0.6:
        materials[:, int(random.integers(0, 3))] = LIVERY
        materials[:, -1 - int(random.integers(0, 3))] = LIVERY
    half = length / 2
    wheels = (-half + length * 0.22, half - (1.1 if kind == "truck" else length * 0.2))
    if kind == "tram":
        wheels = ()
    light = random.random() < 0.6
    livery = hsv(random, (0, 1), (0, 0.12), (0.75, 0.95)) if light else hsv(random, (0, 1), (0.3, 0.9), (0.25, 0.8))
    return pack(
        kind,
        shares,
        rings,
        materials,
        (length, width, height),
        belt,
        wheel=0.46,
        wheels=wheels,
        livery=livery,
        lamp_height=random.uniform(0.6, 0.85),
        lamp_size=(0.3, 0.2),
        grille=0.25 if kind == "truck" else 0.0,
    )


def pack(
    kind: str,
    shares: np.ndarray,
    rings: list[np.ndarray],
    materials: np.ndarray,
    size: tuple[float, float, float],
    belt: float,
    *,
    wheel: float,
    wheels: tuple[float, ...],
    livery: Colour,
    lamp_height: float,
    lamp_size: tuple[float, float],
    grille: float,
) -> VehicleShape:
    """Mirror the half sections and gather everything in a `VehicleShape`."""
    length, width, height = size
    points = np.empty((len(rings), 2 * SIDE_POINTS - 1, 3), np.float64)
    for i, ring in enumerate(rings):
        mirrored = ring[-2::-1] * np.array([-1.0, 1.0])
        points[i, :, 0] = (shares[i] - 0.5) * length
        points[i, :, 1:] = np.concatenate([ring, mirrored])
    return VehicleShape(
        kind,
        length,
        width,
        height,
        points,
        materials,
        wheel,
        wheels,
        belt,
        livery,
        lamp_height,
        lamp_size,
        grille,
    )


@cache
def shape(kind: str, number: int) -> VehicleShape:
    """Return model `number` (0 .. MODELS_PER_KIND[kind] - 1) of a kind; as many more are modern buses and trams."""
    random = np.random.default_rng([7900, list(MODELS_PER_KIND).index(kind), number])
    modern = number >= MODELS_PER_KIND[kind]
    return car_shape(random, kind) if kind in ("car", "van") else box_shape(random, kind, modern)
