"""Labelled street scenes, rendered on demand from a seed and an index.

The same seed, index and size give the same layout, labels and depth in every style except `streets`, which is modelled
on real photos; only the photo differs. Nothing is stored on disk and no global random state is read or changed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from numbers import Integral

import cv2
import numpy as np

from sim2street.training.scenes import train_ids
from sim2street.training.scenes.canvas import Canvas
from sim2street.training.scenes.content import PLAIN, STREETS, Content
from sim2street.training.scenes.ground import GroundBuilder, paint_ground
from sim2street.training.scenes.layout import Layout, Thing, draw_layout
from sim2street.training.scenes.panels import SeenPanel, paint_panels, paint_seen
from sim2street.training.scenes.sky import draw_sky, paint_sky
from sim2street.training.scenes.street import build_street
from sim2street.training.scenes.styles import LOOKS, Shot, sky_kind
from sim2street.training.scenes.traffic import Placer

STYLES: tuple[str, ...] = ("game", "randomised", "overcast", "night", "fog", "rain", "streets")
"""Styles. Scenes of `streets` have their own content; the others show the same street in six looks."""
CONTENT: dict[str, Content] = {"streets": STREETS}

SMALLEST_SIDE = 32
LARGEST_SIDE = 4096
BONNET_DEPTH_METRES = 1.0
LAYOUT_STREAM, GROUND_STREAM, BONNET_STREAM, LOOK_STREAM = 1, 2, 3, 4


@dataclass(frozen=True)
class RenderedScene:
    """One rendered scene.

    Attributes:
        photo: (H, W, 3) uint8, RGB.
        labels: (H, W) uint8, Cityscapes train ids 0..18; 255 is not scored.
        depth: (H, W) float32, metres along the viewing axis; 10,000 for the sky.
    """

    photo: np.ndarray
    labels: np.ndarray
    depth: np.ndarray


def render(style: str, index: int, *, seed: int = 0, size: tuple[int, int] = (512, 256)) -> RenderedScene:
    """Render one scene; a pure function of its arguments.

    Args:
        style: One of `STYLES`.
        index: Number of the scene, at least 0.
        seed: Seed of the family of scenes, at least 0.
        size: Width and height in pixels, each in 32..4096. Sizes with the same aspect ratio show the
            same scene.

    Returns:
        The photo with its labels and depth.

    Raises:
        ValueError: If an argument is not as described.
    """
    check_arguments(style, index, seed, size)
    with single_threaded():
        random = np.random.default_rng([int(seed), int(index), LAYOUT_STREAM])
        layout = draw_layout(random, (int(size[0]), int(size[1])), CONTENT.get(style, PLAIN))
        build_street(layout, random)
        Placer(layout, random).populate()
        ground_random = np.random.default_rng([int(seed), int(index), GROUND_STREAM])
        GroundBuilder(layout, ground_random).build()
        look_random = np.random.default_rng([int(seed), int(index), LOOK_STREAM, STYLES.index(style)])
        canvas = Canvas(layout.camera)
        paint_sky(canvas, draw_sky(look_random, sky_kind(style, look_random)), look_random)
        paint_ground(canvas, layout, ground_random)
        paint_objects(canvas, layout)
        if layout.bonnet > 0:
            paint_bonnet(
                canvas,
                layout.bonnet,
                np.random.default_rng([int(seed), int(index), BONNET_STREAM]),
            )
        painting = canvas.finish()
        photo = LOOKS[style](Shot(painting, layout, look_random))
    return RenderedScene(photo, painting.labels, painting.depth)


def check_arguments(style: str, index: int, seed: int, size: tuple[int, int]) -> None:
    """Raise ValueError if an argument of `render` is invalid."""
    if style not in STYLES:
        raise ValueError(f"The style is {style!r}; it must be one of {', '.join(STYLES)}.")
    for name, value in (("index", index), ("seed", seed)):
        if not isinstance(value, Integral) or isinstance(value, bool) or value < 0:
            raise ValueError(f"The {name} is {value!r}; it must be an integer of at least 0.")
    whole = len(size) == 2 and all(
        isinstance(side, Integral) and SMALLEST_SIDE <= side <= LARGEST_SIDE for side in size
    )
    if not whole:
        raise ValueError(
            f"The size is {size!r}; it must be a width and a height, "
            f"each an integer in {SMALLEST_SIDE}..{LARGEST_SIDE}."
        )


@contextmanager
def single_threaded() -> Iterator[None]:
    """Restrict OpenCV to one thread within the block; workers that render in parallel have one core each."""
    threads = cv2.getNumThreads()
    if threads != 1:
        cv2.setNumThreads(1)
    try:
        yield
    finally:
        if threads != 1:
            cv2.setNumThreads(threads)


@dataclass(frozen=True)
class SeenThing:
    """An object, the column, row and depth of its anchor in the picture, and whether it is in the sun."""

    thing: Thing
    place: tuple[float, float, float]
    sunlit: bool


def seen_things(layout: Layout) -> list[SeenThing]:
    """Project all objects of a layout, all at once for speed."""
    if not layout.things:
        return []
    camera = layout.camera
    s, up, z = np.array([(thing.s, thing.up, thing.z) for thing in layout.things], np.float64).T
    sideways, depth = camera.to_view(s + camera.road_offset(z), z)
    # Objects behind the camera are not in the picture and are not drawn.
    u, v = camera.to_picture(sideways, up, np.where(depth > 0, depth, 1.0))
    places = zip(u.tolist(), v.tolist(), depth.tolist(), strict=True)
    sunlit = layout.sunlit(s, z, 1.2).tolist()
    return [SeenThing(*each) for each in zip(layout.things, places, sunlit, strict=True)]


def paint_objects(canvas: Canvas, layout: Layout) -> None:
    """Draw panels and objects from far to near, so that transparent borders blend correctly."""
    ordered: list[tuple[float, int, SeenPanel | SeenThing]] = [
        (seen.depth, number, seen) for number, seen in enumerate(paint_panels(canvas, layout))
    ]
    ordered += [(seen.place[2], -1 - number, seen) for number, seen in enumerate(seen_things(layout))]
    ordered.sort(key=lambda item: item[:2], reverse=True)
    # Objects facing the camera are lit from behind when the sun is ahead.
    sun = min(max(0.55 - 0.45 * float(layout.sun[2]), 0.1), 1.0)
    sun_side = float(layout.sun[0])
    for _, _, item in ordered:
        if isinstance(item, SeenPanel):
            paint_seen(canvas, item)
            continue
        thing = item.thing
        canvas.paint_sprite(
            thing.sprite,
            item.place,
            size=thing.size,
            mirrored=thing.mirrored,
            paint=thing.paint,
            gain=thing.gain,
            sun=sun if item.sunlit else 0.0,
            sun_side=sun_side,
        )


def paint_bonnet(canvas: Canvas, share: float, random: np.random.Generator) -> None:
    """Draw the bonnet of the camera's own car along the lower border; it is not scored."""
    height, width = canvas.depth.shape
    columns = np.linspace(-1, 1, 24)
    lean = random.uniform(-0.3, 0.3)
    flatness = random.choice([2.0, 4.0])
    top = height * (1 - share * (1 - 0.55 * np.abs(columns + lean) ** flatness))
    outline = np.concatenate(
        [
            np.stack([(columns + 1) / 2 * width, top], 1),
            [[width, height + 2.0], [0.0, height + 2.0]],
        ]
    )
    mask = np.zeros((height, width), np.uint8)
    canvas.fill(mask, outline, 1, soft=False)
    area = slice(int(max(top.min(), 0)), height)
    inside = mask[area] > 0
    rows = inside.shape[0]
    if rows < 1:
        return
    paint = np.array([1.0, 1.0, 1.0]) * random.uniform(10, 70) + random.uniform(0, 25, 3)
    gloss = np.linspace(1.0, 0.0, rows)[:, None] ** random.uniform(0.5, 2.0)
    spot = np.exp(-(((np.arange(width) / width - random.random()) / 0.12) ** 2))[None]
    shine = random.uniform(20, 110) * gloss + random.uniform(0, 130) * spot * gloss
    colour = np.clip(paint + shine[..., None], 0, 255).astype(np.uint8)
    canvas.colour[area][inside, :3] = colour[inside]
    canvas.marks[area][inside] = (60, 0, train_ids.UNSCORED, 0)
    canvas.depth[area][inside] = BONNET_DEPTH_METRES
