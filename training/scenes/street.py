"""Stands buildings, walls, fences and hedges along both sides and closes the view."""

from __future__ import annotations

import numpy as np

from sim2street.training.scenes import facades, furniture, perimeter_blocks, vegetation
from sim2street.training.scenes.canvas import Texture
from sim2street.training.scenes.facades import Facade
from sim2street.training.scenes.layout import (
    PROFILE_LENGTH_METRES,
    PROFILE_START_METRES,
    STREET_END_METRES,
    Layout,
    Panel,
    Side,
)
from sim2street.training.scenes.textures import pick, pick_weighted

KINDS_OF_MOOD = {
    "terrace": ("terrace", "terrace", "terrace", "house", "georgian", "shop", "modern"),
    "shops": ("shop", "shop", "shop", "georgian", "stone", "modern", "office"),
    "canyon": ("office", "modern", "glass", "georgian", "stone", "shop"),
    "suburb": ("house", "house", "house", "terrace", "modern"),
    "park": ("house", "stone", "georgian"),
    "open": ("shed", "house", "office", "modern", "house"),
    "retail": ("shed", "shed", "shop"),
}
BUILT_SHARE = {
    "terrace": 0.95,
    "shops": 0.96,
    "canyon": 0.97,
    "suburb": 0.8,
    "park": 0.1,
    "open": 0.35,
    "retail": 0.6,
}
CLOSED_ROWS = ("terrace", "shops", "canyon")
FENCING = ("hedge", "wall", "fence", "none")
GABLE_DEPTH_METRES = 8.0
FIRST_Z_METRES = -4.0


class StreetBuilder:
    """Adds panels to a layout."""

    def __init__(self, layout: Layout, random: np.random.Generator) -> None:
        """Remember what to add to and the source of every choice."""
        self.layout = layout
        self.random = random

    def tint(self, spread: float = 0.12) -> np.ndarray:
        """Draw gains that make one texture look like several."""
        return self.random.uniform(*self.layout.content.tints) * (1 + self.random.uniform(-spread, spread, 3) / 2)

    def panel(
        self,
        texture: Texture,
        start: tuple[float, float],
        end: tuple[float, float],
        height: float,
        tint: np.ndarray,
        *,
        base: float = 0.0,
        top: tuple[tuple[float, float], tuple[float, float]] | None = None,
    ) -> None:
        """Stand a texture between two road points (s, z); `top` moves its upper edge for roofs."""
        upper = top or (start, end)
        high = base + height
        (s0, z0), (s1, z1), (s3, z3), (s2, z2) = start, end, *upper
        outline = (s0, base, z0, s1, base, z1, s2, high, z2, s3, high, z3)
        self.layout.panels.append(Panel(texture, outline, tint))

    def building(self, side: Side, facade: Facade, setback: float, z: float, tint: np.ndarray) -> None:
        """Stand one building with its front at a setback and its near corner at z."""
        sign, front = side.sign, side.front + setback
        s, width, height = sign * front, facade.width, facade.height
        self.panel(facade.front, (s, z), (s, z + width), height, tint)
        back = sign * (front + GABLE_DEPTH_METRES)
        self.panel(facade.gable, (s, z), (back, z), height + facade.roof_rise, tint * 0.96)
        if self.layout.camera.bend or self.layout.camera.yaw:
            self.panel(
                facade.gable,
                (s, z + width),
                (back, z + width),
                height + facade.roof_rise,
                tint * 0.96,
            )
        if facade.roof_rise > 0:
            ridge = sign * (front + GABLE_DEPTH_METRES / 2)
            roof = facades.roof(facade.roof)
            self.panel(
                roof,
                (s - sign * 0.25, z),
                (s - sign * 0.25, z + width),
                facade.roof_rise,
                tint,
                base=height,
                top=((ridge, z), (ridge, z + width)),
            )
            for share in facade.chimneys:
                stack = facades.chimney(int(self.random.integers(8)))
                place = z + 0.6 + share * (width - 1.2)
                self.panel(
                    stack,
                    (ridge - 0.45, place),
                    (ridge + 0.45, place),
                    1.7,
                    tint,
                    base=height + facade.roof_rise - 0.5,
                )
                self.panel(
                    stack,
                    (ridge - 0.45 * sign, place),
                    (ridge - 0.45 * sign, place + 0.9),
                    1.7,
                    tint,
                    base=height + facade.roof_rise - 0.5,
                )
        first = int(min(max(z - PROFILE_START_METRES, 0), PROFILE_LENGTH_METRES))
        last = int(min(max(z + width - PROFILE_START_METRES, 0), PROFILE_LENGTH_METRES))
        side.heights[first:last] = np.maximum(side.heights[first:last], height + facade.roof_rise * 0.7 - setback * 0.3)

    def boundary(self, side: Side, setback: float, z: float, length: float, kind: str) -> None:
        """Stand a hedge, wall or fence along the front of a plot."""
        random = self.random
        s = side.sign * (side.front + 0.15)
        remaining = length
        number = int(random.integers(1000))
        scale = random.uniform(0.6, 1.5)
        while remaining > 0.2:
            if kind == "hedge":
                texture, height, piece = (
                    vegetation.hedge(number % vegetation.HEDGE_POOL),
                    1.6 * scale,
                    8.0,
                )
            elif kind == "wall":
                texture, height = furniture.garden_wall(number % furniture.GARDEN_WALL_POOL)
                piece = 8.0
            else:
                texture, height = furniture.fence(number % furniture.FENCE_POOL)
                piece = 6.0
            piece = min(piece, remaining)
            self.panel(texture, (s, z), (s, z + piece), height, self.tint(0.03))
            if kind == "hedge":
                self.panel(texture, (s, z), (s + side.sign * 0.9, z), height, np.full(3, 0.85))
            z += piece
            remaining -= piece

    def line_side(self, side: Side) -> None:
        """Fill one side with plots from behind the camera to the end of the street."""
        random, layout = self.random, self.layout
        z = FIRST_Z_METRES + random.uniform(-10, 0)
        kinds = KINDS_OF_MOOD[side.mood]
        base_setback = {
            "terrace": pick(random, (0.0, 1.5, 2.5)),
            "suburb": random.uniform(4, 9),
            "park": random.uniform(8, 25),
            "open": random.uniform(8, 30),
            "retail": random.uniform(12, 35),
        }.get(side.mood, 0.0)
        fencing = pick_weighted(random, FENCING, layout.content.boundaries)
        if side.mood in ("park", "open"):
            fencing = pick_weighted(random, FENCING, (0.2, 0.15, 0.35, 0.3))
        if side.mood == "retail":
            fencing = pick_weighted(random, FENCING[2:], (0.3, 0.7))
        built = BUILT_SHARE[side.mood] * layout.content.built
        previous: tuple[str, int, np.ndarray] | None = None
        while z < STREET_END_METRES:
            kind = pick(random, kinds)
            number = int(random.integers(facades.POOL_PER_KIND))
            tint = self.tint()
            if previous and random.random() < (0.5 if side.mood in ("terrace", "suburb") else 0.1):
                kind, number, tint = previous
            facade = facades.facade(kind, number)
            if side.mood in CLOSED_ROWS and layout.content.blocks and random.random() < layout.content.blocks:
                facade = perimeter_blocks.perimeter_block(int(random.integers(perimeter_blocks.POOL)))
            length = facade.width
            if layout.junction is not None:
                start = layout.junction - layout.junction_half - 1.5
                if z < start < z + length or layout.in_junction(z, 1.4):
                    if z < start - 4 and random.random() < 0.6:
                        self.boundary(side, 0.0, z, start - z, "wall" if fencing == "none" else fencing)
                    z = layout.junction + layout.junction_half + 1.5
                    continue
            if random.random() < built:
                setback = base_setback + random.uniform(-0.3, 0.3) * (base_setback > 3)
                self.building(side, facade, max(setback, 0.0), z, tint)
                if side.mood in ("suburb", "open", "park") and random.random() < 0.7:
                    length += random.uniform(1.0, 7.0)
            else:
                length = random.uniform(3.0, 14.0)
                setback = 5.0
            kind_here = fencing if random.random() < 0.8 else pick(random, FENCING[:3])
            if setback > 1.0 and kind_here != "none":
                opening = 1.2 if side.mood != "suburb" else 3.0
                self.boundary(side, setback, z, max(length - opening, 1.0), kind_here)
            previous = (kind, number, tint)
            z += length

    def backdrop(self) -> None:
        """Close the view: houses across the end, belts of trees, roofs behind the plots."""
        random, layout = self.random, self.layout
        for side in layout.sides:
            far = side.front + random.uniform(18, 50)
            tree = vegetation.treeline(int(random.integers(vegetation.TREELINE_POOL)))
            height = random.uniform(6, 17)
            if random.random() < 0.85:
                for z in np.arange(0, 200, 40.0):
                    self.panel(
                        tree,
                        (side.sign * far, float(z)),
                        (side.sign * far, float(z) + 40),
                        height * random.uniform(0.85, 1.15),
                        self.tint(0.05),
                    )
            if layout.junction is not None:
                z = layout.junction + layout.junction_half + random.uniform(0, 3)
                s = side.front + GABLE_DEPTH_METRES
                while s < 60 and random.random() < 0.85:
                    facade = facades.facade(
                        pick(random, KINDS_OF_MOOD[side.mood]),
                        int(random.integers(facades.POOL_PER_KIND)),
                    )
                    self.panel(
                        facade.front,
                        (side.sign * s, z),
                        (side.sign * (s + facade.width), z),
                        facade.height,
                        self.tint(),
                    )
                    s += facade.width
        end = random.uniform(95, 190)
        if random.random() < 0.6:
            s = -70.0
            while s < 70:
                facade = facades.facade(
                    pick(random, KINDS_OF_MOOD[layout.sides[0].mood]),
                    int(random.integers(facades.POOL_PER_KIND)),
                )
                if random.random() < 0.8:
                    self.panel(facade.front, (s, end), (s + facade.width, end), facade.height, self.tint())
                    if facade.roof_rise:
                        self.panel(
                            facades.roof(facade.roof),
                            (s, end),
                            (s + facade.width, end),
                            facade.roof_rise,
                            self.tint(),
                            base=facade.height,
                            top=((s + 1, end + 4), (s + facade.width - 1, end + 4)),
                        )
                s += facade.width
        if random.random() < 0.8:
            far = end + random.uniform(10, 120)
            height = random.uniform(6, 22)
            for s in np.arange(-240, 240, 80.0):
                tree = vegetation.treeline(int(random.integers(vegetation.TREELINE_POOL)))
                self.panel(
                    tree,
                    (float(s), far),
                    (float(s) + 80, far),
                    height * random.uniform(0.7, 1.2),
                    self.tint(0.05),
                )


def build_street(layout: Layout, random: np.random.Generator) -> None:
    """Add all panels of buildings, boundaries and backdrop to the layout."""
    builder = StreetBuilder(layout, random)
    for side in layout.sides:
        builder.line_side(side)
    builder.backdrop()
