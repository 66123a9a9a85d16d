"""The table of a sweep: for each row and test, the mIoU of all seeds, its mean and deviation, and the share of the gap.

    share of the gap = (row - source-only of its group) / (oracle of its group - source-only)

The share is computed from means over seeds. It is undefined (None) if the gap is under 8 points or one end is missing, for
the ends themselves, and on tests outside the target domain. Deviations are sample standard deviations (n - 1).
"""

from __future__ import annotations

import csv
import io
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from sim2street.models.storage.files import UNPAIRED, write_json, write_whole
from sim2street.training.config import load_recipe
from sim2street.training.sweeps.definition import SweepConfig, SweepRow, SweepTest

FORMAT: Final = 1
Standing = Literal["finished", "failed", "missing"]
SMALLEST_GAP: Final = 0.08
"""In mIoU: a share of a smaller gap from source-only to oracle is mostly noise."""


@dataclass(frozen=True)
class RunResult:
    """The result of one row with one seed.

    Attributes:
        row: name of the row.
        seed: seed of the run.
        state: its state; "missing" means that it has not run.
        reason: why it failed, as a sentence.
        weights_sha256: sha256 of the checkpoint's weights.
        commit: revision that trained it.
        steps: number of optimiser steps.
        differs: keys in which the run's recipe differs from the sweep's.
        scores: `Report` as plain values, by test.
    """

    row: str
    seed: int
    state: Standing
    reason: str | None = None
    weights_sha256: str = ""
    commit: str = ""
    steps: int = 0
    differs: tuple[str, ...] = ()
    scores: dict[str, dict[str, Any]] = field(default_factory=dict)


def build_table(sweep: SweepConfig, results: Sequence[RunResult], fingerprints: dict[str, str]) -> dict[str, Any]:
    """Plain values, ready for JSON, of all rows in the sweep's order."""
    rows = [_row(row, sweep, [result for result in results if result.row == row.name]) for row in sweep.rows]
    for test in sweep.tests:
        for row in rows:
            row["figures"][test.name]["gap_recovered"] = gap_recovered(row, rows, test) if test.gap else None
    return {
        "format": FORMAT,
        "name": sweep.name,
        "title": sweep.title,
        "about": sweep.about,
        "tests": [
            {**test.model_dump(mode="json"), "label": test.label, "fingerprint": fingerprints[test.name]}
            for test in sweep.tests
        ],
        "rows": rows,
    }


def _row(row: SweepRow, sweep: SweepConfig, results: list[RunResult]) -> dict[str, Any]:
    recipe = load_recipe(row.recipe, row.set)
    return {
        "name": row.name,
        "title": recipe.title,
        "group": row.group,
        "role": row.role,
        "recipe": row.recipe,
        "set": list(row.set),
        "method": recipe.method,
        "network": recipe.network,
        "runs": [asdict(result) for result in results],
        "figures": {test.name: summarise([r.scores[test.name] for r in results if r.scores]) for test in sweep.tests},
    }


def summarise(reports: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Mean, deviation and per-class means over seeds; None if no seed has a score. A deviation needs two seeds."""
    mious = [report["miou"] for report in reports if report["miou"] is not None]
    classes = list(dict.fromkeys(name for report in reports for name in report["iou_per_class"]))
    per_class: dict[str, float | None] = {}
    for name in classes:
        values = [value for report in reports if (value := report["iou_per_class"].get(name)) is not None]
        per_class[name] = statistics.fmean(values) if values else None
    return {
        "seeds": len(mious),
        "miou_per_seed": mious,
        "miou": statistics.fmean(mious) if mious else None,
        "deviation": statistics.stdev(mious) if len(mious) > 1 else None,
        "iou_per_class": per_class,
    }


def gap_recovered(row: dict[str, Any], rows: Sequence[dict[str, Any]], test: SweepTest) -> float | None:
    """Share of the gap from source-only to oracle of the same group on one test."""
    ends = {
        other["role"]: other["figures"][test.name]["miou"]
        for other in rows
        if other["group"] == row["group"] and other["role"] in ("source_only", "oracle")
    }
    own, low, high = row["figures"][test.name]["miou"], ends.get("source_only"), ends.get("oracle")
    if row["role"] in ends or own is None or low is None or high is None or high - low < SMALLEST_GAP:
        return None
    return (own - low) / (high - low)


def write_table(stem: Path, table: dict[str, Any]) -> None:
    """Write `<stem>.json` and `<stem>.csv`, each atomically."""
    write_json(stem.with_name(f"{stem.name}.json"), table)
    write_whole(stem.with_name(f"{stem.name}.csv"), to_csv(table).encode(errors=UNPAIRED))


def to_csv(table: dict[str, Any]) -> str:
    """One line per row and test; values are fractions, an empty cell means unknown."""
    classes = dict.fromkeys(
        name for row in table["rows"] for figures in row["figures"].values() for name in figures["iou_per_class"]
    )
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    shared = ["row", "title", "group", "role", "method", "network", "recipe", "set"]
    writer.writerow(
        [*shared, "test", "seeds", "miou", "deviation", "gap_recovered", "miou_per_seed", "failures"]
        + [f"iou {name}" for name in classes]
    )
    for row in table["rows"]:
        about = [*(row[key] for key in shared[1:-1]), " ".join(row["set"])]
        failures = "; ".join(f"seed {run['seed']}: {run['reason']}" for run in row["runs"] if run["reason"])
        for test, figures in row["figures"].items():
            per_seed = " ".join(str(value) for value in figures["miou_per_seed"])
            cells = [figures["seeds"], figures["miou"], figures["deviation"], figures["gap_recovered"]]
            per_class = [figures["iou_per_class"].get(name) for name in classes]
            writer.writerow([row["name"], *about, test, *cells, per_seed, failures, *per_class])
    return text.getvalue()


def to_markdown(table: dict[str, Any]) -> str:
    """The table as in README and docs: percent, mean ± deviation (seeds), and the share of the gap if defined."""
    tests = table["tests"]
    heads = ["row", "role", *(part for test in tests for part in _heads(test))]
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    notes: list[str] = []
    for row in table["rows"]:
        cells = [f"{row['title']} (`{row['name']}`)", row["role"].replace("_", "-")]
        for test in tests:
            figures = row["figures"][test["name"]]
            cells.append(percent_cell(figures))
            if test["gap"]:
                share = figures["gap_recovered"]
                cells.append("–" if share is None else f"{100 * share:.0f} %")
        lines.append(f"| {' | '.join(cells)} |")
        for run in row["runs"]:
            if run["reason"]:
                notes.append(f"- `{row['name']}`, seed {run['seed']}, failed: {run['reason']}")
            if run["differs"]:
                notes.append(
                    f"- `{row['name']}`, seed {run['seed']}: {', '.join(run['differs'])} differ from the sweep."
                )
    return "\n".join([*lines, *(["", *notes] if notes else [])]) + "\n"


def _heads(test: dict[str, Any]) -> list[str]:
    return [test["name"], "gap recovered"] if test["gap"] else [test["name"]]


def percent_cell(figures: dict[str, Any]) -> str:
    """Mean ± deviation (seeds) in percent, such as "30.4 ± 0.9 (2)"."""
    if figures["miou"] is None:
        return "–"
    spread = "" if figures["deviation"] is None else f" ± {100 * figures['deviation']:.1f}"
    return f"{100 * figures['miou']:.1f}{spread} ({figures['seeds']})"
