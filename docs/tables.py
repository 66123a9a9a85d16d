"""Check that README and docs are up to date: links exist, and figures are those that were measured.

python docs/tables.py            fails with a list of what is stale
python docs/tables.py --write    rewrites the tables

A table is enclosed by `<!-- NAME -->` and `<!-- end of NAME -->`: `shipped photos` comes from the metrics.json of the
included checkpoints, `sweep fog` from app/content/measured/fog.json without the rows that have not been run yet, and `overview` from
the main rows of all sweeps with one target, with a row's figures side by side.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from sim2street.app.content.benchmark_data import GROUPS, RESULTS, ROLES  # noqa: E402
from sim2street.app.content.figures import encoder_of  # noqa: E402
from sim2street.models.networks import NETWORKS  # noqa: E402
from sim2street.models.storage.catalog import SHIPPED  # noqa: E402
from sim2street.models.storage.checkpoint import Checkpoint  # noqa: E402
from sim2street.training.sweeps.table import percent_cell, to_markdown  # noqa: E402

TABLE = re.compile(r"<!-- (shipped \w+|overview|sweep \w+) -->\n.*?<!-- end of \1 -->", re.DOTALL)
COLUMNS = {
    "cityscapes/val": "Cityscapes (real)",
    "camvid/val": "CamVid (real)",
    "street_scenes/streets": "streets",
    "street_scenes/game": "game",
    "street_scenes/fog": "fog",
    "street_scenes/night": "night",
}
SHIPPED_TABLES = {
    "photos": ("cityscapes/val", "camvid/val", "street_scenes/streets"),
    "fog": ("street_scenes/fog", "street_scenes/game", "street_scenes/night", "camvid/val"),
}
"""Test sets of the tables of included checkpoints. The first decides the order; a checkpoint is in the first table that fits."""


def shipped_table(name: str, above: str) -> str:
    """Included checkpoints, best first, from their metrics.json.

    Args:
        name: of the table.
        above: the way from the document's folder to the repository, such as "../".
    """
    tests = SHIPPED_TABLES[name]
    rows = []
    for path in sorted(SHIPPED.iterdir()):
        if not (path / "config.json").exists():
            continue
        checkpoint = Checkpoint.open(path)
        if name != next(table for table, (first, *_) in SHIPPED_TABLES.items() if first in checkpoint.metrics):
            continue
        figures = [100 * checkpoint.metrics[test]["miou"] if test in checkpoint.metrics else None for test in tests]
        cells = ["–" if figure is None else f"{figure:.1f}" for figure in figures]
        recipe = f"[`{path.name}`]({above}training/recipes/{checkpoint.config.recipe}.toml)"
        network = f"{NETWORKS[checkpoint.config.network].title}, {encoder_of(checkpoint.config)}"
        rows.append((figures[0], f"| {recipe} | {network} | {' | '.join(cells)} | {checkpoint.config.licence} |"))
    heads = " | ".join(COLUMNS[test] for test in tests)
    lines = [line for _, line in sorted(rows, key=lambda row: -row[0])]
    return "\n".join([f"| checkpoint | network | {heads} | licence |", "|---" * (len(tests) + 3) + "|", *lines])


TARGETS = {"fog": "fog", "night": "night", "camvid": "CamVid val"}
"""Sweeps of the overview, and the names of their first tests there."""
DETAILS = re.compile(r"_recalibrated_|oracle_augmented")
"""Rows left out of the overview, because a sentence suffices for what they show."""


def overview_table() -> str:
    """Main rows of all sweeps, whose names differ only by the target, with mIoU and share of the gap on each target."""
    found: dict[tuple[str, str], dict[str, tuple[dict[str, Any], dict[str, Any]]]] = {}
    order: list[tuple[str, str]] = []
    targets = [sweep for sweep in TARGETS if (RESULTS / f"{sweep}.json").exists()]
    for sweep in targets:
        table = json.loads((RESULTS / f"{sweep}.json").read_text(encoding="utf-8"))
        for row in table["rows"]:
            if DETAILS.search(row["name"]):
                continue
            key = (row["group"], row["name"].removeprefix(f"{sweep}_"))
            order += [] if key in order else [key]
            found.setdefault(key, {})[sweep] = (row, row["figures"][table["tests"][0]["name"]])
    heads = " | ".join(TARGETS[sweep] for sweep in targets)
    lines = [f"| | role | {heads} |", "|---" * (len(targets) + 2) + "|"]
    for group, shown in GROUPS.items():
        named = False
        for key in order:
            cells = [_share(found[key][sweep][1]) if sweep in found[key] else "–" for sweep in targets]
            if key[0] != group or set(cells) == {"–"}:
                continue
            if not named:
                lines.append(f"| **{shown}** |" + " |" * (len(targets) + 1))
                named = True
            row = next(iter(found[key].values()))[0]
            title = re.sub(rf", ({'|'.join(TARGETS)})\b", "", row["title"], flags=re.IGNORECASE)
            title = re.sub(r" \((CNN|MiT|randomised looks too)\)", "", title)
            role = ROLES[row["role"]]
            lines.append(f"| {title} | {role} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _share(figures: dict[str, Any]) -> str:
    """Such as "30.4 ± 0.9 (2), 50 %"."""
    share = figures["gap_recovered"]
    return percent_cell(figures) + ("" if share is None else f", {100 * share:.0f} %")


def broken_links(document: Path) -> list[str]:
    """Broken relative links of a Markdown file."""
    text = document.read_text(encoding="utf-8")
    targets = re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", text)
    local = [target for target in targets if "://" not in target and not target.startswith("mailto:")]
    return [target for target in local if not (document.parent / target).exists()]


def sweep_table(name: str) -> str:
    """The table of a sweep from app/content/measured, as far as it has been run."""
    table = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    run = [row for row in table["rows"] if any(figures["seeds"] for figures in row["figures"].values())]
    return to_markdown({**table, "rows": run}).rstrip()


def with_tables(text: str, above: str) -> str:
    """A document with up-to-date tables; `above` is the way from its folder to the repository."""

    def fresh(match: re.Match[str]) -> str:
        name = match[1]
        kind, _, which = name.partition(" ")
        if kind == "shipped":
            table = shipped_table(which, above)
        else:
            table = sweep_table(which) if kind == "sweep" else overview_table()
        return f"<!-- {name} -->\n{table}\n<!-- end of {name} -->"

    return TABLE.sub(fresh, text)


def main() -> int:
    """Check, or write."""
    findings: list[str] = []
    for document in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        text = document.read_text(encoding="utf-8")
        fresh = with_tables(text, "../" * (len(document.relative_to(ROOT).parts) - 1))
        if fresh != text and "--write" in sys.argv:
            document.write_text(fresh, encoding="utf-8")
        elif fresh != text:
            findings.append(f"{document.relative_to(ROOT)}: a table is stale; run python docs/tables.py --write")
        findings += [f"{document.relative_to(ROOT)}: the link {link} is broken" for link in broken_links(document)]
    print("\n".join(findings) or "README and docs agree with the repository.")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
