"""CyCADA: a rendered street translated to the target's look and back, by a checkpoint's own generators."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from sim2street.app.content.demonstrations.parts import STREET, Demonstration, Picture, Request, Shown, heat
from sim2street.app.content.names import data_set_title
from sim2street.app.content.streets import rendered_scene
from sim2street.app.content.translation import run_with_generator
from sim2street.models.predictor import best_device
from sim2street.models.storage.checkpoint import Checkpoint
from sim2street.training.translate import Direction, generator_of_checkpoint, open_generator, translate_photo

ERROR_SHOWN: Final = 0.25
"""Mean absolute difference of a pixel, in [0,1], that is drawn brightest."""
WITHOUT: Final = (
    "No generator is kept here, so nothing can be translated: generators stay with the run that trained them, and only the"
    " included CyCADA checkpoint in fog carries its own. These are the same street in the source's look and in the target's, which a perfect"
    " generator would paint. `sim2street train demo_game_to_fog__cycada_cnn --out runs/cycada` trains generators; with"
    " `SIM2STREET_CHECKPOINTS=runs`, this page and Compare then use them."
)


def show(request: Request) -> Shown:
    """Translation, the way back and what it loses; without generators, the two looks and the reason."""
    street = rendered_scene("game", request.count("street")).photo.pixels
    original = Picture("Source", street, "a street in the clean look")
    checkpoint = next((each for each in request.checkpoints if run_with_generator(each) is not None), None)
    if checkpoint is None:
        fog = rendered_scene("fog", request.count("street")).photo.pixels
        return Shown(WITHOUT, (original, Picture("Target", fog, "the same street in fog, rendered, not translated")))
    with request.engine.turns.turn():
        there = painted(checkpoint, "to_target", street)
        back = None if there is None else painted(checkpoint, "to_source", there)
    assert there is not None  # `run_with_generator` found it
    pictures = [
        original,
        Picture("Translated", there, f"to the look of {data_set_title(checkpoint.config.target or '')}"),
    ]
    if back is None:
        return Shown("The run keeps no generator for the way back.", tuple(pictures))
    error = np.abs(back.astype(np.float32) - street).mean(axis=2) / 255
    pictures += [
        Picture("Back", back, "translated to the source's look again"),
        Picture(
            "Cycle error", heat(error / ERROR_SHOWN, (street.shape[1], street.shape[0])), "bright where they differ"
        ),
    ]
    words = (
        f"There and back changes a colour value by **{100 * float(error.mean()):.1f} %** of its range on average: the cycle"
        " loss, which keeps the content in place."
    )
    return Shown(words, tuple(pictures))


def painted(checkpoint: Checkpoint, direction: Direction, photo: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
    """A photo translated by a generator of the checkpoint's run; None if the run has no generator for the direction."""
    run = generator_of_checkpoint(checkpoint.path, direction)
    return None if run is None else translate_photo(open_generator(run, direction).to(best_device()), photo)


DEMONSTRATION: Final = Demonstration(title="A street translated and back", controls=(STREET,), show=show)
