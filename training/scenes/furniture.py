"""Street furniture: lamps, signs, traffic lights, bollards, shelters, and fences and walls."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np

from sim2street.training.scenes import train_ids
from sim2street.training.scenes.canvas import GAP, OPAQUE, Sprite, Texture
from sim2street.training.scenes.facade_parts import PIXELS_PER_METRE, build_wall, wall_colour
from sim2street.training.scenes.facades import finish
from sim2street.training.scenes.sketch import Sketch
from sim2street.training.scenes.textures import Colour, hsv, noise_patch, to_bytes

POOLS = {
    "lamp": 24,
    "sign": 70,
    "light": 24,
    "bollard": 16,
    "post": 16,
    "bin": 10,
    "shelter": 8,
    "billboard": 16,
    "cabinet": 10,
    "far_mast": 8,
    "signal": 40,
}
FENCE_POOL = 24
GARDEN_WALL_POOL = 20
FENCE_PIXELS_PER_METRE = 32
INK = (238.0, 236.0, 230.0)


def metal(random: np.random.Generator) -> Colour:
    """Draw the colour of a post: grey, black, green or galvanised."""
    kind = random.random()
    if kind < 0.5:
        return hsv(random, (0.5, 0.65), (0.0, 0.1), (0.3, 0.62))
    if kind < 0.85:
        return hsv(random, (0.3, 0.7), (0.0, 0.3), (0.05, 0.22))
    return hsv(random, (0, 1), (0.1, 0.5), (0.3, 0.85))


def draw_post(sketch: Sketch, height: float, width: float, colour: Colour, x: float = 0.0) -> None:
    """Draw an upright post with a lit and a dark side."""
    sketch.stroke((x, 0.0), (x, height), width, colour, width * 0.8, label=train_ids.POLE)
    sketch.stroke(
        (x - width * 0.25, 0.0),
        (x - width * 0.25, height),
        width * 0.35,
        colour * 1.3,
        label=train_ids.POLE,
    )


def draw_lamp(random: np.random.Generator) -> Sprite:
    """Draw a street lamp with one or two arms, or an old lantern."""
    height = random.uniform(4.5, 9.5)
    colour = metal(random)
    sketch = Sketch(2.4, 2.4, height + 0.8, 30.0, train_ids.POLE)
    draw_post(sketch, height, random.uniform(0.13, 0.2), colour)
    draw_post(sketch, 1.3, random.uniform(0.18, 0.26), colour)
    kind = random.random()
    if kind < 0.25:
        sketch.polygon(
            [(-0.14, height), (0.14, height), (0.24, height + 0.5), (-0.24, height + 0.5)],
            (225, 220, 200),
            glow=1.0,
        )
        sketch.polygon([(-0.3, height + 0.5), (0.3, height + 0.5), (0, height + 0.7)], colour * 0.8)
    else:
        for side in (-1.0, 1.0) if kind > 0.85 else (1.0,):
            reach = side * random.uniform(0.6, 2.0)
            tip = height + random.uniform(0.0, 0.5)
            sketch.stroke((0, height), (reach * 0.5, tip), 0.09, colour)
            sketch.stroke((reach * 0.5, tip), (reach, tip + 0.05), 0.08, colour)
            sketch.disc((reach, tip + 0.03), 0.34, 0.1, colour * 1.25)
            sketch.disc((reach, tip - 0.03), 0.24, 0.06, (235, 232, 215), glow=1.0)
    return sketch.sprite(rounded=0.05)


def draw_plate(sketch: Sketch, random: np.random.Generator, y: float, size: float) -> float:
    """Draw one sign plate centred at height y; returns its height in metres."""
    label = train_ids.TRAFFIC_SIGN
    red = hsv(random, (0.97, 1.01), (0.75, 0.95), (0.6, 0.85))
    blue = hsv(random, (0.57, 0.63), (0.7, 0.95), (0.35, 0.75))
    kind = int(random.integers(9))
    if kind <= 1:
        sketch.disc((0, y), size, size, red, label=label)
        if kind == 0:
            sketch.disc((0, y), size * 0.72, size * 0.72, INK, label=label)
            sketch.stroke(
                (-size * 0.3, y - size * 0.3),
                (-size * 0.1, y + size * 0.35),
                size * 0.2,
                (25, 25, 25),
                label=label,
            )
            sketch.disc((size * 0.25, y), size * 0.2, size * 0.32, (25, 25, 25), label=label)
        else:
            sketch.stroke((-size * 0.6, y), (size * 0.6, y), size * 0.3, INK, label=label)
        return size * 2
    if kind == 2:
        sketch.disc((0, y), size, size, blue, label=label)
        sketch.stroke(
            (-size * 0.5, y + size * 0.4),
            (size * 0.4, y - size * 0.5),
            size * 0.25,
            INK if random.random() < 0.5 else red,
            label=label,
        )
        return size * 2
    if kind <= 4:
        tip = 1.0 if kind == 3 else -1.0
        for share, colour in ((1.15, red), (0.72, np.array(INK))):
            corners = [
                (-size * share, y - tip * size * share * 0.7),
                (size * share, y - tip * size * share * 0.7),
                (0, y + tip * size * share),
            ]
            sketch.polygon(corners, colour, label=label)
        sketch.stroke((0, y - size * 0.25), (0, y + size * 0.25), size * 0.2, (25, 25, 25), label=label)
        return size * 2
    width = size * random.uniform(0.6, 2.2)
    height = size * random.uniform(0.5, 1.6)
    ground = [
        blue,
        np.array(INK),
        hsv(random, (0.38, 0.44), (0.6, 0.9), (0.25, 0.5)),
        hsv(random, (0.12, 0.15), (0.7, 0.95), (0.75, 0.95)),
        hsv(random, (0, 1), (0, 0.9), (0.2, 0.9)),
    ][int(random.integers(5))]
    ink = INK if ground.mean() < 150 else (30.0, 30.0, 34.0)
    box = [(-width, y - height), (width, y - height), (width, y + height), (-width, y + height)]
    sketch.polygon(box, ink, label=label)
    sketch.polygon([(x * 0.94, y + (v - y) * 0.92) for x, v in box], ground, label=label)
    for row in np.linspace(-0.6, 0.6, int(random.integers(1, 4))):
        end = random.uniform(0.0, 0.75) * width
        sketch.stroke(
            (-width * 0.75, y + row * height),
            (end, y + row * height),
            height * 0.18,
            ink,
            label=label,
        )
    return height * 2


def draw_sign(random: np.random.Generator) -> Sprite:
    """Draw a sign post with one or two plates."""
    height = random.uniform(2.0, 3.4)
    size = random.uniform(0.24, 0.45)
    sketch = Sketch(1.1, 1.1, height + 1.6, 64.0, train_ids.TRAFFIC_SIGN)
    draw_post(sketch, height, random.uniform(0.06, 0.11), metal(random))
    tall = draw_plate(sketch, random, height, size)
    if random.random() < 0.4:
        draw_plate(sketch, random, height - tall / 2 - 0.3, size * 0.7)
    return sketch.sprite(rounded=0.02)


def draw_light(random: np.random.Generator) -> Sprite:
    """Draw a traffic light on its post, sometimes with a second head or a backing board."""
    height = random.uniform(2.2, 3.3)
    sketch = Sketch(1.0, 1.0, height + 0.8, 64.0, train_ids.TRAFFIC_LIGHT)
    draw_post(sketch, height, 0.11, metal(random))
    state = int(random.choice([0, 0, 1, 2, 2]))
    for centre, y in ((0.0, height),) + (
        ((random.choice([-0.38, 0.38]), height - 0.2),) if random.random() < 0.35 else ()
    ):
        if random.random() < 0.6:
            sketch.polygon(
                [
                    (centre - 0.26, y - 0.58),
                    (centre + 0.26, y - 0.58),
                    (centre + 0.26, y + 0.58),
                    (centre - 0.26, y + 0.58),
                ],
                (235, 235, 230),
            )
            sketch.polygon(
                [
                    (centre - 0.24, y - 0.56),
                    (centre + 0.24, y - 0.56),
                    (centre + 0.24, y + 0.56),
                    (centre - 0.24, y + 0.56),
                ],
                (18, 18, 19),
            )
        sketch.polygon(
            [
                (centre - 0.16, y - 0.48),
                (centre + 0.16, y - 0.48),
                (centre + 0.16, y + 0.48),
                (centre - 0.16, y + 0.48),
            ],
            np.full(3, random.uniform(12, 45)),
        )
        for lamp, colour in enumerate(((250, 50, 35), (255, 180, 50), (60, 240, 170))):
            on = lamp == state
            tone = colour if on else tuple(channel * 0.18 + 8 for channel in colour)
            sketch.disc((centre, y + 0.3 - 0.3 * lamp), 0.105, 0.105, tone, glow=1.0 if on else 0.0)
    if random.random() < 0.4:
        sketch.polygon([(-0.12, 1.0), (0.12, 1.0), (0.12, 1.35), (-0.12, 1.35)], (200, 170, 40))
    return sketch.sprite(rounded=0.02)


def draw_signal(random: np.random.Generator) -> Sprite:
    """Draw traffic lights as they stand in European cities: slender heads on a post, often a second one on an arm."""
    on_arm = random.random() < 0.4
    height = random.uniform(5.0, 6.0) if on_arm else random.uniform(2.7, 3.6)
    reach = random.uniform(1.8, 4.0)
    sketch = Sketch(0.8, 4.6, height + 0.9, 48.0, train_ids.TRAFFIC_LIGHT)
    colour = metal(random)
    draw_post(sketch, height, 0.15 if on_arm else 0.1, colour)
    heads = [(random.choice([-0.22, 0.0, 0.22]), random.uniform(2.4, 2.9))]
    if on_arm:
        sketch.stroke((0, height), (reach, height + 0.2), 0.12, colour, 0.08, label=train_ids.POLE)
        heads += [(reach, height - 0.3)]
    housing = np.full(3, random.uniform(10, 40))
    if random.random() < 0.25:
        housing = hsv(random, (0.3, 0.45), (0.2, 0.5), (0.12, 0.3))
    state = int(random.choice([0, 0, 1, 2, 2]))
    for x, y in heads:
        wide, tall = random.uniform(0.13, 0.17), random.uniform(0.42, 0.52)
        box = [(x - wide, y - tall), (x + wide, y - tall), (x + wide, y + tall), (x - wide, y + tall)]
        if random.random() < 0.3:
            rim = [(x + (u - x) * 1.5, y + (v - y) * 1.2) for u, v in box]
            sketch.polygon(rim, INK if random.random() < 0.5 else (16, 16, 17))
        sketch.polygon(box, housing)
        for lamp, tone in enumerate(((250, 55, 40), (255, 180, 50), (80, 240, 180))):
            on = lamp == state
            shown = tone if on else tuple(channel * 0.14 + 8 for channel in tone)
            sketch.disc((x, y + 0.28 - 0.28 * lamp), 0.1, 0.1, shown, glow=1.0 if on else 0.0)
            if on:
                sketch.disc((x, y + 0.28 - 0.28 * lamp), 0.05, 0.05, (255, 240, 225), glow=1.0)
    return sketch.sprite(rounded=0.02)


def draw_small(random: np.random.Generator, kind: str) -> Sprite:
    """Draw a bollard, plain post, mast, bin, switch cabinet, advertising board or bus shelter."""
    if kind == "bollard":
        height = random.uniform(0.8, 1.15)
        sketch = Sketch(0.3, 0.3, height + 0.2, 64.0, train_ids.POLE)
        colour = metal(random) if random.random() < 0.7 else np.array([225.0, 215.0, 70.0])
        sketch.stroke((0, 0), (0, height), random.uniform(0.12, 0.24), colour)
        sketch.stroke(
            (0, height * 0.75),
            (0, height * 0.88),
            0.2,
            INK if random.random() < 0.5 else colour * 0.7,
        )
        return sketch.sprite()
    if kind in ("post", "far_mast"):
        height = random.uniform(3.0, 6.0) if kind == "post" else random.uniform(8.0, 12.0)
        sketch = Sketch(0.5, 0.5, height + 0.2, 28.0, train_ids.POLE)
        draw_post(
            sketch,
            height,
            random.uniform(0.1, 0.2),
            metal(random) if random.random() < 0.6 else hsv(random, (0.05, 0.1), (0.2, 0.4), (0.2, 0.4)),
        )
        return sketch.sprite(rounded=0.03)
    if kind == "bin":
        sketch = Sketch(0.5, 0.5, 1.3, 64.0, train_ids.UNSCORED)
        colour = hsv(random, (0, 1), (0.0, 0.7), (0.08, 0.4))
        sketch.polygon([(-0.26, 0), (0.26, 0), (0.3, 1.0), (-0.3, 1.0)], colour)
        sketch.polygon([(-0.32, 0.98), (0.32, 0.98), (0.26, 1.1), (-0.26, 1.1)], colour * 0.7)
        return sketch.sprite()
    if kind == "cabinet":
        sketch = Sketch(0.8, 0.8, 2.6, 48.0, train_ids.BUILDING)
        height = random.uniform(1.0, 2.4)
        colour = (
            hsv(random, (0, 1), (0.1, 0.9), (0.2, 0.7))
            if height > 1.8
            else hsv(random, (0.25, 0.45), (0, 0.4), (0.2, 0.6))
        )
        sketch.polygon([(-0.45, 0), (0.45, 0), (0.45, height), (-0.45, height)], colour)
        if height > 1.8:
            sketch.polygon(
                [(-0.32, 0.5), (0.32, 0.5), (0.32, height - 0.35), (-0.32, height - 0.35)],
                (70, 80, 85),
            )
        return sketch.sprite(rounded=0.03)
    if kind == "billboard":
        width, low, high = (
            random.uniform(0.4, 0.9),
            random.uniform(0.2, 1.8),
            random.uniform(2.2, 3.6),
        )
        sketch = Sketch(1.5, 1.5, high + 0.2, 44.0, train_ids.TRAFFIC_SIGN)
        draw_post(sketch, low + 0.1, 0.12, metal(random), -width * 0.7)
        draw_post(sketch, low + 0.1, 0.12, metal(random), width * 0.7)
        ground = hsv(random, (0, 1), (0.1, 0.95), (0.2, 0.95))
        sketch.polygon([(-width, low), (width, low), (width, high), (-width, high)], ground, glow=0.2)
        for _ in range(int(random.integers(2, 6))):
            x, y = random.uniform(-width, width * 0.4), random.uniform(low, high - 0.3)
            right, upper = (
                min(x + random.uniform(0.2, 1.2), width),
                min(y + random.uniform(0.1, 0.6), high),
            )
            sketch.polygon(
                [(x, y), (right, y), (right, upper), (x, upper)],
                hsv(random, (0, 1), (0, 0.9), (0.1, 1)),
            )
        return sketch.sprite(rounded=0.02)
    sketch = Sketch(2.2, 2.2, 2.8, 40.0, train_ids.BUILDING)
    frame = metal(random)
    sketch.polygon(
        [(-1.9, 0.3), (1.9, 0.3), (1.9, 2.3), (-1.9, 2.3)],
        hsv(random, (0.45, 0.6), (0.03, 0.15), (0.35, 0.6)),
    )
    sketch.polygon(
        [(-1.4, 0.4), (0.2, 0.4), (1.0, 2.2), (-0.6, 2.2)],
        hsv(random, (0.45, 0.6), (0.03, 0.1), (0.55, 0.75)),
    )
    sketch.polygon([(-2.1, 2.3), (2.1, 2.3), (2.1, 2.5), (-2.1, 2.5)], frame)
    for x in (-1.9, -0.6, 0.7, 1.9):
        sketch.stroke((x, 0), (x, 2.4), 0.08, frame)
    sketch.stroke((-1.6, 0.5), (1.4, 0.5), 0.12, frame * 0.7)
    if random.random() < 0.5:
        sketch.polygon(
            [(1.0, 0.4), (1.85, 0.4), (1.85, 2.0), (1.0, 2.0)],
            hsv(random, (0, 1), (0.2, 0.9), (0.3, 0.9)),
            glow=0.5,
        )
    return sketch.sprite(rounded=0.02)


@cache
def furniture(kind: str, number: int) -> Sprite:
    """Return piece `number` (0 .. POOLS[kind] - 1) of a kind; drawn once, then kept."""
    random = np.random.default_rng([8300, list(POOLS).index(kind), number])
    makers = {"lamp": draw_lamp, "sign": draw_sign, "light": draw_light, "signal": draw_signal}
    return makers[kind](random) if kind in makers else draw_small(random, kind)


@cache
def fence(number: int) -> tuple[Texture, float]:
    """Return fence `number` (0 .. FENCE_POOL - 1): a texture 6 m long, and its height in metres."""
    random = np.random.default_rng([8400, number])
    kind = ("railing", "boards", "mesh", "guard", "pickets", "hoarding")[number % 6]
    height = {
        "railing": 1.3,
        "boards": 1.8,
        "mesh": 2.0,
        "guard": 1.05,
        "pickets": 1.0,
        "hoarding": 2.4,
    }[kind]
    height *= random.uniform(0.85, 1.25)
    rows, columns = round(height * FENCE_PIXELS_PER_METRE), 6 * FENCE_PIXELS_PER_METRE
    colour = (
        metal(random) if kind in ("railing", "mesh", "guard") else hsv(random, (0.05, 0.12), (0.1, 0.5), (0.25, 0.7))
    )
    if kind == "hoarding":
        colour = hsv(random, (0, 1), (0, 0.8), (0.3, 0.9))
    tone = 1 + 0.1 * noise_patch(random, rows, columns, 2, 0.5)
    image = np.zeros((rows, columns, 4), np.uint8)
    image[..., :3] = to_bytes(tone[..., None] * colour)
    code = image[..., 3]
    code[:] = GAP
    if kind in ("boards", "hoarding"):
        code[:] = OPAQUE
        board = 4 if kind == "boards" else 39
        image[:, ::board, :3] = to_bytes(colour * 0.55)
        if kind == "boards":
            image[: rows // 16, :, :3] = to_bytes(colour * 1.2)
    elif kind == "mesh":
        for offset in range(-rows, columns, 6):
            cv2.line(image, (offset, 0), (offset + rows, rows), (*(colour * 0.9).tolist(), OPAQUE), 1)
            cv2.line(image, (offset + rows, 0), (offset, rows), (*(colour * 0.9).tolist(), OPAQUE), 1)
    else:
        step = {"railing": 4, "guard": 5, "pickets": 5}[kind]
        code[:, ::step] = OPAQUE
        if kind != "guard":
            code[:, 1::step] = OPAQUE
        if kind == "pickets":
            code[:, 2::step] = OPAQUE
    if kind not in ("boards", "hoarding"):
        for top in (1, round(rows * 0.9) - 2) if kind != "guard" else (0, rows // 2, rows - 6):
            code[top : top + 3] = OPAQUE
        for left in range(0, columns, 2 * FENCE_PIXELS_PER_METRE):
            code[:, left : left + 3] = OPAQUE
    return Texture(image, train_ids.FENCE), height


@cache
def garden_wall(number: int) -> tuple[Texture, float]:
    """Return free-standing wall `number` (0 .. GARDEN_WALL_POOL - 1) and its height in metres."""
    random = np.random.default_rng([8500, number])
    height = float(random.choice([0.7, 1.0, 1.6, 2.0, 2.6])) * random.uniform(0.85, 1.15)
    material = str(random.choice(["brick", "brick", "brick", "stone", "render", "concrete"]))
    wall = build_wall(random, 8.0, height, material, wall_colour(random, material))
    coping = round(0.1 * PIXELS_PER_METRE) + 1
    wall.image[:coping] = wall_colour(random, "stone")
    wall.image[coping : coping + 2] *= 0.6
    if random.random() < 0.4:
        for left in np.arange(0, 8.0, random.choice([2.0, 2.67, 4.0])):
            wall.image[wall.area(float(left), 0, 0.4, height)] *= random.uniform(0.8, 1.15)
    texture = finish(wall)
    return Texture(texture.image, train_ids.WALL), height
