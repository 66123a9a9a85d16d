"""The buffers a scene is painted into, and the three ways of painting: polygon, plane, sprite.

The canvas holds what a style needs to light the scene afterwards: surface colour without light,
how much sun reaches each pixel, how much it glows by itself, its label and its depth.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property

import cv2
import numpy as np

from sim2street.training.scenes import train_ids
from sim2street.training.scenes.camera import NEAR_METRES, Camera

SKY_DEPTH_METRES = 10_000.0
SUBPIXEL_BITS = 4
SUBPIXELS = 1 << SUBPIXEL_BITS
GAP = 40
"""Code of a texel one sees through that still belongs to the object, as between railings."""
OPAQUE = 128
"""Code of an opaque texel that does not glow; 255 is one that glows fully, 0 one that is not."""
GLOW_OF_CODE = (np.maximum(np.arange(256) - OPAQUE, 0) * 2).astype(np.uint8)
SIDES = (np.arange(256, dtype=np.float32) - 128.0) / 64.0
"""How far the surfaces of each sideways normal face to the right."""
LABEL_COVERAGE = 90
"""A sprite's pixel takes its label from this coverage (0..255) on."""
GROUND_CLEARANCE = 0.97
"""Sprites lie this share of the ground's depth before the ground they stand on."""
PIXEL = np.dtype("<u4")
"""Four bytes of one pixel as one number, the first channel lowest."""
LEAST_AVERAGED = 3.0
"""Textures are narrowed by a power of two, and kept, as long as so many columns become one after."""
EMPTY_BORDER = 2
"""Empty rows and columns that are kept around a sprite."""


def halved(image: np.ndarray) -> np.ndarray:
    """Shrink an image to half its size by averaging."""
    height, width = image.shape[:2]
    size = (max(width // 2, 1), max(height // 2, 1))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def filled(height: int, width: int, channels: tuple[int, int, int, int]) -> np.ndarray:
    """Return a (height, width, 4) uint8 picture of one colour; fast, as it writes whole pixels."""
    first, second, third, fourth = channels
    pixel = first | second << 8 | third << 16 | fourth << 24
    return np.full((height, width), pixel, PIXEL).view(np.uint8).reshape(height, width, 4)


def multiplied(image: np.ndarray, gains: tuple[float, float, float]) -> np.ndarray:
    """Multiply three channels by gains and clear the fourth.

    A picture of gains in bytes is far faster than OpenCV's product with a scalar, and exact to
    less than a grey level.
    """
    largest = max(gains)
    red, green, blue = [round(gain * 255 / largest) for gain in gains]
    height, width = image.shape[:2]
    return cv2.multiply(image, filled(height, width, (red, green, blue, 0)), scale=largest / 255)


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
    levels: list[SpriteLevel] = field(default_factory=list)

    def level(self, number: int) -> SpriteLevel:
        """Return the picture shrunk by 2**number, without its empty border; levels are kept."""
        if not self.levels:
            self.levels.append(SpriteLevel(self.colour, self.extra))
        while len(self.levels) <= number:
            last = self.levels[-1]
            self.levels.append(SpriteLevel(halved(last.whole_colour), halved(last.whole_extra)))
        return self.levels[number]


class SpriteLevel:
    """A sprite's picture at one size, cut to what is not empty so that little has to be painted.

    Attributes:
        whole_colour: The uncut colours, from which the next smaller level is made.
        whole_extra: Uncut, as in `Sprite`.
        colour: The part of the colours that is not empty.
        extra: The same part.
        left: Columns cut off on the left.
        top: Rows cut off at the top.
        glows: Whether any pixel glows.
    """

    def __init__(self, colour: np.ndarray, extra: np.ndarray) -> None:
        """Find the part that covers anything, with some rows and columns to blend towards."""
        self.whole_colour, self.whole_extra = colour, extra
        left, top, width, height = cv2.boundingRect(cv2.max(colour[..., 3], extra[..., 2]))
        self.left, self.top = max(left - EMPTY_BORDER, 0), max(top - EMPTY_BORDER, 0)
        part = (slice(self.top, top + height + EMPTY_BORDER), slice(self.left, left + width + EMPTY_BORDER))
        self.colour = np.ascontiguousarray(colour[part])
        self.extra = np.ascontiguousarray(extra[part])
        self.glows = bool(extra[..., 1].any())


@dataclass
class Texture:
    """A flat picture for upright or sloped planes; its codes are those of `OPAQUE`.

    Attributes:
        image: (h, w, 4) uint8, red, green, blue, code.
        label: Train id of all its pixels.
    """

    image: np.ndarray
    label: int
    levels: dict[tuple[int, int], np.ndarray] = field(default_factory=dict)

    @cached_property
    def glows(self) -> bool:
        """Whether any texel glows."""
        return bool(self.image[..., 3].max() > OPAQUE)

    def level(self, number: int, narrower: int = 0) -> np.ndarray:
        """Return the image shrunk by 2**number, its width by 2**narrower more; copies are kept."""
        kept = self.levels.get((number, narrower))
        if kept is not None:
            return kept
        if narrower:
            image = self.level(number, narrower - 1)
            size = (max(image.shape[1] // 2, 1), image.shape[0])
            image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        else:
            image = halved(self.level(number - 1)) if number else self.image
        self.levels[number, narrower] = image
        return image


@dataclass(frozen=True)
class Projected:
    """Where a plane lies in the picture.

    Attributes:
        points: (4, 2) picture positions of bottom start, bottom end, top end, top start.
        start: Share of the plane's length that was cut off at its start, near the camera.
        end: Share of the length at which it ends.
        nearest: Smallest depth in metres.
        inverse_depth: Slope along u, slope along v and constant of 1 / depth.
        probes: Numbers of some pixels inside the plane and 1 / depth there, or None where too few
            lie inside the picture to judge whether the plane is hidden.
    """

    points: np.ndarray
    start: float
    end: float
    nearest: float
    inverse_depth: tuple[float, float, float]
    probes: tuple[np.ndarray, np.ndarray] | None


@dataclass(frozen=True)
class Painting:
    """A finished canvas, one array per property, all (H, W) but the first.

    Attributes:
        camera: The camera it was painted for.
        albedo: (H, W, 3) uint8, colour of the surfaces without light.
        openness: uint8, how much of each pixel is sky, 255 for all of it: between twigs the
            bright sky shows through pixels that are labelled vegetation.
        sun: uint8, sunlight that reaches each pixel.
        glow: uint8, light that it gives by itself.
        labels: uint8, train ids.
        depth: float32, metres.
        wetness: float32, smooth noise on the ground.
    """

    camera: Camera
    albedo: np.ndarray
    openness: np.ndarray
    sun: np.ndarray
    glow: np.ndarray
    labels: np.ndarray
    depth: np.ndarray
    wetness: np.ndarray


class Canvas:
    """The picture being painted.

    What is always written together lies side by side, so that one masked copy of whole pixels
    writes it: `colour` holds red, green, blue and openness, `marks` holds sun, glow, label and
    an unused byte. `Painting` explains them.
    """

    def __init__(self, camera: Camera) -> None:
        """Start with nothing but sky."""
        shape = (camera.height, camera.width)
        self.camera = camera
        self.colour = filled(*shape, (0, 0, 0, 255))
        self.marks = filled(*shape, (0, 0, train_ids.SKY, 0))
        self.depth = np.full(shape, SKY_DEPTH_METRES, np.float32)
        self.wetness = np.zeros(shape, np.float32)

    def finish(self) -> Painting:
        """Return what has been painted, one array per property."""
        albedo = cv2.cvtColor(self.colour, cv2.COLOR_BGRA2BGR)
        openness = cv2.extractChannel(self.colour, 3)
        sun, glow, named = (cv2.extractChannel(self.marks, channel) for channel in range(3))
        return Painting(self.camera, albedo, openness, sun, glow, named, self.depth, self.wetness)

    def fill(self, target: np.ndarray, points: np.ndarray, value: float | tuple, soft: bool) -> None:
        """Fill a polygon of picture positions in one buffer; `soft` smooths its border."""
        fixed = np.rint(points * SUBPIXELS - SUBPIXELS / 2).astype(np.int32)
        line = cv2.LINE_AA if soft else cv2.LINE_8
        cv2.fillPoly(target, [fixed], value, line, SUBPIXEL_BITS)

    def is_hidden(self, plane: Projected) -> bool:
        """Probe some points of a plane; True when all of them lie behind what is painted."""
        if plane.probes is None:
            return False
        pixels, inverse = plane.probes
        return bool((self.depth.ravel().take(pixels) * inverse).max() <= 1.0)

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
        depth = self.depth[area]
        if float(depth.max()) <= plane.nearest or self.is_hidden(plane):
            return
        slope_u, slope_v, constant = plane.inverse_depth
        columns = np.arange(left + 0.5, right, dtype=np.float32) * np.float32(slope_u)
        rows = np.arange(top + 0.5, bottom, dtype=np.float32) * np.float32(slope_v)
        distance = columns + (rows + np.float32(constant))[:, None]
        np.maximum(distance, np.float32(1e-4), out=distance)
        np.divide(np.float32(1.0), distance, out=distance)
        free = distance < depth
        # Only the part that is not hidden is worth painting.
        x, y, width, height = cv2.boundingRect(free.view(np.uint8))
        if not width:
            return
        left, top, right, bottom = left + x, top + y, left + x + width, top + y + height
        area = (slice(top, bottom), slice(left, right))
        part = (slice(y, y + height), slice(x, x + width))
        depth, distance, free = depth[part], distance[part], free[part]
        span_u = max(abs(u1 - u0), abs(u2 - u3), 0.5)
        span_v = max(abs(v3 - v0), abs(v2 - v1), 0.5)
        full_height, full_width = texture.image.shape[:2]
        wanted_width = span_u / (end - start)
        ratio = min(full_width / wanted_width, full_height / span_v)
        number = min(int(math.log2(max(ratio, 1.0))), 6)
        image = texture.level(number)
        height, width = image.shape[:2]
        # Upright planes seen at a slant shrink along one axis only: average along that axis.
        fit_width = int(min(width, wanted_width * 1.5 + 2))
        narrower = int(math.log2(width / (fit_width * LEAST_AVERAGED)))
        if narrower > 0:
            image = texture.level(number, narrower)
            width = image.shape[1]
        fit_height = int(min(height, span_v * 1.5 + 2))
        if fit_width < 0.7 * width or fit_height < 0.7 * height:
            image = cv2.resize(image, (fit_width, fit_height), interpolation=cv2.INTER_AREA)
            height, width = image.shape[:2]
        first, last = start * width - 0.5, end * width - 0.5
        source = np.array([[first, height - 0.5], [last, height - 0.5], [last, -0.5], [first, -0.5]], np.float32)
        target = (points - (left + 0.5, top + 0.5)).astype(np.float32)
        matrix = cv2.getPerspectiveTransform(source, target)
        size = (right - left, bottom - top)
        warped = cv2.warpPerspective(image, matrix, size, flags=cv2.INTER_LINEAR)
        code = cv2.extractChannel(warped, 3)
        fence = texture.label == train_ids.FENCE
        visible = code >= (GAP // 2 if fence else OPAQUE // 2)
        visible &= free
        mask = visible.view(np.uint8)
        if not cv2.countNonZero(mask):
            return
        colour = multiplied(warped, tint.tolist())
        if fence:
            # What lies behind shows through; so does the sky, in the fourth channel.
            share = np.clip((code.astype(np.float32) - GAP) / (OPAQUE - GAP), 0, 1)[..., None]
            colour = (self.colour[area] * (1 - share) + colour * share).astype(np.uint8)
        cv2.copyTo(colour, mask, self.colour[area])
        cv2.copyTo(distance, mask, depth)
        marks = filled(bottom - top, right - left, (int(255 * sun), 0, texture.label, 0))
        if shadow_share > 0 and sun > 0:
            border = points[[0, 1, 1, 0]]
            border[2:] += shadow_share * (points[[2, 3]] - points[[1, 0]])
            self.fill(marks, border - (left, top), (0, 0, texture.label, 0), soft=False)
        if texture.glows:
            cv2.insertChannel(cv2.LUT(code, GLOW_OF_CODE), marks, 1)
        cv2.copyTo(marks, mask, self.marks[area])

    def paint_sprite(
        self,
        sprite: Sprite,
        place: tuple[float, float, float],
        *,
        size: float = 1.0,
        mirrored: bool = False,
        paint: np.ndarray | None = None,
        gain: np.ndarray | None = None,
        sun: float = 0.0,
        sun_side: float = 0.0,
    ) -> None:
        """Paint a sprite.

        Args:
            sprite: What to paint.
            place: Column and row of its anchor in the picture, and its depth in metres.
            size: Enlargement of the sprite's own metres.
            mirrored: Swap left and right.
            paint: Instance colour in [0, 255] for the pixels that take paint.
            gain: Three gains of the colours.
            sun: Sunlight on surfaces that face the camera, in [0, 1].
            sun_side: How much more sunlight surfaces facing right get than those facing left.
        """
        camera = self.camera
        u, v, depth = place
        if depth < NEAR_METRES + 0.4:
            return
        zoom = camera.focal / depth / sprite.scale * size
        if max(sprite.colour.shape) * zoom < 1.5:
            return
        level = sprite.level(min(int(math.log2(max(1.0 / zoom, 1.0))), 6))
        whole_height, whole_width = level.whole_colour.shape[:2]
        height, width = level.colour.shape[:2]
        zoom_u = zoom * sprite.colour.shape[1] / whole_width
        zoom_v = zoom * sprite.colour.shape[0] / whole_height
        sign = -1.0 if mirrored else 1.0
        # Where the uncut picture and its part that is not empty begin.
        origin_u, origin_v = u - sign * sprite.anchor[0] * zoom, v - sprite.anchor[1] * zoom
        first_u, first_v = origin_u + sign * zoom_u * level.left, origin_v + zoom_v * level.top
        last_u, last_v = first_u + sign * zoom_u * width, first_v + zoom_v * height
        left, right = max(math.floor(min(first_u, last_u)), 0), math.ceil(max(first_u, last_u)) + 1
        top, bottom = max(math.floor(first_v), 0), math.ceil(last_v) + 1
        right, bottom = min(right, camera.width), min(bottom, camera.height)
        if right <= left or bottom <= top:
            return
        area = (slice(top, bottom), slice(left, right))
        # What lies below the foot is the near part of a long body: it stands on the ground there.
        horizon = camera.horizon_v + camera.roll * (u - camera.centre_u)
        clearance = camera.focal * camera.eye * GROUND_CLEARANCE
        nearness = np.full((bottom - top, 1), depth, np.float32)
        if clearance < depth * (bottom - 0.5 - horizon):
            below = np.arange(top + 0.5 - horizon, bottom - horizon, dtype=np.float32)
            nearness[:, 0] = np.minimum(clearance / np.maximum(below, 0.01), depth)
        free = self.depth[area] > nearness
        x, y, width, height = cv2.boundingRect(free.view(np.uint8))
        if not width:
            return
        # Only the part that is not hidden is worth painting.
        left, top, right, bottom = left + x, top + y, left + x + width, top + y + height
        area = (slice(top, bottom), slice(left, right))
        free = np.ascontiguousarray(free[y : y + height, x : x + width])
        nearness = nearness[y : y + height]
        partly_hidden = cv2.countNonZero(free.view(np.uint8)) < free.size
        matrix = placing(sign * zoom_u, zoom_v, first_u - left, first_v - top)
        target = (right - left, bottom - top)
        colour = cv2.warpAffine(level.colour, matrix, target, flags=cv2.INTER_LINEAR)
        extra = cv2.warpAffine(level.extra, matrix, target, flags=cv2.INTER_LINEAR)
        normal, glow, cover, painted = cv2.split(extra)
        inside = cover >= LABEL_COVERAGE
        if partly_hidden:
            colour = cv2.copyTo(colour, free.view(np.uint8))
            painted = cv2.bitwise_and(painted, painted, mask=free.view(np.uint8))
            inside &= free
        mask = inside.view(np.uint8)
        kept = cv2.bitwise_not(cv2.extractChannel(colour, 3))
        # The fourth channel of the canvas is how much sky it shows: only what is kept counts.
        np.bitwise_and(colour.view(PIXEL), PIXEL.type(0xFFFFFF), out=colour.view(PIXEL))
        if paint is not None:
            layer = cv2.merge([painted, painted, painted, painted])
            cv2.add(colour, multiplied(layer, (paint / 255).tolist()), dst=colour)
        if gain is not None:
            colour = multiplied(colour, gain.tolist())
        canvas = self.colour[area]
        behind = cv2.multiply(canvas, cv2.merge([kept, kept, kept, kept]), scale=1 / 255)
        cv2.add(behind, colour, dst=canvas)
        cv2.copyTo(np.repeat(nearness, right - left, 1), mask, self.depth[area])
        label = sprite.label if isinstance(sprite.label, int) else 0
        marks = filled(bottom - top, right - left, (0, 0, label, 0))
        if not isinstance(sprite.label, int):
            matrix = placing(sign * zoom, zoom, origin_u - left, origin_v - top)
            cv2.insertChannel(cv2.warpAffine(sprite.label, matrix, target, flags=cv2.INTER_NEAREST), marks, 2)
        if level.glows:
            cv2.insertChannel(glow, marks, 1)
        if sun > 0:
            table = np.clip((1.0 + SIDES * (sign * sun_side)) * (255.0 * sun), 0, 255).astype(np.uint8)
            cv2.insertChannel(cv2.LUT(normal, table), marks, 0)
        cv2.copyTo(marks, mask, self.marks[area])


def placing(zoom_u: float, zoom_v: float, first_u: float, first_v: float) -> np.ndarray:
    """Return the matrix that enlarges a picture and moves its first corner to a place."""
    return np.array([[zoom_u, 0, first_u + 0.5 * (zoom_u - 1)], [0, zoom_v, first_v + 0.5 * (zoom_v - 1)]])
