"""Trackers: a run's curves followed elsewhere too, in Trackio or Weights & Biases, through accelerate's own tracking.

SIM2STREET_TRACKERS=trackio,wandb chooses them; it is no key of a recipe, since it changes nothing that is learnt. What is
sent are losses, rates, figures and a few facts of the recipe: no folder, no file name, no picture. A tracker that fails is
left alone for the rest of the run, and the run goes on: `progress.jsonl` and TensorBoard have it all.
"""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Protocol

from sim2street.models.errors import ConfigError
from sim2street.training.config import RunConfig

LOGGER: Final = logging.getLogger(__name__)
VARIABLE: Final = "SIM2STREET_TRACKERS"
KNOWN: Final = ("trackio", "wandb")
PROJECT: Final = "sim2street"


def chosen_trackers() -> list[str]:
    """Names that the environment chooses.

    Raises:
        ConfigError: one is unknown or not installed.
    """
    names = [name.strip().lower() for name in os.environ.get(VARIABLE, "").split(",") if name.strip()]
    for name in names:
        if name not in KNOWN:
            raise ConfigError(f"{VARIABLE} names {name[:40]!r}; expected {' or '.join(KNOWN)}, separated by commas.")
        if importlib.util.find_spec(name) is None:
            raise ConfigError(f"{VARIABLE} names {name}, which is not installed: pip install {name}.")
    return list(dict.fromkeys(names))


class Tracking(Protocol):
    """What is used of accelerate's `Accelerator`, which the loop alone imports."""

    log_with: list[Any]
    trackers: list[Any]

    def init_trackers(self, project_name: str, config: dict | None, init_kwargs: dict | None) -> None:
        """Start all that the accelerator was made with."""
        ...

    def log(self, values: dict, step: int | None) -> None:
        """Tell them points of curves."""
        ...


class Followers:
    """The trackers of one run, in its first process.

    Args:
        accelerator: made with `log_with=chosen_trackers()`.
        config: of the run.
        out: its folder, whose name is the run's.
    """

    def __init__(self, accelerator: Tracking, config: RunConfig, out: Path) -> None:
        self._accelerator = accelerator
        self._well = bool(accelerator.log_with)
        if self._well:
            identity = hashlib.sha256(str(out.resolve()).encode()).hexdigest()[:16]
            ways = {
                "trackio": {"name": out.name, "resume": "allow"},
                "wandb": {"name": out.name, "id": identity, "resume": "allow"},
            }
            self._try(lambda: accelerator.init_trackers(PROJECT, config=facts(config), init_kwargs=ways))

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Add points to curves."""
        if self._well and values:
            self._try(lambda: self._accelerator.log(dict(values), step=step))

    def close(self) -> None:
        """Tell the trackers that the run is over."""
        # `Accelerator.end_training` would end the processes' group as well, which the next stage needs.
        if self._well:
            self._try(lambda: [tracker.finish() for tracker in self._accelerator.trackers])

    def _try(self, work: Any) -> None:
        try:
            work()
        except Exception as error:  # other people's code, and often a network
            self._well = False
            LOGGER.warning(
                "The trackers are left alone from here on (%s: %s); the run goes on.", type(error).__name__, error
            )


def facts(config: RunConfig) -> dict[str, Any]:
    """What trackers are told of a recipe."""
    told: dict[str, Any] = {
        key: getattr(config, key) for key in ("title", "name", "method", "network", "steps", "batch")
    }
    told |= {"seed": config.seed, "precision": config.precision, "accumulate": config.accumulate}
    told["source"] = " + ".join(source.label for source in config.sources)
    told["target"] = "none" if config.target is None else config.target.label
    return told
