"""What people call the data sets that configs and figures name: "street_scenes/fog" is fog. No UI library in here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sim2street.training.datasets import DATASETS


def data_set_title(name: str) -> str:
    """Such as "CamVid val" for camvid/val and "fog" for street_scenes/fog; a name of somebody's own stays as it is."""
    dataset, _, part = name.partition("/")
    kind = DATASETS.get(dataset)
    if kind is None:
        return name
    return part if kind.generated and part else f"{kind.title} {part}".strip()


def source_title(names: str) -> str:
    """The same of several data sets, as configs join them: "game + randomised"."""
    return " + ".join(data_set_title(name) for name in names.split(" + "))


def reports_by_title(metrics: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """A checkpoint's reports by the titles of their data sets.

    Some scenes of a set, such as "street_scenes/game (8 scenes)", are left out where the whole set stands beside them.
    """
    parts = {name for name in metrics if " (" in name and name.partition(" (")[0] in metrics}
    return {
        data_set_title(name): report
        for name, report in metrics.items()
        if isinstance(report, dict) and name not in parts
    }
