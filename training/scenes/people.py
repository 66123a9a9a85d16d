"""People on foot, riders and two-wheelers, drawn from simple skeletons."""

from __future__ import annotations

from functools import cache

import numpy as np

from sim2street.training.scenes import train_ids
from sim2street.training.scenes.canvas import Sprite
from sim2street.training.scenes.sketch import Sketch, folds_of
from sim2street.training.scenes.textures import Colour, hsv

PEOPLE_POOL = 220
TWO_WHEELER_POOL = 90
TWO_WHEELERS = ("bicycle", "motorcycle")
PERSON_SCALE = 84.0
"""Pixels per metre of a person's picture."""
BIKE_SCALE = 76.0


def cloth(random: np.random.Generator, dark: float) -> Colour:
    """Draw the colour of a garment; `dark` in [0, 1] is the share of dark and dull ones."""
    kind = random.random()
    if kind < dark:
        return hsv(random, (0.5, 0.75), (0.0, 0.45), (0.06, 0.3))
    if kind < dark + 0.2:
        return hsv(random, (0.0, 1.0), (0.0, 0.15), (0.45, 0.95))
    return hsv(random, (0.0, 1.0), (0.3, 0.9), (0.2, 0.8))


def skin(random: np.random.Generator) -> Colour:
    """Draw a skin colour."""
    return hsv(random, (0.03, 0.08), (0.25, 0.55), (0.4, 0.92))


def draw_head(sketch: Sketch, random: np.random.Generator, x: float, y: float, size: float, facing: float) -> None:
    """Draw head and hair, cap or helmet; `facing` -1 shows the back, 1 the face."""
    face = skin(random)
    hair = hsv(random, (0.04, 0.11), (0.1, 0.7), (0.05, 0.55))
    if random.random() < 0.15:
        hair = cloth(random, 0.4)
    sketch.stroke((x, y - size * 1.3), (x, y - size * 0.5), size * 0.9, face * 0.8)
    sketch.disc((x, y), size * 0.78, size, hair if facing < -0.3 else face)
    sketch.disc((x, y + size * 0.42), size * 0.8, size * 0.62, hair)
    if facing > 0.3:
        sketch.disc((x, y + size * 0.9), size * 0.7, size * 0.2, hair)
    elif random.random() < 0.4:
        sketch.disc((x, y - size * 0.3), size * 0.75, size * 0.8, hair)


@cache
def person(number: int, folds: float = 0.0) -> Sprite:
    """Return person `number` (0 .. PEOPLE_POOL - 1), walking or standing, with bags, coats and folds of a contrast."""
    random = np.random.default_rng([8100, number])
    height = random.uniform(1.55, 1.9) if random.random() < 0.88 else random.uniform(1.0, 1.4)
    sketch = Sketch(0.75, 0.75, 2.0, PERSON_SCALE, train_ids.PERSON)
    turn = random.uniform(0, 2 * np.pi)
    profile = abs(np.sin(turn))
    facing = np.cos(turn)
    walking = random.random() < 0.65
    stride = random.uniform(0.15, 0.38) * walking * height / 1.75
    hip = 0.5 * height
    shoulder = 0.815 * height
    half = (0.125 + 0.075 * (1 - profile)) * height / 1.75 * random.uniform(0.85, 1.2)
    top, legs = cloth(random, 0.5), cloth(random, 0.75)
    shoes = cloth(random, 0.8)
    lean = 0.03 * walking * np.sin(turn)
    forward = np.sin(turn)
    swing = stride * forward
    coat = random.random() < 0.3
    skirt = random.random() < 0.15
    bare = skin(random)
    arm = shoulder - 0.04
    far_arm, near_arm = (-1.0, 1.0) if forward > 0 else (1.0, -1.0)

    def draw_arm(side: float, tone: float) -> None:
        reach = -side * 0.7 * swing
        start = (lean + side * half * 0.92 * (1 - 0.6 * profile), arm)
        elbow = (
            start[0] + side * 0.05 * (1 - profile) + 0.4 * reach - 0.02 * forward,
            arm - 0.28 * height / 1.75,
        )
        bend = random.uniform(0, 0.2) * forward
        hand = (
            elbow[0] + 0.4 * reach + bend,
            elbow[1] - random.uniform(0.16, 0.25) * height / 1.75,
        )
        sketch.stroke(start, elbow, 0.115, top * tone, 0.095)
        sketch.stroke(elbow, hand, 0.095, top * tone * 0.95, 0.07)
        sketch.disc(hand, 0.045, 0.055, bare)

    draw_arm(far_arm, 0.75)
    for side, tone in ((-1.0, 0.78), (1.0, 1.0)):
        hip_x = side * 0.075 * (1 - profile)
        foot_x = hip_x + side * (swing + 0.03 * (1 - profile))
        lift = 0.06 * walking * random.random()
        knee = ((hip_x + foot_x) / 2 + 0.04 * forward, hip * 0.52)
        shin = bare if skirt else legs
        sketch.stroke((hip_x, hip), knee, 0.18, legs * tone, 0.13)
        sketch.stroke(knee, (foot_x, 0.06 + lift), 0.13, shin * tone, 0.09)
        sketch.disc((foot_x + 0.05 * forward, 0.045 + lift), 0.06 + 0.06 * profile, 0.045, shoes)
    low = hip - (0.25 if coat else (-0.02 if not skirt else 0.02))
    flare = 1.15 if coat else 0.95
    torso = [
        (lean - half * 0.55, shoulder + 0.02),
        (lean + half * 0.55, shoulder + 0.02),
        (lean + half, shoulder - 0.06),
        (half * 0.9, hip + 0.12),
        (half * flare, low),
        (-half * flare, low),
        (-half * 0.9, hip + 0.12),
        (lean - half, shoulder - 0.06),
    ]
    if skirt:
        sketch.polygon(
            [
                (-half, hip + 0.05),
                (half, hip + 0.05),
                (half * 1.3, hip - 0.4),
                (-half * 1.3, hip - 0.4),
            ],
            legs,
        )
    sketch.polygon(torso, top)
    if facing > 0.3 and random.random() < 0.5:
        inner = cloth(random, 0.3)
        sketch.polygon(
            [
                (lean - 0.05, shoulder),
                (lean + 0.05, shoulder),
                (0.03, low + 0.05),
                (-0.03, low + 0.05),
            ],
            inner,
        )
    bag = random.random()
    if bag < 0.2 and facing < 0.4:
        sketch.disc(
            (-0.13 * forward, shoulder - 0.24),
            0.13 + 0.04 * (1 - profile),
            0.22,
            cloth(random, 0.6),
        )
    elif bag < 0.4:
        side = random.choice([-1, 1]) * (half + 0.06)
        sketch.polygon(
            [(side - 0.13, 0.5), (side + 0.13, 0.5), (side + 0.11, 0.8), (side - 0.11, 0.8)],
            cloth(random, 0.3),
        )
    draw_arm(near_arm, 1.0)
    draw_head(sketch, random, lean * 1.5, 0.925 * height, 0.125 * height / 1.75, facing)
    return sketch.sprite(rounded=0.2, grain=folds_of(sketch, number, folds))


def draw_rider(
    sketch: Sketch,
    random: np.random.Generator,
    saddle: tuple[float, float],
    grip: tuple[float, float],
    pedal: tuple[float, float],
    profile: float,
    facing: float,
    motor: bool,
) -> None:
    """Draw a seated rider from saddle, grip and pedal positions."""
    label = train_ids.RIDER
    top, legs = cloth(random, 0.5), cloth(random, 0.75)
    upright = random.uniform(0.45, 0.62)
    shoulder = (saddle[0] + (grip[0] - saddle[0]) * random.uniform(0.25, 0.55), saddle[1] + upright)
    half = 0.11 + 0.1 * (1 - profile)
    previous, sketch.label = sketch.label, label
    for side, tone in ((-1.0, 0.75), (1.0, 1.0)):
        spread = side * 0.11 * (1 - profile)
        lift = 0.17 * side
        foot = (pedal[0] + spread + 0.12 * side * profile, pedal[1] + (lift if not motor else 0.0))
        knee = (
            (saddle[0] + foot[0]) / 2 + spread * 0.8 + 0.22 * np.sign(grip[0] - saddle[0]) * profile,
            (saddle[1] + foot[1]) / 2 + 0.12,
        )
        sketch.stroke((saddle[0] + spread, saddle[1] + 0.02), knee, 0.17, legs * tone, 0.12)
        sketch.stroke(knee, foot, 0.12, legs * tone, 0.08)
        sketch.disc((foot[0] + 0.04 * profile, foot[1]), 0.09, 0.045, (30, 30, 32))
    sketch.polygon(
        [
            (saddle[0] - half * 0.85, saddle[1] - 0.03),
            (saddle[0] + half * 0.85, saddle[1] - 0.03),
            (shoulder[0] + half, shoulder[1] - 0.05),
            (shoulder[0] + half * 0.5, shoulder[1] + 0.04),
            (shoulder[0] - half * 0.5, shoulder[1] + 0.04),
            (shoulder[0] - half, shoulder[1] - 0.05),
        ],
        top,
    )
    for side, tone in ((-1.0, 0.8), (1.0, 1.05)):
        start = (shoulder[0] + side * half * 0.85 * (1 - profile), shoulder[1] - 0.05)
        hand = (grip[0] + side * 0.24 * (1 - profile), grip[1])
        elbow = (
            (start[0] + hand[0]) / 2 + side * 0.08 * (1 - profile),
            (start[1] + hand[1]) / 2 - 0.05,
        )
        sketch.stroke(start, elbow, 0.11, top * tone, 0.09)
        sketch.stroke(elbow, hand, 0.09, top * tone, 0.07)
    head = (shoulder[0] + 0.06 * np.sign(grip[0] - saddle[0]) * profile, shoulder[1] + 0.22)
    draw_head(sketch, random, *head, 0.125, facing)
    if motor or random.random() < 0.35:
        sketch.disc((head[0], head[1] + 0.03), 0.14, 0.14 if motor else 0.09, cloth(random, 0.4))
    sketch.label = previous


@cache
def two_wheeler(kind: str, number: int, ridden: bool, folds: float = 0.0) -> Sprite:
    """Return a bicycle or motorcycle, ridden or not, from one of many headings."""
    random = np.random.default_rng([8200, TWO_WHEELERS.index(kind), number, int(ridden)])
    motor = kind == "motorcycle"
    label = train_ids.MOTORCYCLE if motor else train_ids.BICYCLE
    sketch = Sketch(1.15, 1.15, 2.05, BIKE_SCALE, label)
    turn = (
        random.uniform(0, 2 * np.pi) if random.random() < 0.55 else random.choice([0.0, np.pi]) + random.normal(0, 0.25)
    )
    along = np.sin(turn)
    profile, facing = abs(along), np.cos(turn)
    base = 0.68 if motor else 0.53
    radius = 0.31 if motor else random.uniform(0.31, 0.35)
    tyre = 0.13 if motor else 0.045
    colour = hsv(random, (0, 1), (0, 0.9), (0.05, 0.75))
    rear, front = -base * along, base * along
    rise = 0.05 * facing

    def wheel(x: float, height: float) -> None:
        narrow = max(radius * profile, tyre * 0.9)
        if motor or profile < 0.2:
            sketch.disc((x, radius + height), narrow, radius, (24, 24, 25))
            if profile > 0.3:
                sketch.disc((x, radius + height), narrow * 0.6, radius * 0.6, (110, 110, 112))
        else:
            sketch.ring((x, radius + height), narrow, radius, tyre, (26, 26, 27), label)

    wheel(rear, max(rise, 0.0))
    wheel(front, max(-rise, 0.0))
    saddle = (rear * 0.3, 0.82 if motor else random.uniform(0.9, 1.02))
    grip = (front * 0.72, 1.02 if motor else random.uniform(0.98, 1.12))
    hub, crank = (rear, radius), (rear * 0.08, radius * 0.9)
    fork = (front, radius)
    bar = 0.34 * (1 - profile) + 0.03
    if motor:
        sketch.polygon(
            [
                (rear * 1.1, 0.78),
                (rear * 0.4, 0.5),
                (front * 0.5, 0.42),
                (front * 0.75, 0.85),
                (grip[0], 0.98),
                (0.0, 0.86),
            ],
            colour,
        )
        sketch.disc((0.02 * along, 0.62), 0.2 + 0.16 * profile, 0.26, colour)
        sketch.disc((crank[0], 0.38), 0.16 + 0.14 * profile, 0.17, (48, 48, 50))
        sketch.stroke((rear * 1.05, 0.82), (0.15 * along, 0.84), 0.14, (22, 22, 23))
        sketch.stroke(grip, fork, 0.09, (70, 70, 72))
        lamp = (245, 245, 235) if facing > 0 else (200, 30, 25)
        sketch.disc((front * 0.9 if facing > 0 else rear * 0.9, 0.86), 0.09, 0.09, lamp, glow=0.8)
        sketch.stroke((grip[0] - bar, grip[1]), (grip[0] + bar, grip[1]), 0.06, (25, 25, 26))
    else:
        tube = 0.045
        for first, last in (
            (saddle, crank),
            (crank, hub),
            (saddle, hub),
            (crank, (grip[0], grip[1] - 0.22)),
            ((saddle[0], saddle[1] - 0.12), (grip[0], grip[1] - 0.16)),
            (grip, fork),
        ):
            sketch.stroke(first, last, tube, colour)
        sketch.stroke((grip[0] - bar, grip[1]), (grip[0] + bar, grip[1]), 0.045, (40, 40, 42))
        sketch.stroke(
            (saddle[0] - 0.1 * profile - 0.05, saddle[1]),
            (saddle[0] + 0.1 * profile + 0.05, saddle[1]),
            0.07,
            (20, 20, 20),
        )
        if random.random() < 0.25:
            basket = [
                (grip[0] - 0.17, 0.75),
                (grip[0] + 0.17, 0.75),
                (grip[0] + 0.2, 1.0),
                (grip[0] - 0.2, 1.0),
            ]
            sketch.polygon(basket, (95, 80, 60))
        sketch.disc(
            (rear if facing < 0 else front, 0.72),
            0.035,
            0.035,
            (200, 40, 30) if facing < 0 else (230, 230, 220),
            glow=0.7,
        )
    if ridden:
        draw_rider(sketch, random, saddle, grip, (crank[0], crank[1] + 0.02), profile, facing, motor)
    return sketch.sprite(rounded=0.12, grain=folds_of(sketch, number, folds))
