"""Published results as a list in HTML: figure, network, what the source really says. Sentences wrap, phones too."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Final

from app.published import PublishedResult

READ: Final = {"primary": "Read with its authors", "secondary": "Read in a quotation", "none": "Not found"}

# Colours are shares of the text's own, so that they fit both themes.
STYLE: Final = """
<style>
.published { border-bottom: 1px solid rgba(128,128,128,.25); }
.published .row { display: grid; grid-template-columns: minmax(12rem, 1fr) minmax(9rem, .8fr) 2.6fr; gap: .2rem 2rem;
  padding: .85rem 0; border-top: 1px solid rgba(128,128,128,.25); align-items: start; }
.published b { display: block; font-weight: 600; }
.published small { display: block; font-size: .82rem; line-height: 1.4; opacity: .68; }
.published .figure { font-size: 1.35rem; font-weight: 600; line-height: 1.2; font-variant-numeric: tabular-nums; }
.published .figure small { display: inline; font-weight: 400; }
.published .bar { height: 5px; margin-top: .4rem; border-radius: 3px; background: rgba(128,128,128,.22); }
.published .bar i { display: block; height: 100%; border-radius: 3px; background: #12897f; }
.published p { margin: 0 0 .15rem; font-size: .95rem; line-height: 1.45; }
@media (max-width: 700px) {
  .published .row { grid-template-columns: 1fr 7rem; gap: .35rem 1rem; }
  .published .says { grid-column: 1 / -1; }
}
</style>
"""


def result_rows(results: Sequence[PublishedResult]) -> str:
    """Rows with an mIoU over 19 classes, as one HTML list with its style."""
    return (
        f'{STYLE}<div class="published" role="list" aria-label="Published results">{"".join(map(_row, results))}</div>'
    )


def _row(result: PublishedResult) -> str:
    miou = 0.0 if result.miou is None else result.miou
    figure = "–" if result.miou is None else f"{miou:.1f}"
    says = html.escape(result.remark or result.note or result.evaluation)
    source = html.escape(f"{READ[result.directness]}: {result.source}.")
    return (
        f'<div class="row" role="listitem"><div><b>{html.escape(result.method)}</b><small>{html.escape(result.backbone)}</small></div>'
        f'<div><div class="figure">{figure} <small>mIoU, %</small></div>'
        f'<div class="bar"><i style="width:{miou:.1f}%"></i></div></div>'
        f'<div class="says"><p>{says}</p><small>{source}</small></div></div>'
    )
