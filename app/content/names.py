"""Display names of data sets in configs and figures: "street_scenes/fog" is fog. Imports no UI library."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sim2street.training.datasets import DATASETS


def data_set_title(name: str) -> str:
    """Such as "CamVid val" for camvid/val and "fog" for street_scenes/fog; an unknown name stays unchanged."""
    dataset, _, part = name.partition("/")
    kind = DATASETS.get(dataset)
    if kind is None:
        return name
    return part if kind.generated and part else f"{kind.title} {part}".strip()


def source_title(names: str) -> str:
    """The same for several data sets joined as in configs, each once: "game + randomised"."""
    return " + ".join(dict.fromkeys(data_set_title(name) for name in names.split(" + ")))


def reports_by_title(metrics: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """A checkpoint's reports by the titles of their data sets.

    A subset, such as "street_scenes/game (8 scenes)", is left out if the whole set is present too.
    """
    parts = {name for name in metrics if " (" in name and name.partition(" (")[0] in metrics}
    return {
        data_set_title(name): report
        for name, report in metrics.items()
        if isinstance(report, dict) and name not in parts
    }
