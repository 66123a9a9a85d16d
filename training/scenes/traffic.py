"""Places vehicles, people, trees and street furniture in the street."""

from __future__ import annotations

import math

import numpy as np

from sim2street.training.scenes import furniture, people, vegetation, vehicles
from sim2street.training.scenes.canvas import Sprite
from sim2street.training.scenes.layout import Layout, Shade, Side, Thing
from sim2street.training.scenes.street import StreetBuilder
from sim2street.training.scenes.textures import Colour, hsv, pick, pick_weighted
from sim2street.training.scenes.vehicle_shapes import MODELS_PER_KIND, shape

MOVING_KINDS = ("car", "van", "truck", "bus", "tram")
NEAREST_VEHICLE_METRES = 4.5
SQUARE_FOOT = np.array([(-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0)])
BLOT = np.array([(np.cos(turn), np.sin(turn)) for turn in np.linspace(0, 2 * np.pi, 9, endpoint=False)])
ROUND_FOOT = np.array([(np.cos(turn), np.sin(turn)) for turn in np.arange(8) * np.pi / 4])


def car_paint(random: np.random.Generator) -> Colour:
    """Draw a car's colour: mostly silver, black, white, blue, red, as on real roads."""
    kind = random.random()
    if kind < 0.25:
        return hsv(random, (0.5, 0.7), (0.0, 0.1), (0.5, 0.75))
    if kind < 0.45:
        return hsv(random, (0.5, 0.7), (0.0, 0.25), (0.05, 0.25))
    if kind < 0.6:
        return hsv(random, (0.1, 0.6), (0.0, 0.06), (0.82, 0.98))
    if kind < 0.75:
        return hsv(random, (0.55, 0.68), (0.4, 0.85), (0.2, 0.6))
    if kind < 0.88:
        return hsv(random, (0.97, 1.02), (0.6, 0.95), (0.3, 0.75))
    return hsv(random, (0, 1), (0.2, 0.9), (0.2, 0.9))


def fleet_paint(random: np.random.Generator) -> Colour:
    """Draw the colour of a city's buses or trams: mostly one strong tone, else white."""
    if random.random() < 0.3:
        return hsv(random, (0.1, 0.6), (0.0, 0.08), (0.75, 0.98))
    return hsv(random, (0, 1), (0.45, 0.95), (0.3, 0.9))


class Placer:
    """Adds things and their shadows to a layout."""

    def __init__(self, layout: Layout, random: np.random.Generator) -> None:
        """Remember what to add to and the source of every choice."""
        self.layout = layout
        self.random = random
        self.taken: list[tuple[float, float, float]] = []

    def distance(self, nearest: float, farthest: float) -> float:
        """Draw a distance; equal shares fall into equal ratios, as a camera sees them."""
        return float(nearest * (farthest / nearest) ** self.random.random())

    def is_free(self, s: float, z: float, reach: float) -> bool:
        """Tell whether no vehicle stands within `reach` metres along the road; claims the place."""
        if any(abs(s - other) < 2.0 and abs(z - at) < (reach + room) / 2 for other, at, room in self.taken):
            return False
        self.taken.append((s, z, reach))
        return True

    def shade(self, s: float, z: float, half_s: float, half_z: float, height: float, turn: float = 0.0) -> None:
        """Darken the ground below a body, and where it keeps the sun off."""
        sine, cosine = math.sin(turn), math.cos(turn)
        corners = (ROUND_FOOT if max(half_s, half_z) < 0.5 else SQUARE_FOOT) * (half_s, half_z)
        turned = corners @ np.array([(cosine, -sine), (sine, cosine)]) + (s, z)
        self.layout.shades.append(Shade(turned, 0.68, False))
        sideways, rise, ahead = self.layout.sun.tolist()
        longer = height / max(rise, 0.15)
        hull = np.concatenate([turned, turned - (sideways * longer, ahead * longer)])
        middle = hull.sum(0) / len(hull)
        order = np.argsort(np.arctan2(hull[:, 1] - middle[1], hull[:, 0] - middle[0]))
        self.layout.shades.append(Shade(hull[order], 0.95, True))

    def vehicle(self, kind: str, s: float, z: float, heading: float, paint: Colour) -> None:
        """Place a vehicle; heading 0 drives away along the road, pi towards the camera."""
        layout, camera = self.layout, self.layout.camera
        number = int(self.random.integers(MODELS_PER_KIND[kind]))
        if (
            kind in ("bus", "tram")
            and layout.content.modern_fleet
            and self.random.random() < layout.content.modern_fleet
        ):
            number += MODELS_PER_KIND[kind]
            paint = fleet_paint(self.random)
        body = shape(kind, number)
        cosine, sine = abs(math.cos(heading)), abs(math.sin(heading))
        half_s = (body.width * cosine + body.length * sine) / 2
        half_z = (body.width * sine + body.length * cosine) / 2
        reach = 2 * half_z + 0.8
        if z - half_z < NEAREST_VEHICLE_METRES and abs(s - camera.x) < half_s + 1.0:
            return
        if z - half_z < 1.5 or not self.is_free(s, z, reach):
            return
        sideways, depth = camera.to_view(s + camera.road_offset_at(z), z)
        ray = math.atan2(sideways, max(depth, 0.5)) + camera.yaw
        relative = (heading + camera.road_heading(z) - ray + math.pi) % (2 * math.pi) - math.pi
        bin_number = min(round(abs(relative) / math.pi * vehicles.HEADINGS), vehicles.HEADINGS)
        large = kind in ("truck", "bus", "tram")
        near = depth < (20.0 if large else 10.0)
        sprite = vehicles.vehicle(kind, number, bin_number, "near" if near else "far", layout.content.folds)
        # A positive relative heading points right, and the pictures show the nose on the right.
        layout.things.append(Thing(sprite, s, z, mirrored=relative < 0, paint=paint))
        self.shade(s, z, body.width / 2 * 1.05, body.length / 2 * 1.02, body.height * 0.75, heading)

    def moving_traffic(self) -> None:
        """Place vehicles in the lanes, one queue now and then, and in the crossing street."""
        random, layout = self.random, self.layout
        busy = pick(random, layout.content.busy)
        for _ in range(int(random.poisson(busy))):
            kind = pick_weighted(random, MOVING_KINDS, layout.content.moving)
            lane = int(random.integers(-layout.lanes, layout.lanes))
            s = (lane + 0.5) * layout.lane + random.normal(0, 0.2)
            away = (s < 0) == layout.keeps_left
            heading = (0.0 if away else np.pi) + random.normal(0, 0.04)
            if random.random() < 0.1:
                heading += random.normal(0, 0.5)
            z = self.distance(layout.content.nearest_vehicle, 80.0)
            if kind != "car":
                z += 6.0 if kind != "tram" else 16.0
            self.vehicle(kind, s, z, float(heading), car_paint(random))
        if layout.junction is not None and random.random() < 0.55:
            for _ in range(int(random.integers(1, 4))):
                kind = pick_weighted(random, MOVING_KINDS[:4], (0.78, 0.08, 0.06, 0.08))
                turn = pick(random, (-1, 1)) * np.pi / 2 + random.normal(0, 0.15)
                z = layout.junction + random.uniform(-0.5, 0.5) * layout.junction_half
                self.vehicle(kind, random.uniform(-16, 16), float(z), float(turn), car_paint(random))

    def parked(self, side: Side) -> None:
        """Place a row of parked cars along a kerb, or on a car park."""
        random, layout = self.random, self.layout
        chance = {"terrace": 0.65, "shops": 0.35, "suburb": 0.45, "canyon": 0.4}.get(side.mood, 0.15)
        if random.random() < chance * layout.content.parked:
            z = random.uniform(2, 16)
            gap = random.uniform(0.3, 3.0)
            inset = random.uniform(0.8, 1.1) if random.random() < 0.8 else -random.uniform(0, 0.6)
            while z < 80 and random.random() < 0.93:
                if not layout.in_junction(z, 4.0):
                    heading = 0.0 if random.random() < 0.5 else np.pi
                    kind = "car" if random.random() < 0.92 else "van"
                    self.vehicle(
                        kind,
                        side.sign * (side.kerb - inset),
                        float(z),
                        heading + random.normal(0, 0.03),
                        car_paint(random),
                    )
                z += 4.7 + gap * random.uniform(0.4, 2.0)
        if side.mood in ("retail", "open") and random.random() < (0.85 if side.mood == "retail" else 0.2):
            for row in range(int(random.integers(1, 4))):
                s = side.sign * (side.front + 3 + 6.5 * row)
                for z in np.arange(random.uniform(6, 12), 60, 2.7):
                    if random.random() < 0.75:
                        turn = pick(random, (-1, 1)) * np.pi / 2
                        self.vehicle("car", float(s), float(z), float(turn), car_paint(random))
        if side.mood == "suburb":
            for z in np.arange(random.uniform(5, 12), 60, random.uniform(8, 14)):
                if random.random() < 0.35:
                    self.vehicle(
                        "car",
                        side.sign * (side.front + 2.5),
                        float(z),
                        side.sign * np.pi / 2 * pick(random, (-1, 1)),
                        car_paint(random),
                    )

    def thing(self, sprite: Sprite, s: float, z: float, size: float = 1.0, shade: float = 0.0) -> None:
        """Place a sprite with random mirroring and brightness; `shade` is its foot's radius."""
        random = self.random
        gain = random.uniform(0.75, 1.25) * (1 + random.uniform(-0.07, 0.07, 3))
        self.layout.things.append(
            Thing(
                sprite,
                float(s),
                float(z),
                size=size,
                mirrored=bool(random.random() < 0.5),
                gain=gain,
            )
        )
        if shade > 0 and z < 60:
            self.shade(s, z, shade, shade, 1.4)

    def trees(self, side: Side) -> None:
        """Place street trees in a row, garden trees behind the front, bushes."""
        random, layout = self.random, self.layout
        bare = random.random() < 0.45
        lush = {
            "suburb": 8,
            "park": 15,
            "open": 10,
            "terrace": 2.5,
            "shops": 1.2,
            "canyon": 1.2,
            "retail": 5,
        }[side.mood]
        row = random.random() < {
            "suburb": 0.45,
            "park": 0.6,
            "shops": 0.2,
            "canyon": 0.25,
            "open": 0.4,
        }.get(side.mood, 0.2)
        places: list[tuple[float, float]] = []
        if row:
            s = side.sign * (side.kerb + random.uniform(0.6, max(side.pavement + side.verge - 0.3, 0.8)))
            step = random.uniform(6, 14)
            places += [(s + random.normal(0, 0.15), z) for z in np.arange(random.uniform(4, 14), 110, step)]
        for _ in range(int(random.poisson(lush))):
            s = side.sign * (side.front + random.uniform(0.5, 14 if side.mood != "terrace" else 5))
            places.append((s, self.distance(6, 110)))
        same = int(random.integers(vegetation.TREES_PER_KIND))
        for s, z in places:
            if layout.in_junction(z, 1.0):
                continue
            kind = "bare" if bare and random.random() < 0.85 else "leafy"
            if random.random() < 0.1 and abs(s) > side.front:
                kind = "conifer"
            number = same if row and random.random() < 0.5 else int(random.integers(vegetation.TREES_PER_KIND))
            height = random.uniform(5.0, 17.0)
            self.thing(vegetation.tree(kind, number), s, z, height / 10.0)
            self.tree_shadow(s, z, height, kind)
        for _ in range(int(random.poisson(lush * 0.7))):
            s = side.sign * (side.front + random.uniform(0.4, 8))
            number = int(random.integers(vegetation.TREES_PER_KIND))
            self.thing(vegetation.tree("bush", number), s, self.distance(4, 70), random.uniform(0.5, 2.0))

    def tree_shadow(self, s: float, z: float, height: float, kind: str) -> None:
        """Let a tree keep the sun off the ground in blots, a bare one in streaks."""
        if z > 70:
            return
        sideways, rise, ahead = self.layout.sun.tolist()
        shift_s, shift_z = -sideways / max(rise, 0.15), -ahead / max(rise, 0.15)
        if kind == "bare":
            for _ in range(6):
                spread_s, spread_z = self.random.normal(0, 0.16, 2).tolist()
                end_s, end_z = s + height * (shift_s + spread_s * 1.5), z + height * (shift_z + spread_z * 1.5)
                reach = 0.3 * height * self.random.random()
                start_s, start_z = s + reach * shift_s, z + reach * shift_z
                streak = [
                    (start_s - 0.12, start_z),
                    (start_s + 0.12, start_z),
                    (end_s + 0.12, end_z),
                    (end_s - 0.12, end_z),
                ]
                self.layout.shades.append(Shade(np.array(streak), 0.6, True))
            return
        middle = (s + shift_s * height * 0.6, z + shift_z * height * 0.6)
        centres, radii = [], []
        for _ in range(7):
            centres.append(self.random.normal(0, 0.14 * height, 2))
            radii.append(height * self.random.uniform(0.08, 0.2) * self.random.uniform(0.7, 1.2, 9))
        blots = (np.array(centres) + middle)[:, None] + np.array(radii)[..., None] * BLOT
        self.layout.shades += [Shade(blot, 0.8, True) for blot in blots]

    def pavement_place(self, side: Side) -> float:
        """Draw a road offset on the pavement of a side."""
        start = side.kerb + (side.verge if side.verge_first else 0.0)
        return side.sign * (start + self.random.uniform(0.25, max(side.pavement - 0.2, 0.4)))

    def folk(self) -> None:
        """Place walkers alone and in groups, cyclists, motorcyclists and parked bicycles."""
        random, layout = self.random, self.layout
        content = layout.content
        crowd = pick(random, content.crowd)
        for side in layout.sides:
            factor = {"shops": 1.3, "canyon": 1.2, "open": 0.3, "suburb": 0.4, "park": 0.6}.get(side.mood, 0.8)
            for _ in range(int(random.poisson(crowd * factor))):
                s, z = self.pavement_place(side), self.distance(content.nearest_person, 60)
                if random.random() < content.crossing:
                    s = random.uniform(-side.kerb, side.kerb)
                for _ in range(pick(random, content.groups)):
                    number = int(random.integers(people.PEOPLE_POOL))
                    self.thing(
                        people.person(number, content.folds),
                        s + random.normal(0, 0.45),
                        z + random.normal(0, 0.4),
                        1.0,
                        0.22,
                    )
            if random.random() < content.racks:
                start, s = self.distance(5, 30), self.pavement_place(side)
                for number in range(int(random.integers(2, 9))):
                    kind = "motorcycle" if random.random() < content.parked_motorcycles else "bicycle"
                    model = int(random.integers(people.TWO_WHEELER_POOL))
                    self.thing(people.two_wheeler(kind, model, False, content.folds), s, start + 0.6 * number, 1.0, 0.3)
        for _ in range(int(random.poisson(content.riders))):
            kind = "motorcycle" if random.random() < content.motorcycles else "bicycle"
            side = layout.sides[int(random.integers(2))]
            s = side.sign * (side.kerb - random.uniform(0.5, 2.2))
            model = int(random.integers(people.TWO_WHEELER_POOL))
            self.thing(
                people.two_wheeler(kind, model, bool(random.random() < content.ridden), content.folds),
                s,
                self.distance(content.nearest_person, 45),
                1.0,
                0.35,
            )

    def furnish(self) -> None:
        """Place lamps, signs, lights, bollards, shelters, boards and bins."""
        random, layout = self.random, self.layout
        lamp = int(random.integers(furniture.POOLS["lamp"]))
        for side in layout.sides:
            edge = side.sign * (side.kerb + random.uniform(0.25, 0.6))
            inner = side.sign * (side.front - 0.3)
            if random.random() < 0.75:
                step = random.uniform(16, 32)
                for z in np.arange(random.uniform(4, 20), 120, step):
                    place = edge if random.random() < 0.9 else inner
                    sprite = furniture.furniture("lamp", lamp)
                    layout.things.append(Thing(sprite, float(place), float(z), mirrored=side.sign > 0))
            counts = {
                "sign": 1.4 * layout.content.signs,
                "post": 0.8 * layout.content.signs,
                "billboard": 0.15,
                "cabinet": 0.4,
                "bin": 0.5,
                "shelter": 0.15,
            }
            if side.mood in ("retail", "open"):
                counts |= {"billboard": 0.5, "far_mast": 1.0, "sign": 2.0 * layout.content.signs}
            for kind, mean in counts.items():
                for _ in range(int(random.poisson(mean))):
                    number = int(random.integers(furniture.POOLS[kind]))
                    place = edge if random.random() < 0.7 and kind not in ("shelter", "cabinet") else inner
                    self.thing(
                        furniture.furniture(kind, number),
                        place,
                        self.distance(6.5 if kind != "billboard" else 12.0, 60),
                    )
            if random.random() < layout.content.bollards:
                number = int(random.integers(furniture.POOLS["bollard"]))
                start = self.distance(4, 25)
                for z in np.arange(start, start + random.uniform(4, 30), random.uniform(1.2, 2.5)):
                    self.thing(furniture.furniture("bollard", number), edge, float(z))
            if random.random() < (0.14 if side.mood != "open" else 0.25) * layout.content.railings:
                self.railing(side, edge)
        at_junction, elsewhere = layout.content.lights
        if (layout.junction is not None and random.random() < at_junction) or random.random() < elsewhere:
            z = (layout.junction - layout.junction_half) if layout.junction else self.distance(8, 40)
            for side in layout.sides:
                for at in (z - random.uniform(0.5, 2), z + 2 * layout.junction_half + 1.0):
                    if random.random() < 0.75 and at > 4:
                        kind = "light"
                        if layout.content.signals and random.random() < layout.content.signals:
                            kind = "signal"
                        number = int(random.integers(furniture.POOLS[kind]))
                        self.thing(furniture.furniture(kind, number), side.sign * (side.kerb + 0.5), at)

    def railing(self, side: Side, edge: float) -> None:
        """Stand a railing or crash barrier along the kerb."""
        random = self.random
        texture, height = furniture.fence(pick(random, range(0, 24, 3)))
        builder = StreetBuilder(self.layout, random)
        start = self.distance(4, 30)
        for z in np.arange(start, start + random.uniform(6, 40), 6.0):
            if not self.layout.in_junction(float(z) + 3, 4.0):
                builder.panel(texture, (edge, float(z)), (edge, float(z) + 6), min(height, 1.2), np.ones(3))

    def populate(self) -> None:
        """Place everything."""
        self.moving_traffic()
        for side in self.layout.sides:
            self.parked(side)
        for side in self.layout.sides:
            self.trees(side)
        self.furnish()
        self.folk()
