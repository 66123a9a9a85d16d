"""Decides which panels can be seen, how the sun falls on them, and paints them near to far."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sim2street.training.scenes import train_ids
from sim2street.training.scenes.camera import NEAR_METRES, Camera
from sim2street.training.scenes.canvas import Canvas, Projected
from sim2street.training.scenes.layout import Layout, Panel

SHADOW_LEVELS = 8
SMALLEST_PIXELS = 0.7
"""Panels narrower or lower than this in the picture are left out."""
SMALLEST_AREA = 10.0
"""Panels whose box in the picture holds fewer pixels are left out."""
FEWEST_PROBES = 12
"""Probes that must lie inside the picture before a plane may count as hidden."""


def probe_weights(count: int) -> np.ndarray:
    """Weights of a plane's four corners at count x count points spread over it."""
    shares = np.linspace(0.02, 0.98, count)
    along, up = (axis.ravel() for axis in np.meshgrid(shares, shares))
    return np.stack([(1 - along) * (1 - up), along * (1 - up), along * up, (1 - along) * up], 1)


PROBE_WEIGHTS = probe_weights(6)


@dataclass(frozen=True)
class SeenPanel:
    """A panel that may reach the picture, its place in it, mean depth and sunlight."""

    panel: Panel
    place: Projected
    depth: float
    light: float
    shaded: float


def seen_panels(layout: Layout) -> list[SeenPanel]:
    """Return the panels inside the field of view, near ones first; all panels at once for speed."""
    if not layout.panels:
        return []
    camera = layout.camera
    rows = np.array([panel.outline for panel in layout.panels])
    corners = rows.reshape(-1, 4, 3).copy()
    corners[..., 0] += camera.road_offset(corners[..., 2])
    sideways, depth = camera.to_view(corners[..., 0], corners[..., 2])
    kept = depth.max(1) > NEAR_METRES
    safe = np.maximum(depth, NEAR_METRES)
    u, v = camera.to_picture(sideways, corners[..., 1], safe)
    # Corners behind the camera make the projection wrong, so those panels are kept as they are.
    whole = depth.min(1) > NEAR_METRES
    inside = (u.max(1) > 0) & (u.min(1) < camera.width) & (v.max(1) > 0) & (v.min(1) < camera.height)
    large = (np.ptp(u, axis=1) > SMALLEST_PIXELS) & (np.ptp(v, axis=1) > SMALLEST_PIXELS)
    kept &= (inside & large) | ~whole
    along = corners[:, 1] - corners[:, 0]
    across = corners[:, 3] - corners[:, 0]
    normal = np.cross(along, across)
    length = np.linalg.norm(normal, axis=1)
    kept &= length > 1e-6
    kept &= np.abs(np.ptp(u, axis=1) * np.ptp(v, axis=1)) > SMALLEST_AREA
    normal /= np.maximum(length, 1e-6)[:, None]
    eye = np.array([camera.x, camera.eye, 0.0])
    towards = ((eye - corners[:, 0]) * normal).sum(1)
    light = np.maximum(normal @ layout.sun * np.sign(towards), 0.0)
    # The row opposite throws its shadow up to some height of each wall.
    shares = np.linspace(0.05, 0.95, SHADOW_LEVELS)
    low, high = corners[:, :2, 1].min(1), corners[:, 2:, 1].max(1)
    level = low[:, None] + (high - low)[:, None] * shares + 0.3
    middle = rows.reshape(-1, 4, 3)[:, :2].mean(1)
    s = np.repeat(middle[:, :1], SHADOW_LEVELS, 1)
    z = np.repeat(middle[:, 2:], SHADOW_LEVELS, 1)
    shaded = 1.0 - layout.sunlit(s, z, level).mean(1)
    middle_depth = depth.mean(1)
    order = np.flatnonzero(kept)
    order = order[np.argsort(middle_depth[order], kind="stable")]
    seen = []
    slopes = inverse_depth(u, v, safe)
    points = np.stack([u, v], 2)
    nearest = depth.min(1)
    probes = dict(zip(order.tolist(), probe_all(points[order], slopes[order], camera), strict=True))
    for i in order.tolist():
        if whole[i]:
            place = Projected(points[i], 0.0, 1.0, float(nearest[i]), tuple(slopes[i].tolist()), probes[i])
        else:
            view = np.stack([sideways[i], corners[i, :, 1], depth[i]], 1)
            cut = cut_at_camera(view, camera)
            if cut is None:
                continue
            place = cut
        light_here = min(float(light[i]), 1.0)
        seen.append(SeenPanel(layout.panels[i], place, float(middle_depth[i]), light_here, float(shaded[i])))
    return seen


def inverse_depth(u: np.ndarray, v: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """Solve 1 / depth = a u + b v + c from three corners of each plane: (N, 3)."""
    known = 1.0 / depth
    du1, dv1, dk1 = u[:, 1] - u[:, 0], v[:, 1] - v[:, 0], known[:, 1] - known[:, 0]
    du2, dv2, dk2 = u[:, 3] - u[:, 0], v[:, 3] - v[:, 0], known[:, 3] - known[:, 0]
    area = du1 * dv2 - du2 * dv1
    area = np.where(np.abs(area) < 1e-6, 1e-6, area)
    slope_u = (dk1 * dv2 - dk2 * dv1) / area
    slope_v = (du1 * dk2 - du2 * dk1) / area
    return np.stack([slope_u, slope_v, known[:, 0] - slope_u * u[:, 0] - slope_v * v[:, 0]], 1)


def probe_all(points: np.ndarray, slopes: np.ndarray, camera: Camera) -> list[tuple[np.ndarray, np.ndarray] | None]:
    """Choose the probes of planes with (N, 4, 2) corners, as `Projected` describes them."""
    places = PROBE_WEIGHTS @ points
    columns, rows = places[..., 0].astype(np.int32), places[..., 1].astype(np.int32)
    inside = (columns >= 0) & (columns < camera.width) & (rows >= 0) & (rows < camera.height)
    inverse = places[..., 0] * slopes[:, :1] + places[..., 1] * slopes[:, 1:2] + slopes[:, 2:]
    # A probe outside the picture never speaks against being hidden.
    inverse = np.where(inside, inverse, -1.0).astype(np.float32)
    pixels = np.where(inside, rows * camera.width + columns, 0)
    enough = inside.sum(1) >= FEWEST_PROBES
    return [(pixels[i], inverse[i]) if enough[i] else None for i in range(len(points))]


def cut_at_camera(view: np.ndarray, camera: Camera) -> Projected | None:
    """Cut a plane that reaches behind the camera; (4, 3) sideways, up, depth of its corners."""
    near_start, near_end = min(view[0, 2], view[3, 2]), min(view[1, 2], view[2, 2])
    if near_start < NEAR_METRES and near_end < NEAR_METRES:
        return None
    share = float((NEAR_METRES - near_start) / (near_end - near_start))
    start, end = (share, 1.0) if near_start < NEAR_METRES else (0.0, share)
    first, last = view[[0, 3]], view[[1, 2]]
    low, high = first + start * (last - first), first + end * (last - first)
    corners = np.array([low[0], high[0], high[1], low[1]])
    depth = np.maximum(corners[:, 2], NEAR_METRES)
    u, v = camera.to_picture(corners[:, 0], corners[:, 1], depth)
    points, slopes = np.stack([u, v], 1), inverse_depth(u[None], v[None], depth[None])
    (probes,) = probe_all(points[None], slopes, camera)
    return Projected(points, start, end, float(depth.min()), tuple(slopes[0].tolist()), probes)


def paint_seen(canvas: Canvas, seen: SeenPanel) -> None:
    """Paint one panel."""
    panel = seen.panel
    canvas.paint_plane(panel.texture, seen.place, seen.light, panel.tint, seen.shaded)


def paint_panels(canvas: Canvas, layout: Layout) -> list[SeenPanel]:
    """Paint all opaque panels; returns the see-through ones, which must wait for what is behind.

    Near panels come first: those they hide fail the depth test before any costly work.
    """
    waiting = []
    for seen in seen_panels(layout):
        if seen.panel.texture.label == train_ids.FENCE:
            waiting.append(seen)
        else:
            paint_seen(canvas, seen)
    return waiting
