"""What a scene is made of before anything is drawn: camera, sun, road and both sides."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from sim2street.training.scenes.camera import Camera
from sim2street.training.scenes.canvas import Sprite, Texture
from sim2street.training.scenes.content import PLAIN, Content
from sim2street.training.scenes.textures import pick, pick_weighted

MOODS = ("terrace", "shops", "canyon", "suburb", "park", "open", "retail")
PROFILE_START_METRES = -20
PROFILE_LENGTH_METRES = 240
STREET_END_METRES = 130.0


@dataclass(frozen=True)
class Panel:
    """An upright or sloped textured quad.

    Attributes:
        texture: What to paint.
        outline: Road offset, height and distance (s, up, z) of bottom start, bottom end, top end
            and top start: twelve metres in a row.
        tint: Gains of the three colours.
    """

    texture: Texture
    outline: tuple[float, ...]
    tint: np.ndarray


@dataclass(frozen=True)
class Thing:
    """A sprite at a place: road offset s, height, distance z, all in metres."""

    sprite: Sprite
    s: float
    z: float
    up: float = 0.0
    size: float = 1.0
    mirrored: bool = False
    paint: np.ndarray | None = None
    gain: np.ndarray | None = None


@dataclass(frozen=True)
class Patch:
    """A polygon on the ground in road coordinates; a label of None keeps the label below."""

    points: np.ndarray
    colour: np.ndarray
    label: int | None


@dataclass(frozen=True)
class Shade:
    """A dark polygon on the ground: contact shadow (always) or cast shadow (only in the sun)."""

    points: np.ndarray
    strength: float
    cast: bool


@dataclass
class Side:
    """One side of the street; `sign` is -1 on the left and 1 on the right; metres from the middle.

    Attributes:
        sign: -1 left, 1 right.
        mood: One of `MOODS`.
        kerb: Where the road ends.
        pavement: Width of the pavement.
        verge: Width of a grass strip; before the pavement when `verge_first`.
        verge_first: Whether the grass lies between kerb and pavement.
        front: Where the plots begin.
        heights: Height of what stands along the front, one value per metre of z.
    """

    sign: int
    mood: str
    kerb: float
    pavement: float
    verge: float
    verge_first: bool
    front: float
    heights: np.ndarray = field(default_factory=lambda: np.zeros(PROFILE_LENGTH_METRES, np.float32))


@dataclass
class Layout:
    """The whole scene; lists are filled by the modules that build streets, traffic and ground.

    Attributes:
        camera: The camera.
        sun: Unit vector towards the sun (x, up, z).
        sides: Left and right side.
        lane: Width of a lane in metres.
        lanes: Lanes per direction.
        junction: Middle of a crossing street along z, or None.
        junction_half: Half its width.
        keeps_left: Whether traffic keeps left.
        green_base: Whether the ground beyond the plots is grass.
        bonnet: Height of the own bonnet as a share of the picture, 0 for none.
        content: What stands in it and how often.
    """

    camera: Camera
    sun: np.ndarray
    sides: tuple[Side, Side]
    lane: float
    lanes: int
    junction: float | None
    junction_half: float
    keeps_left: bool
    bonnet: float
    content: Content = PLAIN
    panels: list[Panel] = field(default_factory=list)
    things: list[Thing] = field(default_factory=list)
    patches: list[Patch] = field(default_factory=list)
    shades: list[Shade] = field(default_factory=list)

    def in_junction(self, z: float, margin: float = 0.0) -> bool:
        """Whether z lies in the crossing street, widened by a margin in metres."""
        return self.junction is not None and abs(z - self.junction) < self.junction_half + margin

    def sunlit(self, s: np.ndarray, z: np.ndarray, up: np.ndarray | float = 0.0) -> np.ndarray:
        """Tell where direct sun arrives past the rows of buildings; bool of the inputs' shape."""
        s, z = np.asarray(s, np.float32), np.asarray(z, np.float32)
        sideways, rise, ahead = self.sun
        if abs(sideways) < 0.05:
            return np.ones(s.shape, bool)
        side = self.sides[1 if sideways > 0 else 0]
        gap = np.maximum(side.sign * side.front - s if side.sign > 0 else s + side.front, 0.0)
        travelled = gap / abs(sideways)
        crossing = z + travelled * ahead
        index = np.clip(crossing - PROFILE_START_METRES, 0, PROFILE_LENGTH_METRES - 1)
        return up + travelled * rise >= side.heights[index.astype(np.int32)]


def draw_side(random: np.random.Generator, sign: int, mood: str, kerb: float) -> Side:
    """Draw the widths of one side of the street."""
    pavement = random.uniform(1.5, 3.8)
    if mood in ("shops", "canyon"):
        pavement = random.uniform(2.2, 6.0)
    green = {"suburb": 0.5, "park": 0.5, "open": 0.8, "terrace": 0.06}.get(mood, 0.03)
    verge = random.uniform(0.8, 7.0 if mood == "open" else 3.0) if random.random() < green else 0.0
    if mood == "open" and random.random() < 0.25:
        pavement = 0.4
    front = kerb + pavement + verge
    return Side(sign, mood, kerb, pavement, verge, bool(random.random() < 0.4), front)


def draw_layout(random: np.random.Generator, size: tuple[int, int], content: Content = PLAIN) -> Layout:
    """Draw camera, sun and street; `size` is (width, height) and changes no draw."""
    width, height = size
    mood = pick_weighted(random, MOODS, content.moods)
    moods = [mood, mood]
    if random.random() < 0.45:
        moods[int(random.integers(2))] = pick_weighted(random, MOODS, content.moods)
    lanes = pick(random, (1, 1, 1, 1, 2, 2, 3))
    lane = random.uniform(2.7, 3.7)
    bay = random.uniform(0.0, 2.2) * (random.random() < 0.5)
    half = lanes * lane
    keeps_left = bool(random.random() < content.keeps_left)
    own_lane = -1 if keeps_left else 1
    x = own_lane * half * random.uniform(0.15, 0.75)
    if random.random() < 0.12:
        x = random.uniform(-half, half)
    left = draw_side(random, -1, moods[0], half + bay * random.uniform(0, 1))
    right = draw_side(random, 1, moods[1], half + bay * random.uniform(0, 1))
    yaw = np.radians(random.normal(0, 5))
    if random.random() < 0.12:
        yaw = np.radians(random.uniform(-28, 28))
    on_foot = content.on_pavement > 0 and random.random() < content.on_pavement
    if on_foot:
        side = (left, right)[int(random.integers(2))]
        x = side.sign * (side.kerb + random.uniform(0.0, 0.8) * (side.front - side.kerb))
        yaw = np.radians(-side.sign * random.uniform(-12, 55))  # mostly towards the road
    bend = random.normal(0, 0.0009) if random.random() < 0.5 else 0.0
    camera = Camera(
        width,
        height,
        focal=random.uniform(0.75, 1.3) * width,
        centre_u=width * random.uniform(0.45, 0.55),
        horizon_v=height * random.uniform(0.34, 0.54),
        roll=random.normal(0, 0.012),
        eye=random.uniform(1.1, 1.8) if random.random() < 0.75 else random.uniform(1.6, 2.5),
        x=x,
        yaw=float(yaw),
        bend=float(bend),
    )
    azimuth = random.uniform(-np.pi, np.pi)
    if random.random() < 0.35:
        azimuth = random.normal(0, 0.5)
    elevation = np.radians(random.uniform(10, 60))
    sun = np.array(
        [
            np.sin(azimuth) * np.cos(elevation),
            np.sin(elevation),
            np.cos(azimuth) * np.cos(elevation),
        ]
    )
    junction = None
    if random.random() < content.junction:
        junction = float(random.uniform(9, 45))
    return Layout(
        camera,
        sun,
        (left, right),
        lane,
        lanes,
        junction,
        float(random.uniform(3.0, 7.0)),
        keeps_left,
        0.0 if random.random() >= content.bonnet or on_foot else float(random.uniform(0.03, 0.13)),
        content,
    )
