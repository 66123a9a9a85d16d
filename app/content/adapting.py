"""A visitor's adaptation to their own photos: in the background, bounded in time, in memory alone. No UI library in here."""

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
"""After which adapting begins no further photo; other visitors wait for as long."""
MOST_PHOTOS: Final = 12
"""Photos that are adapted to at most, the first of the filmstrip."""
WARNING: Final = (
    "Adapting can do harm, and a more certain network need not be more accurate. The original stays beside it; Undo removes"
    " the adapted one."
)


@dataclass
class Adapting:
    """One adaptation, from its beginning on.

    Attributes:
        original: stays as it is.
        method: of `AT_TEST_TIME`.
        task: how far it is.
        adapted: the result, once there is one.
        said: before and after over the photos, in words.
    """

    original: Checkpoint
    method: str
    task: Task
    adapted: AdaptedCheckpoint | None = None
    said: str = ""


def begin(engine: Engine, visitor: str, original: Checkpoint, photos: Sequence[Photo], method: str) -> Adapting:
    """Start to adapt a checkpoint to a visitor's photos.

    Raises:
        BusyError: too many computations wait already.
    """
    chosen, options = list(photos[:MOST_PHOTOS]), AdaptOptions(method, seconds=SECONDS)
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

    # The thread begins with the task, and waits for its state.
    state = Adapting(original, method, Task(1))
    state.task = BACKGROUND.start(("adapt", visitor), shows + len(chosen), work)
    return state


def _adapt(state: Adapting, photos: list[Photo], options: AdaptOptions, task: Task) -> None:
    predictor = Predictor.from_checkpoint(state.original)
    adaptation = adapt(predictor, photos, options, progress=lambda done, _: task.report(done))
    first = task.done
    before = Predictor.from_checkpoint(state.original)
    seen = photos[: adaptation.photos]
    changes = compare(before, predictor, seen, progress=lambda done, _: task.report(first + done))
    said = summary(changes)
    if adaptation.stopped:
        said += f" The {SECONDS:.0f} seconds were over after {adaptation.photos} of {len(photos)} photos."
    state.said, state.adapted = said, AdaptedCheckpoint(state.original, adaptation)
