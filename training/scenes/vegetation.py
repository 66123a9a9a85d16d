"""Trees, conifers, bushes and hedges with light and dark leaf clumps and holes of sky."""

from __future__ import annotations

import math
from functools import cache

import cv2
import numpy as np

from sim2street.training.scenes import train_ids
from sim2street.training.scenes.canvas import OPAQUE, Sprite, Texture, halved
from sim2street.training.scenes.textures import Colour, hsv, noise_patch, pick, to_bytes

TREE_KINDS = ("leafy", "bare", "conifer", "bush")
TREES_PER_KIND = 48
HEDGE_POOL = 24
TREELINE_POOL = 12
MOST_FORKS = 7
ROWS = 288
"""Height of a tree's picture in pixels before averaging to half of it."""


def leaf_colour(random: np.random.Generator) -> Colour:
    """Draw the colour of foliage: mostly dull greens, sometimes autumn or dark evergreen."""
    kind = random.random()
    if kind < 0.7:
        return hsv(random, (0.16, 0.3), (0.25, 0.6), (0.25, 0.5))
    if kind < 0.85:
        return hsv(random, (0.22, 0.42), (0.15, 0.5), (0.14, 0.32))
    return hsv(random, (0.04, 0.15), (0.3, 0.65), (0.35, 0.6))


def clump_field(
    random: np.random.Generator, rows: int, columns: int, clumps: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Splat round leaf clumps.

    Args:
        random: Source of the leaves.
        rows: Height of the field in pixels.
        columns: Width of the field in pixels.
        clumps: (N, 3) centre column, centre row and radius, painted in this order.

    Returns:
        Coverage in [0, 1], upward normal and sideways normal in [-1, 1], each (rows, columns).
    """
    covered = np.zeros((rows, columns), bool)
    upward = np.zeros((rows, columns), np.float32)
    sideways = np.zeros((rows, columns), np.float32)
    edge = 0.35 * noise_patch(random, rows, columns, 11, 0.35)
    edge += 0.25 * noise_patch(random, rows, columns, 12, 1.0)
    # How far from a clump's centre, squared and in radii, its ragged edge lies.
    reach = 1.0 + 0.3 * edge - 0.8 * np.abs(edge)
    for u, v, radius in clumps.tolist():
        left, right = max(int(u - radius), 0), min(int(u + radius) + 1, columns)
        top, bottom = max(int(v - radius), 0), min(int(v + radius) + 1, rows)
        if right <= left or bottom <= top:
            continue
        x = ((np.arange(left, right, dtype=np.float32) - u) / radius)[None]
        y = ((np.arange(top, bottom, dtype=np.float32) - v) / radius)[:, None]
        area = (slice(top, bottom), slice(left, right))
        inside = x * x + y * y < reach[area]
        covered[area] |= inside
        np.copyto(upward[area], -y, where=inside)
        np.copyto(sideways[area], x, where=inside)
    return covered.astype(np.float32), upward, sideways


def shade_leaves(
    random: np.random.Generator,
    colour: Colour,
    coverage: np.ndarray,
    upward: np.ndarray,
    sideways: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Colour leaf clumps; returns (h, w, 3) colours and (h, w) sideways normals as bytes."""
    rows, columns = coverage.shape
    whole = cv2.GaussianBlur(coverage, (0, 0), max(rows * 0.06, 1.0))
    bulk = -cv2.Sobel(whole, cv2.CV_32F, 0, 1, ksize=3) * rows * 0.02
    grain = noise_patch(random, rows, columns, 11, 0.3)
    light = 0.72 + 0.36 * upward - 0.7 * np.clip(bulk, -0.6, 0.6) + 0.24 * grain
    light = np.clip(light, 0.22, 1.7)[..., None]
    # Lit leaves are yellower, shaded ones bluer.
    warmth = np.array([0.25, 0.1, -0.1], np.float32) * (light - 0.8)
    image = colour * light * (1 + warmth)
    side = -cv2.Sobel(whole, cv2.CV_32F, 1, 0, ksize=3) * rows * 0.02
    normal = np.clip(128 + 60 * sideways + 50 * np.clip(side, -1, 1) + 12 * grain, 0, 255)
    return to_bytes(image), normal.astype(np.uint8)


def assemble(image: np.ndarray, coverage: np.ndarray, outline: np.ndarray, normal: np.ndarray, metres: float) -> Sprite:
    """Average buffers to half size and pack them as a vegetation sprite `metres` high."""
    alpha = np.clip(coverage * 255, 0, 255).astype(np.uint8)
    premultiplied = (image.astype(np.float32) * coverage[..., None]).astype(np.uint8)
    colour = halved(np.dstack([premultiplied, alpha]))
    blank = np.zeros_like(alpha)
    extra = halved(np.dstack([normal, blank, outline, blank]))
    rows, columns = colour.shape[:2]
    return Sprite(colour, extra, rows / metres, (columns / 2, rows - 1.0), train_ids.VEGETATION)


def branches(random: np.random.Generator, image: np.ndarray, trunk_top: float, colour: Colour, spread: float) -> None:
    """Draw a branching trunk into an (h, w, 4) picture; `trunk_top` is a row."""
    rows, columns = image.shape[:2]
    red, green, blue = colour.tolist()
    trunk = rows * random.uniform(0.014, 0.03)
    stack = [(columns / 2, float(rows), 0.0, rows - trunk_top, trunk, 0)]
    while stack:
        u, v, angle, length, width, order = stack.pop()
        bend = random.normal(0, 0.06) * length
        across, along = math.sin(angle) * length, math.cos(angle) * length
        middle_u, middle_v = u + across / 2 + bend, v - along / 2
        end_u, end_v = u + across, v - along
        tone = random.uniform(0.7, 1.15)
        # Twigs are thinner than a pixel: they cover it in part.
        strength = min(max(width, 0.45), 1.0)
        shade = (red * tone * strength, green * tone * strength, blue * tone * strength, strength * 255)
        path = [(u, v), (middle_u, middle_v), (end_u, end_v)]
        fixed = np.array([(round(at_u * 8), round(at_v * 8)) for at_u, at_v in path], np.int32)
        cv2.polylines(image, [fixed], False, shade, max(round(width), 1), cv2.LINE_AA, 3)
        if order >= MOST_FORKS or length < 4:
            continue
        for number in range(pick(random, (2, 3, 3)) if order < 5 else 2):
            turn = random.normal(0, spread) - 0.12 * angle
            reach = trunk_top * random.uniform(0.2, 0.32) if order == 0 else length * random.uniform(0.6, 0.92)
            # Some shoots leave a branch before its end.
            start = 1.0 if number == 0 else random.uniform(0.45, 1.0)
            origin = (u + (end_u - u) * start, v + (end_v - v) * start)
            thinner = width * random.uniform(0.5, 0.72)
            stack.append((*origin, angle + turn, reach, thinner, order + 1))


@cache
def tree(kind: str, number: int) -> Sprite:
    """Return tree `number` (0 .. TREES_PER_KIND - 1) of a kind; drawn once, then kept.

    A bush is drawn 1.5 m, every other tree 10 m high; instances are enlarged when placed.
    """
    random = np.random.default_rng([7600, TREE_KINDS.index(kind), number])
    if kind == "bush":
        return draw_bush(random)
    columns = int(ROWS * (random.uniform(0.7, 1.05) if kind != "conifer" else random.uniform(0.3, 0.5)))
    bark = hsv(random, (0.04, 0.12), (0.08, 0.35), (0.14, 0.36))
    wood = np.zeros((ROWS, columns, 4), np.uint8)
    trunk_top = ROWS * random.uniform(0.6, 0.85)
    if kind != "conifer":
        branches(random, wood, trunk_top, bark, random.uniform(0.3, 0.5))
    else:
        middle = columns // 2
        cv2.rectangle(wood, (middle - 4, ROWS // 2), (middle + 4, ROWS), (*bark.tolist(), 255), -1)
    wood_alpha = wood[..., 3].astype(np.float32) / 255
    if kind == "bare":
        outline = cv2.GaussianBlur(wood_alpha, (0, 0), 3.5)
        outline = np.where((outline > 0.12) | (wood_alpha > 0.6), 255, 0).astype(np.uint8)
        colour = np.divide(wood[..., :3], np.maximum(wood_alpha, 1e-3)[..., None], dtype=np.float32)
        ramp = np.linspace(90, 166, columns, dtype=np.uint8)[None].repeat(ROWS, 0)
        return assemble(to_bytes(colour), wood_alpha, outline, ramp, 10.0)
    clumps = crown_clumps(random, kind, columns, trunk_top)
    coverage, upward, sideways = clump_field(random, ROWS, columns, clumps)
    holes = noise_patch(random, ROWS, columns, 11, 0.6) + 0.8 * noise_patch(random, ROWS, columns, 12, 1.1)
    coverage[holes > random.uniform(1.5, 2.6)] = 0
    image, normal = shade_leaves(random, leaf_colour(random), coverage, upward, sideways)
    # Branches show below the crown and through its holes, not beside it.
    crown = cv2.GaussianBlur(coverage, (0, 0), 5.0)
    crown[int(trunk_top) :] = 1.0
    wood_alpha = wood_alpha * np.clip(crown * 3 - 1, 0, 1)
    outline = cv2.GaussianBlur(coverage, (0, 0), 2.5)
    outline = np.where((outline > 0.4) | (wood_alpha > 0.5), 255, 0).astype(np.uint8)
    cover = np.maximum(wood[..., 3:].astype(np.float32) / 255, 1e-3)
    bark_image = wood[..., :3] / cover
    whole = np.where(coverage[..., None] > 0, image, to_bytes(bark_image))
    return assemble(whole, np.maximum(coverage, wood_alpha), outline, normal, 10.0)


def crown_clumps(random: np.random.Generator, kind: str, columns: int, trunk_top: float) -> np.ndarray:
    """Scatter clumps over a crown, inner and larger ones first."""
    if kind == "conifer":
        levels = np.sort(random.uniform(0.04, 0.93, 170))[::-1]
        reach = levels * columns * 0.46
        u = columns / 2 + random.uniform(-1, 1, levels.size) * reach
        radius = columns * random.uniform(0.05, 0.12, levels.size)
        return np.stack([u, levels * ROWS, radius], 1)
    bottom = trunk_top + ROWS * random.uniform(0.0, 0.1)
    lobes = int(random.integers(7, 16))
    angle = random.uniform(0, 2 * np.pi, lobes)
    away = np.sqrt(random.uniform(0, 1, lobes))
    lobe_radius = columns * random.uniform(0.13, 0.24, lobes)
    lobe_u = columns / 2 + (columns / 2 - lobe_radius) * away * np.cos(angle)
    half_height = bottom / 2
    lobe_v = half_height + (half_height - lobe_radius * 0.8) * away * np.sin(angle)
    lobe_v = np.clip(lobe_v, lobe_radius, None)
    parts = []
    for count, low, high, spread in ((lobes * 5, 0.3, 0.55, 0.6), (lobes * 20, 0.12, 0.3, 0.95)):
        chosen = random.integers(0, lobes, count)
        direction = random.uniform(0, 2 * np.pi, count)
        distance = np.sqrt(random.uniform(0, 1, count)) * lobe_radius[chosen] * spread
        u = lobe_u[chosen] + np.cos(direction) * distance
        v = lobe_v[chosen] + np.sin(direction) * distance * 0.85
        radius = lobe_radius[chosen] * random.uniform(low, high, count)
        part = np.stack([u, np.maximum(v, radius * 0.8), radius], 1)
        # Upper clumps catch the light in front of the lower ones.
        parts.append(part[np.argsort(-part[:, 1])])
    return np.concatenate(parts)


def draw_bush(random: np.random.Generator) -> Sprite:
    """Draw a bush 1.5 m high."""
    rows, columns = 128, int(128 * random.uniform(0.8, 2.0))
    count = 90
    u = random.uniform(0.12, 0.88, count) * columns
    height = np.sqrt(np.clip(1 - (2 * u / columns - 1) ** 2, 0.05, 1))
    v = rows - random.uniform(0.05, 0.85, count) * rows * height
    clumps = np.stack([u, v, rows * random.uniform(0.08, 0.18, count)], 1)
    clumps = clumps[np.argsort(-clumps[:, 1])]
    coverage, upward, sideways = clump_field(random, rows, columns, clumps)
    image, normal = shade_leaves(random, leaf_colour(random), coverage, upward, sideways)
    outline = np.where(cv2.GaussianBlur(coverage, (0, 0), 1.5) > 0.4, 255, 0).astype(np.uint8)
    return assemble(image, coverage, outline, normal, 1.5)


@cache
def hedge(number: int) -> Texture:
    """Return hedge `number` (0 .. HEDGE_POOL - 1), 8 m long and nominally 1.6 m high."""
    random = np.random.default_rng([7700, number])
    return leaf_texture(random, 80, 400, random.uniform(0.02, 0.3), leaf_colour(random))


@cache
def treeline(number: int) -> Texture:
    """Return a distant belt of trees, one of TREELINE_POOL."""
    random = np.random.default_rng([7800, number])
    return leaf_texture(random, 120, 640, random.uniform(0.3, 0.8), leaf_colour(random))


def leaf_texture(random: np.random.Generator, rows: int, columns: int, raggedness: float, colour: Colour) -> Texture:
    """Paint a wall of leaves with an uneven top edge; `raggedness` is a share of the height."""
    count = int(rows * columns / 160)
    u = random.uniform(0, columns, count)
    profile = noise_patch(random, 1, columns, 12, 1.2)[0]
    top = np.clip(raggedness * (0.5 + 0.35 * profile), 0, 0.9)[u.astype(int)]
    v = rows * (top + random.uniform(0, 1, count) * (1 - top)) + 4
    clumps = np.stack([u, v, random.uniform(5, 13, count)], 1)
    clumps = clumps[np.argsort(-clumps[:, 1])]
    coverage, upward, sideways = clump_field(random, rows, columns, clumps)
    coverage[rows // 2 :] = np.maximum(coverage[rows // 2 :], 1)
    image, _ = shade_leaves(random, colour, coverage, upward, sideways)
    code = np.where(coverage > 0.5, OPAQUE, 0).astype(np.uint8)
    return Texture(np.dstack([image, code]), train_ids.VEGETATION)
