"""Nightfall: a labelled photo by day becomes one by night.

Labels make this possible without a network: they say where the sky is, which is what differs most. The steps follow a camera:
the photo is linearised, daylight is replaced by a dark sky, uneven street light and headlights, windows and lamps shine, and
exposure, sensor noise and tone curve come last. No paper describes this transform; it is this project's own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from sim2street.models.errors import ConfigError
from sim2street.models.labels import IGNORE, LabelSpace
from sim2street.training.datasets.transforms import LUMA, Labels, Photo

TONE: Final = 2.2
"""Exponent between stored values and light."""
DARKEST_DAY: Final = 40
"""Photos with a lower mean (of 255) are already dark and stay as they are."""
SKY: Final = "sky"
"""The class that nightfall needs, by its name."""
SKY_LIGHT: Final = (0.001, 0.03)
"""Range of the sky's light, where the brightest pixel of a photo by day is 1."""
AMBIENT: Final = (0.03, 0.25)
"""Range of the share of daylight that is left."""
LAMPLIGHT: Final = ((1.0, 0.62, 0.28), (1.0, 0.85, 0.65), (0.8, 0.9, 1.0))
"""Colours of sodium lamps, warm lamps and cold LEDs, mixed at random."""
MEAN: Final = (18.0, 80.0)
"""Range of the mean (of 255) to which the camera exposes."""
MOST_LAMPS: Final = 10
READ_NOISE: Final = 0.008
SHOT_NOISE: Final = 0.02
"""Standard deviations of noise in the dark and, times the root of the light, from the light itself; of 1, before the tone curve."""


@dataclass(frozen=True)
class Nightfall:
    """Darken a labelled photo to night with the given probability; labels stay.

    Attributes:
        sky: the label of sky.
        probability: probability that a photo by day is changed.
    """

    sky: int
    probability: float = 0.2

    @classmethod
    def of(cls, labels: LabelSpace, probability: float) -> Nightfall:
        """Return the transform for photos with these classes.

        Raises:
            ConfigError: none of them is called sky.
        """
        if SKY not in labels.names:
            raise ConfigError(
                f"nightfall darkens the sky, but the classes of {labels.name} do not include {SKY!r}; set nightfall to 0."
            )
        return cls(labels.names.index(SKY), probability)

    def __call__(self, photo: Photo, labels: Labels | None, rng: np.random.Generator) -> tuple[Photo, Labels | None]:
        """Return the photo by night, or unchanged where it has no labels or is dark already, and the unchanged labels."""
        if labels is None or rng.random() >= self.probability or photo.mean() < DARKEST_DAY:
            return photo, labels
        light = (photo.astype(np.float32) * np.float32(1 / 255)) ** np.float32(TONE)
        sky = self._sky_mask(light, labels)
        light = _lit_by_lamps(light, rng)
        darkness = np.exp(rng.uniform(*np.log(SKY_LIGHT))) * rng.uniform((0.4, 0.5, 0.6), (1.0, 1.0, 1.6))
        light += sky[..., None] * (darkness.astype(np.float32) - light)
        _add_lamps(light, rng)
        return _exposed(light, rng), labels

    def _sky_mask(self, light: NDArray[np.float32], labels: Labels) -> NDArray[np.float32]:
        """(H, W) in [0, 1]: the sky, and what is as bright as it and either unlabelled or right beside it, with soft edges."""
        sky = labels == self.sky
        if sky.any():
            grey = light @ LUMA
            beside = cv2.dilate(sky.astype(np.uint8), np.ones((7, 7), np.uint8)) > 0
            sky |= ((labels == IGNORE) | beside) & (grey > 0.5 * np.median(grey[sky]))
        return cv2.GaussianBlur(sky.astype(np.float32), (0, 0), 0.7)


def _lit_by_lamps(light: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """The scene in the rest of the daylight, uneven lamplight and, sometimes, headlights on the ground ahead."""
    height, width = light.shape[:2]
    pools = rng.uniform(0, 1, (3, 4)).astype(np.float32) ** 2
    gain = cv2.resize(pools, (width, height), interpolation=cv2.INTER_CUBIC)
    np.maximum(gain, 0, out=gain)
    if rng.random() < 0.5:
        y, x = np.mgrid[0 : 1 : height * 1j, -1 : 1 : width * 1j].astype(np.float32)
        centre = rng.uniform(-0.5, 0.5)
        gain += rng.uniform(0.3, 1.2) * np.exp(-(((x - centre) / 0.6) ** 2) - ((y - 1) / 0.35) ** 2)
    ambient = np.exp(rng.uniform(*np.log(AMBIENT)))
    colour = rng.dirichlet(np.full(len(LAMPLIGHT), 0.7)) @ np.array(LAMPLIGHT)
    # Highlights of the day, such as white clouds in a window, are not lit by lamps.
    return np.minimum(light, 0.6) * (gain + ambient)[..., None] * colour.astype(np.float32)


def _add_lamps(light: NDArray[np.float32], rng: np.random.Generator) -> None:
    """Add glowing lamps with halos and lit windows in place, in the upper two thirds."""
    height, width = light.shape[:2]
    glow = np.zeros_like(light)
    for _ in range(int(rng.integers(MOST_LAMPS + 1))):
        colour = np.array(LAMPLIGHT[rng.integers(len(LAMPLIGHT))]) * rng.uniform(0.3, 2.0)
        x, y = int(rng.integers(width)), int(rng.integers(2 * height // 3))
        if rng.random() < 0.5:
            cv2.circle(glow, (x, y), int(rng.integers(1, 4)), colour.tolist(), -1, cv2.LINE_AA)
        else:
            across, down = (int(side) for side in rng.integers(2, 9, 2))
            cv2.rectangle(glow, (x, y), (x + across, y + down), (0.3 * colour).tolist(), -1)
    light += glow
    light += cv2.GaussianBlur(glow, (0, 0), float(rng.uniform(3, 12))) * np.float32(rng.uniform(0.5, 3.0))


def _exposed(light: NDArray[np.float32], rng: np.random.Generator) -> Photo:
    """The photo that a camera takes of this light, exposed to a mean of `MEAN`, with noise."""
    wanted = (rng.uniform(*MEAN) / 255) ** TONE
    # Two rounds, as clipped highlights take light from the mean.
    for _ in range(2):
        light *= np.float32(np.clip(wanted / max(float(np.minimum(light, 1).mean()), 1e-4), 0.05, 8))
    read, shot = np.array((READ_NOISE, SHOT_NOISE), np.float32) * rng.random(2, np.float32)
    light += rng.standard_normal(light.shape, dtype=np.float32) * (read + shot * np.sqrt(np.maximum(light, 0)))
    curve = np.clip(light, 0, 1) ** np.float32(1 / TONE)
    return np.asarray(np.rint(curve * 255), dtype=np.uint8)
