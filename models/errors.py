"""Errors that speak to the person: what was found, what was expected, what to do.

Everything that comes from outside (a photo, a file, a form, a recipe, a checkpoint, an answer from the Hub) fails
with one of these; the command line prints the sentence and exits with code 2, the pages show it and go on working.
"""

from __future__ import annotations

from typing import Final

OUT_OF_MEMORY: Final = (
    "OutOfMemoryError",
    "MemoryError",
    "can't allocate memory",
    "CUDA out of memory",
    "CUDA error: out of memory",
    "STATUS_ALLOC_FAILED",
)
"""By which an error without memory is known: PyTorch's for a graphics card has a name, the processor's allocator and the
libraries of a card that is full already have words."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory is what was missing."""
    return any(sign in f"{type(error).__name__} {error}" for sign in OUT_OF_MEMORY)


class Sim2StreetError(Exception):
    """Base of every error that is the input's fault and whose text is fit to be shown as it stands."""


class UnreadableError(Sim2StreetError):
    """A record, config or table on disk that cannot be read."""


class PhotoError(Sim2StreetError):
    """A file that cannot be read as a photo."""


class LabelError(Sim2StreetError):
    """A label image or label space that does not fit."""


class CheckpointError(Sim2StreetError):
    """A checkpoint that is missing, damaged, foreign or not understood."""


class ConfigError(Sim2StreetError):
    """A recipe, option or argument with an unknown name or a value out of range."""


class DatasetError(Sim2StreetError):
    """A data set that is not where it was looked for, or is not laid out as documented."""


class Interrupted(Sim2StreetError):
    """Somebody asked a training to stop; its state is saved, and resuming goes on where it was."""
