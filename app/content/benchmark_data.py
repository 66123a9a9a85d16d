"""Published results with their sources, and the results of this project's sweeps, as plain values. Imports no UI library."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from sim2street.app.content.names import data_set_title
from sim2street.models.errors import ConfigError, UnreadableError
from sim2street.models.labels import CITYSCAPES19
from sim2street.models.options import Options
from sim2street.models.storage.catalog import CatalogEntry
from sim2street.models.storage.files import read_json, visible

DATA: Final = Path(__file__).parent / "published.json"
RESULTS: Final = Path(__file__).parent / "measured"
"""Folder with this repository's tables from `sim2street sweep`."""
RESULTS_VARIABLE: Final = "SIM2STREET_RESULTS"
"""Environment variable with further such folders, separated as in PATH."""
SETTINGS: Final = (
    "GTA5 → Cityscapes",
    "SYNTHIA → Cityscapes",
    "Several games → Cityscapes",
    "Labels of Cityscapes",
)
SOURCES: Final = {"GTA5 → Cityscapes": "gta5", "SYNTHIA → Cityscapes": "synthia"}
"""Setting -> name of its source data set in checkpoints."""
GROUPS: Final = {
    "cnn": "CNN",
    "mit": "MiT",
    "mit recalibrated": "MiT, recalibrated",
    "mit two sizes": "MiT, start of two sizes",
    "mit randomised": "MiT, randomised looks too",
    "mit larger": "MiT, randomised looks too, larger and longer, recalibrated",
    "lite0": "EfficientNet-Lite0 from ImageNet weights",
}
"""Display names of the groups in this repository's sweeps; other groups use their own names."""
ROOMS: Final[tuple[str, ...]] = ("Published", "Measured here", "Image by image")
"""The parts of Benchmark, as both pages and their addresses name them."""
PUBLISHED_WORDS: Final = (
    "Mean IoU on the 500 validation images of **Cityscapes**, trained on labels from video games or, as an upper bound, on"
    " its own. Each row gives its source. Rows differ in network, resolution and choice of snapshot, which changes the"
    " results by several points."
)
MEASURED_WORDS: Final = (
    "Small networks on rendered streets and CamVid, reproducible on a laptop. **They show whether a method helps; they"
    " cannot be compared with the published figures**, which use other data, networks and sizes."
)
"""Introductions to the two kinds of figures, as Markdown."""
DIFFERENCES_WORDS: Final = (
    "Points of IoU above (teal) or below (red) source-only on the same network and budget, means over seeds."
)
ROLES: Final = {"source_only": "source-only", "control": "control", "method": "method", "oracle": "oracle"}


class PublishedResult(Options):
    """One row of a published table; figures in percent on Cityscapes val."""

    method: str
    backbone: str
    setting: Literal["GTA5 → Cityscapes", "SYNTHIA → Cityscapes", "Several games → Cityscapes", "Labels of Cityscapes"]
    miou: float | None = Field(default=None, ge=0, le=100)
    miou16: float | None = Field(default=None, ge=0, le=100, description="Over SYNTHIA's 16 classes.")
    miou13: float | None = Field(
        default=None, ge=0, le=100, description="Over 13 of them, without wall, fence and pole."
    )
    std: float | None = Field(default=None, ge=0, description="Over seeds, in points.")
    per_class: dict[str, float] = Field(default_factory=dict)
    source: str
    directness: Literal["primary", "secondary", "none"]
    note: str = ""
    evaluation: str = ""
    licence: str = Field(
        default="", description="Licence of the weights, as far as known; empty if it was not checked."
    )
    weights: Literal["", "public", "gated", "none", "not read"] = Field(
        default="", description="Whether the weights are available."
    )
    enters: Literal["", "import", "none"] = Field(default="", description="How to import them into this project.")
    remark: str = Field(default="", description="What the source says; every row of the comparison has one.")
    place: int | None = Field(default=None, description="Row of the comparison, from the top; None = not in it.")


def published_results() -> list[PublishedResult]:
    """All published rows, in the order of the file."""
    entries = json.loads(DATA.read_text(encoding="utf-8"))["entries"]
    return [PublishedResult.parse(entry, where=f"{DATA.name}, row {row}") for row, entry in enumerate(entries)]


def comparison(results: list[PublishedResult]) -> list[PublishedResult]:
    """The commonly quoted rows, from source-only to MIC."""
    placed = [(result.place, result) for result in results if result.place is not None]
    return [result for _, result in sorted(placed, key=lambda item: item[0])]


def published_table(results: list[PublishedResult], *, synthia: bool) -> list[dict[str, Any]]:
    """One table row per result; None for unknown values.

    Args:
        results: results of one setting.
        synthia: whether figures are over SYNTHIA's 16 and 13 classes.
    """
    rows = []
    for result in results:
        row: dict[str, Any] = {"Method": result.method, "Network": result.backbone}
        row["mIoU"] = result.miou16 if synthia else result.miou
        if synthia:
            row["13 classes"] = result.miou13
        row |= {
            "Read": {"primary": "authors' own", "secondary": "quoted", "none": "not found"}[result.directness],
            "Source": result.source,
            "What it says": result.remark or result.note or result.evaluation or None,
            "Licence": result.licence or None,
            "Weights": result.weights or None,
            "Here": {"import": "sim2street import", "none": "not importable", "": None}[result.enters],
        }
        rows.append(row)
    return rows


def class_row(result: PublishedResult) -> list[float | None]:
    """IoU in percent of the 19 Cityscapes classes in order; None for classes that the source does not report."""
    return [result.per_class.get(name) for name in CITYSCAPES19.names]


def measured_on_cityscapes(entries: list[CatalogEntry], setting: str) -> list[dict[str, Any]]:
    """Checkpoints on this machine that were trained on the setting's source and scored on Cityscapes val.

    Returns:
        One row each: `title`, `network`, `miou` in percent, and `reported`, the authors' mIoU in percent, or None.
    """
    source = SOURCES.get(setting)
    rows = []
    for entry in entries:
        if source is None or entry.checkpoint is None or not entry.checkpoint.config.source.startswith(source):
            continue
        miou = entry.checkpoint.metrics.get("cityscapes/val", {}).get("miou")
        if miou is not None:
            config = entry.checkpoint.config
            reported = config.imported.reported_miou if config.imported else None
            rows.append({"title": config.title, "network": config.network, "miou": 100 * miou, "reported": reported})
    return rows


Share = Annotated[float, Field(ge=0, le=1)]


class Figures(Options):
    """Results of a sweep's row on one test set: fractions in [0,1], means over seeds."""

    seeds: int = Field(ge=0)
    miou_per_seed: tuple[Share, ...]
    miou: Share | None
    deviation: Share | None
    gap_recovered: float | None = None
    iou_per_class: dict[str, Share | None]

    @property
    def percent(self) -> str:
        """Mean and deviation, such as "41.9 ± 0.3", or "–" if no seed was run."""
        spread = "" if self.deviation is None else f" ± {100 * self.deviation:.1f}"
        return "–" if self.miou is None else f"{100 * self.miou:.1f}{spread}"

    @property
    def counted(self) -> str:
        """Number of seeds, such as "3 seeds"."""
        return f"{self.seeds} seed{'' if self.seeds == 1 else 's'}"

    @property
    def share(self) -> str:
        """Gap recovered, such as "62 % of the gap"; empty if undefined."""
        return "" if self.gap_recovered is None else f"{100 * self.gap_recovered:.0f} % of the gap"

    @property
    def cell(self) -> str:
        """Text of a table cell, such as "41.9 ± 0.3 (3 seeds) · 62 % of the gap"."""
        seeds = f" ({self.counted})" if self.seeds else ""
        return f"{self.percent}{seeds}" + (f" · {self.share}" if self.share else "")


class MeasuredTest(Options, extra="ignore"):
    """A labelled set that a sweep scores on."""

    name: str
    label: str


class MeasuredRow(Options, extra="ignore"):
    """A recipe's results over its seeds; rows of one group share network, starting weights and budget."""

    title: str
    method: str = ""
    network: str
    group: str
    role: Literal["source_only", "control", "method", "oracle"]
    figures: dict[str, Figures]


class _Table(Options):
    """The layout of `training/sweeps/table.py`."""

    format: Literal[1]
    name: str
    title: str
    about: str = ""
    tests: tuple[MeasuredTest, ...]
    rows: tuple[MeasuredRow, ...]


@dataclass(frozen=True)
class SweepTable:
    """A table written by `sim2street sweep`, or the reason why the file cannot be shown.

    Attributes:
        title: title of the sweep, or the file's name.
        about: a description of one or two sentences.
        tests: sets on which all rows are scored; the first is the target domain.
        rows: in the sweep's order.
        error: the reason why the table cannot be shown, or None.
    """

    title: str
    about: str = ""
    tests: tuple[MeasuredTest, ...] = ()
    rows: tuple[MeasuredRow, ...] = ()
    error: str | None = None

    @property
    def words(self) -> str:
        """Description of the table and of how to read its figures."""
        roles = {row.role for row in self.rows}
        repeated = any(figures.seeds > 1 for row in self.rows for figures in row.figures.values())
        said = [self.about, f"mIoU in percent{', as mean ± deviation over seeds' if repeated else ''}."]
        if roles & {"source_only", "oracle"}:
            said.append("Dotted lines mark source-only and the oracle, which also learns from the target's labels.")
        if "control" in roles:
            said.append("A control is what a method has to beat: it does everything but adapt.")
        return " ".join(part for part in said if part)

    def groups(self) -> dict[str, list[MeasuredRow]]:
        """Rows that have a result on the first test, by group."""
        found: dict[str, list[MeasuredRow]] = {}
        for row in self.rows:
            if self.figures(row) is not None:
                found.setdefault(row.group, []).append(row)
        return found

    def figures(self, row: MeasuredRow) -> Figures | None:
        """A row's results on the first test; None if no seed was run."""
        figures = row.figures.get(self.tests[0].name) if self.tests else None
        return None if figures is None or figures.miou is None else figures

    def cells(self) -> list[dict[str, str]]:
        """All rows and tests as text; column heads of tests on the same set include the test's name."""
        titles = [data_set_title(test.label) for test in self.tests]
        heads = [
            title if titles.count(title) == 1 else f"{title} ({test.name})"
            for title, test in zip(titles, self.tests, strict=True)
        ]
        return [
            {"Method": row.title, "Role": ROLES[row.role], "Network": row.network}
            | {
                head: row.figures[test.name].cell if test.name in row.figures else "–"
                for head, test in zip(heads, self.tests, strict=True)
            }
            for row in self.rows
        ]


def sweep_tables() -> list[SweepTable]:
    """Tables of this repository and of the folders in `RESULTS_VARIABLE`; a damaged one is listed with the reason."""
    own = [Path(part) for part in os.environ.get(RESULTS_VARIABLE, "").split(os.pathsep) if part]
    return [_read(path) for folder in (RESULTS, *own) for path in visible(folder, "*.json")]


def _read(path: Path) -> SweepTable:
    try:
        table = _Table.parse(read_json(path), where=path.name)
    except (UnreadableError, ConfigError) as error:
        return SweepTable(path.name, error=str(error))
    return SweepTable(table.title, table.about, table.tests, table.rows)
