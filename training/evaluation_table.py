"""Write scores on one labelled set into a table in the sweeps' format, which the Benchmark page shows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sim2street.models.errors import ConfigError, UnreadableError
from sim2street.models.storage.files import read_json, write_json
from sim2street.training.datasets.base import SegmentationDataset
from sim2street.training.evaluate import Report
from sim2street.training.sweeps.table import FORMAT, summarise

TEST = "test"
"""Name of the table's only test set."""


def add_to_table(
    path: Path,
    dataset: SegmentationDataset,
    label: str,
    rows: Mapping[str, tuple[Report, str]],
    titles: Mapping[str, str],
) -> None:
    """Add rows to a table of one labelled set; rows of the same name are replaced, all others are kept.

    Args:
        path: the JSON file; created if missing.
        dataset: the set on which all rows were scored.
        label: name of the set, such as "cityscapes/val".
        rows: name of the row -> the scores, and a network's name or "predictions".
        titles: name of the row -> what the page shows for it, with the name where several rows share a title.

    Raises:
        ConfigError: the file is not such a table, or its scores are on another set.
    """
    table = _existing(path, dataset) or {
        "format": FORMAT,
        "name": path.stem,
        "title": f"Scored on {label}",
        "about": f"{len(dataset)} labelled photos, {dataset.labels.count} classes ({dataset.labels.name}).",
        "tests": [{"name": TEST, "label": label, "fingerprint": dataset.fingerprint()}],
        "rows": [],
    }
    kept = [row for row in table["rows"] if row["name"] not in rows]
    said = Counter([*(row["title"] for row in kept), *(titles[name] for name in rows)])
    shown = {name: titles[name] if said[titles[name]] == 1 else f"{titles[name]} ({name})" for name in rows}
    table["rows"] = [*kept, *(_row(name, shown[name], report, maker) for name, (report, maker) in rows.items())]
    write_json(path, table)


def _existing(path: Path, dataset: SegmentationDataset) -> dict[str, Any] | None:
    if not path.exists():
        return None
    try:
        table = read_json(path)
        (test,) = table["tests"]
        same = test["fingerprint"] == dataset.fingerprint()
        rows = [row["name"] for row in table["rows"]]
    except (UnreadableError, KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"{path} was not written by `sim2street evaluate`; name another file.") from error
    if not same:
        raise ConfigError(
            f"{path} contains {len(rows)} rows on {test['label']} with other files; name another file for"
            f" {dataset.describe()}."
        )
    return table


def _row(name: str, title: str, report: Report, maker: str) -> dict[str, Any]:
    return {
        "name": name,
        "title": title,
        "group": report.label_space,
        "role": "method",
        "network": maker,
        "runs": [{"seed": 0, "state": "finished", "scores": {TEST: report.to_json()}}],
        "figures": {TEST: {**summarise([report.to_json()]), "gap_recovered": None}},
    }
