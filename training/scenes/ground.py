"""Road, pavements, grass and markings: described as polygons, painted by inverse projection."""

from __future__ import annotations

import cv2
import numpy as np

from sim2street.training.scenes import train_ids
from sim2street.training.scenes.canvas import Canvas, filled
from sim2street.training.scenes.layout import Layout, Patch, Side
from sim2street.training.scenes.textures import TILE, Colour, hsv, noise, pick, to_bytes

STEPS_Z = np.array([-12, -4, 0, 2, 4, 6, 9, 13, 18, 25, 35, 50, 70, 100, 150, 260], np.float64)
"""Where long strips get corners, so that they follow the bend of the road."""

FINE_TEXELS_PER_METRE = 28.0
COARSE_TEXELS_PER_METRE = 3.0
WHITE = np.array([226.0, 226.0, 220.0], np.float32)
YELLOW = np.array([212.0, 178.0, 70.0], np.float32)


def strip(left: float, right: float, start: float, end: float) -> np.ndarray:
    """Corners of a strip between two road offsets, with extra corners for the bend."""
    low, high = np.searchsorted(STEPS_Z, [start, end], "right")
    high = low if high <= low else high - int(STEPS_Z[high - 1] == end)
    count = high - low + 2
    points = np.empty((2 * count, 2))
    points[:count, 0], points[count:, 0] = left, right
    points[0, 1], points[count - 1, 1] = start, end
    points[1 : count - 1, 1] = STEPS_Z[low:high]
    points[count:, 1] = points[count - 1 :: -1, 1]
    return points


def asphalt(random: np.random.Generator) -> Colour:
    """Draw the colour of a carriageway."""
    return hsv(random, (0.05, 0.68), (0.0, 0.09), (0.28, 0.56))


def paving(random: np.random.Generator) -> Colour:
    """Draw the colour of a pavement."""
    if random.random() < 0.15:
        return hsv(random, (0.0, 0.07), (0.15, 0.4), (0.4, 0.62))
    return hsv(random, (0.05, 0.65), (0.0, 0.12), (0.32, 0.7))


def grass(random: np.random.Generator) -> Colour:
    """Draw the colour of grass or bare soil."""
    if random.random() < 0.1:
        return hsv(random, (0.07, 0.11), (0.2, 0.45), (0.35, 0.55))
    return hsv(random, (0.17, 0.27), (0.3, 0.6), (0.3, 0.55))


class GroundBuilder:
    """Adds ground polygons to a layout, lower ones first."""

    def __init__(self, layout: Layout, random: np.random.Generator) -> None:
        """Remember what to add to and the source of every choice."""
        self.layout = layout
        self.random = random
        self.road = asphalt(random)

    def add(self, points: np.ndarray, colour: Colour, label: int | None = None) -> None:
        """Append one polygon (road coordinates)."""
        self.layout.patches.append(Patch(points, np.asarray(colour, np.float32), label))

    def add_side(self, side: Side) -> None:
        """Lay base, pavement, verge and kerb of one side."""
        random, sign = self.random, side.sign
        first, last = STEPS_Z[0], STEPS_Z[-1]
        content = self.layout.content
        pave = paving(random)
        plain = bool(content.plain_paths) and random.random() < content.plain_paths
        if plain:
            pave = self.road * random.uniform(0.8, 1.3) * (1 + random.uniform(-0.04, 0.04, 3))
        far = side.front + 250.0
        base, label = pave * random.uniform(0.8, 1.1), train_ids.SIDEWALK
        if side.mood in ("suburb", "park", "open"):
            base, label = grass(random), train_ids.TERRAIN
        if side.mood == "retail":
            base, label = self.road * random.uniform(0.85, 1.15), train_ids.ROAD
        self.add(strip(sign * side.front, sign * far, first, last), base, label)
        start = side.kerb
        widths = [
            (side.verge, grass(random), train_ids.TERRAIN),
            (side.pavement, pave, train_ids.SIDEWALK),
        ]
        if not side.verge_first:
            widths.reverse()
        for width, colour, name in widths:
            if width > 0:
                self.add(strip(sign * start, sign * (start + width), first, last), colour, name)
            start += width
        if side.mood == "suburb":
            for z in np.arange(random.uniform(0, 10), 90, random.uniform(9, 16)):
                drive = strip(sign * side.kerb, sign * (side.front + 7), float(z), float(z) + 2.8)
                self.add(drive, pave * random.uniform(0.75, 1.1), train_ids.SIDEWALK)
        if random.random() < 0.6 and not plain:
            self.lay_slabs(side, pave)
        if content.cycle_paths and random.random() < content.cycle_paths and side.pavement > 2:
            self.lay_cycle_path(side, pave)
        kerb = hsv(random, (0.05, 0.6), (0, 0.06), (0.45, 0.75))
        edge = side.kerb
        self.add(strip(sign * edge, sign * (edge + 0.14), first, last), kerb, train_ids.SIDEWALK)
        self.add(strip(sign * (edge - 0.06), sign * edge, first, last), self.road * 0.5)

    def lay_cycle_path(self, side: Side, pave: Colour) -> None:
        """Lay a cycle path along the kerb side of a pavement, red or of another asphalt; it counts as sidewalk."""
        random = self.random
        colour = hsv(random, (0.97, 1.04), (0.25, 0.5), (0.3, 0.55))
        if random.random() < 0.4:
            colour = pave * random.uniform(0.65, 0.9)
        start = side.kerb + (side.verge if side.verge_first else 0.0) + random.uniform(0.2, 0.7)
        width = min(random.uniform(1.0, 1.8), side.pavement - 0.9)
        path = strip(side.sign * start, side.sign * (start + width), STEPS_Z[0], STEPS_Z[-1])
        self.add(path, colour, train_ids.SIDEWALK)

    def lay_slabs(self, side: Side, pave: Colour) -> None:
        """Draw joints between paving slabs near the camera."""
        start = side.kerb + (side.verge if side.verge_first else 0.0)
        slab = self.random.uniform(0.5, 1.0)
        for z in np.arange(1.0, 16.0, slab):
            self.add(
                strip(side.sign * start, side.sign * (start + side.pavement), z, z + 0.03),
                pave * 0.7,
            )
        for offset in np.arange(slab, side.pavement, slab):
            line = side.sign * (start + offset)
            self.add(strip(line, line + 0.025, 0.0, 22.0), pave * 0.75)

    def add_markings(self) -> None:
        """Paint lane lines, edge lines, crossings, arrows, boxes and zigzags."""
        random, layout = self.random, self.layout
        half = layout.lane * layout.lanes
        white = WHITE * random.uniform(0.72, 1.05)
        worn = random.uniform(0.35, 1.0)
        paint = self.road * (1 - worn) + white * worn
        width = random.uniform(0.09, 0.17)
        period, share = random.uniform(3.0, 9.0), random.uniform(0.3, 0.68)
        style = random.random()
        for k in range(-layout.lanes + 1, layout.lanes):
            centre = k * layout.lane
            if random.random() < (0.25 if layout.lanes == 1 else 0.08):
                continue
            if k == 0 and style < 0.2:
                self.add(strip(centre - width / 2, centre + width / 2, -10, 200), paint)
                if style < 0.1:
                    self.add(strip(centre + 1.5 * width, centre + 2.5 * width, -10, 200), paint)
                continue
            for z in np.arange(random.uniform(-6, -1), 110, period):
                if not layout.in_junction(float(z)):
                    self.add(strip(centre - width / 2, centre + width / 2, z, z + period * share), paint)
        for side in layout.sides:
            kind = random.random()
            if kind < 0.6:
                colour = YELLOW if layout.keeps_left and random.random() < 0.7 else WHITE
                colour = self.road * (1 - worn) + colour * random.uniform(0.75, 1.0) * worn
                for number in range(2 if kind < 0.4 else 1):
                    edge = side.sign * (side.kerb - random.uniform(0.22, 0.3) - 0.22 * number)
                    self.add(strip(edge - 0.05, edge + 0.05, -10, 150), colour)
            if random.random() < 0.12:
                tinted = hsv(random, (0.97, 1.03), (0.25, 0.5), (0.32, 0.55))
                if random.random() < 0.3:
                    tinted = hsv(random, (0.3, 0.42), (0.2, 0.5), (0.3, 0.5))
                inner = side.sign * (side.kerb - random.uniform(1.2, 3.0))
                start = random.uniform(-5, 30)
                self.add(strip(inner, side.sign * (side.kerb - 0.1), start, start + 60), tinted)
                self.add(strip(inner - 0.06, inner + 0.06, start, start + 60), paint)
        if random.random() < 0.22:
            z, depth = random.uniform(5, 30), random.uniform(2.0, 4.0)
            for s in np.arange(-half, half, 1.0):
                self.add(strip(s, s + 0.5, z, z + depth), paint)
            if random.random() < 0.5:
                for side in (-1, 1):
                    for step in range(6):
                        a, b = z + depth + 2 * step, z + depth + 2 * step + 2
                        lean = 0.3 * (-1) ** step
                        mid = side * half * 0.5
                        self.add(
                            np.array(
                                [
                                    (mid - lean, a),
                                    (mid - lean + 0.12, a),
                                    (mid + lean + 0.12, b),
                                    (mid + lean, b),
                                ]
                            ),
                            paint,
                        )
        if random.random() < 0.2:
            z = random.uniform(4, 25)
            self.add(
                strip(
                    -half if random.random() < 0.3 else 0.1,
                    half - 0.2,
                    z,
                    z + random.uniform(0.2, 0.4),
                ),
                paint,
            )
        if random.random() < 0.25:
            self.add_arrows(half, paint)
        if (layout.junction is not None and random.random() < 0.4) or random.random() < 0.05:
            self.add_box(half, YELLOW * 0.9 if layout.keeps_left else white)

    def add_arrows(self, half: float, paint: Colour) -> None:
        """Paint arrows or letters in the middle of a lane."""
        random = self.random
        lane_middle = (random.integers(2 * self.layout.lanes) + 0.5) * self.layout.lane - half
        z = random.uniform(4, 22)
        for repeat in range(int(random.integers(1, 3))):
            a = z + repeat * 14
            if random.random() < 0.4:
                for letter in range(4):
                    s = lane_middle - 1.0 + 0.52 * letter
                    self.add(strip(s, s + 0.12, a, a + 1.8), paint)
                    if random.random() < 0.6:
                        low = a + pick(random, (0.0, 0.8, 1.6))
                        self.add(strip(s, s + 0.38, low, low + 0.2), paint)
                continue
            self.add(strip(lane_middle - 0.08, lane_middle + 0.08, a, a + 2.2), paint)
            turn = pick(random, (-0.5, 0.0, 0.0, 0.5))
            tip = lane_middle + turn
            self.add(
                np.array([(tip - 0.4, a + 2.0), (tip + 0.4, a + 2.0), (tip + turn * 0.8, a + 3.4)]),
                paint,
            )

    def add_box(self, half: float, paint: Colour) -> None:
        """Paint a box of crossed lines into the junction."""
        layout = self.layout
        middle = layout.junction if layout.junction is not None else float(self.random.uniform(8, 20))
        reach = layout.junction_half
        width = 0.1
        for side in (-half, half):
            self.add(strip(side - width, side + width, middle - reach, middle + reach), paint)
        for z in (middle - reach, middle + reach):
            self.add(strip(-half, half, z, z + 0.2), paint)
        step = self.random.uniform(1.5, 2.6)
        for offset in np.arange(-half - 2 * reach, half, step):
            for direction in (1, -1):
                ends = []
                for z in (-reach, reach):
                    s = offset + (z + reach)
                    ends.append((direction * s, middle + z))
                points = np.clip(np.array(ends)[:, 0], -half, half)
                # Diagonals that leave the box are shortened where they meet its side.
                slope = ends[1][0] - ends[0][0]
                z_at = [middle - reach + 2 * reach * (p - ends[0][0]) / slope for p in points]
                if abs(points[1] - points[0]) < 0.2:
                    continue
                line = np.array(
                    [
                        (points[0], z_at[0]),
                        (points[0] + 0.14, z_at[0]),
                        (points[1] + 0.14, z_at[1]),
                        (points[1], z_at[1]),
                    ]
                )
                self.add(line, paint)

    def build(self) -> None:
        """Lay everything: sides, carriageway, crossing street, repairs, markings."""
        random, layout = self.random, self.layout
        for side in layout.sides:
            self.add_side(side)
        left, right = layout.sides
        self.add(strip(-left.kerb, right.kerb, STEPS_Z[0], STEPS_Z[-1]), self.road, train_ids.ROAD)
        if layout.junction is not None:
            low, high = (
                layout.junction - layout.junction_half,
                layout.junction + layout.junction_half,
            )
            pave = paving(random)
            for side in layout.sides:
                outer = side.sign * 120
                self.add(
                    strip(side.sign * side.kerb, outer, low - 1.6, high + 1.6),
                    pave,
                    train_ids.SIDEWALK,
                )
                corner = 1.6
                flare = np.array(
                    [
                        (side.sign * (side.kerb - 0.05), low - corner * 2),
                        (side.sign * (side.kerb + corner), low),
                        (outer, low),
                        (outer, high),
                        (side.sign * (side.kerb + corner), high),
                        (side.sign * (side.kerb - 0.05), high + corner * 2),
                    ]
                )
                self.add(flare, self.road, train_ids.ROAD)
        half = layout.lane * layout.lanes
        for _ in range(int(random.poisson(2.5))):
            s, z = random.uniform(-half, half), random.uniform(1, 40)
            tone = self.road * random.uniform(0.78, 1.12)
            width, length = random.uniform(0.4, 2.5), random.uniform(0.8, 12.0)
            self.add(strip(max(s - width, -left.kerb), min(s + width, right.kerb), z, z + length), tone)
        for k in range(2 * layout.lanes):
            # Tyres polish two tracks, oil darkens the middle.
            middle = (k + 0.5) * layout.lane - half
            self.add(strip(middle - 0.35, middle + 0.35, -5, 120), self.road * random.uniform(0.9, 1.0))
        if random.random() < 0.97:
            self.add_markings()
        for _ in range(int(random.poisson(2.0))):
            s, z = random.uniform(-half, half), random.uniform(3, 25)
            angle = np.linspace(0, 2 * np.pi, 10, endpoint=False)
            hole = np.stack([s + 0.33 * np.cos(angle), z + 0.33 * np.sin(angle)], 1)
            self.add(hole, self.road * random.uniform(0.5, 0.8))
        if random.random() < 0.12:
            self.add_island(half)

    def add_island(self, half: float) -> None:
        """Put a traffic island in the middle of the road."""
        z, length = self.random.uniform(8, 30), self.random.uniform(2, 12)
        width = self.random.uniform(0.5, 1.0)
        tone = paving(self.random)
        self.add(strip(-width, width, z, z + length), tone, train_ids.SIDEWALK)
        self.add(strip(-width, width, z - 0.02, z + 0.15), tone * 1.25, train_ids.SIDEWALK)


def paint_ground(canvas: Canvas, layout: Layout, random: np.random.Generator) -> None:
    """Paint colour, label, depth and sunlight of everything below the horizon."""
    camera = canvas.camera
    reach = abs(camera.roll) * camera.width
    top = int(np.clip(camera.horizon_v - reach - 1, 0, camera.height - 1))
    rows = np.arange(top, camera.height, dtype=np.float32)[:, None] + 0.5
    columns = np.arange(camera.width, dtype=np.float32)[None] + 0.5
    below = rows - camera.horizon_v - camera.roll * (columns - camera.centre_u)
    ground = below > 0.15
    depth = camera.focal * camera.eye / np.maximum(below, 0.15)
    sideways = (columns - camera.centre_u) * depth * (1 / camera.focal)
    cosine, sine = np.float32(np.cos(camera.yaw)), np.float32(np.sin(camera.yaw))
    z = depth * cosine - sideways * sine
    x = sideways * cosine + depth * sine + np.float32(camera.x)
    s = x - camera.road_offset(z).astype(np.float32) if camera.bend else x
    area = slice(top, camera.height)
    named = np.full(canvas.depth.shape, train_ids.TERRAIN, np.uint8)
    np.copyto(canvas.depth[area], depth, where=ground)
    canvas.colour[area] = filled(camera.height - top, camera.width, (100, 104, 82, 255))
    outlines = camera.ground_polygons([patch.points for patch in layout.patches])
    for patch, points in zip(layout.patches, outlines, strict=True):
        if points is None:
            continue
        canvas.fill(canvas.colour, points, (*patch.colour.tolist(), 255), soft=True)
        if patch.label is not None:
            canvas.fill(named, points, patch.label, soft=False)
    # Where the horizon slants, some pixels of these rows lie above it.
    named[area][~ground] = train_ids.SKY
    named[:top] = train_ids.SKY
    amplitude = random.uniform(0.03, 0.09), random.uniform(0.03, 0.1)
    turn = random.integers(0, TILE, 2).astype(np.float32)
    fine = tile_lookup(noise(21, 0.25), s, z, FINE_TEXELS_PER_METRE, turn)
    # Slow variation and sunlight need only every second pixel of every second row.
    half_s, half_z = np.ascontiguousarray(s[::2, ::2]), np.ascontiguousarray(z[::2, ::2])
    coarse = tile_lookup(noise(22, 1.0), half_s, half_z, COARSE_TEXELS_PER_METRE, turn)
    whole = (s.shape[1], s.shape[0])
    coarse = cv2.resize(coarse, whole, interpolation=cv2.INTER_LINEAR)
    rough = np.where(named[area] == train_ids.TERRAIN, np.float32(2.2), np.float32(1.0))
    fine *= rough * (amplitude[0] * 8.0 / (8.0 + depth))
    tone = 1.0 + fine + coarse * amplitude[1]
    shade = np.full(named.shape, 255, np.uint8)
    cast = np.full(named.shape, 255, np.uint8)
    outlines = camera.ground_polygons([dark.points for dark in layout.shades])
    for dark, points in zip(layout.shades, outlines, strict=True):
        if points is not None:
            canvas.fill(cast if dark.cast else shade, points, 255 * (1 - dark.strength), soft=True)
    blurred = cv2.blur(shade[area], (5, 3)).astype(np.float32) * (1 / 255)
    tone *= blurred
    gain = to_bytes(tone * 128)
    # The fourth channel, how much sky a pixel shows, becomes none on the ground and all above it.
    openness = np.where(ground, np.uint8(0), np.uint8(128))
    colour = canvas.colour[area]
    cv2.multiply(colour, cv2.merge([gain, gain, gain, openness]), dst=colour, scale=1 / 128)
    canvas.wetness[area] = coarse
    strength = np.uint8(np.clip(255 * (0.35 + 0.75 * layout.sun[1]), 0, 255))
    sunlight = layout.sunlit(half_s, half_z).view(np.uint8) * strength
    sunlight = cv2.resize(sunlight, whole, interpolation=cv2.INTER_LINEAR)
    sun = cv2.multiply(sunlight, cast[area], scale=1 / 255)
    cv2.insertChannel(sun, canvas.marks[area], 0)
    cv2.insertChannel(named, canvas.marks, 2)


def tile_lookup(tile: np.ndarray, s: np.ndarray, z: np.ndarray, texels: float, shift: np.ndarray) -> np.ndarray:
    """Sample a noise tile at ground positions; float32 of the positions' shape."""
    first = (s * np.float32(texels) + shift[0]).astype(np.int32) & (TILE - 1)
    second = (z * np.float32(texels) + shift[1]).astype(np.int32) & (TILE - 1)
    return tile.ravel().take(second * TILE + first)
