"""Check that what README and docs say is still so: links lead somewhere, figures are those that were measured.

python docs/check.py            fails with a list of what is stale
python docs/check.py --write    writes the tables anew

A table stands between `<!-- NAME -->` and `<!-- end of NAME -->`: `results` is made from the metrics.json of the shipped
checkpoints, `sweep fog` from docs/results/fog.json, without the rows that nobody has run yet.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from models.catalog import SHIPPED  # noqa: E402
from models.checkpoint import Checkpoint  # noqa: E402
from training.sweep_table import to_markdown  # noqa: E402

TABLE = re.compile(r"<!-- (results|sweep \w+) -->\n.*?<!-- end of \1 -->", re.DOTALL)
COLUMNS = {
    "camvid/val": "CamVid val (real)",
    "street_scenes/game": "game",
    "street_scenes/randomised": "randomised",
    "street_scenes/fog": "fog",
    "street_scenes/night": "night",
}


def results_table() -> str:
    """The table of shipped checkpoints, from their metrics.json."""
    lines = [f"| checkpoint | {' | '.join(COLUMNS.values())} | recipe |", "|---" * (len(COLUMNS) + 2) + "|"]
    for path in sorted(SHIPPED.iterdir()):
        if not (path / "config.json").exists():
            continue
        checkpoint = Checkpoint.open(path)
        cells = [
            f"{100 * checkpoint.metrics[name]['miou']:.1f}" if name in checkpoint.metrics else "–" for name in COLUMNS
        ]
        recipe = checkpoint.config.recipe
        lines.append(
            f"| `{path.name}` | {' | '.join(cells)} | [{recipe}](training/recipes/{recipe}.toml), seed"
            f" {checkpoint.config.seed} |"
        )
    return "\n".join(lines)


def broken_links(document: Path) -> list[str]:
    """Relative links of a Markdown file that lead nowhere."""
    text = document.read_text(encoding="utf-8")
    targets = re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", text)
    local = [target for target in targets if "://" not in target and not target.startswith("mailto:")]
    return [target for target in local if not (document.parent / target).exists()]


def sweep_table(name: str) -> str:
    """The table of a sweep, from docs/results, as far as it was run."""
    table = json.loads((ROOT / "docs" / "results" / f"{name}.json").read_text(encoding="utf-8"))
    run = [row for row in table["rows"] if any(figures["seeds"] for figures in row["figures"].values())]
    return to_markdown({**table, "rows": run}).rstrip()


def with_tables(text: str) -> str:
    """A document with its tables as they are measured now."""

    def fresh(match: re.Match[str]) -> str:
        name = match[1]
        table = results_table() if name == "results" else sweep_table(name.removeprefix("sweep "))
        return f"<!-- {name} -->\n{table}\n<!-- end of {name} -->"

    return TABLE.sub(fresh, text)


def main() -> int:
    """Check, or write."""
    findings: list[str] = []
    for document in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        text = document.read_text(encoding="utf-8")
        fresh = with_tables(text)
        if fresh != text and "--write" in sys.argv:
            document.write_text(fresh, encoding="utf-8")
        elif fresh != text:
            findings.append(f"{document.relative_to(ROOT)}: a table is stale; run python docs/check.py --write")
        findings += [f"{document.relative_to(ROOT)}: {link} leads nowhere" for link in broken_links(document)]
    print("\n".join(findings) or "README and docs agree with the repository.")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
