"""Skies: white, blue, cloudy, dusk and night, drawn into the canvas before anything else."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from sim2street.training.scenes.canvas import Canvas
from sim2street.training.scenes.textures import TILE, Colour, hsv, noise, to_bytes


@dataclass(frozen=True)
class Sky:
    """Colours of a sky, in [0, 255].

    Attributes:
        low: Colour at the horizon.
        high: Colour well above it.
        cloud: Colour of the clouds.
        cover: Share of clouds, in [0, 1].
        softness: How gradually clouds end; small is crisp.
    """

    low: Colour
    high: Colour
    cloud: Colour
    cover: float
    softness: float


def draw_sky(random: np.random.Generator, kind: str) -> Sky:
    """Draw a sky of kind "clear", "white", "clouds", "grey", "dusk", or "night"."""
    white = np.array([250.0, 252.0, 255.0], np.float32)
    if kind == "white":
        tone = white * random.uniform(0.88, 1.02)
        return Sky(tone, tone * random.uniform(0.9, 1.0), tone, random.uniform(0, 0.5), 1.0)
    if kind == "clear":
        low = hsv(random, (0.5, 0.58), (0.0, 0.15), (0.92, 1.0))
        high = hsv(random, (0.54, 0.61), (0.2, 0.6), (0.75, 0.98))
        return Sky(low, high, white, random.uniform(0, 0.3), 0.8)
    if kind == "clouds":
        low = hsv(random, (0.52, 0.6), (0.02, 0.2), (0.8, 1.0))
        high = hsv(random, (0.55, 0.62), (0.25, 0.65), (0.55, 0.95))
        return Sky(
            low,
            high,
            white * random.uniform(0.75, 1.0),
            random.uniform(0.3, 0.75),
            random.uniform(0.3, 0.8),
        )
    if kind == "grey":
        tone = hsv(random, (0.52, 0.68), (0.0, 0.08), (0.6, 0.92))
        return Sky(
            tone,
            tone * random.uniform(0.8, 1.0),
            tone * random.uniform(0.75, 1.05),
            random.uniform(0.2, 0.8),
            1.0,
        )
    if kind == "dusk":
        low = hsv(random, (0.08, 0.6), (0.02, 0.25), (0.45, 0.85))
        high = hsv(random, (0.5, 0.64), (0.05, 0.35), (0.2, 0.6))
        return Sky(
            low,
            high,
            high * random.uniform(0.4, 0.9),
            random.uniform(0.4, 0.8),
            random.uniform(0.4, 0.9),
        )
    high = hsv(random, (0.58, 0.68), (0.3, 0.7), (0.03, 0.1))
    low = high + hsv(random, (0.05, 0.65), (0.2, 0.5), (0.03, 0.14))
    return Sky(low, high, low * random.uniform(0.7, 1.2), random.uniform(0.1, 0.7), 1.0)


def paint_sky(canvas: Canvas, sky: Sky, random: np.random.Generator) -> None:
    """Fill the upper part of the canvas, down to a little below the horizon."""
    camera = canvas.camera
    last = int(np.clip(camera.horizon_v + abs(camera.roll) * camera.width + 2, 1, camera.height))
    # Clouds are smooth: half the resolution is enough.
    rows, columns = max(last // 2, 1), max(camera.width // 2, 1)
    rise = (np.linspace(last, 0, rows, dtype=np.float32) / camera.focal)[:, None]
    share = np.clip(rise * random.uniform(1.5, 3.5), 0, 1)[..., None]
    picture = sky.low * (1 - share) + sky.high * share
    if sky.cover > 0:
        # Clouds lie in a plane overhead, so they shrink towards the horizon.
        far = 1.0 / (rise + 0.16)
        across = np.linspace(-0.5, 0.5, columns, dtype=np.float32)[None] * (camera.width / camera.focal)
        scale = random.uniform(25, 70)
        u = (across * far * scale + random.uniform(0, TILE)).astype(np.int32) & (TILE - 1)
        v = (far * scale * 1.4 + random.uniform(0, TILE)).astype(np.int32) & (TILE - 1)
        field = noise(31, 1.5)[v, u]
        threshold = (0.5 - sky.cover) * 3.0
        cloud = np.clip((field - threshold) / (2 * sky.softness), 0, 1)
        cloud = cv2.GaussianBlur(cloud, (3, 3), 0)
        shaded = (1 + 0.08 * np.clip(noise(32, 1.2)[u, v], -2, 2)) * cloud
        clear = 1 - cloud
        # Channel by channel: broadcasting over three channels is slow.
        picture = cv2.merge([picture[..., c] * clear + shaded * sky.cloud[c] for c in range(3)])
    picture = np.broadcast_to(picture, (rows, columns, 3)).astype(np.float32)
    size = (camera.width, last)
    whole = cv2.resize(to_bytes(picture), size, interpolation=cv2.INTER_LINEAR)
    canvas.colour[:last] = cv2.cvtColor(whole, cv2.COLOR_BGR2BGRA)
