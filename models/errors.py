"""Errors written for the user: what was found, what was expected, what to do.

Everything that comes from outside (a photo, a file, a form, a recipe, a checkpoint, an answer from the Hub) fails
with one of these; the command line prints the sentence and exits with code 2, the pages show it and keep working.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection
from typing import Final

OUT_OF_MEMORY: Final = (
    "OutOfMemoryError",
    "MemoryError",
    "can't allocate memory",
    "CUDA out of memory",
    "CUDA error: out of memory",
    "STATUS_ALLOC_FAILED",
)
"""Parts of an exception's class name or message that identify an out-of-memory error. PyTorch has an exception class for the
GPU only; its CPU allocator, and CUDA libraries on a full GPU, report it in the message alone."""


def did_you_mean(name: str, known: Collection[str]) -> str:
    """A sentence with a blank before it that suggests the known names like this one, or nothing if there is none."""
    near = [each for each in known if name and name.lower() in each.lower()]
    near = near or difflib.get_close_matches(name, known, n=3)
    return f" Did you mean {' or '.join(near[:5])}?" if near else ""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the error says that memory ran out, on the CPU or the GPU."""
    return any(sign in f"{type(error).__name__} {error}" for sign in OUT_OF_MEMORY)


class Sim2StreetError(Exception):
    """Base of every error caused by the input; its text can be shown to the user unchanged."""


class UnreadableError(Sim2StreetError):
    """A record, config or table on disk that cannot be read."""


class PhotoError(Sim2StreetError):
    """A file that cannot be read as a photo."""


class LabelError(Sim2StreetError):
    """A label image or label space that does not fit."""


class CheckpointError(Sim2StreetError):
    """A checkpoint that is missing, damaged, or of an unknown format."""


class ConfigError(Sim2StreetError):
    """A recipe, option or argument with an unknown name or a value out of range."""


class DatasetError(Sim2StreetError):
    """A data set that was not found, or does not have the documented layout."""


class Interrupted(Sim2StreetError):
    """A training run was asked to stop; its state is saved, and it can be resumed from there."""
