"""DAFormer: rare class sampling, the cells of its feature distance, and one mixed image."""

from __future__ import annotations

import functools
from typing import Final

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from sim2street.app.content import charts
from sim2street.app.content.demonstrations.parts import (
    STREET,
    STREETS,
    Choice,
    Demonstration,
    Picture,
    Request,
    Shown,
    Slider,
    dimmed,
    painted,
)
from sim2street.app.content.gallery import FIRST_SCENE, RENDER_LOCK
from sim2street.app.content.streets import rendered_scene
from sim2street.models.labels import CITYSCAPES19
from sim2street.training.datasets import open_dataset
from sim2street.training.datasets.statistics import (
    ClassStatistics,
    RareClassSampler,
    RareClassSampling,
    class_statistics,
)
from sim2street.training.methods.parts.class_mix import choose_classes, class_mask, mix
from sim2street.training.methods.parts.feature_distance import cell_labels, is_thing

TEMPERATURES: Final = ("0.001", "0.003", "0.01", "0.03", "0.1", "0.3", "1")
CELL: Final = 32
"""Pixels of a cell of the deepest features."""
COUNTED_SIZE: Final = (256, 128)
"""(width, height) at which pixels are counted."""
MINIMUM: Final = RareClassSampling.minimum_pixels * COUNTED_SIZE[0] * COUNTED_SIZE[1] // (1280 * 720)
"""The paper's number of pixels that show a class, scaled to this size."""


def show(request: Request) -> Shown:
    """A source image, its cells of things, the target, and the mixed image; probabilities of the classes below."""
    street, temperature = request.count("street"), float(request.values["temperature"])
    source = rendered_scene("game", street)
    target = rendered_scene("fog", (street + 1) % STREETS)
    assert source.truth is not None  # rendered streets have exact labels
    photo, labels = source.photo.pixels, source.truth
    kept = thing_cells(labels)
    mask, names = pasted(labels, request.count("draw"))
    images = [torch.from_numpy(each.copy()).permute(2, 0, 1)[None] for each in (photo, target.photo.pixels)]
    mixed = mix(torch.from_numpy(mask)[None], *images)[0].permute(1, 2, 0).numpy()
    sampler = RareClassSampler(statistics(), RareClassSampling(temperature=temperature, minimum_pixels=MINIMUM))
    pictures = (
        Picture("Source with its labels", painted(photo, labels, CITYSCAPES19)),
        Picture("Where features are compared", dimmed(photo, kept), f"cells of {CELL} pixels that a thing fills"),
        Picture("Target", target.photo.pixels, "the teacher labels what the mix leaves of it"),
        Picture("Mixed", mixed, f"pasted: {', '.join(names)}"),
    )
    shares = dict(zip(sampler.classes.tolist(), sampler.probabilities.tolist(), strict=True))
    rarest = CITYSCAPES19.names[int(sampler.classes[0])]
    words = (
        f"At temperature {temperature:g} a source image is chosen for **{rarest}** with probability"
        f" {100 * sampler.probabilities[0]:.0f} %; that class has {100 * statistics().frequencies[sampler.classes[0]]:.2f} %"
        f" of the pixels. The feature distance counts {100 * kept.mean():.0f} % of this image. ClassMix pasted {len(names)}"
        " classes, half of those in the source."
    )
    return Shown(words, pictures, (charts.sampling(CITYSCAPES19.names, statistics().frequencies.tolist(), shares),))


def thing_cells(labels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Pixels (H, W) of the cells over which the feature distance is averaged."""
    height, width = labels.shape
    cells = cell_labels(
        torch.from_numpy(labels.astype(np.int64))[None], (height // CELL, width // CELL), CITYSCAPES19.count
    )
    things = is_thing(cells, CITYSCAPES19)[0].numpy().astype(np.uint8)
    return cv2.resize(things, (width, height), interpolation=cv2.INTER_NEAREST).astype(bool)


def pasted(labels: NDArray[np.uint8], seed: int) -> tuple[NDArray[np.bool_], list[str]]:
    """The mask (H, W) of half of the classes in the labels, drawn with a seed, and their names."""
    batch = torch.from_numpy(labels.astype(np.int64))[None]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        chosen = choose_classes(batch)
    names = [CITYSCAPES19.names[value] if value < CITYSCAPES19.count else "unlabelled" for value in chosen[0].tolist()]
    return class_mask(batch, chosen)[0].numpy(), sorted(names)


@functools.cache
def statistics() -> ClassStatistics:
    """Pixels of each class in the streets of the demonstrations."""
    with RENDER_LOCK:
        return class_statistics(
            open_dataset("street_scenes", style="game", count=STREETS, start=FIRST_SCENE, size=COUNTED_SIZE)
        )


DEMONSTRATION: Final = Demonstration(
    title="One mixed image, and how its source is chosen",
    controls=(
        STREET,
        Slider("draw", "Draw of ClassMix", 0, 9, 0, 1),
        Choice("temperature", "Sampling temperature", TEMPERATURES, "0.01"),
    ),
    show=show,
)
