"""The looks: how a painted canvas is lit, hazed and photographed.

Every strength that defines how far a style lies from the clean one is a constant at the top.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, lru_cache

import cv2
import numpy as np

from sim2street.training.scenes import train_ids
from sim2street.training.scenes.canvas import Painting
from sim2street.training.scenes.layout import Layout
from sim2street.training.scenes.textures import TILE, hsv, noise, noise_patch, pick_weighted, to_bytes

GAME_AMBIENT = 0.66
GAME_SUN = 0.52
OVERCAST_LIGHT = 0.82
OVERCAST_SATURATION = 0.7
NIGHT_AMBIENT = 0.25
NIGHT_STREET_LIGHT = 0.13
"""Of lamps along the street, uneven from left to right."""
NIGHT_HEADLIGHT = 0.85
NIGHT_HEADLIGHT_REACH_METRES = 13.0
NIGHT_GLOW = 1.25
NIGHT_BLOOM = 0.9
NIGHT_NOISE = 3.0
FOG_VISIBILITY_METRES = 30.0
"""Distance at which fog leaves 1/e of an object's contrast."""
FOG_VISIBILITY_SPREAD = 0.3
"""Standard deviation of the logarithm of the visibility."""
FOG_LIGHT = 0.85
RAIN_VISIBILITY_METRES = 90.0
RAIN_LIGHT = 0.66
RAIN_WET_DARKENING = 0.6
RAIN_REFLECTION = 0.62
RAIN_STREAKS = 26.0
RAIN_DROPS = 22
STREAK_TILES = 7
SENSOR_NOISE = 2.0
DAY_MEAN = (62.0, 135.0)
"""Range of the mean brightness (of 255) of everything but the sky in randomised daylight."""
DUSK_MEAN = (24.0, 62.0)
JPEG_SHARE = 0.5
CURVE_SHARE = 0.6
JPEG_QUALITY = (35, 95)
TONE_PIVOT = 0.3
"""Brightness that a change of contrast leaves as it is."""

SKY_KINDS = {
    "game": (("clear", 0.45), ("clouds", 0.55)),
    "randomised": (
        ("white", 0.38),
        ("clear", 0.3),
        ("clouds", 0.14),
        ("grey", 0.1),
        ("dusk", 0.08),
    ),
    "streets": (("white", 0.42), ("clear", 0.28), ("clouds", 0.16), ("grey", 0.12), ("dusk", 0.02)),
    "overcast": (("grey", 0.7), ("white", 0.3)),
    "night": (("night", 1.0),),
    "fog": (("grey", 1.0),),
    "rain": (("grey", 1.0),),
}


@dataclass(frozen=True)
class Shot:
    """What a look needs: the finished canvas, the layout and a source of choices."""

    canvas: Painting
    layout: Layout
    random: np.random.Generator


def sky_kind(style: str, random: np.random.Generator) -> str:
    """Draw the kind of sky of a style."""
    kinds, shares = zip(*SKY_KINDS[style], strict=True)
    return pick_weighted(random, kinds, shares)


def tripled(plane: np.ndarray) -> np.ndarray:
    """Repeat a plane for three channels; OpenCV then mixes pictures much faster than broadcasting."""
    return cv2.merge([plane, plane, plane])


def lit(shot: Shot, ambient: np.ndarray, sun: np.ndarray | None) -> np.ndarray:
    """Light the canvas; gains per colour in, (h, w, 3) float32 in [0, 255] out. Sky stays."""
    canvas = shot.canvas
    picture = canvas.albedo.astype(np.float32)
    filled = 1 - canvas.openness.astype(np.float32) * np.float32(1 / 255)
    if sun is None:
        light = [filled * np.float32(gain - 1) + 1 for gain in ambient]
    else:
        sunlight = canvas.sun.astype(np.float32) * np.float32(1 / 255)
        light = [
            (sunlight * np.float32(share) + np.float32(gain - 1)) * filled + 1
            for share, gain in zip(sun, ambient, strict=True)
        ]
    picture *= cv2.merge(light)
    return picture


def add_glow(shot: Shot, picture: np.ndarray, strength: float) -> None:
    """Let lamps and lit windows shine by themselves."""
    left, top, width, height = cv2.boundingRect(shot.canvas.glow)
    if width:
        area = (slice(top, top + height), slice(left, left + width))
        glow = tripled(shot.canvas.glow[area] * np.float32(strength / 255))
        shine = cv2.multiply(shot.canvas.albedo[area], glow, dtype=cv2.CV_32F)
        cv2.max(picture[area], shine, dst=picture[area])


def haze(picture: np.ndarray, depth: np.ndarray, visibility: float, air: np.ndarray) -> np.ndarray:
    """Mix in airlight by depth: transmission is exp(-depth / visibility), both in metres."""
    through = np.exp(depth * np.float32(-1.0 / visibility))
    veil = 1 - through
    mixed = cv2.multiply(picture, tripled(through))
    return cv2.add(mixed, cv2.merge([veil * np.float32(channel) for channel in air]), dst=mixed)


def saturate(picture: np.ndarray, amount: float) -> np.ndarray:
    """Move colours away from (amount > 1) or towards (amount < 1) grey."""
    mix = np.array([0.3, 0.55, 0.15], np.float32) * (1 - amount)
    matrix = np.tile(mix, (3, 1)) + np.eye(3, dtype=np.float32) * amount
    return cv2.transform(picture, matrix)


def add_noise(shot: Shot, picture: np.ndarray, strength: float) -> None:
    """Add sensor noise of the given standard deviation (of 255) in place."""
    height, width = picture.shape[:2]
    tile = colour_grain()
    side = tile.shape[0]
    top, left = (int(offset) for offset in shot.random.integers(0, side // 4, 2))
    for row in range(0, height, side - top):
        for column in range(0, width, side - left):
            part = picture[row : row + side - top, column : column + side - left]
            grain = tile[top : top + part.shape[0], left : left + part.shape[1]]
            cv2.scaleAdd(grain, strength, part, dst=part)


@cache
def colour_grain() -> np.ndarray:
    """Return (800, 800, 3) float32 noise of standard deviation 1, half of it grey."""
    random = np.random.default_rng([7002])
    grain = random.standard_normal((800, 800, 3), dtype=np.float32)
    grain += random.standard_normal((800, 800, 1), dtype=np.float32)
    return grain / np.float32(np.sqrt(2))


def tone_table(random: np.random.Generator, gamma: float, contrast: float, lift: float, cast: np.ndarray) -> np.ndarray:
    """Build a (1, 256, 3) lookup table from gamma, contrast, lift (of 255) and a colour cast."""
    levels = np.linspace(0, 1, 256, dtype=np.float32) ** gamma
    levels = (levels - TONE_PIVOT) * contrast + TONE_PIVOT + lift / 255
    return to_bytes(levels[None, :, None] * cast * 255)


def soften(picture: np.ndarray, sigma: float) -> np.ndarray:
    """Blur a little, as a lens does."""
    return cv2.GaussianBlur(picture, (0, 0), sigma) if sigma > 0.25 else picture


def lens_scale(shot: Shot) -> float:
    """Width of the picture relative to 512 pixels; blurs are given for that width."""
    return shot.canvas.camera.width / 512.0


def look_game(shot: Shot) -> np.ndarray:
    """One clean daylight rig and one colour grading."""
    picture = lit(shot, np.array([0.95, 1.0, 1.08]) * GAME_AMBIENT, np.array([1.08, 1.0, 0.88]) * GAME_SUN)
    add_glow(shot, picture, 0.9)
    picture = haze(picture, np.minimum(shot.canvas.depth, 400), 1500.0, np.array([205, 215, 228]))
    picture = saturate(picture, 1.12)
    add_noise(shot, picture, SENSOR_NOISE * 0.5)
    return to_bytes(soften(picture, 0.4))


def expose(shot: Shot, picture: np.ndarray, mean: float) -> float:
    """Return the gain that brings the picture without its sky to a mean brightness."""
    part = picture[::6, ::6].mean(2)
    part = part[shot.canvas.labels[::6, ::6] != train_ids.SKY]
    return float(np.clip(mean / max(float(part.mean()), 1.0), 0.15, 2.5)) if part.size else 1.0


def look_randomised(shot: Shot) -> np.ndarray:
    """A look drawn at random around real daylight and dusk photography."""
    random, canvas = shot.random, shot.canvas
    dusk = random.random() < 0.2
    sunny = random.random() < 0.55 and not dusk
    ambient = 0.7 * (1 + random.normal(0, 0.025, 3)) * np.array([0.97, 1.0, 1.05])
    sun = None
    if sunny:
        sun = random.uniform(0.2, 0.75) * np.array([1.1, 1.0, 0.82 + 0.16 * random.random()])
    picture = lit(shot, ambient, sun)
    gains = np.ones((256, 3), np.float32)
    gains[: train_ids.CLASS_COUNT] = np.clip(
        random.normal(1, 0.09, (train_ids.CLASS_COUNT, 1)) + random.normal(0, 0.02, (train_ids.CLASS_COUNT, 3)),
        0.65,
        1.4,
    )
    # Cameras expose for the street, so most skies burn out.
    exposure = expose(shot, picture, random.uniform(*(DUSK_MEAN if dusk else DAY_MEAN)))
    gains *= exposure
    gains[train_ids.SKY] = random.uniform(0.75, 1.0) if dusk else random.uniform(0.95, 1.25)
    # Where the sky shows between twigs, it takes its own gain.
    share = canvas.openness * np.float32(1 / 255)
    factors = []
    for channel in range(3):
        factor = cv2.LUT(canvas.labels, np.ascontiguousarray(gains[:, channel]))
        factor += (gains[train_ids.SKY, channel] - factor) * share
        factors.append(factor)
    picture *= cv2.merge(factors)
    add_glow(shot, picture, random.uniform(0.5, 1.1))
    if random.random() < 0.35:
        air = hsv(random, (0.5, 0.65), (0, 0.1), (0.7, 1.0)) * (0.6 if dusk else 1.0)
        picture = haze(picture, np.minimum(canvas.depth, 500), random.uniform(150, 1200), air)
    picture = saturate(picture, float(np.clip(random.normal(0.95, 0.22), 0.3, 1.5)))
    if random.random() < 0.35:
        bloom(picture, random.uniform(0.1, 0.35))
    if random.random() < 0.3:
        vignette(picture, random.uniform(0.1, 0.45))
    if random.random() < 0.15:
        reflect_windscreen(shot, picture)
    sigma = random.uniform(0.3, 0.9) if random.random() < 0.8 else random.uniform(0.9, 1.6)
    picture = soften(picture, sigma * lens_scale(shot))
    add_noise(shot, picture, random.uniform(0.3, 4.0) if random.random() < 0.85 else random.uniform(4, 9))
    cast = np.clip(1 + random.normal(0, 0.028, 3), 0.85, 1.15)
    table = tone_table(random, random.uniform(0.8, 1.2), random.uniform(0.85, 1.25), random.uniform(-8, 14), cast)
    return cv2.LUT(to_bytes(picture), table)


def large_shades(shot: Shot) -> np.ndarray:
    """Draw what keeps light off whole parts of a street: houses out of sight, crowns of trees, a dark side.

    Returns:
        (H, W) float32 gains in (0, 1]; 1 where the sky is seen.
    """
    random, canvas = shot.random, shot.canvas
    height, width = canvas.labels.shape
    gain = np.ones((height, width), np.float32)
    if random.random() < 0.65:
        lumps = noise_patch(random, 64, 128, 21, random.choice([1.6, 2.0, 2.4]))
        lumps = cv2.resize(lumps, (width, height), interpolation=cv2.INTER_CUBIC)
        softness = random.uniform(0.1, 1.0)
        dark = np.clip((lumps - random.uniform(-0.8, 0.8)) / softness + 0.5, 0, 1)
        gain *= 1 - random.uniform(0.2, 0.65) * dark
    if random.random() < 0.4:
        across = np.linspace(-1, 1, width, dtype=np.float32)[None] * random.choice([-1.0, 1.0])
        dark = np.clip((across - random.uniform(-0.6, 0.6)) / random.uniform(0.05, 0.8) + 0.5, 0, 1)
        gain *= (1 - random.uniform(0.2, 0.55) * dark).astype(np.float32)
    openness = canvas.openness.astype(np.float32) * np.float32(1 / 255)
    return gain + (1 - gain) * openness


def look_streets(shot: Shot) -> np.ndarray:
    """A look drawn at random as `look_randomised`, with large shades, a camera's tone curve and a file's JPEG."""
    random = shot.random
    canvas = shot.canvas
    shaded = cv2.multiply(canvas.albedo, tripled(large_shades(shot)), dtype=cv2.CV_8U)
    picture = look_randomised(replace(shot, canvas=replace(canvas, albedo=shaded)))
    if random.random() < CURVE_SHARE:
        cast = np.clip(1 + random.normal(0, 0.03, 3), 0.9, 1.1)
        table = tone_table(random, random.uniform(0.75, 1.15), random.uniform(0.9, 1.25), random.uniform(-6, 8), cast)
        picture = cv2.LUT(picture, table)
    if random.random() < JPEG_SHARE:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(random.integers(*JPEG_QUALITY))]
        _, stored = cv2.imencode(".jpg", picture, quality)
        picture = np.asarray(cv2.imdecode(stored, cv2.IMREAD_COLOR), np.uint8)
    return picture


def look_overcast(shot: Shot) -> np.ndarray:
    """Flat grey light without cast shadows."""
    picture = lit(shot, np.array([0.97, 1.0, 1.03]) * OVERCAST_LIGHT * shot.random.uniform(0.85, 1.1), None)
    add_glow(shot, picture, 0.9)
    picture = haze(picture, np.minimum(shot.canvas.depth, 400), 600.0, np.array([205, 208, 212]))
    picture = saturate(picture, OVERCAST_SATURATION)
    add_noise(shot, picture, SENSOR_NOISE)
    return to_bytes(soften(picture, 0.5 * lens_scale(shot)))


def look_night(shot: Shot) -> np.ndarray:
    """Dark blue ambient light, own headlights, lit windows, lamps with halos, noise."""
    random, canvas = shot.random, shot.canvas
    camera = canvas.camera
    picture = lit(shot, np.array([0.85, 0.95, 1.25]) * NIGHT_AMBIENT * random.uniform(0.75, 1.3), None)
    rows = (np.arange(camera.height, dtype=np.float32)[:, None] - camera.horizon_v) / camera.height
    columns = (np.arange(camera.width, dtype=np.float32)[None] - camera.centre_u) / camera.width
    beam = np.exp(-((columns / 0.42) ** 2)) * (0.25 + 0.75 / (1 + np.exp(-rows * 40)))
    fall = np.exp(np.minimum(canvas.depth, 500) * np.float32(-1 / NIGHT_HEADLIGHT_REACH_METRES))
    headlight = beam * fall * np.float32(NIGHT_HEADLIGHT * random.uniform(0.75, 1.2))
    street = np.clip(0.6 + 0.5 * noise_patch(random, 1, camera.width, 12, 1.0), 0, 2)
    street = street * np.float32(NIGHT_STREET_LIGHT * random.uniform(0.2, 0.9))
    above = 1 - canvas.openness * np.float32(1 / 255)
    # Headlights are a little warm, street lamps orange.
    light = [
        (headlight * np.float32(warm) + street * np.float32(orange)) * above
        for warm, orange in ((1.0, 1.15), (0.96, 0.85), (0.86, 0.5))
    ]
    picture += cv2.multiply(canvas.albedo, cv2.merge(light), dtype=cv2.CV_32F)
    add_glow(shot, picture, NIGHT_GLOW)
    shining = canvas.glow * np.float32(1 / 255) * (canvas.glow > 20)
    source = cv2.multiply(canvas.albedo, tripled(shining), dtype=cv2.CV_32F)
    small = cv2.resize(source, (camera.width // 4, camera.height // 4), interpolation=cv2.INTER_AREA)
    wide = cv2.GaussianBlur(small, (0, 0), 5.0 * lens_scale(shot)) * 1.5 + cv2.GaussianBlur(
        small, (0, 0), 1.5 * lens_scale(shot)
    )
    wide *= np.array([1.05, 0.9, 0.7], np.float32) * NIGHT_BLOOM
    picture += cv2.resize(wide, (camera.width, camera.height), interpolation=cv2.INTER_LINEAR)
    picture = soften(picture, 0.6 * lens_scale(shot))
    add_noise(shot, picture, NIGHT_NOISE * random.uniform(0.6, 1.4))
    return to_bytes(picture)


def look_fog(shot: Shot) -> np.ndarray:
    """Airlight by exact depth: transmission exp(-depth / visibility)."""
    random = shot.random
    picture = lit(shot, np.array([0.97, 1.0, 1.03]) * FOG_LIGHT, None)
    add_glow(shot, picture, 1.0)
    visibility = FOG_VISIBILITY_METRES * float(np.exp(random.normal(0, FOG_VISIBILITY_SPREAD)))
    air = np.array([0.98, 1.0, 1.02]) * random.uniform(165, 212)
    picture = haze(picture, shot.canvas.depth, visibility, air)
    picture = soften(picture, 0.6 * lens_scale(shot))
    add_noise(shot, picture, SENSOR_NOISE)
    return to_bytes(picture)


def look_rain(shot: Shot) -> np.ndarray:
    """Wet mirroring ground, haze, streaks in the air and drops on the glass."""
    random, canvas = shot.random, shot.canvas
    picture = lit(shot, np.array([0.94, 1.0, 1.06]) * RAIN_LIGHT * random.uniform(0.85, 1.1), None)
    add_glow(shot, picture, 1.15)
    picture = haze(picture, np.minimum(canvas.depth, 600), RAIN_VISIBILITY_METRES, np.array([168, 174, 180]))
    mirror_ground(canvas, picture)
    streaks(shot, picture)
    picture = saturate(picture, 0.8)
    add_drops(shot, picture)
    picture = soften(picture, 0.55 * lens_scale(shot))
    add_noise(shot, picture, SENSOR_NOISE * 1.3)
    return to_bytes(picture)


def mirror_ground(canvas: Painting, picture: np.ndarray) -> None:
    """Mirror what stands above the horizon in the wet ground below it, in place."""
    camera = canvas.camera
    horizon = int(np.clip(camera.horizon_v, 2, camera.height - 2))
    rows = camera.height - horizon
    above = picture[max(horizon - rows, 0) : horizon][::-1]
    mirrored = cv2.resize(above, (camera.width // 2, max(above.shape[0] // 2, 1)), interpolation=cv2.INTER_AREA)
    # Ripples stretch the mirror image upright.
    mirrored = cv2.blur(mirrored, (3, max(rows // 8, 3)))
    mirrored = cv2.resize(mirrored, (camera.width, rows), interpolation=cv2.INTER_LINEAR)
    area = slice(horizon, camera.height)
    named = canvas.labels[area]
    ground = (named == train_ids.ROAD) | (named == train_ids.SIDEWALK)
    puddle = np.clip(0.55 + 0.35 * canvas.wetness[area], 0.1, 1.0)
    grazing = np.linspace(1.0, 0.35, rows, dtype=np.float32)[:, None]
    share = puddle * grazing * np.float32(RAIN_REFLECTION) * ground
    dark = np.where(ground, np.float32(RAIN_WET_DARKENING), np.float32(1.0))
    kept = cv2.multiply(picture[area], tripled(dark * (1 - share)))
    cv2.add(kept, cv2.multiply(mirrored, tripled(share)), dst=picture[area])


def streaks(shot: Shot, picture: np.ndarray) -> None:
    """Add slanted streaks of falling drops, in place."""
    height, width = picture.shape[:2]
    length = max(round(height * 0.06), 5)
    tile = streak_tile(length, int(shot.random.integers(STREAK_TILES)))
    top, left = (int(offset) for offset in shot.random.integers(0, TILE, 2))
    rows = (np.arange(height) + top) & (TILE - 1)
    columns = (np.arange(width) + left) & (TILE - 1)
    picture += tripled(tile[rows].take(columns, axis=1) * np.float32(RAIN_STREAKS))


@cache
def streak_tile(length: int, number: int) -> np.ndarray:
    """Return (TILE, TILE) float32 streaks of `length` pixels; the number sets their slant."""
    lean = length * (number / (STREAK_TILES - 1) - 0.5) * 0.6
    kernel = np.zeros((length, length), np.float32)
    start, end = round(length / 2 - lean / 2), round(length / 2 + lean / 2)
    cv2.line(kernel, (start, 0), (end, length - 1), 1.0)
    sparse = np.maximum(noise(50 + number, 0.0) - 2.3, 0)
    return cv2.filter2D(sparse, -1, kernel) * np.float32(0.5)


def add_drops(shot: Shot, picture: np.ndarray) -> None:
    """Put drops on the glass that show a shrunken, upside-down, blurred view, in place."""
    random = shot.random
    height, width = picture.shape[:2]
    for _ in range(int(random.poisson(RAIN_DROPS))):
        radius = int(max(random.uniform(0.006, 0.028) * width, 2))
        u, v = (
            int(random.uniform(radius, width - radius)),
            int(random.uniform(radius, max(height - radius, radius))),
        )
        area = picture[v - radius : v + radius, u - radius : u + radius]
        reach = radius * 3
        around = picture[max(v - reach, 0) : v + reach, max(u - reach, 0) : u + reach]
        if area.size == 0 or around.size == 0:
            continue
        inside = cv2.resize(
            np.ascontiguousarray(around[::-1, ::-1]),
            area.shape[1::-1],
            interpolation=cv2.INTER_AREA,
        )
        share = drop_share(radius)[: area.shape[0], : area.shape[1]]
        area[:] = area * (1 - share) + inside * (share * 1.05)


@lru_cache(maxsize=64)
def drop_share(radius: int) -> np.ndarray:
    """Return how much of each pixel a drop covers, three times: (2 radius, 2 radius, 3) float32."""
    y, x = np.mgrid[0 : 2 * radius, 0 : 2 * radius].astype(np.float32)
    distance = np.hypot((x + 0.5) / radius - 1, (y + 0.5) / radius - 1)
    return tripled(np.clip((1 - distance) * radius * 0.7, 0, 0.85))


def bloom(picture: np.ndarray, strength: float) -> None:
    """Let bright parts spill over their surroundings, in place."""
    height, width = picture.shape[:2]
    small = cv2.resize(picture, (max(width // 8, 1), max(height // 8, 1)), interpolation=cv2.INTER_AREA)
    bright = cv2.GaussianBlur(np.maximum(small - 150, 0), (0, 0), max(width / 8 / 20, 0.8))
    picture += cv2.resize(bright, (width, height), interpolation=cv2.INTER_LINEAR) * np.float32(strength)


def vignette(picture: np.ndarray, strength: float) -> None:
    """Darken the corners, in place."""
    height, width = picture.shape[:2]
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, width, dtype=np.float32)[None]
    picture *= tripled(1 - np.float32(strength) * 0.5 * (x * x + y * y))


def reflect_windscreen(shot: Shot, picture: np.ndarray) -> None:
    """Add a faint veil, as of a dashboard mirrored in the windscreen, in place."""
    random = shot.random
    height, width = picture.shape[:2]
    coarse = noise(44, 1.4)[: TILE : TILE // 16, : TILE : TILE // 24][:16, :24]
    veil = cv2.resize(np.roll(coarse, int(random.integers(16)), 0), (width, height), interpolation=cv2.INTER_CUBIC)
    picture += tripled(np.clip(veil, 0, 2) * np.float32(random.uniform(5, 22)))


LOOKS: dict[str, Callable[[Shot], np.ndarray]] = {
    "game": look_game,
    "randomised": look_randomised,
    "streets": look_streets,
    "overcast": look_overcast,
    "night": look_night,
    "fog": look_fog,
    "rain": look_rain,
}
