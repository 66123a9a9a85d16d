"""Progress: what a run has logged, read while it writes. Times are those it measured; no clock is read here."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sim2street.models.errors import UnreadableError
from sim2street.models.storage.files import CONFIG, PROGRESS, read_json, visible
from sim2street.training.run.folder import SAMPLES, STATE

if TYPE_CHECKING:
    from sim2street.training.config import RunConfig


@dataclass(frozen=True)
class Progress:
    """How far a run has come. Steps are counted over all stages.

    Attributes:
        step: optimiser steps logged, 0 before the first line.
        steps: total number of steps.
        seconds_per_step: for the latest logged steps, None before the first.
        losses: per term, its steps and values.
        figures: per evaluation set, its steps and reports (`miou`, `iou_per_class`, ...).
        gpu_memory_mb: peak of allocated GPU memory, None without a GPU.
    """

    step: int
    steps: int
    seconds_per_step: float | None = None
    losses: dict[str, tuple[list[int], list[float]]] = field(default_factory=dict)
    figures: dict[str, tuple[list[int], list[dict[str, Any]]]] = field(default_factory=dict)
    gpu_memory_mb: float | None = None

    @property
    def seconds_left(self) -> float | None:
        """Seconds left at the latest pace, without the remaining evaluations; None before the pace is known."""
        return None if self.seconds_per_step is None else (self.steps - self.step) * self.seconds_per_step

    @property
    def share(self) -> float:
        """Completed share, in [0,1]."""
        return min(1.0, self.step / self.steps)


def stages_of(config: RunConfig) -> list[tuple[str, int]]:
    """Folder below the run and number of steps of each stage; a run without stages has one, with the folder ""."""
    if not config.stages:
        return [("", config.steps)]
    return [(name, stage.steps) for name, stage in config.resolve_stages().items()]


def has_begun(run: Path) -> bool:
    """Whether `train --resume` can resume this folder: there is a state, or a recipe with stages has started."""
    if (run / STATE).exists():
        return True
    try:
        return bool(read_json(run / CONFIG)["stages"])
    except (UnreadableError, KeyError, TypeError):
        return False


def read_progress(config: RunConfig, run: Path) -> Progress:
    """Read what has been logged; a line that is still being written, or was truncated by a kill, is skipped."""
    before, step, pace, memory = 0, 0, None, None
    losses: dict[str, tuple[list[int], list[float]]] = {}
    figures: dict[str, tuple[list[int], list[dict[str, Any]]]] = {}
    for name, steps in stages_of(config):
        for line in _lines(run / name / PROGRESS):
            at = before + line["step"]
            step = max(step, at)
            for term, value in _entries(line, "losses").items():
                if isinstance(value, int | float) and math.isfinite(value):
                    series = losses.setdefault(term, ([], []))
                    series[0].append(at)
                    series[1].append(value)
            if isinstance(line.get("seconds"), int | float):
                pace = float(line["seconds"])
            if isinstance(line.get("gpu_memory_mb"), int | float):
                memory = max(memory or 0.0, float(line["gpu_memory_mb"]))
            for label, report in _entries(line, "figures").items():
                if not _is_report(report):
                    continue
                points = figures.setdefault(label, ([], []))
                points[0].append(at)
                points[1].append(report)
        before += steps
    return Progress(step, before, pace, losses, figures, memory)


def sample_pictures(config: RunConfig, run: Path) -> dict[str, list[tuple[int, Path]]]:
    """Sample images by what they show, each with its step, earliest first."""
    found: dict[str, list[tuple[int, Path]]] = {}
    before = 0
    for name, steps in stages_of(config):
        folder = run / name / SAMPLES
        for path in visible(folder, "*.jpg"):
            shown, _, step = path.stem.rpartition("_")
            if step.isdecimal():
                found.setdefault(shown, []).append((before + int(step), path))
        before += steps
    return found


def _entries(line: dict[str, Any], key: str) -> dict[str, Any]:
    found = line.get(key)
    return found if isinstance(found, dict) else {}


def _is_report(report: object) -> bool:
    """Whether the pages can draw a report: all metrics are numbers or None."""
    if not isinstance(report, dict):
        return False
    classes = report.get("iou_per_class", {})
    values = [report.get("miou"), *(classes.values() if isinstance(classes, dict) else [classes])]
    return all(value is None or (isinstance(value, int | float) and math.isfinite(value)) for value in values)


def _lines(path: Path) -> list[dict[str, Any]]:
    found = []
    if path.exists():
        for text in path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                line = json.loads(text)
            except (ValueError, RecursionError):
                continue
            if isinstance(line, dict) and isinstance(line.get("step"), int):
                found.append(line)
    return found
