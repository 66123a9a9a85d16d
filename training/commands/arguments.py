"""What several commands take: numbers, sizes, checkpoints, devices."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from models.errors import ConfigError

if TYPE_CHECKING:
    from models.checkpoint import Checkpoint


def parse_count(text: str) -> int:
    """Read a whole number that is not negative."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"expected a whole number of 0 or more, found {text!r}")
    return int(text)


def parse_positive(text: str) -> int:
    """Read a whole number of at least 1."""
    if parse_count(text) == 0:
        raise argparse.ArgumentTypeError(f"expected a whole number of 1 or more, found {text!r}")
    return int(text)


def parse_size(text: str) -> tuple[int, int]:
    """Read `512x256` as (512, 256)."""
    width, cross, height = text.lower().partition("x")
    if not (cross and width.isdecimal() and height.isdecimal()):
        raise argparse.ArgumentTypeError(f"expected WIDTHxHEIGHT such as 512x256, found {text!r}")
    return int(width), int(height)


def chosen_checkpoints(names: list[str] | None) -> list[tuple[str, Checkpoint]]:
    """Checkpoints by the names given, or the whole catalog; broken ones are said and left out."""
    from models.catalog import catalog, find_checkpoint

    if names:
        return [(name, find_checkpoint(name)) for name in names]
    found: list[tuple[str, Checkpoint]] = []
    for entry in catalog():
        if entry.checkpoint is None:
            print(f"left out {entry.name}: {entry.error}", file=sys.stderr)
        else:
            found.append((entry.name, entry.checkpoint))
    if not found:
        raise ConfigError("There are no checkpoints to use. Train one (sim2street train RECIPE) and name its folder.")
    return found


def check_device(name: str | None) -> str | None:
    """Return the name of a device that works here, or raise `ConfigError`."""
    import torch

    if name is None:
        return None
    try:
        torch.zeros(1, device=name).item()  # read back: the meta device only pretends
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(f"The device {name!r} cannot be used here: {str(error).splitlines()[0]}.") from error
    return name
