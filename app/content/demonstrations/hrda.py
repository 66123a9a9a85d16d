"""HRDA: where the network trusts the detail and where the context, and what each alone predicts."""

from __future__ import annotations

from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sim2street.app.content.demonstrations.parts import (
    STREET,
    Choice,
    Demonstration,
    Picture,
    Request,
    Shown,
    heat,
    painted,
)
from sim2street.app.content.demonstrations.readers import checkpoint_of
from sim2street.app.content.engine import network
from sim2street.app.content.streets import rendered_scene
from sim2street.models.labels import CITYSCAPES19
from sim2street.models.predictor import Predictor
from sim2street.training.datasets.street_scenes import STYLES

LISTED: Final = 2
"""Classes that the words name at each end of the attention."""
COMMON: Final = 0.005
"""Smallest share of the pixels of a class that the words name."""


def show(request: Request) -> Shown:
    """The attention for the predicted class, and the predictions of context, detail and both."""
    checkpoint = checkpoint_of(request, "hrda", "hrda")
    scene = rendered_scene(str(request.values["look"]), request.count("street"))
    photo = scene.photo.pixels
    assert scene.truth is not None  # rendered streets have exact labels
    size = (photo.shape[1], photo.shape[0])
    with request.engine.turns.turn(), torch.inference_mode():
        predictor = Predictor(network(checkpoint), checkpoint.config.window)
        image = next(predictor.shown(photo))
        segmenter = predictor.segmenter
        outputs = segmenter.core(segmenter.normalise(image))
        maps = {
            name: segmenter.upsample(outputs[name].float(), (size[1], size[0]))[0].cpu()
            for name in ("main", "context", "detail", "attention")
        }
    labels = {name: maps[name].argmax(dim=0) for name in ("main", "context", "detail")}
    attention = attention_to_detail(maps["attention"], labels["main"])
    pictures = (
        Picture("Photo", photo, scene.photo.name),
        Picture("Ground truth", painted(photo, scene.truth, CITYSCAPES19)),
        Picture("Attention", heat(attention, size), "bright: the detail decides; dark: the context"),
        Picture("Context alone", coloured(photo, labels["context"]), "the whole photo at half size"),
        Picture("Detail alone", coloured(photo, labels["detail"]), "windows at full size"),
        Picture("Fused", coloured(photo, labels["main"]), f"what {checkpoint.config.title} predicts"),
    )
    return Shown(in_words(attention, labels), pictures)


def attention_to_detail(maps: Tensor, labels: Tensor) -> NDArray[np.float32]:
    """Attention (C, H, W) in [0,1] of each pixel's own class, (H, W)."""
    return maps.gather(0, labels[None])[0].clamp(0, 1).numpy()


def coloured(photo: NDArray[np.uint8], labels: Tensor) -> NDArray[np.uint8]:
    """Labels over the photo."""
    return painted(photo, labels.numpy().astype(np.uint8), CITYSCAPES19)


def in_words(attention: NDArray[np.float32], labels: dict[str, Tensor]) -> str:
    """How much the detail counts, overall and by class, and how often context and detail differ."""
    fused = labels["main"].numpy()
    means = {
        name: float(attention[fused == value].mean())
        for value, name in enumerate(CITYSCAPES19.names)
        if (fused == value).mean() >= COMMON
    }
    ordered = sorted(means, key=lambda name: means[name])
    differ = 100 * float((labels["context"] != labels["detail"]).float().mean())
    most = ", ".join(f"{name} ({means[name]:.2f})" for name in reversed(ordered[-LISTED:]))
    least = ", ".join(f"{name} ({means[name]:.2f})" for name in ordered[:LISTED])
    return (
        f"Context and detail disagree on {differ:.0f} % of the pixels. On average the detail counts"
        f" **{100 * float(attention.mean()):.0f} %**; most on {most}, least on {least}."
    )


DEMONSTRATION: Final = Demonstration(
    title="Where the detail is trusted",
    controls=(Choice("look", "Look", tuple(STYLES), "game"), STREET),
    show=show,
)
