"""One HTML file that holds a whole comparison: viewer, pictures and figures, readable without server or network."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from sim2street.app.content import escape
from sim2street.app.viewer import source

PAGE: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>
body {{ margin: 0; padding: 20px clamp(12px, 3vw, 40px) 60px; background: light-dark(#fff, #0f1318); color: light-dark(#171c22, #e7ebef);
  font: 15px/1.45 system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", sans-serif; font-variant-numeric: tabular-nums; }}
h1 {{ font-size: 20px; margin: 0 0 2px; }}
p {{ margin: 0 0 16px; opacity: .7; }}
.scroll {{ overflow-x: auto; margin-top: 28px; }}
table {{ border-collapse: collapse; }}
th, td {{ padding: 4px 14px 4px 0; text-align: right; border-bottom: 1px solid light-dark(#d9dee4, #2b333c); white-space: nowrap; }}
th:first-child, td:first-child {{ text-align: left; }}
{style}
</style>
</head>
<body>
<h1>{title}</h1>
<p>{subtitle}</p>
<main id="comparison"></main>
{table}
<script type="module">
{script}
mount(document.getElementById("comparison"), {data});
</script>
</body>
</html>
"""


def html_report(bundle: Mapping[str, Any]) -> str:
    """Write a bundle of `panes.bundle` as one self-contained page."""
    methods = ", ".join(method["title"] for method in bundle["methods"])
    # "<" inside the data would let a photo's name end the script.
    data = json.dumps(bundle).replace("<", "\\u003c")
    return PAGE.format(
        title=escape.html(f"Sim2Street: {bundle['photo']['name']}"),
        subtitle=escape.html(f"{methods} · {bundle['width']}×{bundle['height']} pixels · {bundle['space']}"),
        style=source("compare/*.css"),
        script=source("compare/*.js"),
        table=_table(bundle),
        data=data,
    )


def _table(bundle: Mapping[str, Any]) -> str:
    methods = bundle["methods"]
    if not methods:
        return ""
    figure, row = ("IoU of this image", "iou") if bundle["truth"] else ("share of the pixels", "shares")
    head = "".join(f"<th>{escape.html(method['title'])}</th>" for method in methods)
    lines = []
    for value, entry in enumerate(bundle["classes"]):
        cells = "".join(f"<td>{_percent(method[row][value] if row in method else None)}</td>" for method in methods)
        lines.append(f"<tr><td>{escape.html(entry['name'])}</td>{cells}</tr>")
    if bundle["truth"]:
        cells = "".join(f"<th>{_percent(method.get('meanIou'))}</th>" for method in methods)
        lines.append(f"<tr><th>mean over the classes of this image</th>{cells}</tr>")
    cells = "".join(f"<td>{_decimal(method['meanEntropy'], 3)}</td>" for method in methods)
    lines.append(f"<tr><td>mean entropy</td>{cells}</tr>")
    cells = "".join(f"<td>{_decimal(method['seconds'], 2, ' s')}</td>" for method in methods)
    lines.append(f"<tr><td>time</td>{cells}</tr>")
    return f'<div class="scroll"><table><tr><th>{figure}, %</th>{head}</tr>{"".join(lines)}</table></div>'


def _decimal(value: float | None, digits: int, unit: str = "") -> str:
    return "–" if value is None else f"{value:.{digits}f}{unit}"


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f}"
