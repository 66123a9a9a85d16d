"""The numbers beside the pictures, as plain rows for tables and charts. No UI library in here."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from app.panels import Reading, Score
from models.checkpoint import Checkpoint, CheckpointConfig


@dataclass(frozen=True, eq=False)
class Entrant:
    """One method on the page with everything known of it.

    Attributes:
        checkpoint: what it was trained on and how it scored on data sets.
        reading: what it says of the photo.
        score: against this photo's ground truth, or None without one.
    """

    checkpoint: Checkpoint
    reading: Reading
    score: Score | None


def trained_on(config: CheckpointConfig) -> str:
    """Where labels and style came from, such as "game → fog"."""
    source = config.source.removeprefix("street_scenes/")
    return source if config.target is None else f"{source} → {config.target.removeprefix('street_scenes/')}"


def unique_titles(checkpoints: Sequence[Checkpoint]) -> dict[str, str]:
    """Title of each checkpoint by its name; where two share one, what they were trained on tells them apart."""
    titles = {}
    for checkpoint in checkpoints:
        title = checkpoint.config.title
        twins = [other for other in checkpoints if other.config.title == title]
        if len(twins) > 1:
            notes = [trained_on(other.config) for other in twins]
            note = trained_on(checkpoint.config)
            title = f"{title}, {note if notes.count(note) == 1 else checkpoint.name}"
        titles[checkpoint.name] = title
    return titles


def baseline_of(entrant: Entrant, entrants: Sequence[Entrant]) -> Entrant | None:
    """The source-only entrant of the same source, else the first source-only one; None for itself or if none is shown."""
    candidates = [other for other in entrants if other.checkpoint.config.method == "source_only"]
    if entrant in candidates or not candidates:
        return None
    same = [other for other in candidates if other.checkpoint.config.source == entrant.checkpoint.config.source]
    return (same or candidates)[0]


def summary(entrants: Sequence[Entrant]) -> list[dict[str, Any]]:
    """One row per method; shares in percent, differences in points, None for what is not known."""
    rows = []
    for entrant in entrants:
        pane = entrant.reading.pane
        row: dict[str, Any] = {"Method": entrant.reading.title, "Trained on": entrant.reading.note}
        if entrant.score is not None:
            base = baseline_of(entrant, entrants)
            row["Mean IoU, this image"] = percent(entrant.score.mean_iou)
            row["Difference"] = (
                None if base is None or base.score is None else difference(entrant.score.mean_iou, base.score.mean_iou)
            )
            row["Pixels right"] = percent(entrant.score.accuracy)
        row["Mean entropy"] = pane.mean_entropy
        row["Seconds"] = pane.seconds
        for name, metrics in entrant.checkpoint.metrics.items():
            if isinstance(metrics, dict) and isinstance(metrics.get("miou"), int | float):
                row[f"mIoU, {name}"] = percent(metrics["miou"])
        rows.append(row)
    columns = list(dict.fromkeys(column for row in rows for column in row))
    return [{column: row.get(column) for column in columns} for row in rows]


def per_class(entrants: Sequence[Entrant]) -> list[dict[str, Any]]:
    """One row per class: IoU and difference to source-only with ground truth, else the share of the pixels; percent."""
    if not entrants:
        return []
    rows = []
    for value, name in enumerate(entrants[0].reading.pane.space.names):
        row: dict[str, Any] = {"Class": name}
        for entrant in entrants:
            title = entrant.reading.title
            if entrant.score is None:
                share = entrant.reading.pane.class_shares[value]
                row[title] = percent(share) if share else None
                continue
            row[title] = percent(entrant.score.iou[value])
            base = baseline_of(entrant, entrants)
            if base is not None and base.score is not None:
                row[f"{title} Δ"] = difference(entrant.score.iou[value], base.score.iou[value])
        rows.append(row)
    return rows


def percent(share: float) -> float | None:
    """Share in [0,1] -> percent; None for NaN."""
    return None if math.isnan(share) else 100 * float(share)


def difference(share: float, base: float) -> float | None:
    """Points in percent between two shares; None where either is NaN."""
    return None if math.isnan(share) or math.isnan(base) else 100 * float(share - base)
