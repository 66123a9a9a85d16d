"""A small drawing board in metres on which the pictures of single objects are drawn."""

from __future__ import annotations

import cv2
import numpy as np

from sim2street.training.scenes.canvas import SUBPIXEL_BITS, Sprite, halved
from sim2street.training.scenes.textures import noise

Point = tuple[float, float]
"""Metres right of the anchor, metres above it."""

NORMAL_BLUR_SHARE = 0.06
"""Width of the blur (share of the drawing's height) that turns an outline into a round body."""


class Sketch:
    """Draws polygons, strokes and discs at twice the final resolution, then averages.

    Args:
        left: Metres left of the anchor that the board reaches.
        right: Metres right of the anchor.
        height: Metres above the anchor.
        scale: Pixels per metre of the finished sprite.
        label: Train id of strokes that name none.
        below: Metres below the anchor.
    """

    def __init__(self, left: float, right: float, height: float, scale: float, label: int, below: float = 0.1) -> None:
        """Start with an empty board."""
        rows = 2 * int(np.ceil((height + below) * scale))
        columns = 2 * int(np.ceil((left + right) * scale))
        self.scale = scale
        self.label = label
        self.origin = (left, height)
        self.colour = np.zeros((rows, columns, 4), np.uint8)
        self.marks = np.zeros((rows, columns, 4), np.uint8)

    def pixels(self, points: np.ndarray | list[Point]) -> np.ndarray:
        """Board positions (at double resolution) of points in metres."""
        metres = np.asarray(points, np.float64)
        places = np.empty_like(metres)
        places[..., 0] = (metres[..., 0] + self.origin[0]) * self.scale * 2
        places[..., 1] = (self.origin[1] - metres[..., 1]) * self.scale * 2
        return places

    def fixed(self, points: np.ndarray | list[Point]) -> np.ndarray:
        """Board positions (..., 2) of points in metres as OpenCV's fixed-point numbers."""
        return np.rint(self.pixels(points) * (1 << SUBPIXEL_BITS)).astype(np.int32)

    def polygon(
        self,
        points: np.ndarray | list[Point],
        colour: np.ndarray | tuple,
        *,
        label: int | None = None,
        glow: float = 0.0,
        paint: float = 0.0,
    ) -> None:
        """Fill a polygon; `glow` and `paint` in [0, 1] are stored beside the colour."""
        red, green, blue = [min(255.0, max(0.0, float(channel))) for channel in colour]
        self.fill(self.fixed(points), (red, green, blue), label=label, glow=glow, paint=paint)

    def fill(
        self,
        fixed: np.ndarray,
        colour: tuple[float, float, float],
        *,
        label: int | None = None,
        glow: float = 0.0,
        paint: float = 0.0,
    ) -> None:
        """Fill a polygon of positions from `fixed` with a colour in [0, 255]."""
        red, green, blue = colour
        mark = (self.label if label is None else label, 255 * glow, 255, 255 * paint)
        cv2.fillPoly(self.colour, [fixed], (red, green, blue, 255), cv2.LINE_8, SUBPIXEL_BITS)
        cv2.fillPoly(self.marks, [fixed], mark, cv2.LINE_8, SUBPIXEL_BITS)

    def stroke(
        self,
        start: Point,
        end: Point,
        width: float,
        colour: np.ndarray | tuple,
        end_width: float | None = None,
        label: int | None = None,
    ) -> None:
        """Draw a straight limb of `width` metres that narrows to `end_width`."""
        first, last = np.asarray(start, np.float64), np.asarray(end, np.float64)
        along = last - first
        length = max(float(np.hypot(*along)), 1e-6)
        normal = np.array([-along[1], along[0]]) / length * 0.5
        finest = 0.5 / self.scale
        wide = normal * max(width, finest)
        narrow = normal * max(width if end_width is None else end_width, finest)
        corners = [first + wide, last + narrow, last - narrow, first - wide]
        self.polygon(np.array(corners), colour, label=label)

    def disc(
        self,
        centre: Point,
        radius_x: float,
        radius_y: float,
        colour: np.ndarray | tuple,
        *,
        label: int | None = None,
        glow: float = 0.0,
        paint: float = 0.0,
        tilt: float = 0.0,
    ) -> None:
        """Fill an ellipse; `tilt` in radians turns it."""
        angle = np.linspace(0, 2 * np.pi, 14, endpoint=False)
        x, y = radius_x * np.cos(angle), radius_y * np.sin(angle)
        turned = np.stack(
            [
                centre[0] + x * np.cos(tilt) - y * np.sin(tilt),
                centre[1] + x * np.sin(tilt) + y * np.cos(tilt),
            ],
            1,
        )
        self.polygon(turned, colour, label=label, glow=glow, paint=paint)

    def ring(
        self,
        centre: Point,
        radius_x: float,
        radius_y: float,
        width: float,
        colour: np.ndarray | tuple,
        filled_label: int,
    ) -> None:
        """Draw a hoop whose inside shows what is behind but carries the label too."""
        middle = self.pixels([centre])[0]
        axes = (radius_x * self.scale * 2, radius_y * self.scale * 2)
        thick = max(round(width * self.scale * 2), 1)
        box = (tuple(middle), (2 * axes[0], 2 * axes[1]), 0.0)
        red, green, blue = (float(channel) for channel in colour)
        cv2.ellipse(self.colour, box, (red, green, blue, 255), thick)
        cv2.ellipse(self.marks, box, (filled_label, 0, 255, 0), -1)
        cv2.ellipse(self.marks, box, (filled_label, 0, 255, 0), thick)

    def sprite(self, *, grain: np.ndarray | None = None, rounded: float = 0.15) -> Sprite:
        """Average to the final resolution.

        Args:
            grain: Noise of the board's double resolution that multiplies colours and paint as 1 + grain.
            rounded: How much the underside of the body darkens.

        Returns:
            The sprite, with sideways normals guessed from its blurred outline.
        """
        colour = self.colour
        if grain is not None:
            shade = colour[..., :3] * (1.0 + grain[..., None])
            colour = np.dstack([np.clip(shade, 0, 255).astype(np.uint8), colour[..., 3]])
            self.marks[..., 3] = np.clip(self.marks[..., 3] * (1.0 + grain), 0, 255).astype(np.uint8)
        small = halved(colour)
        marks = halved(self.marks)
        label = self.marks[::2, ::2, 0]
        label = np.ascontiguousarray(label[: small.shape[0], : small.shape[1]])
        blur = max(small.shape[0] * NORMAL_BLUR_SHARE, 1.0)
        body = cv2.GaussianBlur(small[..., 3].astype(np.float32) / 255, (0, 0), blur)
        step = 2.0 * blur
        sideways = -cv2.Sobel(body, cv2.CV_32F, 1, 0, ksize=3) / 8 * step
        upward = -cv2.Sobel(body, cv2.CV_32F, 0, 1, ksize=3) / 8 * step
        shade = 1.0 - rounded * 2 * np.clip(upward, -1, 1)
        small[..., :3] = np.clip(small[..., :3] * shade[..., None], 0, 255).astype(np.uint8)
        normal = np.clip(128 + 127 * sideways * 1.5, 0, 255).astype(np.uint8)
        extra = np.dstack([normal, marks[..., 1], marks[..., 2], marks[..., 3]])
        present = np.unique(self.marks[..., 0][self.marks[..., 2] > 0])
        single = int(present[0]) if len(present) == 1 else label
        anchor = (self.origin[0] * self.scale, self.origin[1] * self.scale)
        return Sprite(small, np.ascontiguousarray(extra), self.scale, anchor, single)


def folds_of(sketch: Sketch, number: int, contrast: float, smoothness: float = 1.1) -> np.ndarray | None:
    """Draw folds of cloth or mirrored surroundings for a whole board.

    Args:
        sketch: The board.
        number: Which folds; equal numbers on equal boards give the same.
        contrast: Standard deviation of the relative brightness; 0 draws none.
        smoothness: Fall of the amplitude with frequency, as of `noise`.

    Returns:
        (rows, columns) float32 for `Sketch.sprite`'s grain, or None without contrast.
    """
    if contrast <= 0:
        return None
    random = np.random.default_rng([8150, number])
    rows, columns = sketch.colour.shape[:2]
    tile = noise(6, smoothness)
    first_row, first_column = random.integers(0, len(tile), 2)
    # Folds hang: they are half as fine upwards as across.
    upward = (np.arange(rows) // 2 + first_row) % len(tile)
    across = (np.arange(columns) + first_column) % len(tile)
    return np.clip(contrast * tile[np.ix_(upward, across)], -0.6, 0.6)
