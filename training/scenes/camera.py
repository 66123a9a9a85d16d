"""The pinhole camera and the bent road it stands on.

World axes: x to the right, y up, z ahead, all in metres; the origin lies on the ground below the
camera's own z = 0. Pitch and roll are modelled as shears of the picture (a lowered or slanted
horizon), so upright things stay upright and the inverse depth of every upright plane is linear
along the picture's columns.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

Metres = TypeVar("Metres", float, np.ndarray)

NEAR_METRES = 0.6
"""Nothing closer than this along the viewing axis is drawn."""

LARGEST_COORDINATE = 30_000.0
"""Picture coordinates are limited to this, so that fixed-point drawing cannot overflow."""

BEND_END_METRES = 90.0
"""The road bends as a parabola up to here and runs straight on beyond."""


@dataclass(frozen=True)
class Camera:
    """A camera in a street; lengths in metres, picture positions in pixels.

    Attributes:
        width: Picture width in pixels.
        height: Picture height in pixels.
        focal: Focal length in pixels.
        centre_u: Column of the principal point.
        horizon_v: Row of the horizon at the principal column.
        roll: Slope of the horizon (rows per column).
        eye: Height above the ground in metres.
        x: Lateral position in metres.
        yaw: Viewing direction against the z axis in radians, positive to the right.
        bend: Curvature of the road in 1/metre; the centre line lies at x = bend * z**2.
    """

    width: int
    height: int
    focal: float
    centre_u: float
    horizon_v: float
    roll: float
    eye: float
    x: float
    yaw: float
    bend: float

    def road_offset(self, z: np.ndarray) -> np.ndarray:
        """Lateral position of the road's centre line at distances z, in metres."""
        curved = np.clip(z, 0.0, BEND_END_METRES)
        straight = np.maximum(z - BEND_END_METRES, 0.0)
        return self.bend * (curved * curved + 2 * BEND_END_METRES * straight)

    def road_offset_at(self, z: float) -> float:
        """Lateral position of the road's centre line at one distance, in metres."""
        curved, straight = min(max(z, 0.0), BEND_END_METRES), max(z - BEND_END_METRES, 0.0)
        return self.bend * (curved * curved + 2 * BEND_END_METRES * straight)

    def road_heading(self, z: float) -> float:
        """Direction of the road at distance z against the z axis, in radians."""
        return math.atan(2 * self.bend * min(max(z, 0.0), BEND_END_METRES))

    def to_view(self, x: Metres, z: Metres) -> tuple[Metres, Metres]:
        """Turn world ground coordinates into (sideways, along the viewing axis) metres."""
        cosine, sine = math.cos(self.yaw), math.sin(self.yaw)
        offset = x - self.x
        return offset * cosine - z * sine, offset * sine + z * cosine

    def to_picture(
        self, sideways: np.ndarray, up: np.ndarray | float, depth: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Project view coordinates (metres; `up` above ground) to (columns, rows)."""
        u = self.centre_u + self.focal * sideways / depth
        v = self.horizon_v + self.roll * (u - self.centre_u) + self.focal * (self.eye - up) / depth
        return u, v

    def ground_polygons(self, polygons: list[np.ndarray]) -> list[np.ndarray | None]:
        """Project polygons on the ground, cut at the near plane; all at once for speed.

        Args:
            polygons: (N, 2) road coordinates each (metres from the centre line, distance z).

        Returns:
            (M, 2) picture positions each, or None where nothing can be seen.
        """
        if not polygons:
            return []
        ends = np.cumsum([len(polygon) for polygon in polygons])
        starts = np.concatenate([[0], ends[:-1]])
        points = np.concatenate(polygons)
        sideways, depth = self.to_view(points[:, 0] + self.road_offset(points[:, 1]), points[:, 1])
        u, v = self.to_picture(sideways, 0.0, np.maximum(depth, NEAR_METRES))
        picture = np.clip(np.stack([u, v], 1), -LARGEST_COORDINATE, LARGEST_COORDINATE)
        nearest = np.minimum.reduceat(depth, starts)
        farthest = np.maximum.reduceat(depth, starts)
        seen = (np.maximum.reduceat(u, starts) > 0) & (np.minimum.reduceat(u, starts) < self.width)
        seen &= np.minimum.reduceat(v, starts) < self.height
        # Polygons that reach behind the camera are judged only after they have been cut.
        seen = (farthest > NEAR_METRES) & (seen | (nearest < NEAR_METRES))
        projected: list[np.ndarray | None] = []
        for number, (first, last) in enumerate(zip(starts.tolist(), ends.tolist(), strict=True)):
            if not seen[number]:
                projected.append(None)
            elif nearest[number] >= NEAR_METRES:
                projected.append(picture[first:last])
            else:
                projected.append(self.cut(sideways[first:last], depth[first:last]))
        return projected

    def cut(self, sideways: np.ndarray, depth: np.ndarray) -> np.ndarray:
        """Cut a ground polygon (view coordinates) at the near plane and project it."""
        clipped = []
        # Plain numbers: corners are few, and arrays cost more than they save.
        corners = list(zip(sideways.tolist(), depth.tolist(), strict=True))
        for (here, near), (there, far) in zip(corners, corners[1:] + corners[:1], strict=True):
            if near >= NEAR_METRES:
                clipped.append((here, near))
            if (near >= NEAR_METRES) != (far >= NEAR_METRES):
                share = (NEAR_METRES - near) / (far - near)
                clipped.append((here + share * (there - here), NEAR_METRES))
        sideways, depth = np.array(clipped).T
        picture = np.stack(self.to_picture(sideways, 0.0, depth), 1)
        return np.clip(picture, -LARGEST_COORDINATE, LARGEST_COORDINATE)
