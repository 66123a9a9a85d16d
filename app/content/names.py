"""Display names of data sets that configs and reports name by key. Imports no UI library."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sim2street.training.datasets import DATASETS


def data_set_title(name: str) -> str:
    """Title of a data set: "CamVid val" for camvid/val, "fog" for street_scenes/fog; unknown names stay unchanged."""
    dataset, _, part = name.partition("/")
    kind = DATASETS.get(dataset)
    if kind is None:
        return name
    return part if kind.generated and part else f"{kind.title} {part}".strip()


def source_title(names: str) -> str:
    """Title of several data sets joined by " + ", each once, such as "game + randomised"."""
    return " + ".join(dict.fromkeys(data_set_title(name) for name in names.split(" + ")))


def reports_by_title(metrics: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """A checkpoint's reports by the titles of their data sets.

    A subset such as "street_scenes/game (8 scenes)" is left out if the whole set is present too.
    """
    parts = {name for name in metrics if " (" in name and name.partition(" (")[0] in metrics}
    return {
        data_set_title(name): report
        for name, report in metrics.items()
        if isinstance(report, dict) and name not in parts
    }
