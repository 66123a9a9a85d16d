"""Explain a method as HTML, from its registry entry and its own file. Imports no UI library.

All content is taken from elsewhere: idea, explanation, loss terms with their code, paper and options from the registry
entry, formulas from the docstring of the method's module, scores from checkpoints and published results.
"""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from sim2street import ROOT
from sim2street.app.content import escape, figures, result_rows
from sim2street.app.content.benchmark_data import (
    MeasuredRow,
    PublishedResult,
    SweepTable,
    published_results,
    sweep_tables,
)
from sim2street.app.content.html_tables import table
from sim2street.app.content.method_diagram import STYLE as DIAGRAM_STYLE
from sim2street.app.content.method_diagram import diagram_html
from sim2street.app.content.method_display import display_of
from sim2street.app.content.names import reports_by_title
from sim2street.models.storage.checkpoint import Checkpoint
from sim2street.training.methods import METHODS
from sim2street.training.methods.base import LossTerm, MethodEntry

INTRODUCTION: Final = (
    "Source-only learns from labelled renderings alone. The other methods also use target images without labels, and differ in"
    " what they compare; the code of each comparison can be opened below."
)
SYMBOLS: Final = {
    "S(": "$S$ network",
    "S_0": "$S_0$ the network as it was",
    "S_d": "$S_d$ the network on the window alone",
    "x_s": "$x_s$ source image",
    "y_s": "$y_s$ its labels",
    "x_t": "$x_t$ target image",
    "x_m": "$x_m$, $y_m$ mixed image and labels",
    "\\hat{y}_t": "$\\hat{y}_t$ the teacher's labels",
    "M \\odot": "$M$ mask",
    "q\\,": "$q$ the teacher's confidence",
    "D(": "$D$ discriminator",
    "D_t": "$D_s$, $D_t$ image discriminators",
    "G(": "$G$ generator to the target",
    "F(": "$F$ generator to the source",
    "\\ell": "$\\ell$ distance from real",
    "d_x": "$d_x$ the image's domain",
    "R(": "$R$ passes features on and reverses their gradient",
    "\\phi": "$\\phi$ features",
    "\\phi_0": "$\\phi_0$ those of the pretrained encoder",
    "I(": "$I$ self-information",
    "H(": "$H$ entropy",
    "p_s": "$p_s$ class shares in source labels",
    "w": "$w$ weights, named in the rows",
    "\\overline": "a bar for the mean over pixels",
}
"""Symbol in a formula -> its meaning, as Markdown."""
WEIGHT_0: Final = "Weight 0"
LINK: Final = re.compile(r"\[([^\]]+)\]\((https://[^)\s]+)\)")
"""A link in Markdown."""
ARXIV: Final = re.compile(r"arXiv:(\d{4}\.\d{4,5})")

STYLE: Final = """
<style>
.katex-display { overflow-x: auto; overflow-y: hidden; padding: .2rem 0; }
.method { max-width: 70rem; line-height: 1.5; }
.method a { color: inherit; }
.method > p { max-width: 46rem; }
.method .idea { font-size: 1.12rem; font-weight: 600; margin: 0 0 .5rem; }
.method p { margin: 0 0 .6rem; }
.method .paper { font-size: .88rem; opacity: .75; }
.method h3 { font-size: 1rem; margin: 1.4rem 0 .5rem; padding: 0; }
.method .terms { display: grid; gap: .5rem; }
.method .term { display: grid; grid-template-columns: minmax(0, 1fr) 13rem minmax(0, 1fr); align-items: center; gap: .2rem .7rem; }
.method .box { padding: .55rem .8rem; border: 1.5px solid var(--method); border-radius: 8px; text-align: center; font-size: .92rem; line-height: 1.3; }
.method .against { border-style: dashed; }
.method .by { position: relative; text-align: center; font-size: .8rem; line-height: 1.25; padding-bottom: .55rem; }
.method .by::after { content: ""; position: absolute; inset: auto 0 0 0; height: 0; border-bottom: 1.5px solid var(--method); }
.method .by::before { content: ""; position: absolute; right: -2px; bottom: -4px; border: solid transparent; border-width: 5px 0 5px 8px; border-left-color: var(--method); }
.method .term details { grid-column: 1 / -1; font-size: .82rem; min-width: 0; }
.method summary { cursor: pointer; opacity: .8; }
.method pre { overflow-x: auto; margin: .4rem 0; padding: .7rem .9rem; border-radius: 8px; background: rgba(128,128,128,.12); font-size: .8rem; line-height: 1.45; color: inherit; }
.method .more { margin: .9rem 0; }
.method .more > summary { font-weight: 600; opacity: 1; }
.method .table { overflow-x: auto; }
.method table { border-collapse: collapse; font-size: .88rem; }
.method th, .method td { padding: .25rem .9rem .25rem 0; text-align: right; border-bottom: 1px solid rgba(128,128,128,.25); white-space: nowrap; }
.method th { font-weight: 600; }
.method .text { text-align: left; }
.method td.text:last-child { white-space: normal; min-width: 16rem; }
@media (max-width: 700px) {
  .method th, .method td.text { white-space: normal; }
  .method .term { grid-template-columns: minmax(0, 1fr); padding-bottom: .6rem; }
  .method .by { padding: 0; }
  .method .by::after { display: none; }
  .method .by::before { position: static; border: 0; content: "↓ "; color: var(--method); }
}
</style>
"""


def introduced(name: str) -> str:
    """A method's idea, how it works, and its paper, as HTML with its style."""
    entry = METHODS[name]
    parts = [
        f'<p class="idea">{escape.html(entry.idea)}</p>',
        f"<p>{escape.html(entry.explanation)}</p>" if entry.explanation else "",
        _paper(entry.paper),
    ]
    return _whole(name, parts)


def illustrated(name: str) -> str:
    """A method's diagram as HTML with its style; empty if its entry has none."""
    entry = METHODS[name]
    if entry.diagram is None:
        return ""
    return _whole(name, [diagram_html(entry.diagram, f"How {entry.title} works")], DIAGRAM_STYLE)


def losses(name: str) -> str:
    """A method's loss as Markdown with LaTeX: a numbered line per term; empty if its entry has no formulas.

    The numbers are those of the terms in `detailed`, each with the code that computes it.
    """
    formulas = [(number, term.formula) for number, term in enumerate(METHODS[name].terms, start=1) if term.formula]
    if not formulas:
        return ""
    signs = [r"\mathcal{L} ={}", *(r"+{}" for _ in formulas[1:])]
    lines = [f"{sign} & {formula} && ({number})" for sign, (number, formula) in zip(signs, formulas, strict=True)]
    formula = "$$\n\\begin{aligned}\n" + " \\\\\n".join(lines) + "\n\\end{aligned}\n$$"
    meanings = [said for symbol, said in SYMBOLS.items() if symbol in formula]
    return f"{formula}\n\n{', '.join(meanings)}. The numbers are those of the rows below; open a row to see its code."


def detailed(name: str, checkpoints: Sequence[Checkpoint], *, cards: str = "") -> str:
    """What a method compares with what, its options, and its results, as HTML with its style.

    Args:
        name: key of the method in its registry.
        checkpoints: the available checkpoints of all methods.
        cards: URL of the checkpoint cards, to which a checkpoint's name is appended; empty for no links.
    """
    entry = METHODS[name]
    parts = [
        _terms(entry.terms),
        _control(entry),
        _formulas(entry),
        _options(entry),
        _checkpoints([each for each in checkpoints if each.config.method == name], checkpoints, cards),
        _published(published_rows_of(entry)),
    ]
    return _whole(name, parts)


def _whole(name: str, parts: Sequence[str], style: str = STYLE) -> str:
    return f'{style}<div class="method" style="--method:{display_of(name).colour}">{"".join(parts)}</div>'


def published_rows_of(entry: MethodEntry) -> list[PublishedResult]:
    """Published results of a method or a variant of it that have an mIoU over the 19 classes."""
    named = re.compile(rf"{re.escape(entry.title)}(\s|$)", re.IGNORECASE)
    return [row for row in published_results() if named.match(row.method) and row.miou is not None]


def _paper(citation: str) -> str:
    if not citation:
        return ""
    link = r'<a href="https://arxiv.org/abs/\1" target="_blank" rel="noopener">arXiv:\1</a>'
    return f'<p class="paper">{ARXIV.sub(link, escape.html(citation))}</p>'


def _terms(terms: Sequence[LossTerm]) -> str:
    """A row per loss term: two boxes for what is compared, and between them how the difference is measured."""
    if not terms:
        return ""
    return f'<h3>What it compares</h3><div class="terms" role="list">{"".join(_term(*each) for each in enumerate(terms, start=1))}</div>'


def _term(number: int, term: LossTerm) -> str:
    weight = f"<br>weighted by <code>{escape.html(term.weight)}</code>" if term.weight else ""
    place, source = _source_of(term.code)
    return (
        f'<div class="term" role="listitem"><div class="box">{escape.html(term.of)}</div>'
        f'<div class="by">{escape.html(term.by)}{weight}</div>'
        f'<div class="box against">{escape.html(term.against)}</div>'
        f"<details><summary>({number}) {escape.html(place)}</summary><pre>{escape.preformatted(source)}</pre></details></div>"
    )


def _control(entry: MethodEntry) -> str:
    """What the method has to beat and why, with what was measured here."""
    if not entry.control:
        return ""
    words = LINK.sub(r'<a href="\2" target="_blank" rel="noopener">\1</a>', escape.html(entry.control))
    measured = table(control_rows(entry), {})
    return f"<h3>What it has to beat: weight 0</h3><p>{words}</p>{measured}"


def control_rows(entry: MethodEntry) -> list[dict[str, Any]]:
    """One row per measured table that has both the method and its control of weight 0: mIoU in percent on the target."""
    rows = []
    for measured in sweep_tables():
        for members in measured.groups().values():
            found = {column: _first(measured, members, fits) for column, fits in _columns(entry).items()}
            if found[entry.title] is not None and found[WEIGHT_0] is not None:
                rows.append({"Measured here, mIoU": measured.title} | found)
    return rows


def _columns(entry: MethodEntry) -> dict[str, Callable[[MeasuredRow], bool]]:
    return {
        "Source-only": lambda row: row.role == "source_only",
        "AdaBN": lambda row: row.method == "adabn",
        WEIGHT_0: lambda row: row.role == "control" and WEIGHT_0.lower() in row.title.lower(),
        entry.title: lambda row: (
            row.role == "method" and re.match(rf"{re.escape(entry.title)}\b", row.title) is not None
        ),
    }


def _first(measured: SweepTable, members: Sequence[MeasuredRow], fits: Callable[[MeasuredRow], bool]) -> float | None:
    """Mean IoU in percent of the first row that fits."""
    figures = next((measured.figures(row) for row in members if fits(row)), None)
    return None if figures is None or figures.miou is None else 100 * figures.miou


def _source_of(code: Any) -> tuple[str, str]:
    """File and line of an object's code, and the code itself."""
    lines, first = inspect.getsourcelines(code)
    path = Path(inspect.getsourcefile(code) or "").resolve()
    shown = path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else path.name
    return f"{shown}, line {first}", textwrap.dedent("".join(lines)).rstrip()


def _formulas(entry: MethodEntry) -> str:
    """The docstring of the method's module."""
    module = inspect.getmodule(entry.options)
    head = inspect.getdoc(module) if module is not None else None
    return (
        _folded("Formulas, and differences between paper and authors' code", f"<pre>{escape.preformatted(head)}</pre>")
        if head
        else ""
    )


def _options(entry: MethodEntry) -> str:
    rows = [
        {"Option": name, "Default": str(field.default), "Meaning": field.description or ""}
        for name, field in entry.options.model_fields.items()
    ]
    return _folded(f"{len(rows)} options and their defaults", table(rows, {})) if rows else ""


def _checkpoints(own: Sequence[Checkpoint], everyone: Sequence[Checkpoint], cards: str) -> str:
    if not own:
        return "<h3>Checkpoints here</h3><p>No checkpoint of this method was trained or imported.</p>"
    titles = figures.unique_titles(everyone)
    rows = []
    for each in own:
        scores = {
            f"{figures.MIOU}{title}": 100 * report["miou"]
            for title, report in reports_by_title(each.metrics).items()
            if report.get("miou") is not None
        }
        rows.append({"Checkpoint": titles[each.name], "Trained on": figures.trained_on(each.config), **scores})
    columns = list(dict.fromkeys(column for row in rows for column in row))
    listed = table([{column: row.get(column) for column in columns} for row in rows], {})
    for each in own if cards else ():
        title = escape.html(titles[each.name])
        link = f'<a href="{escape.html(cards)}{quote(each.name)}" target="_blank">{title}</a>'
        listed = listed.replace(f">{title}</td>", f">{link}</td>", 1)
    return f"<h3>Checkpoints here</h3>{listed}"


def _published(rows: Sequence[PublishedResult]) -> str:
    if not rows:
        return ""
    count = f"{len(rows)} published row{'' if len(rows) == 1 else 's'} on Cityscapes val"
    return _folded(count, result_rows.published_rows(rows))


def _folded(summary: str, inside: str) -> str:
    return f'<details class="more"><summary>{escape.html(summary)}</summary>{inside}</details>'
