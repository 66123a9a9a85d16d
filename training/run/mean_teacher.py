"""The mean teacher of a run, from its saved state: published checkpoints hold the student alone."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import torch

from sim2street.models.errors import CheckpointError
from sim2street.models.networks import build
from sim2street.models.segmenter import Segmenter
from sim2street.models.storage.files import CONFIG
from sim2street.training.config import RunConfig
from sim2street.training.run.folder import STATE
from sim2street.training.selection import predicted_space

PREFIX: Final = "teacher.segmenter."
"""How the teacher's tensors begin in a method's state, see `parts.teacher.Teacher`."""


def load_teacher(run: Path) -> tuple[Segmenter, RunConfig, Path]:
    """The teacher as it was when the run saved its state last, finished or not.

    Returns:
        The network, the settings it was trained with (of the last stage that has begun), and the file it is from.

    Raises:
        CheckpointError: the folder is no run, its state is damaged, or its method has no teacher.
        ConfigError: its settings cannot be read.
    """
    config, state = _latest(run)
    try:
        tensors = torch.load(state, map_location="cpu", weights_only=True, mmap=True)["method"]
    except Exception as error:  # torch raises anything for a damaged file
        raise CheckpointError(
            f"{state} is damaged ({type(error).__name__}); the run's teacher cannot be read."
        ) from error
    found = {key.removeprefix(PREFIX): value for key, value in tensors.items() if key.startswith(PREFIX)}
    if not found:
        raise CheckpointError(
            f"The method {config.method} of {run} has no mean teacher. Leave --teacher out to use its network."
        )
    segmenter = build(config.network, predicted_space(config), config.network_options)
    try:
        segmenter.load_state_dict(found, strict=True)
    except RuntimeError as error:
        raise CheckpointError(f"The teacher in {state} has another network than {run / CONFIG} says.") from error
    return segmenter, config, state


def _latest(run: Path) -> tuple[RunConfig, Path]:
    """Settings and state of a run; of one with stages, those of the last that has begun."""
    if not (run / CONFIG).is_file():
        raise CheckpointError(
            f"{run} is not the folder of a run: it has no {CONFIG}. --teacher needs one, such as runs/mine; a checkpoint has no"
            " teacher any more."
        )
    config = RunConfig.read(run / CONFIG)
    stages = config.resolve_stages() if config.stages else {"": config}
    for name, stage in reversed(stages.items()):
        if (run / name / STATE).is_file():
            return stage, run / name / STATE
    raise CheckpointError(f"{run} has no {STATE}: the run has not saved a state yet, or it was removed.")
