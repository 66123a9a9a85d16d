"""A live demonstration per method, computed by the project's own code on small examples. Imports no UI library.

A page shows the controls of `DEMONSTRATIONS[method]` and what `demonstrate` returns for their values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from sim2street.app.content.byte_cache import ByteCache
from sim2street.app.content.demonstrations import advent, cycada, daformer, dann, hrda, mic
from sim2street.app.content.demonstrations.parts import Demonstration, Request, Shown, Value
from sim2street.app.content.engine import Engine
from sim2street.models.storage.checkpoint import Checkpoint

DEMONSTRATIONS: Final[dict[str, Demonstration]] = {
    "dann": dann.DEMONSTRATION,
    "cycada": cycada.DEMONSTRATION,
    "advent": advent.DEMONSTRATION,
    "daformer": daformer.DEMONSTRATION,
    "hrda": hrda.DEMONSTRATION,
    "mic": mic.DEMONSTRATION,
}
"""Demonstrations by the name of their method."""

_KEPT: Final[ByteCache[Shown]] = ByteCache(64 * 2**20)
_CHART_BYTES: Final = 100_000


def demonstrate(method: str, values: Mapping[str, Value], checkpoints: Sequence[Checkpoint], engine: Engine) -> Shown:
    """Compute a method's demonstration, or take it from the cache that all visitors share.

    Args:
        method: key of `DEMONSTRATIONS`.
        values: of all its controls.
        checkpoints: all that are available.
        engine: gives the device by turns.

    Raises:
        Sim2StreetError: something that the demonstration needs is missing.
    """
    weights = frozenset((checkpoint.name, checkpoint.config.weights_sha256) for checkpoint in checkpoints)
    key = (method, tuple(sorted(values.items())), weights)
    found = _KEPT.get(key)
    if found is None:
        found = DEMONSTRATIONS[method].show(Request(values, checkpoints, engine))
        _KEPT.put(key, found, found.size + _CHART_BYTES)
    return found
