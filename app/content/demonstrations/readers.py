"""The checkpoints that a demonstration needs, and what they predict. Imports no UI library."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sim2street.app.content.demonstrations.parts import Request
from sim2street.app.content.engine import Failure, Settings
from sim2street.app.content.figures import encoder_of
from sim2street.app.content.gallery import Scene
from sim2street.app.content.panes import Pane
from sim2street.models.errors import CheckpointError
from sim2street.models.label_space import LabelSpace
from sim2street.models.labels import CITYSCAPES19
from sim2street.models.photo import Photo
from sim2street.models.storage.checkpoint import Checkpoint
from sim2street.training.methods import METHODS


def checkpoint_of(request: Request, method: str, network: str = "") -> Checkpoint:
    """The first available checkpoint of a method, with Cityscapes' classes and, if it is named, a network.

    Raises:
        CheckpointError: there is none.
    """
    for each in request.checkpoints:
        fits = each.config.method == method and network in ("", each.config.network)
        if fits and each.config.space == CITYSCAPES19:
            return each
    raise CheckpointError(
        f"This needs a checkpoint of {METHODS[method].title} with the 19 classes of Cityscapes, and none is available."
        f" `sim2street recipes {method}` lists recipes that train one."
    )


def start_of(checkpoint: Checkpoint, everyone: Sequence[Checkpoint]) -> Checkpoint:
    """The source-only checkpoint from which an adapted one started, or else one with the same encoder.

    Raises:
        CheckpointError: neither is available.
    """
    plain = [each for each in everyone if each.config.method == "source_only"]
    start = [each for each in plain if each.name == checkpoint.config.initialisation]
    alike = [each for each in plain if encoder_of(each.config) == encoder_of(checkpoint.config)]
    found = next(iter([*start, *alike]), None)
    if found is None:
        raise CheckpointError(
            f"This compares {checkpoint.name} with a source-only checkpoint on the same encoder, and none is available."
        )
    return found


def predicted(request: Request, checkpoint: Checkpoint, scene: Scene) -> Pane:
    """A checkpoint's prediction for a scene.

    Raises:
        CheckpointError: it could not predict the scene.
    """
    answer = request.engine.read_once(scene, checkpoint, Settings())
    if isinstance(answer, Failure):
        raise CheckpointError(f"{checkpoint.name}: {answer.reason}")
    return answer


def scene_of(pixels: NDArray[np.uint8], name: str, space: LabelSpace = CITYSCAPES19) -> Scene:
    """A scene of pixels (H, W, 3) uint8 that no file holds."""
    return Scene(Photo(pixels, name, ""), space)
