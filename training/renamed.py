"""Renamed keys of earlier versions, so that their recipes, runs and saved states can still be opened."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

TODAY: Final = {
    "companions": "extra_networks",
    "judge_target": "discriminator_target",
    "judge_source": "discriminator_source",
    "judge_width": "discriminator_width",
    "judged": "discriminator_input",
    "judged_cell": "discriminator_cell",
    "judgements": "discriminator_steps",
    "repainter": "generator",
}
EARLIER_FOLDER: Final = "companions"
"""Name that `extra_networks` had in the folder of a run."""


def with_current_names(values: Any) -> Any:
    """Return plain values with current key names at every depth; dotted keys are renamed part by part."""
    if isinstance(values, Mapping):
        return {_today(key): with_current_names(item) for key, item in values.items()}
    if isinstance(values, list | tuple):
        return type(values)(with_current_names(item) for item in values)
    return values


def _today(key: Any) -> Any:
    return ".".join(TODAY.get(part, part) for part in key.split(".")) if isinstance(key, str) else key
