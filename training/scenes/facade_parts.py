"""Wall materials, windows, doors and shop fronts from which facades are put together."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from sim2street.training.scenes.textures import Colour, hsv, noise, noise_patch

PIXELS_PER_METRE = 24
MATERIALS = ("brick", "stone", "render", "concrete", "cladding")


@dataclass
class Wall:
    """A wall under work: colours, glow, and its random source.

    Attributes:
        image: (h, w, 3) float32 in [0, 255], the first row is the top of the wall.
        glow: (h, w) float32 in [0, 1].
        random: Source of every choice.
    """

    image: np.ndarray
    glow: np.ndarray
    random: np.random.Generator

    def area(self, left: float, bottom: float, width: float, height: float) -> tuple[slice, slice]:
        """Pixels of a rectangle given in metres from the wall's lower left corner."""
        rows, columns = self.glow.shape
        first = round(rows - (bottom + height) * PIXELS_PER_METRE)
        last = round(rows - bottom * PIXELS_PER_METRE)
        start, end = round(left * PIXELS_PER_METRE), round((left + width) * PIXELS_PER_METRE)
        return (
            slice(min(max(first, 0), rows), min(max(last, first + 1, 0), rows)),
            slice(min(max(start, 0), columns), min(max(end, start + 1, 0), columns)),
        )

    def block(
        self, left: float, bottom: float, width: float, height: float, colour: Colour | tuple[float, float, float]
    ) -> None:
        """Fill a rectangle (metres) with a colour."""
        self.image[self.area(left, bottom, width, height)] = colour

    def darken(self, left: float, bottom: float, width: float, height: float, gain: float) -> None:
        """Multiply a rectangle (metres) by a gain."""
        self.image[self.area(left, bottom, width, height)] *= gain


@cache
def brickwork(variant: int) -> np.ndarray:
    """Relief of brick courses, float32 (512, 512) around 0, at the scale of facades."""
    random = np.random.default_rng([7100, variant])
    length, course = 6, 2
    rows, columns = np.mgrid[0:512, 0:512]
    course_number = rows // course
    shifted = (columns + (course_number % 2) * (length // 2)) & 511
    tones = random.standard_normal((256, 512 // length + 2)).astype(np.float32)
    relief = 0.6 * tones[course_number, shifted // length]
    relief[(shifted % length) == 0] += random.uniform(0.2, 1.2) * random.choice([-1, 1])
    relief[(course_number % 2) == 0] += 0.25
    return relief


@cache
def masonry(variant: int) -> np.ndarray:
    """Relief of stone blocks, float32 (512, 512) around 0, at the scale of facades."""
    random = np.random.default_rng([7200, variant])
    length, course = int(random.integers(12, 26)), int(random.integers(6, 12))
    rows, columns = np.mgrid[0:512, 0:512]
    course_number = rows // course
    shifted = (columns + (course_number % 2) * (length // 2)) & 511
    tones = random.standard_normal((128, 512 // length + 2)).astype(np.float32)
    relief = 0.5 * tones[course_number, shifted // length]
    relief[((shifted % length) == 0) | ((rows % course) == 0)] -= 1.3
    return relief


def wall_colour(random: np.random.Generator, material: str) -> Colour:
    """Draw a plausible colour of a wall material."""
    if material == "brick":
        kind = random.random()
        if kind < 0.4:
            return hsv(random, (0.09, 0.14), (0.18, 0.45), (0.45, 0.75))
        if kind < 0.8:
            return hsv(random, (0.01, 0.06), (0.3, 0.6), (0.35, 0.62))
        return hsv(random, (0.02, 0.08), (0.15, 0.4), (0.2, 0.45))
    if material == "stone":
        return hsv(random, (0.08, 0.14), (0.08, 0.35), (0.4, 0.8))
    if material == "render":
        if random.random() < 0.65:
            return hsv(random, (0.08, 0.16), (0.02, 0.22), (0.7, 0.95))
        return hsv(random, (0.02, 0.6), (0.05, 0.25), (0.5, 0.9))
    if material == "concrete":
        return hsv(random, (0.05, 0.6), (0.0, 0.1), (0.35, 0.7))
    return hsv(random, (-0.02, 0.62), (0.02, 0.25), (0.2, 0.8))


def build_wall(random: np.random.Generator, width: float, height: float, material: str, colour: Colour) -> Wall:
    """Lay a bare wall of the material, with relief, stains and a dirty foot (metres)."""
    rows, columns = round(height * PIXELS_PER_METRE), round(width * PIXELS_PER_METRE)
    tone = 0.06 * noise_patch(random, rows, columns, 1, 1.3)
    tone += 0.05 * noise_patch(random, rows, columns, 2, 0.3)
    top, left = (int(offset) for offset in random.integers(0, 512, 2))
    places = ((np.arange(rows) + top) & 511)[:, None], ((np.arange(columns) + left) & 511)[None]
    if material == "brick":
        tone += random.uniform(0.06, 0.16) * brickwork(int(random.integers(6)))[places]
    elif material == "stone":
        tone += random.uniform(0.05, 0.13) * masonry(int(random.integers(6)))[places]
    elif material == "concrete":
        panel = round(random.uniform(1.5, 4.0) * PIXELS_PER_METRE)
        tone[:, ::panel] -= 0.25
        tone[:: round(random.uniform(2.5, 4.0) * PIXELS_PER_METRE)] -= 0.25
    elif material == "cladding":
        board = max(round(random.uniform(0.12, 0.5) * PIXELS_PER_METRE), 3)
        axis = random.random() < 0.5
        if axis:
            tone[::board] -= 0.18
        else:
            tone[:, ::board] -= 0.18
    # Rain leaves dark runs below the eaves, and traffic a dirty foot.
    runs = np.maximum(noise(3, 0.8)[int(random.integers(512)), places[1]], 0.0)
    climb = np.linspace(1.0, 0.0, rows, dtype=np.float32)[:, None]
    tone -= random.uniform(0.0, 0.12) * runs * climb
    tone[-round(0.4 * PIXELS_PER_METRE) :] -= random.uniform(0.0, 0.3)
    image = np.clip(1.0 + tone, 0.2, 1.8)[..., None] * colour
    return Wall(image.astype(np.float32), np.zeros((rows, columns), np.float32), random)


@dataclass(frozen=True)
class WindowDesign:
    """How all windows of one facade are built; lengths in metres.

    Attributes:
        width: Width of the opening.
        height: Height of the opening.
        columns: Panes side by side.
        rows: Panes above each other.
        frame: Colour of frame and bars.
        bar: Width of the bars.
        surround: Colour of the stone around the opening, or None.
        glass: Base colour of the glass.
        sky: How much of the sky the glass mirrors, in [0, 1].
        arched: Rounded upper corners.
    """

    width: float
    height: float
    columns: int
    rows: int
    frame: Colour
    bar: float
    surround: Colour | None
    glass: Colour
    sky: float
    arched: bool


def design_window(random: np.random.Generator, width: float, height: float) -> WindowDesign:
    """Draw a window design for openings of the given size."""
    white = random.random() < 0.65
    frame = hsv(random, (0, 1), (0, 0.06), (0.75, 0.95)) if white else hsv(random, (0, 1), (0.0, 0.4), (0.1, 0.5))
    surround = None
    if random.random() < 0.45:
        surround = hsv(random, (0.07, 0.13), (0.03, 0.25), (0.5, 0.92))
    return WindowDesign(
        width,
        height,
        int(random.choice([1, 2, 2, 3])),
        int(random.choice([1, 2, 2, 4])),
        frame,
        float(random.uniform(0.04, 0.08)),
        surround,
        hsv(random, (0.5, 0.65), (0.0, 0.35), (0.08, 0.3)),
        float(random.uniform(0.0, 0.7) ** 1.5),
        bool(random.random() < 0.15),
    )


def glaze(wall: Wall, left: float, bottom: float, width: float, height: float, design: WindowDesign) -> None:
    """Fill an opening with glass: a dark room, curtains or blinds, and the mirrored sky."""
    random = wall.random
    place = wall.area(left, bottom, width, height)
    rows, columns = wall.glow[place].shape
    if rows == 0 or columns == 0:
        return
    pane = np.empty((rows, columns, 3), np.float32)
    pane[:] = design.glass * random.uniform(0.6, 1.4)
    kind = random.random()
    if kind < 0.3:
        cloth = hsv(random, (0, 1), (0, 0.25), (0.35, 0.85))
        side = max(int(columns * random.uniform(0.1, 0.35)), 1)
        pane[:, :side] = cloth
        pane[:, -side:] = cloth
    elif kind < 0.45:
        pane[: int(rows * random.uniform(0.2, 0.8))] = hsv(random, (0, 0.2), (0, 0.2), (0.5, 0.9))
    mirror = design.sky * random.uniform(0.3, 1.3)
    skyline = rows * np.clip(
        random.uniform(0.2, 0.9) + 0.15 * noise(4, 1.0)[int(random.integers(512)), :columns], 0, 1.2
    )
    above = np.clip((skyline[None] - np.arange(rows)[:, None]) * 0.35 + 0.5, 0, 1)[..., None]
    sky = np.array([205.0, 215.0, 228.0], np.float32) * random.uniform(0.55, 1.0)
    share = (min(mirror, 0.9) * above).astype(np.float32)
    pane = pane * (1 - share) + sky * share
    pane *= np.linspace(0.75, 1.05, rows, dtype=np.float32)[:, None, None]
    wall.image[place] = pane
    wall.glow[place] = random.uniform(0.4, 1.0) if random.random() < 0.22 else 0.0


def add_window(wall: Wall, left: float, bottom: float, design: WindowDesign) -> None:
    """Set a window into the wall with its lower left corner at (left, bottom) metres."""
    width, height, bar = design.width, design.height, design.bar
    if design.surround is not None:
        wall.block(left - 0.15, bottom - 0.1, width + 0.3, height + 0.3, design.surround)
    wall.darken(left - 0.04, bottom, width + 0.08, height + 0.05, 0.5)
    outer = wall.area(left, bottom, width, height)
    before = wall.image[outer].copy() if design.arched else None
    wall.block(left, bottom, width, height, design.frame)
    glaze(wall, left + bar, bottom + bar, width - 2 * bar, height - 2 * bar, design)
    for column in range(1, design.columns):
        wall.block(left + width * column / design.columns - bar / 2, bottom, bar, height, design.frame)
    for row in range(1, design.rows):
        wall.block(left, bottom + height * row / design.rows - bar / 2, width, bar, design.frame)
    # The upper reveal throws a shadow on the glass.
    wall.darken(left, bottom + height - 0.14, width, 0.14, 0.55)
    if before is not None:
        rows, columns = before.shape[:2]
        x = np.abs(np.linspace(-1, 1, columns))[None]
        y = (np.arange(rows) / max(columns / 2, 1))[:, None]
        corner = (1 - y) ** 2 + x**2 > 1.0
        corner &= y < 1
        wall.image[outer][corner] = before[corner]
        wall.glow[outer][corner] = 0
    sill = design.surround if design.surround is not None else design.frame * 0.8
    wall.block(left - 0.1, bottom - 0.1, width + 0.2, 0.1, sill)
    wall.darken(left - 0.1, bottom - 0.22, width + 0.2, 0.12, 0.75)


def add_door(wall: Wall, left: float, width: float, height: float) -> None:
    """Set a house door with frame, fanlight, letter box and step."""
    random = wall.random
    frame = hsv(random, (0.05, 0.2), (0, 0.1), (0.6, 0.95))
    leaf = hsv(random, (0, 1), (0.1, 0.9), (0.08, 0.6))
    wall.block(left - 0.12, 0, width + 0.24, height + 0.12, frame)
    wall.block(left, 0.15, width, height - 0.15, leaf)
    if random.random() < 0.6:
        wall.block(left + 0.05, height - 0.4, width - 0.1, 0.32, (40.0, 45.0, 50.0))
    for row in (0.35, 1.2):
        wall.block(left + 0.12, row, width - 0.24, 0.6, leaf * random.uniform(0.7, 0.9))
    if random.random() < 0.3:
        wall.block(left + 0.15, 1.1, width - 0.3, 0.8, (70.0, 80.0, 85.0))
    wall.block(left - 0.2, 0, width + 0.4, 0.15, (140.0, 138.0, 130.0))
    wall.darken(left, height - 0.12, width, 0.12, 0.6)


def add_shop_front(wall: Wall, left: float, width: float, height: float) -> None:
    """Build a shop front: stall riser, panes with goods, door, signboard, perhaps an awning."""
    random = wall.random
    dressed = random.random()
    joinery = (
        hsv(random, (0, 1), (0.0, 0.7), (0.05, 0.45)) if dressed < 0.6 else hsv(random, (0, 1), (0, 0.5), (0.5, 0.95))
    )
    wall.block(left, 0, width, height, joinery)
    fascia_height = random.uniform(0.5, 0.9)
    riser = random.choice([0.1, 0.3, 0.6])
    glass_top = height - fascia_height
    panes = max(round(width / random.uniform(1.2, 2.6)), 1)
    pane_width = width / panes
    door = int(random.integers(panes))
    glass = WindowDesign(
        pane_width,
        2,
        1,
        1,
        joinery,
        0.06,
        None,
        hsv(random, (0.05, 0.65), (0, 0.3), (0.08, 0.35)),
        float(random.uniform(0, 0.45)),
        False,
    )
    for pane in range(panes):
        start = left + pane * pane_width + 0.07
        foot = 0.1 if pane == door else riser
        inner = pane_width - 0.14
        glaze(wall, start, foot, inner, glass_top - foot - 0.08, glass)
        place = wall.area(start, foot, inner, glass_top - foot - 0.08)
        wall.glow[place] = random.uniform(0.5, 1.0) * (random.random() < 0.8)
        # Goods: a few blurred lumps of colour behind the pane, lamps above.
        for _ in range(int(random.integers(2, 9))):
            lump = random.uniform(0.1, 0.6, 2)
            x = start + random.uniform(0, max(inner - lump[0], 0.01))
            y = foot + random.uniform(0, max(1.5 - lump[1], 0.1))
            target = wall.area(x, y, min(lump[0], inner), lump[1])
            goods = hsv(random, (0, 1), (0.0, 0.8), (0.2, 0.95))
            wall.image[target] = 0.55 * wall.image[target] + 0.45 * goods
        if pane == door:
            wall.block(start + inner / 2, 0.1, 0.06, glass_top - 0.3, joinery)
            wall.darken(start, 0.1, inner, glass_top - 0.2, 0.75)
    fascia = hsv(random, (0, 1), (0.0, 0.9), (0.1, 0.9))
    wall.block(left, glass_top, width, fascia_height, fascia)
    wall.block(left, height - 0.08, width, 0.08, joinery * 0.8 + 20)
    add_lettering(wall, left + 0.3, glass_top + 0.15, width - 0.6, fascia_height - 0.3, fascia)
    wall.darken(left, glass_top - 0.2, width, 0.2, 0.6)
    if random.random() < 0.3:
        awning = wall.area(left + 0.2, glass_top - 0.7, width - 0.4, 0.75)
        first = hsv(random, (0, 1), (0.1, 0.9), (0.2, 0.85))
        second = first if random.random() < 0.5 else np.array([225.0, 222.0, 214.0], np.float32)
        stripes = (np.arange(wall.image[awning].shape[1]) // 8) % 2
        wall.image[awning] = np.where(stripes[None, :, None] == 0, first, second)
        wall.glow[awning] = 0


def add_lettering(wall: Wall, left: float, bottom: float, width: float, height: float, ground: Colour) -> None:
    """Write unreadable letters, light on dark or dark on light."""
    random = wall.random
    ink = np.array([240.0, 236.0, 220.0], np.float32)
    if ground.mean() > 130:
        ink = hsv(random, (0, 1), (0, 0.8), (0.05, 0.4))
    if height <= 0.05 or width <= 0.3:
        return
    x = left + random.uniform(0, 0.4) * width
    end = left + width * random.uniform(0.6, 1.0)
    while x < end:
        letter = height * random.uniform(0.4, 0.8)
        wall.block(x, bottom, letter * 0.3, height, ink)
        if random.random() < 0.7:
            wall.block(x, bottom + height * random.choice([0, 0.4, 0.8]), letter * 0.8, height * 0.2, ink)
        if random.random() < 0.5:
            wall.block(x + letter * 0.6, bottom, letter * 0.25, height * random.choice([0.5, 1.0]), ink)
        x += letter * (1.15 if random.random() < 0.85 else 1.9)
