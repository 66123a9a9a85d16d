"""The buffers a scene is painted into, and the three ways of painting: polygon, plane, sprite.

The canvas holds what a style needs to light the scene afterwards: surface colour without light,
how much sun reaches each pixel, how much it glows by itself, its label and its depth.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import cv2
import numpy as np

from training.scenes import labels
from training.scenes.camera import NEAR_METRES, Camera

SKY_DEPTH_METRES = 10_000.0
SUBPIXEL_BITS = 4
SUBPIXELS = 1 << SUBPIXEL_BITS
GAP = 40
"""Code of a texel one sees through that still belongs to the object, as between railings."""
OPAQUE = 128
"""Code of an opaque texel that does not glow; 255 is one that glows fully, 0 one that is not."""
GLOW_OF_CODE = (np.maximum(np.arange(256) - OPAQUE, 0) * 2).astype(np.uint8)
LABEL_COVERAGE = 90
"""A sprite's pixel takes its label from this coverage (0..255) on."""
GROUND_CLEARANCE = 0.97
"""Sprites lie this share of the ground's depth before the ground they stand on."""
FEWEST_PROBES = 12
"""Probes that must lie inside the picture before a plane may count as hidden."""


def probe_weights(count: int) -> np.ndarray:
    """Weights of a plane's four corners at count x count points spread over it."""
    shares = np.linspace(0.02, 0.98, count)
    along, up = (axis.ravel() for axis in np.meshgrid(shares, shares))
    return np.stack([(1 - along) * (1 - up), along * (1 - up), along * up, (1 - along) * up], 1)


PROBE_WEIGHTS = probe_weights(6)


def halved(image: np.ndarray) -> np.ndarray:
    """Shrink an image to half its size by averaging."""
    height, width = image.shape[:2]
    size = (max(width // 2, 1), max(height // 2, 1))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


@dataclass
class Sprite:
    """A picture of an object that always faces the camera.

    Attributes:
        colour: (h, w, 4) uint8, red, green, blue (premultiplied by coverage), coverage.
        extra: (h, w, 4) uint8: sideways normal (128 is towards the camera), glow, label coverage,
            share of the instance's paint colour.
        scale: Pixels per metre.
        anchor: Column and row of the point that stands on the ground.
        label: Train id, or a (h, w) uint8 map of train ids.
    """

    colour: np.ndarray
    extra: np.ndarray
    scale: float
    anchor: tuple[float, float]
    label: int | np.ndarray
    levels: list[tuple[np.ndarray, np.ndarray]] = field(default_factory=list)

    def level(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Return colour and extra shrunk by 2**number; shrunk copies are kept."""
        if not self.levels:
            self.levels.append((self.colour, self.extra))
        while len(self.levels) <= number:
            self.levels.append(tuple(halved(image) for image in self.levels[-1]))
        return self.levels[number]


@dataclass
class Texture:
    """A flat picture for upright or sloped planes; its codes are those of `OPAQUE`.

    Attributes:
        image: (h, w, 4) uint8, red, green, blue, code.
        label: Train id of all its pixels.
    """

    image: np.ndarray
    label: int
    levels: list[np.ndarray] = field(default_factory=list)

    def level(self, number: int) -> np.ndarray:
        """Return the image shrunk by 2**number; shrunk copies are kept."""
        if not self.levels:
            self.levels.append(self.image)
        while len(self.levels) <= number:
            self.levels.append(halved(self.levels[-1]))
        return self.levels[number]


@dataclass(frozen=True)
class Projected:
    """Where a plane lies in the picture.

    Attributes:
        points: (4, 2) picture positions of bottom start, bottom end, top end, top start.
        start: Share of the plane's length that was cut off at its start, near the camera.
        end: Share of the length at which it ends.
        nearest: Smallest depth in metres.
        inverse_depth: Slope along u, slope along v and constant of 1 / depth.
    """

    points: np.ndarray
    start: float
    end: float
    nearest: float
    inverse_depth: tuple[float, float, float]


class Canvas:
    """Colour, sun, glow, labels and depth of the picture being painted.

    `openness` holds how much of each pixel is sky, 255 for all of it: between twigs the bright
    sky shows through pixels that are labelled vegetation. `wetness` is smooth noise on the ground.
    """

    def __init__(self, camera: Camera) -> None:
        """Start with nothing but sky."""
        shape = (camera.height, camera.width)
        self.camera = camera
        self.albedo = np.zeros((*shape, 3), np.uint8)
        self.sun = np.zeros(shape, np.uint8)
        self.glow = np.zeros(shape, np.uint8)
        self.labels = np.full(shape, labels.SKY, np.uint8)
        self.depth = np.full(shape, SKY_DEPTH_METRES, np.float32)
        self.openness = np.full(shape, 255, np.uint8)
        self.wetness = np.zeros(shape, np.float32)

    def fill(self, target: np.ndarray, points: np.ndarray, value: float | tuple, soft: bool) -> None:
        """Fill a polygon of picture positions in one buffer; `soft` smooths its border."""
        fixed = (points * SUBPIXELS - SUBPIXELS / 2).astype(np.int32)
        line = cv2.LINE_AA if soft else cv2.LINE_8
        cv2.fillPoly(target, [fixed], value, line, SUBPIXEL_BITS)

    def is_hidden(self, plane: Projected) -> bool:
        """Probe some points of a plane; True when all of them lie behind what is painted."""
        probes = PROBE_WEIGHTS @ plane.points
        columns, rows = probes[:, 0].astype(np.int32), probes[:, 1].astype(np.int32)
        inside = (columns >= 0) & (columns < self.camera.width)
        inside &= (rows >= 0) & (rows < self.camera.height)
        if np.count_nonzero(inside) < FEWEST_PROBES:
            return False
        slope_u, slope_v, constant = plane.inverse_depth
        inverse = probes[inside] @ (slope_u, slope_v) + constant
        painted = self.depth[rows[inside], columns[inside]]
        return bool((painted * inverse <= 1.0).all())

    def paint_plane(
        self, texture: Texture, plane: Projected, sun: float, tint: np.ndarray, shadow_share: float
    ) -> None:
        """Paint a texture on a plane.

        Args:
            texture: The picture to paint.
            plane: Where it lies in the picture.
            sun: Sunlight on the plane in [0, 1].
            tint: Three gains of the colours.
            shadow_share: Lower share of the plane that lies in shadow, in [0, 1].
        """
        points, start, end = plane.points, plane.start, plane.end
        (u0, v0), (u1, v1), (u2, v2), (u3, v3) = points.tolist()
        left, right = max(int(min(u0, u1, u2, u3)), 0), int(max(u0, u1, u2, u3)) + 2
        top, bottom = max(int(min(v0, v1, v2, v3)), 0), int(max(v0, v1, v2, v3)) + 2
        right, bottom = min(right, self.camera.width), min(bottom, self.camera.height)
        if right <= left or bottom <= top:
            return
        area = (slice(top, bottom), slice(left, right))
        if float(self.depth[area].max()) <= plane.nearest or self.is_hidden(plane):
            return
        span_u = max(abs(u1 - u0), abs(u2 - u3), 0.5)
        span_v = max(abs(v3 - v0), abs(v2 - v1), 0.5)
        full_height, full_width = texture.image.shape[:2]
        wanted_width = span_u / (end - start)
        ratio = min(full_width / wanted_width, full_height / span_v)
        image = texture.level(min(int(math.log2(max(ratio, 1.0))), 6))
        height, width = image.shape[:2]
        # Upright planes seen at a slant shrink along one axis only: average along that axis.
        fit_width = int(min(width, wanted_width * 1.5 + 2))
        fit_height = int(min(height, span_v * 1.5 + 2))
        if fit_width < 0.7 * width or fit_height < 0.7 * height:
            image = cv2.resize(image, (fit_width, fit_height), interpolation=cv2.INTER_AREA)
            height, width = image.shape[:2]
        first, last = start * width - 0.5, end * width - 0.5
        source = np.array([[first, height - 0.5], [last, height - 0.5], [last, -0.5], [first, -0.5]], np.float32)
        offset = np.array([left + 0.5, top + 0.5], np.float32)
        matrix = cv2.getPerspectiveTransform(source, (points - offset).astype(np.float32))
        size = (right - left, bottom - top)
        warped = cv2.warpPerspective(image, matrix, size, flags=cv2.INTER_LINEAR)
        slope_u, slope_v, constant = plane.inverse_depth
        columns = np.arange(left + 0.5, right, dtype=np.float32) * np.float32(slope_u)
        rows = np.arange(top + 0.5, bottom, dtype=np.float32) * np.float32(slope_v)
        inverse = columns + (rows + np.float32(constant))[:, None]
        distance = 1.0 / np.maximum(inverse, np.float32(1e-4))
        code = cv2.extractChannel(warped, 3)
        least = GAP // 2 if texture.label == labels.FENCE else OPAQUE // 2
        visible = (code >= least) & (distance < self.depth[area])
        mask = visible.view(np.uint8)
        colour = cv2.multiply(warped, (*tint.tolist(), 1.0))
        colour = cv2.cvtColor(colour, cv2.COLOR_BGRA2BGR)
        if texture.label == labels.FENCE:
            share = np.clip((code.astype(np.float32) - GAP) / (OPAQUE - GAP), 0, 1)[..., None]
            colour = (self.albedo[area] * (1 - share) + colour * share).astype(np.uint8)
        cv2.copyTo(colour, mask, self.albedo[area])
        cv2.copyTo(distance, mask, self.depth[area])
        if texture.label == labels.FENCE:
            seen_past = self.openness[area] * (1 - share[..., 0])
            cv2.copyTo(seen_past.astype(np.uint8), mask, self.openness[area])
        else:
            self.openness[area][visible] = 0
        cv2.copyTo(cv2.LUT(code, GLOW_OF_CODE), mask, self.glow[area])
        self.labels[area][visible] = texture.label
        self.sun[area][visible] = int(255 * sun)
        if shadow_share > 0 and sun > 0:
            border = points[[0, 1, 1, 0]].copy()
            border[2:] += shadow_share * (points[[2, 3]] - points[[1, 0]])
            shaded = np.zeros(size[::-1], np.uint8)
            self.fill(shaded, border - (left, top), 1, soft=False)
            self.sun[area][visible & (shaded > 0)] = 0

    def paint_sprite(
        self,
        sprite: Sprite,
        position: tuple[float, float, float],
        *,
        size: float = 1.0,
        mirrored: bool = False,
        paint: np.ndarray | None = None,
        gain: np.ndarray | None = None,
        sun: float = 0.0,
        sun_side: float = 0.0,
    ) -> None:
        """Paint a sprite that stands at a world point.

        Args:
            sprite: What to paint.
            position: World x, y, z of its anchor in metres.
            size: Enlargement of the sprite's own metres.
            mirrored: Swap left and right.
            paint: Instance colour in [0, 255] for the pixels that take paint.
            gain: Three gains of the colours.
            sun: Sunlight on surfaces that face the camera, in [0, 1].
            sun_side: How much more sunlight surfaces facing right get than those facing left.
        """
        camera = self.camera
        sideways, depth = camera.to_view(position[0], position[2])
        if depth < NEAR_METRES + 0.4:
            return
        u, v = camera.to_picture(sideways, position[1], depth)
        zoom = camera.focal / depth / sprite.scale * size
        if max(sprite.colour.shape) * zoom < 1.5:
            return
        number = int(np.clip(np.floor(np.log2(max(1.0 / zoom, 1.0))), 0, 6))
        colour, extra = sprite.level(number)
        zoom_u = zoom * sprite.colour.shape[1] / colour.shape[1]
        zoom_v = zoom * sprite.colour.shape[0] / colour.shape[0]
        height, width = colour.shape[:2]
        anchor_u, anchor_v = sprite.anchor[0] * zoom, sprite.anchor[1] * zoom
        sign = -1.0 if mirrored else 1.0
        first = (float(u - sign * anchor_u), float(v - anchor_v))
        last = (first[0] + sign * zoom_u * width, first[1] + zoom_v * height)
        (left, right), (top, bottom) = sorted((first[0], last[0])), (first[1], last[1])
        left, right = max(math.floor(left), 0), min(math.ceil(right) + 1, camera.width)
        top, bottom = max(math.floor(top), 0), min(math.ceil(bottom) + 1, camera.height)
        if right <= left or bottom <= top:
            return
        area = (slice(top, bottom), slice(left, right))
        # What lies below the foot is the near part of a long body: it stands on the ground there.
        below = np.arange(top + 0.5, bottom, dtype=np.float32) - (
            camera.horizon_v + camera.roll * (u - camera.centre_u)
        )
        ground = (camera.focal * camera.eye * GROUND_CLEARANCE) / np.maximum(below, 0.01)
        nearness = np.minimum(ground, np.float32(depth))[:, None]
        free = (self.depth[area] > nearness).view(np.uint8)
        if not free.any():
            return
        matrix = np.array(
            [
                [sign * zoom_u, 0, first[0] - left + 0.5 * (sign * zoom_u - 1)],
                [0, zoom_v, first[1] - top + 0.5 * (zoom_v - 1)],
            ]
        )
        target = (right - left, bottom - top)
        colour = cv2.warpAffine(colour, matrix, target, flags=cv2.INTER_LINEAR)
        extra = cv2.warpAffine(extra, matrix, target, flags=cv2.INTER_LINEAR)
        normal, glow, cover, painted = cv2.split(extra)
        coverage = cv2.extractChannel(colour, 3) * free
        body = cv2.cvtColor(colour, cv2.COLOR_BGRA2BGR)
        if paint is not None:
            layer = cv2.merge([painted, painted, painted])
            body = cv2.add(body, cv2.multiply(layer, (*(paint / 255).tolist(), 1.0)))
        if gain is not None:
            body = cv2.multiply(body, (*gain.tolist(), 1.0))
        body = cv2.bitwise_and(body, body, mask=free)
        kept = cv2.bitwise_not(coverage)
        behind = cv2.multiply(self.albedo[area], cv2.merge([kept, kept, kept]), scale=1 / 255)
        cv2.add(behind, body, dst=self.albedo[area])
        self.openness[area] = cv2.multiply(self.openness[area], kept, scale=1 / 255)
        inside = (cover >= LABEL_COVERAGE) & free.view(bool)
        mask = inside.view(np.uint8)
        if isinstance(sprite.label, np.ndarray):
            matrix = np.array(
                [
                    [sign * zoom, 0, first[0] - left + 0.5 * (sign * zoom - 1)],
                    [0, zoom, first[1] - top + 0.5 * (zoom - 1)],
                ]
            )
            named = cv2.warpAffine(sprite.label, matrix, target, flags=cv2.INTER_NEAREST)
            cv2.copyTo(named, mask, self.labels[area])
        else:
            self.labels[area][inside] = sprite.label
        np.copyto(self.depth[area], nearness, where=inside)
        cv2.copyTo(glow, mask, self.glow[area])
        if sun > 0:
            side = (np.arange(256, dtype=np.float32) - 128.0) * (sign * sun_side / 64.0)
            table = np.clip((1.0 + side) * (255.0 * sun), 0, 255).astype(np.uint8)
            cv2.copyTo(cv2.LUT(normal, table), mask, self.sun[area])
        else:
            self.sun[area][inside] = 0
