"""Adapt a checkpoint to a visitor's photos in the background, within a time limit and in memory only. Imports no UI library."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sim2street.app.content.background import BACKGROUND, Task
from sim2street.app.content.engine import Engine, release_memory
from sim2street.models.errors import ConfigError, is_out_of_memory
from sim2street.models.photo import Photo
from sim2street.models.predictor import Predictor
from sim2street.models.storage.checkpoint import Checkpoint
from sim2street.training.adapt import AdaptedCheckpoint, AdaptOptions, adapt, compare, summary

SECONDS: Final = 30.0
"""Time limit, after which no further photo is started; other visitors wait for that long."""
MOST_PHOTOS: Final = 12
"""Largest number of photos to adapt to, the first in the filmstrip."""
WARNING: Final = (
    "Adapting can do harm, and a more certain network need not be more accurate. The original network is kept beside the"
    " adapted one; Undo removes the adapted one."
)


@dataclass
class Adapting:
    """The state of one adaptation; the background thread fills it in.

    Attributes:
        original: the checkpoint that is adapted; not changed.
        method: key of `AT_TEST_TIME`.
        task: its progress.
        adapted: the result; None until it is done.
        said: a sentence that compares the photos before and after; empty until it is done.
    """

    original: Checkpoint
    method: str
    task: Task
    adapted: AdaptedCheckpoint | None = None
    said: str = ""


def begin(
    engine: Engine,
    visitor: str,
    original: Checkpoint,
    photos: Sequence[Photo],
    method: str,
    *,
    most: int = MOST_PHOTOS,
    seconds: float = SECONDS,
) -> Adapting:
    """Start to adapt a checkpoint to a visitor's photos.

    Args:
        engine: nobody else's photo is predicted until the adaptation is done.
        visitor: name of the session.
        original: the checkpoint to adapt; not changed.
        photos: the first `most` are used.
        method: one of `AT_TEST_TIME`.
        most: largest number of photos.
        seconds: time limit, after which no further photo is started.

    Raises:
        BusyError: too many computations are already waiting.
    """
    chosen, options = list(photos[:most]), AdaptOptions(method, seconds=seconds)
    shows = len(chosen) * (2 if method == "tent" else 1)

    def work(task: Task) -> None:
        with engine.awaited(visitor), engine.turns.turn():
            try:
                _adapt(state, chosen, options, task)
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
                release_memory()
                raise ConfigError("There was not enough memory to adapt to these photos; try smaller ones.") from error

    # `work` runs as soon as the task starts, and reads `state`, so `state` must exist before.
    state = Adapting(original, method, Task(1))
    state.task = BACKGROUND.start(("adapt", visitor), shows + len(chosen), work)
    return state


def _adapt(state: Adapting, photos: list[Photo], options: AdaptOptions, task: Task) -> None:
    predictor = Predictor(state.original.load(), state.original.config.window)
    adaptation = adapt(predictor, photos, options, progress=lambda done, _: task.report(done))
    first = task.done
    before = Predictor.from_checkpoint(state.original)
    seen = photos[: adaptation.photos]
    changes = compare(before, predictor, seen, progress=lambda done, _: task.report(first + done))
    said = summary(changes)
    if adaptation.stopped:
        said += f" The time limit of {options.seconds:.0f} seconds was reached after {adaptation.photos} of {len(photos)} photos."
    state.said, state.adapted = said, AdaptedCheckpoint(state.original, adaptation)
