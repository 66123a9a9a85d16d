"""Check that what README and docs say is still so: links lead somewhere, figures are those of metrics.json.

python docs/check.py            fails with a list of what is stale
python docs/check.py --write    writes the results table into README.md
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from models.catalog import SHIPPED  # noqa: E402
from models.checkpoint import Checkpoint  # noqa: E402

BEGIN, END = "<!-- results -->", "<!-- end of results -->"
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


def main() -> int:
    """Check, or write."""
    readme = ROOT / "README.md"
    text = readme.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    fresh = f"{before}{BEGIN}\n{results_table()}\n{END}{after}"
    if "--write" in sys.argv:
        readme.write_text(fresh, encoding="utf-8")
        return 0
    findings = ["README.md: the results table is stale; run python docs/check.py --write"] if fresh != text else []
    for document in [readme, *sorted((ROOT / "docs").rglob("*.md"))]:
        findings += [f"{document.relative_to(ROOT)}: {link} leads nowhere" for link in broken_links(document)]
    print("\n".join(findings) or "README and docs agree with the repository.")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
