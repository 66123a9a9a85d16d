"""MIC: what a network predicts for a street of which most is masked."""

from __future__ import annotations

from typing import Final

import torch

from sim2street.app.content.demonstrations.parts import (
    STREET,
    Choice,
    Demonstration,
    Picture,
    Request,
    Shown,
    Slider,
    painted,
)
from sim2street.app.content.demonstrations.readers import checkpoint_of, predicted, scene_of
from sim2street.app.content.engine import network
from sim2street.app.content.streets import rendered_scene
from sim2street.models.predictor import best_device
from sim2street.training.datasets.street_scenes import STYLES
from sim2street.training.methods.mic import block_mask, hidden


def show(request: Request) -> Shown:
    """The masked street, and the predictions for it and for the whole one."""
    checkpoint = checkpoint_of(request, "mic")
    scene = rendered_scene(str(request.values["look"]), request.count("street"))
    photo = scene.photo.pixels
    image = torch.from_numpy(photo.copy()).permute(2, 0, 1)[None].float() / 255
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(request.count("draw"))
        keep = block_mask(image, request.count("block"), request.number("ratio"))
    with request.engine.turns.turn():
        masked = hidden(image.to(best_device()), keep.to(best_device()), network(checkpoint))[0].cpu()
    pixels = (255 * masked).round().byte().permute(1, 2, 0).numpy()
    whole = predicted(request, checkpoint, scene)
    parts = predicted(request, checkpoint, scene_of(pixels, f"{scene.photo.name}, masked"))
    behind = ~keep[0, 0].numpy()
    alike = whole.labels == parts.labels
    pictures = (
        Picture("Photo", photo, scene.photo.name),
        Picture("Masked", pixels, f"{100 * behind.mean():.0f} % of the pixels are hidden"),
        Picture(
            "Prediction of the whole",
            painted(photo, whole.labels, whole.space),
            f"by {checkpoint.config.title}; in training, by the teacher",
        ),
        Picture(
            "Prediction of the masked", painted(pixels, parts.labels, parts.space), "training makes it equal the other"
        ),
    )
    words = f"The two predictions agree on {100 * alike.mean():.0f} % of the pixels"
    if behind.any():
        words += f" and, **behind the mask, on {100 * alike[behind].mean():.0f} %**, where only the context can tell"
    return Shown(f"{words}.", pictures)


DEMONSTRATION: Final = Demonstration(
    title="Predicting behind the mask",
    controls=(
        Choice("look", "Look", tuple(STYLES), "streets"),
        STREET,
        Slider("block", "Block, pixels", 8, 128, 64, 8),
        Slider("ratio", "Share masked", 0.0, 0.9, 0.7, 0.1),
        Slider("draw", "Draw", 0, 9, 0, 1),
    ),
    show=show,
)
