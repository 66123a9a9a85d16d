"""Fronts of perimeter blocks: the closed rows of four to six plastered storeys that line European city streets."""

from __future__ import annotations

from functools import cache

import numpy as np

from sim2street.training.scenes.facade_parts import (
    Wall,
    add_door,
    add_shop_front,
    add_window,
    build_wall,
    design_window,
    wall_colour,
)
from sim2street.training.scenes.facades import ROOF_POOL, Facade, add_trim, cut_triangle, finish
from sim2street.training.scenes.textures import hsv, noise_patch

POOL = 48
GABLE_METRES = 8.0


@cache
def perimeter_block(number: int) -> Facade:
    """Return block `number` (0 .. POOL - 1); drawn once, then kept."""
    random = np.random.default_rng([7350, number])
    ground, storey = random.uniform(3.4, 4.6), random.uniform(2.9, 3.6)
    floors = int(random.choice([4, 4, 5, 5, 6]))
    width, height = random.uniform(11.0, 24.0), ground + (floors - 1) * storey
    material = str(random.choice(["render", "render", "render", "stone", "brick", "concrete"]))
    colour = wall_colour(random, material) * random.uniform(0.5, 1.05)
    wall = build_wall(random, width, height, material, colour)
    draw_ground_floor(wall, width, ground)
    draw_storeys(wall, width, ground, storey, floors)
    flat = random.random() < 0.3
    add_trim(wall, width, height, storey, flat)
    dirt(wall)
    rise = 0.0 if flat else random.uniform(1.6, 4.2)
    gable = build_wall(random, GABLE_METRES, height + rise, material, colour * random.uniform(0.7, 1.0))
    dirt(gable)
    side = finish(gable)
    cut_triangle(side, rise)
    chimneys = () if flat else tuple(np.linspace(0.05, 0.95, int(random.integers(1, 4))).tolist())
    return Facade(finish(wall), side, width, height, rise, int(random.integers(ROOF_POOL)), chimneys)


def draw_ground_floor(wall: Wall, width: float, ground: float) -> None:
    """Draw shops side by side, or a plinth with windows, a door and a gateway."""
    random = wall.random
    if random.random() < 0.55:
        units = max(round(width / random.uniform(4.0, 8.0)), 1)
        for unit in range(units):
            add_shop_front(wall, unit * width / units + 0.15, width / units - 0.3, ground - 0.2)
        return
    plinth = hsv(random, (0.05, 0.6), (0.0, 0.2), (0.25, 0.7))
    wall.block(0, 0, width, random.uniform(0.5, 1.3), plinth)
    design = design_window(random, random.uniform(0.9, 1.4), ground * 0.5)
    count = max(int(width / random.uniform(2.2, 3.4)), 2)
    entrance = int(random.integers(count))
    for number in range(count):
        left = (number + 0.5) * width / count
        if number == entrance:
            add_door(wall, left - 0.7, 1.4, 2.7)
        else:
            add_window(wall, left - design.width / 2, ground * 0.32, design)


def draw_storeys(wall: Wall, width: float, ground: float, storey: float, floors: int) -> None:
    """Draw tall windows in every storey, perhaps with balconies or a bay in some axes."""
    random = wall.random
    spacing = random.uniform(1.9, 3.1)
    count = max(int(width / spacing), 2)
    spacing = width / count
    design = design_window(random, spacing * random.uniform(0.38, 0.62), storey * random.uniform(0.52, 0.7))
    balconies = (
        set(random.choice(count, int(random.integers(0, count)), replace=False)) if random.random() < 0.4 else ()
    )
    metal = hsv(random, (0, 1), (0, 0.3), (0.1, 0.6))
    for floor in range(1, floors):
        base = ground + (floor - 1) * storey + storey * 0.22
        for axis in range(count):
            left = axis * spacing + (spacing - design.width) / 2
            add_window(wall, left, base, design)
            if axis in balconies:
                wall.block(left - 0.4, base - 0.25, design.width + 0.8, 0.2, metal * 0.8)
                wall.block(left - 0.4, base - 0.05, design.width + 0.8, 0.9, metal)
                wall.darken(left - 0.4, base - 0.7, design.width + 0.8, 0.45, 0.6)


def dirt(wall: Wall) -> None:
    """Let soot, damp and the shade of trees darken a front in large soft patches."""
    rows, columns = wall.glow.shape
    patches = noise_patch(wall.random, rows, columns, 5, 1.6)
    wall.image *= np.clip(1 + wall.random.uniform(0.03, 0.2) * patches, 0.4, 1.3)[..., None]
