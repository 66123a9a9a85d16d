"""Whole building fronts: a pool of facades, each drawn once from its kind and number."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from sim2street.training.scenes import train_ids
from sim2street.training.scenes.canvas import OPAQUE, Texture
from sim2street.training.scenes.facade_parts import (
    PIXELS_PER_METRE,
    Wall,
    add_door,
    add_lettering,
    add_shop_front,
    add_window,
    build_wall,
    design_window,
    glaze,
    wall_colour,
)
from sim2street.training.scenes.textures import hsv, noise_patch, to_bytes

KINDS = ("terrace", "georgian", "shop", "stone", "modern", "office", "glass", "shed", "house")
POOL_PER_KIND = 36
ROOF_POOL = 16


@dataclass(frozen=True)
class Facade:
    """One building front with what belongs to it; lengths in metres.

    Attributes:
        front: Texture of the street side.
    gable: Texture of the side walls with the triangle below a pitched roof.
        width: Width of the front.
        height: Height of the eaves.
        roof_rise: Height of the ridge above the eaves; 0 is a flat roof.
        roof: Number of the roof texture.
        chimneys: Positions of chimneys along the ridge, in [0, 1].
    """

    front: Texture
    gable: Texture
    width: float
    height: float
    roof_rise: float
    roof: int
    chimneys: tuple[float, ...]


def finish(wall: Wall) -> Texture:
    """Turn a worked wall into a texture."""
    code = OPAQUE + np.clip(wall.glow, 0, 1) * (255 - OPAQUE)
    return Texture(np.dstack([to_bytes(wall.image), code.astype(np.uint8)]), train_ids.BUILDING)


def add_window_rows(wall: Wall, width: float, floors: range, storey: float, first_base: float, density: float) -> None:
    """Set regular windows into some floors; `density` is the share of the width they fill."""
    random = wall.random
    spacing = random.uniform(1.6, 3.4)
    count = max(int(width / spacing), 1)
    spacing = width / count
    design = design_window(random, spacing * density, storey * random.uniform(0.48, 0.68))
    balcony = random.random() < 0.12
    for floor in floors:
        base = first_base + (floor - floors.start) * storey + storey * 0.28
        for column in range(count):
            left = column * spacing + (spacing - design.width) / 2
            add_window(wall, left, base, design)
            if balcony:
                wall.block(left - 0.3, base - 0.15, design.width + 0.6, 0.12, (90.0, 88.0, 84.0))
                rail = wall.area(left - 0.3, base, design.width + 0.6, 0.95)
                wall.image[rail][:, ::3] *= 0.35
                wall.image[rail][:2] *= 0.3


def add_trim(wall: Wall, width: float, height: float, storey: float, flat: bool) -> None:
    """Add gutter or cornice, drain pipes, string courses and corner stones."""
    random = wall.random
    trim = hsv(random, (0.06, 0.14), (0.0, 0.2), (0.55, 0.95))
    if flat:
        depth = random.uniform(0.15, 0.5)
        wall.block(0, height - depth, width, depth, trim * random.uniform(0.6, 1.0))
        wall.darken(0, height - depth - 0.25, width, 0.25, 0.6)
    else:
        wall.block(0, height - 0.14, width, 0.14, hsv(random, (0, 1), (0, 0.2), (0.1, 0.9)))
        wall.darken(0, height - 0.55, width, 0.41, 0.55)
    if random.random() < 0.35:
        for level in np.arange(storey, height - 0.5, storey):
            wall.block(0, float(level), width, 0.12, trim)
            wall.darken(0, float(level) - 0.1, width, 0.1, 0.7)
    if random.random() < 0.25:
        for row in np.arange(0, height - 0.4, 0.8):
            for left in (0.0, width - 0.35):
                wall.block(left, float(row), 0.35, 0.4, trim)
    pipe = hsv(random, (0, 1), (0, 0.2), (0.05, 0.8))
    for left in random.uniform(0, width, int(random.integers(0, 3))):
        wall.block(float(left), 0, 0.1, height - 0.1, pipe)
        wall.darken(float(left) + 0.1, 0, 0.08, height - 0.1, 0.7)
    # A party line divides neighbours.
    wall.darken(width - 0.06, 0, 0.06, height, 0.6)


def draw_terrace(wall: Wall, width: float, height: float, floors: int) -> None:
    """Draw small houses side by side: a door and a window or bay below, windows above."""
    random = wall.random
    storey = height / floors
    units = max(round(width / random.uniform(4.2, 6.0)), 1)
    unit = width / units
    design = design_window(random, min(1.3, unit * 0.25), storey * 0.55)
    bay = random.random() < 0.45
    mirrored = random.random() < 0.5
    cream = hsv(random, (0.08, 0.14), (0.02, 0.2), (0.6, 0.95))
    for number in range(units):
        left = number * unit
        flip = mirrored and number % 2 == 1
        door_left = left + (0.35 if not flip else unit - 1.35)
        window_left = left + (unit * 0.5 if not flip else unit * 0.12)
        add_door(wall, door_left, 0.95, 2.15)
        if bay:
            bay_width = min(2.2, unit * 0.45)
            wall.block(window_left - 0.1, 0, bay_width + 0.2, 2.75, cream * random.uniform(0.8, 1))
            wall.block(window_left - 0.2, 2.75, bay_width + 0.4, 0.3, (95.0, 85.0, 80.0))
            for pane in range(3):
                pane_left = window_left + pane * bay_width / 3 + 0.05
                glaze(wall, pane_left, 0.85, bay_width / 3 - 0.1, 1.7, design)
            wall.darken(window_left - 0.1, 0, bay_width * 0.28, 2.75, 0.7)
        else:
            add_window(wall, window_left + 0.2, 0.9, design)
        for floor in range(1, floors):
            base = floor * storey + storey * 0.25
            add_window(wall, left + unit * 0.12, base, design)
            add_window(wall, left + unit * 0.58, base, design)
        wall.darken(left, 0, 0.05, height, 0.75)


def draw_ribbons(wall: Wall, width: float, height: float, storey: float, whole: bool) -> None:
    """Draw bands of glass between storeys, or with `whole` a curtain wall."""
    random = wall.random
    pane = random.uniform(0.9, 2.4)
    share = 0.93 if whole else random.uniform(0.4, 0.6)
    design = design_window(random, pane, storey * share)
    tinted = hsv(random, (0.45, 0.65), (0.1, 0.45), (0.15, 0.45))
    panes = max(round(width / pane), 1)
    pane = width / panes
    for level in np.arange(0.3 if whole else 0.9, height - storey * share, storey):
        for number in range(panes):
            glaze(wall, number * pane, float(level), pane, storey * share, design)
            if whole:
                place = wall.area(number * pane, float(level), pane, storey * share)
                wall.image[place] = 0.5 * wall.image[place] + 0.5 * tinted
            wall.block(number * pane, float(level), 0.07, storey * share, design.frame * 0.7)
        wall.darken(0, float(level) + storey * share - 0.15, width, 0.15, 0.7)


def draw_shed(wall: Wall, width: float, height: float) -> None:
    """Draw a supermarket, workshop or garage row: glass or gates below, a big sign above."""
    random = wall.random
    if random.random() < 0.5:
        add_shop_front(wall, 0.5, width - 1, min(3.6, height - 0.4))
    else:
        gate = random.uniform(2.4, 4.0)
        colour = hsv(random, (0, 1), (0, 0.6), (0.2, 0.85))
        for left in np.arange(0.5, width - gate, gate + random.uniform(0.4, 2.5)):
            wall.block(float(left), 0, gate, min(2.6, height - 0.5), colour * random.uniform(0.8, 1.1))
            place = wall.area(float(left), 0, gate, min(2.6, height - 0.5))
            wall.image[place][::5] *= 0.8
    sign = hsv(random, (0, 1), (0.3, 0.95), (0.3, 0.9))
    sign_width = width * random.uniform(0.15, 0.4)
    left = random.uniform(0, width - sign_width)
    wall.block(left, height - 1.2, sign_width, 0.9, sign)
    add_lettering(wall, left + 0.2, height - 1.05, sign_width - 0.4, 0.6, sign)


def draw_upper_floors(wall: Wall, kind: str, width: float, height: float, floors: int, ground: float) -> None:
    """Draw ground floor and window rows of all kinds with regular storeys."""
    random = wall.random
    storey = (height - ground) / max(floors - 1, 1)
    if kind == "shop":
        units = max(round(width / random.uniform(4.5, 8.5)), 1)
        for number in range(units):
            add_shop_front(wall, number * width / units, width / units - 0.1, ground)
    else:
        design = design_window(random, random.uniform(0.9, 1.6), ground * 0.5)
        spacing = random.uniform(2.2, 3.6)
        count = max(int(width / spacing), 1)
        door = int(random.integers(count))
        for number in range(count):
            left = (number + 0.5) * width / count
            if number == door:
                add_door(wall, left - 0.6, 1.2, 2.4)
            else:
                add_window(wall, left - design.width / 2, ground * 0.28, design)
    density = random.uniform(0.6, 0.85) if kind == "modern" else random.uniform(0.3, 0.5)
    add_window_rows(wall, width, range(1, floors), storey, ground, density)


def cut_triangle(texture: Texture, rise: float) -> None:
    """Make a gable see-through beside the triangle of its upper `rise` metres."""
    rows, columns = round(rise * PIXELS_PER_METRE), texture.image.shape[1]
    slope = np.linspace(0, 1, max(rows, 1))[:rows, None]
    aside = np.abs(np.linspace(-1, 1, columns))[None] > slope
    texture.image[:rows][aside] = 0


@cache
def facade(kind: str, number: int) -> Facade:
    """Return facade `number` (0 .. POOL_PER_KIND - 1) of a kind; drawn once, then kept."""
    random = np.random.default_rng([7300, KINDS.index(kind), number])
    ground = random.uniform(2.8, 3.8)
    storey = random.uniform(2.6, 3.3)
    floors = int(
        {
            "terrace": random.choice([2, 2, 2, 3]),
            "house": 2,
            "shed": 1,
            "georgian": random.choice([3, 3, 4]),
            "shop": random.choice([2, 3, 3, 4]),
            "stone": random.choice([2, 3, 4]),
        }.get(kind, random.choice([3, 4, 5, 6, 7]))
    )
    material = {
        "terrace": random.choice(["brick", "brick", "brick", "render"]),
        "house": random.choice(["brick", "brick", "render"]),
        "shed": random.choice(["cladding", "cladding", "brick", "concrete"]),
        "georgian": random.choice(["brick", "render", "stone"]),
        "shop": random.choice(["brick", "brick", "render", "stone", "concrete"]),
        "stone": "stone",
        "glass": "concrete",
    }.get(kind, random.choice(["brick", "concrete", "render", "cladding"]))
    if kind in ("terrace", "house"):
        height = floors * storey
        width = random.uniform(7.0, 16.0) if kind == "terrace" else random.uniform(7.0, 12.0)
    elif kind == "shed":
        height, width = random.uniform(3.2, 7.0), random.uniform(12.0, 26.0)
    else:
        height, width = ground + (floors - 1) * storey, random.uniform(6.0, 18.0)
    flat = kind in ("modern", "office", "glass", "shed") or random.random() < 0.2
    colour = wall_colour(random, str(material))
    wall = build_wall(random, width, height, str(material), colour)
    if kind == "terrace" or (kind == "house" and random.random() < 0.7):
        draw_terrace(wall, width, height, floors)
    elif kind == "shed":
        draw_shed(wall, width, height)
    elif kind in ("office", "glass"):
        draw_ribbons(wall, width, height, storey, kind == "glass")
        if random.random() < 0.5:
            add_shop_front(wall, 0, width, ground)
    else:
        draw_upper_floors(wall, kind, width, height, floors, ground)
    add_trim(wall, width, height, storey, flat)
    rise = 0.0 if flat else random.uniform(1.6, 3.6)
    gable = build_wall(random, 8.0, height + rise, str(material), colour * random.uniform(0.85, 1.05))
    if random.random() < 0.45:
        add_window_rows(gable, 8.0, range(1, max(floors, 2)), storey, ground * 0.7, 0.25)
    chimneys: tuple[float, ...] = ()
    if not flat and random.random() < 0.7:
        chimneys = tuple(np.linspace(0.04, 0.96, int(random.integers(1, 4))).tolist())
    side = finish(gable)
    cut_triangle(side, rise)
    return Facade(finish(wall), side, width, height, rise, int(random.integers(ROOF_POOL)), chimneys)


@cache
def roof(number: int) -> Texture:
    """Return roof texture `number` (0 .. ROOF_POOL - 1): slates or tiles, moss, skylights."""
    random = np.random.default_rng([7400, number])
    rows, columns = 72, 240
    if random.random() < 0.55:
        colour = hsv(random, (0.55, 0.75), (0.02, 0.16), (0.22, 0.45))
    else:
        colour = hsv(random, (0.01, 0.07), (0.3, 0.6), (0.3, 0.55))
    tone = 0.08 * noise_patch(random, rows, columns, 1, 1.0)
    tone += 0.06 * noise_patch(random, rows, columns, 2, 0.2)
    tone[::4] -= 0.18
    image = np.clip(1 + tone, 0.3, 1.6)[..., None] * colour
    wall = Wall(image.astype(np.float32), np.zeros((rows, columns), np.float32), random)
    design = design_window(random, 0.9, 0.9)
    for left in random.uniform(0.5, 9.0, int(random.integers(0, 3))):
        glaze(wall, float(left), 1.1, 0.8, 0.9, design)
    image[:3] *= 0.75
    return finish(wall)


@cache
def chimney(number: int) -> Texture:
    """Return a chimney stack with pots, one of eight."""
    random = np.random.default_rng([7500, number])
    wall = build_wall(random, 1.1, 1.7, "brick", wall_colour(random, "brick"))
    pots = int(random.integers(2, 5))
    texture = finish(wall)
    image = texture.image
    rows = round(0.45 * PIXELS_PER_METRE)
    image[:rows] = 0
    pot_width = image.shape[1] // pots
    for pot in range(pots):
        start = pot * pot_width + 1
        image[2:rows, start : start + max(pot_width - 3, 2)] = (
            *hsv(random, (0.02, 0.09), (0.3, 0.6), (0.35, 0.65)),
            OPAQUE,
        )
    return texture
